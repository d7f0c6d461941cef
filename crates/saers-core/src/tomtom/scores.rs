//! Scores of a query column against all target columns, kept as codes of 16 bits.
//!
//! A code says where a score lies to 1/65,536 of their range. That is enough to find the median
//! and to round nearly all scores; the few in doubt are computed again in double precision.

use multiversion::multiversion;

use super::Distance;
use super::aligned::Aligned;
use super::distance::{MOST_EUCLIDEAN, ROUNDS, SINGLE_ERROR, euclidean_codes, score_all};
use super::ranks;
use super::scaled::Query;

/// Share of their size by which single precision moves numbers, with a little to spare.
const SINGLE: f64 = 2e-7;

/// Scores `low + code · unit`, to be exact: between `slack` less and `unit + slack` more.
#[derive(Default)]
pub(super) struct Coded {
    pub codes: Aligned<u16>,
    /// Least and largest code.
    range: (u16, u16),
    pub low: f64,
    pub unit: f64,
    pub slack: f64,
}

impl Coded {
    /// Scores every query column; `None` where a score is not finite.
    pub fn fill(rows: &mut [Self], query: &Query, scores: &mut Vec<f64>) -> Option<()> {
        match query.options.distance {
            Distance::Euclidean => Self::fill_euclidean(rows, query),
            distance => {
                for (index, row) in rows.iter_mut().enumerate() {
                    score_all(distance, &query.column(index), query.columns, scores);
                    row.encode(scores)?;
                }
            }
        }
        rows.iter_mut().for_each(|row| row.range = extremes(&row.codes));
        Some(())
    }

    fn fill_euclidean(rows: &mut [Self], query: &Query) {
        // Target columns that stay in the nearest cache for all query columns.
        const BLOCK: usize = 1536;
        let total = query.columns.total();
        for row in rows.iter_mut() {
            row.codes.resize(total);
            row.unit = MOST_EUCLIDEAN / f64::from(u16::MAX);
            row.low = -MOST_EUCLIDEAN - 0.5 * row.unit;
            row.slack = SINGLE_ERROR + SINGLE * MOST_EUCLIDEAN;
        }
        for start in (0..total).step_by(BLOCK) {
            let block = start..total.min(start + BLOCK);
            let letters = query.columns.singles().each_ref().map(|letter| &letter[block.clone()]);
            for (row, column) in rows.iter_mut().zip(query.matrix.rows()) {
                euclidean_codes(column, &letters, &mut row.codes[block.clone()]);
            }
        }
    }

    /// Rounds scores to codes; `None` where one is not finite.
    fn encode(&mut self, scores: &[f64]) -> Option<()> {
        let (low, high) = finite_extremes(scores)?;
        self.unit = (high - low) / f64::from(u16::MAX);
        // Codes are rounded: a code stands for half a unit on either side.
        self.low = low - 0.5 * self.unit;
        self.slack = SINGLE * (high - low) + f64::MIN_POSITIVE;
        let per_unit = if high > low { 1.0 / self.unit } else { 0.0 };
        encode(scores, low, per_unit, &mut self.codes);
        Some(())
    }

    /// Bounds the smallest and the largest score.
    pub fn extremes(&self) -> ((f64, f64), (f64, f64)) {
        let around = |code: u16| {
            let low = self.low + f64::from(code) * self.unit;
            (low - self.slack, low + self.unit + self.slack)
        };
        (around(self.range.0), around(self.range.1))
    }

    /// Finds what Tomtom subtracts: of N scores the mean of those at N/2 - 1, rounded down and up.
    ///
    /// With an even number both are the lower of the two in the middle.
    pub fn lower_median(&self, index: usize, query: &Query, near: &mut Vec<u32>) -> f64 {
        let total = query.columns.total();
        let first = (total / 2).saturating_sub(1);
        let second = total.div_ceil(2).saturating_sub(1).max(first);
        let mut at = |rank| self.nth(rank, |column| query.exact(index, column), near);
        if first == second { at(first) } else { (at(first) + at(second)) / 2.0 }
    }

