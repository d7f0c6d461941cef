//! Chance that a sum of column scores reaches a score, column by column.

use multiversion::multiversion;

use super::scaled::BINS;

/// Outputs of a convolution that are summed side by side in registers.
const LANES: usize = 32;

/// Scores of one column, from the lowest that occurs to the highest.
pub(super) struct Column<'a> {
    pub low: i64,
    pub shares: &'a [f64],
}

impl<'a> Column<'a> {
    /// Leaves out the scores at both ends that do not occur.
    pub fn new(shares: &'a [f64; BINS + 1]) -> Self {
        let low = shares.iter().position(|&p| p > 0.0).unwrap_or(0);
        let high = shares.iter().rposition(|&p| p > 0.0).unwrap_or(low);
        Self { low: low as i64, shares: &shares[low..=high] }
    }

    /// The highest score.
    pub fn high(&self) -> i64 {
        self.low + self.shares.len() as i64 - 1
    }
}

/// Chances that a sum reaches `low`, `low + 1`, …; 1 below, and 0 above.
///
/// Chances are carried, not the distribution: what is added up is positive, so that small
/// chances keep their digits, and no sum over the distribution is needed.
#[derive(Clone)]
pub(super) struct Tails {
    pub low: i64,
    pub chances: Vec<f64>,
}

impl Tails {
    /// The sum over no columns is 0.
    pub fn none() -> Self {
        Self { low: 0, chances: vec![1.0] }
    }

    /// Adds a column to the sum. Only scores in `wanted` need be right: others may be left out.
    pub fn with(&self, column: &Column, wanted: (i64, i64), memory: &mut Vec<f64>) -> Self {
        let lowest = self.low + column.low;
        let highest = lowest + (self.chances.len() + column.shares.len()) as i64 - 2;
        let low = wanted.0.clamp(lowest, highest);
        let high = wanted.1.clamp(low, highest);
        // Ones and zeros around the chances, so that every output sums the same number of terms.
        let before = column.shares.len() - 1;
        memory.clear();
        memory.resize(before, 1.0);
        memory.extend_from_slice(&self.chances);
        memory.resize(memory.len() + before + LANES, 0.0);
        let mut chances = Vec::with_capacity((high - low + 1) as usize + LANES);
        let start = before + (low - lowest) as usize;
        convolve(column.shares, memory, start, (high - low + 1) as usize, &mut chances);
        Self { low, chances }
    }

    /// Splits scores from `first` on, `count` of them, into those that are surely reached, and
    /// the chances of those that may be; the others are out of reach.
    pub fn at(&self, first: i64, count: usize) -> (usize, &[f64]) {
        let sure = (self.low - first).clamp(0, count as i64) as usize;
        let from = (first - self.low).clamp(0, self.chances.len() as i64) as usize;
        let to = (from + count - sure).min(self.chances.len());
        (sure, &self.chances[from..to])
    }
}

/// Computes `count` sums of `taps[j] · values[start + k - j]`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn convolve(taps: &[f64], values: &[f64], start: usize, count: usize, out: &mut Vec<f64>) {
    while out.len() < count {
        let first = start + out.len();
        let mut sums = [0.0; LANES];
        // The first tap meets the last window, so windows run forwards over the taps reversed.
        let windows = values[first + 1 - taps.len()..first + LANES].windows(LANES);
        for (window, &tap) in windows.zip(taps.iter().rev()) {
            sums.iter_mut().zip(window).for_each(|(sum, &value)| *sum += tap * value);
        }
        out.extend_from_slice(&sums);
    }
    out.truncate(count);
}

#[cfg(test)]
mod tests {
    use super::{BINS, Column, Tails};
    use proptest::prelude::*;

    fn column(scores: &[usize]) -> [f64; BINS + 1] {
        let mut shares = [0.0; BINS + 1];
        scores.iter().for_each(|&score| shares[score] += 1.0 / scores.len() as f64);
        shares
    }

    fn chance(tails: &Tails, score: i64) -> f64 {
        match tails.at(score, 1) {
            (1, _) => 1.0,
            (_, chances) => chances.first().copied().unwrap_or(0.0),
        }
    }

    proptest! {
        #[test]
        fn tails_are_those_of_all_sums_written_out(
            a in prop::collection::vec(0..=BINS, 1..30),
            b in prop::collection::vec(0..=BINS, 1..30),
            score in -1..=2 * BINS as i64 + 1,
            around in 0..50_i64,
        ) {
            let (one, two) = (column(&a), column(&b));
            let (one, two) = (Column::new(&one), Column::new(&two));
            let mut memory = Vec::new();
            let wanted = (score - around, score + around);
            let first = Tails::none().with(&one, (wanted.0 - two.high(), wanted.1), &mut memory);
            let both = first.with(&two, wanted, &mut memory);
            let pairs = a.iter().flat_map(|x| b.iter().map(move |y| (x + y) as i64));
            let met = pairs.filter(|sum| *sum >= score).count() as f64;
            let expected = met / (a.len() * b.len()) as f64;
            prop_assert!((chance(&both, score) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn a_run_of_scores_is_split_at_the_ends_of_what_occurs() {
        let tails = Tails { low: 5, chances: vec![0.9, 0.5, 0.1] };
        assert_eq!(tails.at(3, 9), (2, &[0.9, 0.5, 0.1][..]));
        assert_eq!(tails.at(6, 1), (0, &[0.5][..]));
        assert_eq!(tails.at(0, 2), (2, &[][..]));
        assert_eq!(tails.at(9, 3), (0, &[][..]));
    }
}
