//! Scores of a query column against all target columns, kept as codes of 16 bits.
//!
//! A code says where a score lies to 1/65,536 of their range. That is enough to find the median
//! and to round nearly all scores; the few in doubt are computed again in double precision.

use multiversion::multiversion;

use super::Distance;
use super::distance::{SINGLE_ERROR, euclidean_single, score_all};
use super::scaled::Query;

/// Share of their size by which single precision moves numbers, with a little to spare.
const SINGLE: f64 = 2e-7;

/// Scores `low + code · unit`, to be exact: between `slack` less and `unit + slack` more.
#[derive(Default)]
pub(super) struct Coded {
    pub codes: Vec<u16>,
    pub low: f64,
    pub unit: f64,
    pub slack: f64,
}

impl Coded {
    /// Scores a query column; `None` where a score is not finite.
    pub fn fill(
        &mut self,
        index: usize,
        query: &Query,
        singles: &mut Vec<f32>,
        doubles: &mut Vec<f64>,
    ) -> Option<()> {
        let error = match query.options.distance {
            Distance::Euclidean => {
                euclidean_single(&query.matrix.rows()[index], query.columns, singles);
                SINGLE_ERROR
            }
            distance => {
                score_all(distance, &query.column(index), query.columns, doubles);
                singles.clear();
                singles.extend(doubles.iter().map(|&score| score as f32));
                0.0
            }
        };
        let (low, high) = extremes(singles)?;
        let size = f64::from(low.abs().max(high.abs()));
        let range = f64::from(high) - f64::from(low);
        self.unit = range / f64::from(u16::MAX);
        // Codes are rounded: a code stands for half a unit on either side.
        self.low = f64::from(low) - 0.5 * self.unit;
        self.slack = error + SINGLE * (size + range);
        let per_unit = if range > 0.0 { 1.0 / self.unit } else { 0.0 };
        encode(singles, low, per_unit as f32, &mut self.codes);
        Some(())
    }

    /// Bounds the smallest and the largest score.
    pub fn extremes(&self) -> ((f64, f64), (f64, f64)) {
        let low = self.low + 0.5 * self.unit;
        let high = low + self.unit * f64::from(u16::MAX);
        ((low - self.slack, low + self.slack), (high - self.slack, high + self.slack))
    }

    /// Finds what Tomtom subtracts: of N scores the mean of those at N/2 - 1, rounded down and up.
    ///
    /// With an even number both are the lower of the two in the middle.
    pub fn lower_median(&self, index: usize, query: &Query) -> f64 {
        let total = query.columns.total();
        let first = (total / 2).saturating_sub(1);
        let second = total.div_ceil(2).saturating_sub(1).max(first);
        let at = |rank| self.nth(rank, |column| query.exact(index, column));
        if first == second { at(first) } else { (at(first) + at(second)) / 2.0 }
    }

    /// Finds the exact score of a rank, counted from 0, ascending.
    fn nth(&self, rank: usize, exact: impl Fn(usize) -> f64) -> f64 {
        let code = code_of_rank(&self.codes, rank);
        // Codes further away than this lie surely on one side of that score.
        let reach = match self.unit > 0.0 {
            true => (2.0 * self.slack / self.unit).ceil() as i64 + 1,
            false => i64::from(u16::MAX),
        };
        let bound = |code: i64| code.clamp(0, i64::from(u16::MAX)) as u16;
        let (from, to) = (bound(i64::from(code) - reach), bound(i64::from(code) + reach));
        let mut near = Vec::new();
        list_between(&self.codes, from, to, &mut near);
        let mut scores: Vec<f64> = near.iter().map(|&column| exact(column as usize)).collect();
        let place = rank - count_below(&self.codes, from);
        *scores.select_nth_unstable_by(place, f64::total_cmp).1
    }
}

/// Finds the smallest and largest score; `None` where one is not finite.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn extremes(scores: &[f32]) -> Option<(f32, f32)> {
    // In lanes: one running minimum would wait for itself at every step.
    const LANES: usize = 64;
    let (mut lows, mut highs) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
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
    let low = lows.iter().chain(rest).copied().fold(f32::INFINITY, f32::min);
    let high = highs.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    finite.then_some((low, high))
}

/// A number of this size has no bits left for fractions: adding it rounds, and the low bits of
/// the sum are the integer. As conversions of floating-point numbers check for what cannot be
/// converted, they cost several times as much.
pub(super) const ROUNDS: f32 = 8_388_608.0;

/// Rounds scores to codes.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn encode(scores: &[f32], low: f32, per_unit: f32, codes: &mut Vec<u16>) {
    const MOST: f32 = u16::MAX as f32;
    codes.resize(scores.len(), 0);
    for (code, &score) in codes.iter_mut().zip(scores) {
        let place = (score - low) * per_unit;
        let place = if place < MOST { place } else { MOST };
        *code = (place + ROUNDS).to_bits() as u16;
    }
}

/// Finds the code that is met at a rank when codes are sorted.
fn code_of_rank(codes: &[u16], rank: usize) -> u16 {
    let mut code = 0_u16;
    for bit in (0..16).rev() {
        let higher = code | (1 << bit);
        if count_below(codes, higher) <= rank {
            code = higher;
        }
    }
    code
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn count_below(codes: &[u16], bound: u16) -> usize {
    const LANES: usize = 64;
    let mut total = 0;
    // So short that no lane of 16 bits overflows.
    for part in codes.chunks(LANES * 60_000) {
        let mut counts = [0_u16; LANES];
        let chunks = part.chunks_exact(LANES);
        total += chunks.remainder().iter().filter(|code| **code < bound).count();
        for chunk in chunks {
            for (count, &code) in counts.iter_mut().zip(chunk) {
                *count += u16::from(code < bound);
            }
        }
        total += counts.iter().map(|&count| usize::from(count)).sum::<usize>();
    }
    total
}

/// Lists the places of codes in `from..=to`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn list_between(codes: &[u16], from: u16, to: u16, places: &mut Vec<u32>) {
    const LANES: usize = 64;
    let inside = |code: u16| (code >= from) & (code <= to);
    for (index, chunk) in codes.chunks(LANES).enumerate() {
        if chunk.iter().fold(0, |any, &code| any | u16::from(inside(code))) != 0 {
            let found = chunk.iter().enumerate().filter(|(_, code)| inside(**code));
            places.extend(found.map(|(place, _)| (index * LANES + place) as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Coded, encode, extremes};
    use proptest::prelude::*;

    fn coded(scores: &[f64]) -> Coded {
        let singles: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
        let (low, high) = extremes(&singles).unwrap();
        let range = f64::from(high) - f64::from(low);
        let unit = range / f64::from(u16::MAX);
        let mut codes = Vec::new();
        let per_unit = if range > 0.0 { 1.0 / unit } else { 0.0 };
        encode(&singles, low, per_unit as f32, &mut codes);
        Coded { codes, low: f64::from(low) - 0.5 * unit, unit, slack: 2e-5 }
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
            let found = coded(&scores).nth(rank, |column| scores[column]);
            scores.sort_by(f64::total_cmp);
            prop_assert_eq!(found, scores[rank]);
        }
    }

    #[test]
    fn scores_that_are_not_finite_have_no_extremes() {
        assert_eq!(extremes(&[1.0, -2.0]), Some((-2.0, 1.0)));
        assert_eq!(extremes(&[1.0, f32::NAN]), None);
        assert_eq!(extremes(&[1.0, f32::NEG_INFINITY]), None);
    }
}