    /// Finds the exact score of a rank, counted from 0, ascending.
    fn nth(&self, rank: usize, exact: impl Fn(usize) -> f64, near: &mut Vec<u32>) -> f64 {
        // Scores whose codes are further away than this lie surely on one side of that score.
        let reach = match self.unit > 0.0 {
            true => ((2.0 * self.slack / self.unit).ceil() + 1.0) as u16,
            false => u16::MAX,
        };
        let place = ranks::around(&self.codes, self.range, rank, reach, near);
        let mut scores: Vec<f64> = near.iter().map(|&column| exact(column as usize)).collect();
        *scores.select_nth_unstable_by(place, f64::total_cmp).1
    }
}

/// Finds the smallest and largest score; `None` where one is not finite.
fn finite_extremes(scores: &[f64]) -> Option<(f64, f64)> {
    // In lanes: one running minimum would wait for itself at every step.
    const LANES: usize = 16;
    let (mut lows, mut highs) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    // Not a number is what the sum of its products with 0 becomes.
    let mut odd = [0.0; LANES];
    let chunks = scores.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let score = chunk[lane];
            lows[lane] = if score < lows[lane] { score } else { lows[lane] };
            highs[lane] = if score > highs[lane] { score } else { highs[lane] };
            odd[lane] += score * 0.0;
        }
    }
    let finite = odd.iter().all(|&odd| odd == 0.0) && rest.iter().all(|score| score.is_finite());
    let low = lows.iter().chain(rest).copied().fold(f64::INFINITY, f64::min);
    let high = highs.iter().chain(rest).copied().fold(f64::NEG_INFINITY, f64::max);
    finite.then_some((low, high))
}

/// Rounds scores to codes.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn encode(scores: &[f64], low: f64, per_unit: f64, codes: &mut Aligned<u16>) {
    const MOST: f32 = u16::MAX as f32;
    codes.resize(scores.len());
    for (code, &score) in codes.iter_mut().zip(scores) {
        let place = ((score - low) * per_unit) as f32;
        let place = if place < MOST { place } else { MOST };
        *code = (place + ROUNDS).to_bits() as u16;
    }
}

/// Finds the smallest and largest code.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn extremes(codes: &[u16]) -> (u16, u16) {
    const LANES: usize = 64;
    let (mut lows, mut highs) = ([u16::MAX; LANES], [0; LANES]);
    let (chunks, rest) = codes.as_chunks::<LANES>();
    for chunk in chunks {
        for lane in 0..LANES {
            lows[lane] = lows[lane].min(chunk[lane]);
            highs[lane] = highs[lane].max(chunk[lane]);
        }
    }
    let low = lows.into_iter().chain(rest.iter().copied()).min().unwrap_or(0);
    let high = highs.into_iter().chain(rest.iter().copied()).max().unwrap_or(0);
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::{Coded, extremes};
    use proptest::prelude::*;

    fn coded(scores: &[f64]) -> Option<Coded> {
        let mut coded = Coded::default();
        coded.encode(scores)?;
        coded.range = extremes(&coded.codes);
        Some(coded)
    }

    proptest! {
        #[test]
        fn a_rank_is_the_one_of_the_sorted_scores(
            scores in prop::collection::vec(-3.0..3.0_f64, 1..200),
            repeats in 1..4_usize,
            spread in prop::sample::select(vec![1.0, 1e-4, 1e-9, 0.0]),
            position in 0.0..1.0_f64,
        ) {
            let scores: Vec<f64> = scores.iter().map(|s| 1.5 + s * spread).collect();
            let mut scores = scores.repeat(repeats);
            let rank = (position * scores.len() as f64) as usize;
            let found = coded(&scores).unwrap().nth(rank, |column| scores[column], &mut Vec::new());
            scores.sort_by(f64::total_cmp);
            prop_assert_eq!(found, scores[rank]);
        }
    }

    #[test]
    fn scores_that_are_not_finite_have_no_codes() {
        let ((least, low), (high, most)) = coded(&[1.0, -2.0]).unwrap().extremes();
        assert!(least <= -2.0 && -2.0 <= low && high <= 1.0 && 1.0 <= most);
        for odd in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            let mut scores = vec![0.5; 40];
            scores[17] = odd;
            assert!(coded(&scores).is_none() && coded(&[odd]).is_none());
        }
    }
}
