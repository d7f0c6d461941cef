//! Column scores of one query as small integers, and their distribution.

use super::columns::{Columns, consensus, smoothed, with_pseudocount};
use super::distance::{QueryColumn, score};
use super::{Distance, Options};
use crate::motif::{Frequencies, Motif, Row};
use crate::{Error, Result};

/// Scaled scores lie in 0..=BINS.
pub(super) const BINS: usize = 100;

/// Buckets of the selection of a median.
const BUCKETS: usize = 2048;

/// Scaled scores of every query column against every distinct target column.
pub(super) struct Scaled {
    width: usize,
    cells: Vec<u8>,
    /// Likeliest letters of the query.
    pub consensus: String,
    /// For each query column the share of target columns at each score.
    pub histograms: Vec<[f64; BINS + 1]>,
    /// Score of a query column that has no partner.
    pub unaligned: i64,
}

impl Scaled {
    /// Scores a query, shifts each column by its median, and scales to integers.
    pub fn new(query: &Motif, columns: &Columns, options: &Options) -> Result<Self> {
        let background = smoothed(&columns.background(), 2);
        let smoothed = with_pseudocount(query, &background, options.pseudocount);
        let sites = query.n_sites.unwrap_or(0.0);
        let scores = scores(&smoothed, sites, &background, columns, options.distance);
        let mut range = (f64::INFINITY, f64::NEG_INFINITY);
        let mut medians = Vec::with_capacity(scores.len());
        for row in &scores {
            let (low, high) = extremes(row).ok_or_else(|| {
                Error::invalid(format!("the scores of query {} are not finite", query.id))
            })?;
            let median = lower_median(row, columns, low, high);
            range = (range.0.min(low - median), range.1.max(high - median));
            medians.push(median);
        }
        let (low, high) = if range.0 == range.1 { (range.1 - 1.0, range.1) } else { range };
        let offset = low.floor();
        let scale = (BINS as f64 / (high - offset)).floor();
        let mut scaled = Self {
            width: scores.len(),
            consensus: consensus(&smoothed),
            cells: vec![0; scores.len() * columns.counts().len()],
            histograms: vec![[0.0; BINS + 1]; scores.len()],
            unaligned: (-offset * scale) as i64,
        };
        for (index, (row, median)) in scores.iter().zip(medians).enumerate() {
            scaled.fill(index, columns, row, |score| {
                // Not negative, so that this rounds down.
                ((score - median - offset) * scale + 0.5) as i32 as u8
            });
        }
        Ok(scaled)
    }

    /// Number of query columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Scores of a distinct target column against all query columns, the last one first.
    pub fn column(&self, column: u32) -> &[u8] {
        let start = column as usize * self.width;
        &self.cells[start..start + self.width]
    }

    fn fill(&mut self, index: usize, columns: &Columns, row: &[f64], scale: impl Fn(f64) -> u8) {
        let mut counts = [0_u32; BINS + 1];
        let cells = self.cells[self.width - 1 - index..].iter_mut().step_by(self.width);
        for ((cell, &score), &count) in cells.zip(row).zip(columns.counts()) {
            *cell = scale(score).min(BINS as u8);
            counts[usize::from(*cell)] += count;
        }
        let total = columns.total() as f64;
        self.histograms[index] = counts.map(|count| f64::from(count) / total);
    }
}

/// Scores each query column against the distinct target columns.
fn scores(
    query: &Frequencies,
    sites: f64,
    background: &Row,
    columns: &Columns,
    distance: Distance,
) -> Vec<Vec<f64>> {
    let of = |row: &Row| {
        let mut out = vec![0.0; columns.counts().len()];
        score(distance, &QueryColumn { row, sites, background }, columns, &mut out);
        out
    };
    query.rows().iter().map(of).collect()
}

