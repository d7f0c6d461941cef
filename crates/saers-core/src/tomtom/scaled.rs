//! Column scores of one query as small integers, and their distribution.

use std::sync::Arc;

use multiversion::multiversion;

use super::Options;
use super::aligned::{Aligned, LINE};
use super::columns::{Columns, consensus, query_rounds, smoothed, with_pseudocount};
use super::distance::{QueryColumn, ROUNDS, score};
use super::histogram::Pairs;
use super::scores::Coded;
use super::tails::Memory;
use crate::motif::{Frequencies, Motif, Row};
use crate::{Error, Result};

/// Scaled scores lie in 0..=BINS.
pub(super) const BINS: usize = 100;

/// Cells that are read together; each row has so many to spare.
pub(super) const LANES: usize = 32;

/// Scaled scores of every query column against every target column.
pub(super) struct Scaled {
    width: usize,
    cells: Aligned<u8>,
    stride: usize,
    /// Likeliest letters of the query.
    pub consensus: Arc<str>,
    /// For each query column the share of target columns at each score.
    pub histograms: Vec<[f64; BINS + 1]>,
    /// Score of a query column that has no partner.
    pub unaligned: i64,
}

/// A query after pseudo-counts, whose scores can be asked for one by one.
pub(super) struct Query<'a> {
    pub matrix: Frequencies,
    pub sites: f64,
    pub background: Row,
    pub columns: &'a Columns,
    pub options: &'a Options,
}

impl<'a> Query<'a> {
    fn new(query: &Motif, columns: &'a Columns, options: &'a Options) -> Self {
        let background = smoothed(&columns.background(), query_rounds(options));
        let matrix = with_pseudocount(query, &background, options.pseudocount);
        Self { matrix, sites: query.n_sites.unwrap_or(0.0), background, columns, options }
    }

    /// A column with what its scores depend on.
    pub fn column(&self, index: usize) -> QueryColumn<'_> {
        let row = &self.matrix.rows()[index];
        QueryColumn { row, sites: self.sites, background: &self.background }
    }

    /// Scores a query column against a target column in double precision.
    pub fn exact(&self, index: usize, column: usize) -> f64 {
        let target = self.columns.row(column);
        let sites = self.columns.sites()[column];
        score(self.options.distance, &self.column(index), target, sites)
    }
}

/// Memory that one query after another uses.
#[derive(Default)]
pub(super) struct Scratch {
    rows: Vec<Coded>,
    scores: Vec<f64>,
    cells: Aligned<u8>,
    places: Vec<u32>,
    pairs: Pairs,
    /// Memory for convolutions.
    pub memory: Memory,
}

impl Scratch {
    /// Takes the memory of a query back.
    pub fn recycle(&mut self, scaled: Scaled) {
        self.cells = scaled.cells;
    }
}

impl Scaled {
    /// Scores a query, shifts each column by its median, and scales to integers.
    ///
    /// Incomplete scores are not shifted: columns without a partner do not count.
    pub fn new(
        query: &Motif,
        columns: &Columns,
        options: &Options,
        scratch: &mut Scratch,
    ) -> Result<Self> {
        let query_columns = Query::new(query, columns, options);
        let width = query_columns.matrix.width();
        scratch.rows.resize_with(width.max(scratch.rows.len()), Coded::default);
        let Scratch { rows, scores, places, .. } = scratch;
        let rows = &mut rows[..width];
        Coded::fill(rows, &query_columns, scores).ok_or_else(|| {
            Error::invalid(format!("the scores of query {} are not finite", query.id))
        })?;
        let median = |(index, row): (usize, &Coded)| match options.complete {
            true => row.lower_median(index, &query_columns, places),
            false => 0.0,
        };
        let medians: Vec<f64> = rows.iter().enumerate().map(median).collect();
        let scale = Scale::new(rows, &medians, &query_columns);
        let stride = (columns.total() + LANES).next_multiple_of(LINE);
        let mut cells = std::mem::take(&mut scratch.cells);
        // Those of the query before are overwritten; what is to spare is never looked at.
        cells.resize(width * stride);
        let mut histograms = Vec::with_capacity(width);
        for (index, (row, median)) in scratch.rows.iter().zip(&medians).enumerate() {
            let cells = &mut cells[index * stride..][..columns.total()];
            let exact = |column| query_columns.exact(index, column);
            scale.fill(row, *median, cells, &mut scratch.places, exact);
            histograms.push(scratch.pairs.shares(cells));
        }
        Ok(Self {
            width,
            cells,
            stride,
            consensus: consensus(&query_columns.matrix),
            histograms,
            unaligned: (-scale.offset * scale.factor) as i64,
        })
    }

