//! The matches of one query: ordered as Tomtom orders them, with q-values, down to a threshold.

use std::f64::consts::LN_10;
use std::sync::Arc;

use super::alignment::Alignment;
use super::columns::Columns;
use super::matches::Found;
use super::{Criterion, MAX_QUERY_WIDTH, Options, QValues};
use crate::storey::{self, Bootstrap, horizon};

/// Bits that say which of equally good strands goes first.
pub(super) const PLACE_BITS: u32 = 25;

/// A query aligned with every strand.
pub(super) struct Ranking {
    /// Likeliest letters of the query.
    pub consensus: Arc<str>,
    pub aligned: Vec<Alignment>,
    /// Chance of each strand's best score, before any rounding.
    pub p_values: Vec<f64>,
    /// Natural logarithms of p-values that are too small for double precision, by strand.
    pub small: Vec<(u32, f64)>,
}

impl Ranking {
    /// Lists the better strand of every target down to the threshold, best first.
    pub fn hits(self, columns: &Columns, options: &Options, start: Option<&Bootstrap>) -> Found {
        let rounded: Vec<f64>;
        let p_values = match (options.q_values, options.complete) {
            (QValues::Compat, true) => {
                rounded = self.p_values.iter().map(|&p| f64::from(p as f32)).collect();
                &rounded
            }
            // Those of incomplete scores are rounded after all else is done.
            _ => &self.p_values,
        };
        let pi0 = match start {
            Some(bootstrap) => bootstrap.clone().pi0(p_values),
            None => storey::pi0(p_values),
        };
        let bound = bound(p_values, pi0, columns, options);
        let order = self.order(p_values, bound, columns, options);
        let sorted: Vec<f64> = order.iter().map(|&strand| p_values[strand as usize]).collect();
        let q_values = storey::q_values(&sorted, p_values.len(), pi0);
        let mut seen = vec![false; columns.targets()];
        let targets = columns.targets() as f64;
        let mut kept: Vec<(u32, f64, f64)> = Vec::with_capacity(order.len());
        for ((&strand, q_value), p_value) in order.iter().zip(q_values).zip(sorted) {
            let value = match options.criterion {
                Criterion::QValue => q_value,
                Criterion::EValue => p_value * targets,
                Criterion::PValue => p_value,
            };
            if value > options.threshold {
                break;
            }
            if !std::mem::replace(&mut seen[columns.strands()[strand as usize].target], true) {
                kept.push((strand, p_value, q_value));
            }
        }
        let rounded = |p_value: f64| match options.q_values {
            QValues::Independent => p_value,
            QValues::Compat => f64::from(p_value as f32),
        };
        let aligned = |&(strand, ..): &(u32, f64, f64)| &self.aligned[strand as usize];
        Found {
            strand: kept.iter().map(|(strand, ..)| *strand).collect(),
            offset: kept.iter().map(|hit| aligned(hit).offset).collect(),
            overlap: kept.iter().map(|hit| aligned(hit).overlap as i64).collect(),
            p_value: kept.iter().map(|&(_, p_value, _)| rounded(p_value)).collect(),
            log10_p: kept.iter().map(|&(strand, ..)| self.log10(strand)).collect(),
            e_value: kept.iter().map(|&(_, p_value, _)| p_value * targets).collect(),
            q_value: kept.iter().map(|&(.., q_value)| q_value).collect(),
            consensus: self.consensus,
        }
    }

    fn log10(&self, strand: u32) -> f64 {
        let small = self.small.iter().find(|(of, _)| *of == strand);
        small.map_or_else(|| self.p_values[strand as usize].log10(), |(_, ln)| ln / LN_10)
    }

    /// Sorts the strands of p-values up to a bound as Tomtom does.
    fn order(
        &self,
        p_values: &[f64],
        bound: f64,
        columns: &Columns,
        options: &Options,
    ) -> Vec<u32> {
        let near = (0..).zip(p_values).filter(|(_, p)| **p <= bound);
        let key = |(strand, &p): (u32, &f64)| {
            let index = strand as usize;
            key(p, self.aligned[index].overlap, columns.places()[index])
        };
        let mut keys: Vec<u64> = near.map(key).collect();
        keys.sort_unstable();
        let strand = |key: u64| columns.by_place()[(key & ((1 << PLACE_BITS) - 1)) as usize];
        let mut order: Vec<u32> = keys.into_iter().map(strand).collect();
        // What underflows in single precision still has order, but for Tomtom.
        if !options.complete {
            order.sort_by(|&a, &b| p_values[a as usize].total_cmp(&p_values[b as usize]));
        } else if options.q_values == QValues::Independent {
            let zeros = order.partition_point(|&strand| p_values[strand as usize] as f32 == 0.0);
            order[..zeros].sort_by(|&a, &b| self.log10(a).total_cmp(&self.log10(b)));
        }
        order
    }
}

/// Orders strands in one number: p-value, larger overlap, strand and id.
///
/// Single precision decides on ties. The bits of positive floating-point numbers are ordered as
/// they are themselves.
fn key(p_value: f64, overlap: usize, place: u32) -> u64 {
    let single = (p_value as f32).to_bits();
    let gap = (MAX_QUERY_WIDTH - overlap) as u64;
    u64::from(single) << 32 | gap << PLACE_BITS | u64::from(place)
}

/// Bounds the p-values of all strands that are reported or bear on their q-values.
fn bound(p_values: &[f64], pi0: f64, columns: &Columns, options: &Options) -> f64 {
    let least = match options.criterion {
        Criterion::QValue => {
            return horizon(p_values, options.threshold / (pi0 * p_values.len() as f64));
        }
        Criterion::EValue => options.threshold / columns.targets() as f64,
        Criterion::PValue => options.threshold,
    };
    // Rounding may move a p-value to the other side of the threshold.
    let least = least * storey::SPARE;
    let reported = p_values.iter().copied().filter(|p| *p <= least);
    let (count, worst) = reported.fold((0, 0.0), |(n, worst), p| (n + 1, f64::max(worst, p)));
    if count == 0 { least } else { horizon(p_values, worst / f64::from(count)).max(least) }
}