/// Finds the smallest and largest score; `None` where one is not finite.
fn extremes(row: &[f64]) -> Option<(f64, f64)> {
    // In lanes: one running minimum would wait for itself at every step.
    const LANES: usize = 8;
    let (mut lows, mut highs) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let mut finite = true;
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for ((low, high), &value) in lows.iter_mut().zip(&mut highs).zip(chunk) {
            *low = if value < *low { value } else { *low };
            *high = if value > *high { value } else { *high };
            finite &= value.is_finite();
        }
    }
    let all = |lanes: [f64; LANES], pick: fn(f64, f64) -> f64, start: f64| {
        lanes.iter().chain(rest).copied().fold(start, pick)
    };
    let low = all(lows, f64::min, f64::INFINITY);
    let high = all(highs, f64::max, f64::NEG_INFINITY);
    (finite && rest.iter().all(|value| value.is_finite())).then_some((low, high))
}

/// Finds what Tomtom subtracts: of N columns the mean of those at N/2 - 1, rounded down and up.
///
/// With an even number both are the lower of the two in the middle.
fn lower_median(row: &[f64], columns: &Columns, low: f64, high: f64) -> f64 {
    let total = columns.total();
    let first = (total / 2).saturating_sub(1);
    let second = total.div_ceil(2).saturating_sub(1).max(first);
    if low == high {
        return low;
    }
    let buckets = Buckets::new(row, columns.counts(), low, high);
    let at = |rank| buckets.nth(row, columns.counts(), rank);
    if first == second { at(first) } else { (at(first) + at(second)) / 2.0 }
}

/// Values sorted into buckets of equal width, so that one of them need only be sorted further.
struct Buckets {
    of: Vec<u16>,
    weights: Vec<usize>,
}

impl Buckets {
    fn new(row: &[f64], counts: &[u32], low: f64, high: f64) -> Self {
        let step = (BUCKETS - 1) as f64 / (high - low);
        let bucket = |value: &f64| (((value - low) * step) as i32).clamp(0, BUCKETS as i32 - 1);
        let of: Vec<u16> = row.iter().map(|value| bucket(value) as u16).collect();
        let mut weights = vec![0; BUCKETS];
        for (&bucket, &count) in of.iter().zip(counts) {
            weights[usize::from(bucket)] += count as usize;
        }
        Self { of, weights }
    }

    /// Finds the value of a rank, counted from 0.
    fn nth(&self, row: &[f64], counts: &[u32], rank: usize) -> f64 {
        let (mut chosen, mut below) = (0, 0);
        while below + self.weights[chosen] <= rank {
            below += self.weights[chosen];
            chosen += 1;
        }
        let values = self.of.iter().zip(row.iter().zip(counts));
        let mut inside: Vec<(f64, u32)> = values
            .filter(|(bucket, _)| usize::from(**bucket) == chosen)
            .map(|(_, (value, count))| (*value, *count))
            .collect();
        inside.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let reached = |&(_, count): &(f64, u32)| {
            below += count as usize;
            below > rank
        };
        let position = inside.iter().position(reached);
        inside[position.unwrap_or(inside.len() - 1)].0
    }
}

#[cfg(test)]
mod tests {
    use super::{Buckets, extremes};
    use proptest::prelude::*;

    /// What `nth` finds, by writing every value out as often as it counts.
    fn written_out(values: &[(f64, u32)], rank: usize) -> f64 {
        let mut all: Vec<f64> =
            values.iter().flat_map(|&(value, count)| vec![value; count as usize]).collect();
        all.sort_by(f64::total_cmp);
        all[rank]
    }

    proptest! {
        #[test]
        fn a_weighted_rank_equals_the_one_of_the_values_written_out(
            values in prop::collection::vec((-3.0..3.0_f64, 1..4_u32), 1..40),
            position in 0.0..1.0_f64,
            high in 3.0..1e6_f64,
        ) {
            let (row, counts): (Vec<f64>, Vec<u32>) = values.iter().copied().unzip();
            let total: u32 = counts.iter().sum();
            let rank = (position * f64::from(total)) as usize;
            let found = Buckets::new(&row, &counts, -3.0, high).nth(&row, &counts, rank);
            prop_assert_eq!(found, written_out(&values, rank));
        }
    }

    #[test]
    fn scores_that_are_not_finite_have_no_extremes() {
        assert_eq!(extremes(&[1.0, -2.0]), Some((-2.0, 1.0)));
        assert_eq!(extremes(&[1.0, f64::NAN]), None);
        assert_eq!(extremes(&[1.0, f64::NEG_INFINITY]), None);
    }
}
