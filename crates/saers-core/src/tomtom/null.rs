//! Chance of a best score, by convolution of the score distributions of the query columns.

use super::alignment::Alignment;
use super::columns::Columns;
use super::scaled::{BINS, Scaled};

/// Outputs of a convolution that are summed side by side in registers.
const LANES: usize = 16;

/// Tails below this add to a sum of logarithms, others to a product: both keep all digits.
const SMALL: f64 = 0.01;

/// Computes the p-value of every strand's best score.
///
/// With `E(k)` the chance to stay below a score over the first and the last 1..=k query columns,
/// a target of width L has `E(L - 1)`, and spans of L query columns (or the whole query, once
/// for each offset) on top. All targets share `E`.
pub(super) fn p_values(scaled: &Scaled, columns: &Columns, best: &[Alignment]) -> Vec<f64> {
    let null = Null::new(scaled, columns, best);
    let strands = columns.strands();
    let both = strands.iter().any(|strand| strand.reverse);
    let p_value = |width, score| {
        let log_below = null.log_below(width, score);
        -(if both { 2.0 * log_below } else { log_below }).exp_m1()
    };
    strands.iter().zip(best).map(|(strand, best)| p_value(strand.width, best.score)).collect()
}

/// Chance to stay below a score in several alignments.
#[derive(Clone, Copy)]
struct Below {
    /// Sum of ln(1 - tail) over small tails.
    logs: f64,
    /// Product of 1 - tail over the others.
    product: f64,
}

impl Below {
    const CERTAIN: Self = Self { logs: 0.0, product: 1.0 };

    fn add_tail(&mut self, tail: f64) {
        if tail < SMALL {
            let series = [1.0 / 7.0, 1.0 / 6.0, 0.2, 0.25, 1.0 / 3.0, 0.5, 1.0];
            self.logs -= tail * series.iter().fold(0.0, |sum, term| sum * tail + term);
        } else {
            self.product *= 1.0 - tail.min(1.0);
        }
    }

    fn and(self, other: Self) -> Self {
        Self { logs: self.logs + other.logs, product: self.product * other.product }
    }

    fn ln(self) -> f64 {
        self.logs + self.product.ln()
    }
}

/// Chances at every score that was observed.
struct Null<'a> {
    scaled: &'a Scaled,
    /// Scores of all targets, ascending.
    scores: Vec<i64>,
    /// `ends[k]`: prefixes and suffixes of 1..=k query columns, at all scores.
    ends: Vec<Vec<Below>>,
    /// `scores_of[L]`: scores of the targets of width L, in the last one of all wider ones too.
    scores_of: Vec<Vec<i64>>,
    /// `spans[L]`: all spans of L query columns, at the scores of those targets.
    spans: Vec<Vec<Below>>,
    /// `floors[L]`: no smaller sum over L columns matters for any score.
    floors: Vec<i64>,
}

impl<'a> Null<'a> {
    fn new(scaled: &'a Scaled, columns: &Columns, best: &[Alignment]) -> Self {
        let width = scaled.width();
        let mut scores_of = vec![Vec::new(); width + 1];
        for (strand, alignment) in columns.strands().iter().zip(best) {
            scores_of[strand.width.min(width)].push(alignment.score);
        }
        let mut scores = scores_of.concat();
        for list in scores_of.iter_mut().chain([&mut scores]) {
            list.sort_unstable();
            list.dedup();
        }
        let mut null = Self {
            scaled,
            ends: vec![vec![Below::CERTAIN; scores.len()]; width],
            spans: scores_of.iter().map(|list| vec![Below::CERTAIN; list.len()]).collect(),
            floors: floors(scaled, scores.first().copied().unwrap_or(0)),
            scores_of,
            scores,
        };
        let longest = (1..width).rev().find(|&l| !null.scores_of[l].is_empty()).unwrap_or(0);
        for first in 0..width {
            let reach = if first == 0 { width } else { longest.min(width - first) };
            null.extend_right(first, reach);
        }
        null.extend_left();
        for k in 1..width {
            let (shorter, longer) = null.ends.split_at_mut(k);
            longer[0].iter_mut().zip(&shorter[k - 1]).for_each(|(sum, part)| *sum = sum.and(*part));
        }
        null
    }

    /// Adds the spans that start at `first`, up to `reach` columns long.
    fn extend_right(&mut self, first: usize, reach: usize) {
        let mut sums = Sums::none();
        for length in 1..=reach {
            let column = &self.scaled.histograms[first + length - 1];
            sums = sums.with(column, self.floors[length]);
            let shift = self.shift(length);
            sums.add_tails(&self.scores_of[length], shift, &mut self.spans[length]);
            if first == 0 && length < self.scaled.width() {
                sums.add_tails(&self.scores, shift, &mut self.ends[length]);
            }
        }
    }

    /// Adds the spans that end with the query.
    fn extend_left(&mut self) {
        let width = self.scaled.width();
        let mut sums = Sums::none();
        for length in 1..width {
            sums = sums.with(&self.scaled.histograms[width - length], self.floors[length]);
            sums.add_tails(&self.scores, self.shift(length), &mut self.ends[length]);
        }
    }

