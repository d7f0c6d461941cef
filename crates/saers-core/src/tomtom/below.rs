//! Chance to stay below scores in several alignments at once.

use multiversion::multiversion;

/// Tails below this add to a sum of logarithms, others to a product: both keep all digits.
const SMALL: f64 = 0.01;

/// Scores `low..=high`; none where `low` is the higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub low: i64,
    pub high: i64,
}

impl Range {
    pub const EMPTY: Self = Self { low: i64::MAX, high: i64::MIN };

    pub fn count(self) -> usize {
        if self == Self::EMPTY { 0 } else { (self.high - self.low) as usize + 1 }
    }

    /// The smallest range that holds both.
    pub fn and(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// Lowers the lower end by `most` and the upper end by `least`.
    pub fn less(self, least: i64, most: i64) -> Self {
        if self == Self::EMPTY {
            return self;
        }
        Self { low: self.low - most, high: self.high - least }
    }
}

/// Chance to stay below each score of a range.
#[derive(Clone)]
pub(super) struct Below {
    low: i64,
    /// Sums of ln(1 - tail) over small tails.
    logs: Vec<f64>,
    /// Products of 1 - tail over the others.
    products: Vec<f64>,
}

impl Below {
    /// Starts with no alignment.
    pub fn certain(range: Range) -> Self {
        let count = range.count();
        Self { low: range.low, logs: vec![0.0; count], products: vec![1.0; count] }
    }

    /// Adds an alignment: the first `sure` scores are reached, and then come chances of others.
    pub fn add(&mut self, sure: usize, chances: &[f64]) {
        self.products[..sure].fill(0.0);
        add_chances(chances, &mut self.logs[sure..], &mut self.products[sure..]);
    }

    /// Lowest score and their number.
    pub fn scores(&self) -> (i64, usize) {
        (self.low, self.logs.len())
    }

    /// Computes the logarithm of the chance to stay below a score of the range.
    pub fn ln(&self, score: i64) -> f64 {
        let place = (score - self.low) as usize;
        self.logs[place] + self.products[place].ln()
    }
}

#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_chances(chances: &[f64], logs: &mut [f64], products: &mut [f64]) {
    const SERIES: [f64; 7] = [1.0 / 7.0, 1.0 / 6.0, 0.2, 0.25, 1.0 / 3.0, 0.5, 1.0];
    for ((&tail, log), product) in chances.iter().zip(logs).zip(products) {
        let small = tail < SMALL;
        let part = if small { tail } else { 0.0 };
        *log -= part * SERIES.iter().fold(0.0, |sum, term| sum * part + term);
        *product *= if small { 1.0 } else { 1.0 - tail.min(1.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Below, Range};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_chance_keeps_its_digits_for_tails_of_any_size(exponent in -300.0..0.0_f64) {
            let tail = 10.0_f64.powf(exponent);
            let mut below = Below::certain(Range { low: 7, high: 7 });
            below.add(0, &[tail]);
            let expected = (-tail).ln_1p();
            prop_assert!((below.ln(7) - expected).abs() <= 1e-13 * expected.abs());
        }
    }

    #[test]
    fn a_score_that_is_surely_reached_leaves_no_chance() {
        let mut below = Below::certain(Range { low: 3, high: 5 });
        below.add(1, &[0.5]);
        below.add(0, &[]);
        assert_eq!(below.ln(3), f64::NEG_INFINITY);
        assert_eq!(below.ln(4), 0.5_f64.ln());
        assert_eq!(below.ln(5), 0.0);
    }
}