    /// Number of query columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Scores of a query column against [`LANES`] target columns from one on.
    #[inline(always)]
    pub fn lanes(&self, index: usize, column: usize) -> &[u8; LANES] {
        // The compiler sees that the length fits: no check is left.
        self.cells[index * self.stride + column..].first_chunk().unwrap_or(&[0; LANES])
    }
}

/// How shifted scores become integers: (score - offset) · factor, rounded.
#[derive(Clone, Copy, PartialEq)]
struct Scale {
    offset: f64,
    factor: f64,
}

impl Scale {
    /// Finds offset and factor, which are integers, from the range of all shifted scores.
    fn new(rows: &[Coded], medians: &[f64], query: &Query) -> Self {
        let (mut low, mut high) =
            ((f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY));
        for (row, median) in rows.iter().zip(medians) {
            let (least, most) = row.extremes();
            low = (low.0.min(least.0 - median), low.1.min(least.1 - median));
            high = (high.0.max(most.0 - median), high.1.max(most.1 - median));
        }
        // Both ends of what is known must say the same, else all scores are computed exactly.
        let candidates = [(low.0, high.0), (low.0, high.1), (low.1, high.0), (low.1, high.1)]
            .map(|(low, high)| Self::of_range(low, high));
        let first = candidates[0];
        let certain = low.1 < high.0 && candidates.iter().all(|candidate| *candidate == first);
        if certain { first } else { Self::exactly(medians, query) }
    }

    fn of_range(low: f64, high: f64) -> Self {
        let low = if low == high { high - 1.0 } else { low };
        let offset = low.floor();
        Self { offset, factor: (BINS as f64 / (high - offset)).floor() }
    }

    fn exactly(medians: &[f64], query: &Query) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (index, median) in medians.iter().enumerate() {
            for column in 0..query.columns.total() {
                let shifted = query.exact(index, column) - median;
                (low, high) = (low.min(shifted), high.max(shifted));
            }
        }
        Self::of_range(low, high)
    }

    /// Scales a row; where its codes leave open which integer is meant, `exact` decides.
    fn fill(
        &self,
        row: &Coded,
        median: f64,
        cells: &mut [u8],
        doubts: &mut Vec<u32>,
        exact: impl Fn(usize) -> f64,
    ) {
        let unit = row.unit * self.factor;
        let base = (row.low + 0.5 * row.unit - median - self.offset) * self.factor;
        let line = Line::new(unit, base, 0.5 * unit + row.slack * self.factor);
        doubts.clear();
        round_all(&line, &row.codes, cells, doubts);
        for &column in &*doubts {
            let column = column as usize;
            // Not negative, so that this rounds down.
            let cell = ((exact(column) - median - self.offset) * self.factor + 0.5) as i32;
            cells[column] = cell.clamp(0, BINS as i32) as u8;
        }
    }
}

/// Scaled scores as a linear function of codes, in parts of an integer.
struct Line {
    unit: f32,
    /// Of code 0, with one half to round and with `open` on top, and [`ROUNDS`].
    base: f32,
    /// Twice as many parts as a value may lie off.
    open: u32,
}

impl Line {
    /// Bits behind the point: with those before it as many as [`ROUNDS`] leaves.
    const BITS: u32 = 15;

    /// What single precision adds in parts: to the base half of one, to the unit for the largest
    /// code half of one, to the product as much, and to the sum half of one.
    const ROUNDING: f64 = 2.0;

    fn new(unit: f64, base: f64, open: f64) -> Self {
        let parts = f64::from(1 << Self::BITS);
        let open = (open * parts + Self::ROUNDING).ceil();
        let base = ((base + 0.5) * parts + open).round();
        Self {
            unit: (unit * parts) as f32,
            base: (f64::from(ROUNDS) + base) as f32,
            open: 2 * open as u32,
        }
    }

    /// Rounds down to a cell and what is left, in parts.
    #[inline(always)]
    fn at<const FUSED: bool>(&self, code: u16) -> (u8, u32) {
        let code = f32::from(code);
        let value = match FUSED {
            true => code.mul_add(self.unit, self.base),
            false => code * self.unit + self.base,
        };
        let parts = value.to_bits() & ((1 << (Self::BITS + 7)) - 1);
        ((parts >> Self::BITS) as u8, parts & ((1 << Self::BITS) - 1))
    }
}