    /// Score of the query columns outside a span.
    fn shift(&self, length: usize) -> i64 {
        self.scaled.unaligned * (self.scaled.width() - length) as i64
    }

    /// Computes the logarithm of the chance that a target of width `target` stays below.
    fn log_below(&self, target: usize, score: i64) -> f64 {
        let width = self.scaled.width();
        let reach = target.min(width);
        let at = |scores: &[i64]| scores.partition_point(|&known| known < score);
        let ends = self.ends[reach - 1][at(&self.scores)];
        let spans = self.spans[reach][at(&self.scores_of[reach])];
        ends.ln() + (target - reach + 1) as f64 * spans.ln()
    }
}

/// Finds the least sum over 1, 2, … columns from which a score of at least `least` can be met.
fn floors(scaled: &Scaled, least: i64) -> Vec<i64> {
    let top = |column: &[f64; BINS + 1]| column.iter().rposition(|&p| p > 0.0).unwrap_or(0);
    let top = scaled.histograms.iter().map(top).max().unwrap_or(0) as i64;
    let width = scaled.width();
    let mut floors = vec![least; width + 1];
    for length in (0..width).rev() {
        let own = least - scaled.unaligned * (width - length) as i64;
        floors[length] = own.min(floors[length + 1] - top);
    }
    floors
}

/// Distribution of the sum of scores over a span, from a floor upwards.
struct Sums {
    low: i64,
    shares: Vec<f64>,
}

impl Sums {
    /// The sum over no columns is 0.
    fn none() -> Self {
        Self { low: 0, shares: vec![1.0] }
    }

    /// Adds a column; sums below `floor` are left out.
    fn with(&self, column: &[f64; BINS + 1], floor: i64) -> Self {
        let first = column.iter().position(|&p| p > 0.0).unwrap_or(0);
        let last = column.iter().rposition(|&p| p > 0.0).unwrap_or(0);
        let column = &column[first..=last];
        let lowest = self.low + first as i64;
        let low = lowest.max(floor).min(lowest + (self.shares.len() + column.len() - 2) as i64);
        let skipped = (low - lowest) as usize;
        let length = self.shares.len() + column.len() - 1 - skipped;
        // Zeros around the shares, so that every output sums the same number of terms.
        let before = column.len() - 1;
        let mut padded = vec![0.0; before + self.shares.len() + before + LANES];
        padded[before..before + self.shares.len()].copy_from_slice(&self.shares);
        let mut shares = Vec::with_capacity(length + LANES);
        while shares.len() < length {
            let start = before + skipped + shares.len();
            let mut sums = [0.0; LANES];
            for (back, &share) in column.iter().enumerate() {
                let window = &padded[start - back..start - back + LANES];
                sums.iter_mut().zip(window).for_each(|(sum, &p)| *sum += share * p);
            }
            shares.extend_from_slice(&sums);
        }
        shares.truncate(length);
        Self { low, shares }
    }

    /// Adds the tail at each of some ascending scores, less `shift`, to their chances.
    fn add_tails(&self, scores: &[i64], shift: i64, below: &mut [Below]) {
        let mut next = self.shares.len();
        let mut tail = 0.0;
        for (&score, below) in scores.iter().zip(below).rev() {
            let from = (score - shift - self.low).clamp(0, self.shares.len() as i64) as usize;
            // Summed from the top, so that small tails keep their digits.
            tail += self.shares[from..next].iter().rev().sum::<f64>();
            next = from;
            below.add_tail(tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BINS, Below, Sums};
    use proptest::prelude::*;

    fn column(scores: &[usize]) -> [f64; BINS + 1] {
        let mut shares = [0.0; BINS + 1];
        scores.iter().for_each(|&score| shares[score] += 1.0 / scores.len() as f64);
        shares
    }

    proptest! {
        #[test]
        fn tails_are_those_of_all_sums_written_out(
            a in prop::collection::vec(0..=BINS, 1..30),
            b in prop::collection::vec(0..=BINS, 1..30),
            score in 0..=2 * BINS as i64,
            below_score in 0..50_i64,
        ) {
            let sums = Sums::none().with(&column(&a), -5).with(&column(&b), score - below_score);
            let mut below = [Below::CERTAIN];
            sums.add_tails(&[score], 0, &mut below);
            let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x + y) as i64));
            let met = pairs.filter(|sum| *sum >= score).count() as f64;
            let expected = 1.0 - met / (a.len() * b.len()) as f64;
            prop_assert!((below[0].ln().exp() - expected).abs() < 1e-12);
        }

        #[test]
        fn a_chance_keeps_its_digits_for_tails_of_any_size(exponent in -300.0..0.0_f64) {
            let tail = 10.0_f64.powf(exponent);
            let mut below = Below::CERTAIN;
            below.add_tail(tail);
            let expected = (-tail).ln_1p();
            prop_assert!((below.ln() - expected).abs() <= 1e-13 * expected.abs());
        }
    }

    #[test]
    fn a_floor_above_all_sums_leaves_no_tail() {
        let sums = Sums::none().with(&column(&[3, 4]), 90);
        let mut below = [Below::CERTAIN];
        sums.add_tails(&[90], 0, &mut below);
        assert_eq!(below[0].ln(), 0.0);
    }
}