/// Rounds codes to cells and lists the places in doubt.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn round_all(line: &Line, codes: &[u16], cells: &mut [u8], doubts: &mut Vec<u32>) {
    const FUSED: bool = multiversion::target::target_cfg_f!(target_feature = "fma");
    // So short that few places are looked at again for one in doubt.
    const CHUNK: usize = 16;
    let (chunks, rest) = codes.as_chunks::<CHUNK>();
    let (cell_chunks, cell_rest) = cells.as_chunks_mut::<CHUNK>();
    for (index, (cells, codes)) in cell_chunks.iter_mut().zip(chunks).enumerate() {
        let mut any = false;
        let mut lefts = [0; CHUNK];
        for lane in 0..CHUNK {
            let (cell, left) = line.at::<FUSED>(codes[lane]);
            any |= left <= line.open;
            cells[lane] = cell;
            lefts[lane] = left;
        }
        if any {
            list_open(&lefts, line.open, index * CHUNK, doubts);
        }
    }
    for (place, (cell, &code)) in cell_rest.iter_mut().zip(rest).enumerate() {
        let (rounded, left) = line.at::<FUSED>(code);
        *cell = rounded;
        if left <= line.open {
            doubts.push((codes.len() - rest.len() + place) as u32);
        }
    }
}

/// Lists the places of what is left that leaves a cell open. Apart, as it is rarely met: the loop
/// that calls it stays in wide vectors.
#[cold]
#[inline(never)]
fn list_open(lefts: &[u32], open: u32, start: usize, doubts: &mut Vec<u32>) {
    let found = (start as u32..).zip(lefts).filter(|(_, left)| **left <= open);
    found.for_each(|(place, _)| doubts.push(place));
}

#[cfg(test)]
mod tests {
    use super::super::distance::Distance;
    use super::{BINS, Columns, Options, Query, Scaled, Scratch};
    use crate::motif::{Frequencies, Motif, UNIFORM};
    use proptest::prelude::*;

    /// Few different counts, so that columns and scores repeat themselves.
    fn motif() -> impl Strategy<Value = Motif> {
        let count = prop_oneof![Just(0_u32), Just(1), 0..30_u32];
        let column = prop::array::uniform4(count).prop_map(|c| match c {
            [0, 0, 0, 0] => UNIFORM,
            c => c.map(|n| f64::from(n) / f64::from(c.iter().sum::<u32>())),
        });
        (prop::collection::vec(column, 1..40), 1..900_u32).prop_map(|(rows, sites)| Motif {
            id: "m".into(),
            name: String::new(),
            frequencies: Frequencies::new(rows).unwrap(),
            n_sites: Some(f64::from(sites)),
            background: UNIFORM,
            log10_evalue: None,
        })
    }

    /// Scores, shifts and scales as Tomtom does, one by one: cells of each row, and the score of
    /// a column without partner.
    fn naive(query: &Query) -> (Vec<Vec<u8>>, i64) {
        let total = query.columns.total();
        let shifted = |index| {
            let scores: Vec<f64> = (0..total).map(|column| query.exact(index, column)).collect();
            let mut sorted = scores.clone();
            sorted.sort_by(f64::total_cmp);
            let first = (total / 2).saturating_sub(1);
            let second = total.div_ceil(2).saturating_sub(1).max(first);
            let median = (sorted[first] + sorted[second]) / 2.0;
            let median = if query.options.complete { median } else { 0.0 };
            scores.into_iter().map(|score| score - median).collect()
        };
        let rows: Vec<Vec<f64>> = (0..query.matrix.width()).map(shifted).collect();
        let all = || rows.iter().flatten().copied();
        let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(-1e300, f64::max));
        let offset = if low == high { (high - 1.0).floor() } else { low.floor() };
        let factor = (BINS as f64 / (high - offset)).floor();
        let cell = |score: &f64| ((score - offset) * factor + 0.5).floor() as u8;
        let cells = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
        (cells, (-offset * factor) as i64)
    }

    proptest! {
        #[test]
        fn cells_are_those_of_scaling_each_score(
            query in motif(),
            targets in prop::collection::vec(motif(), 1..40),
            (repeats, complete, strands) in (1..3_usize, any::<bool>(), any::<bool>()),
            distance in prop::sample::select(Distance::NAMES.map(|(_, distance)| distance).to_vec()),
        ) {
            let options =
                Options { distance, complete, reverse_complement: strands, ..Options::default() };
            let columns = Columns::prepare(&vec![targets.as_slice(); repeats].concat(), &UNIFORM, &options);
            let mut scratch = Scratch::default();
            let scaled = Scaled::new(&query, &columns, &options, &mut scratch).unwrap();
            let (cells, unaligned) = naive(&Query::new(&query, &columns, &options));
            prop_assert_eq!(scaled.unaligned, unaligned);
            for (index, expected) in cells.iter().enumerate() {
                let found: Vec<u8> =
                    (0..columns.total()).map(|column| scaled.lanes(index, column)[0]).collect();
                prop_assert_eq!(&found, expected);
                for (bin, share) in scaled.histograms[index].iter().enumerate() {
                    let count = expected.iter().filter(|cell| usize::from(**cell) == bin).count();
                    prop_assert_eq!(*share, count as f64 / columns.total() as f64);
                }
            }
        }
    }
}
