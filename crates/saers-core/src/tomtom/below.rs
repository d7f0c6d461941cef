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

    /// Chance to stay below a score of the range: a logarithm and a factor.
    pub fn at(&self, score: i64) -> (f64, f64) {
        let place = (score - self.low) as usize;
        (self.logs[place], self.products[place])
    }
}

/// Computes 1 - e^log · product for logarithms and factors, into `out`.
///
/// A factor is 1 or below 1 - [`SMALL`], so that the sum of positive terms keeps all digits.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn complements(logs: &[f64], products: &[f64], out: &mut Vec<f64>) {
    // e^-40 is nothing beside 1.
    const LEAST: f64 = -40.0;
    const HALVES: i32 = 6;
    const TERMS: [f64; 14] = {
        let mut terms = [0.0; 14];
        let mut i = 0;
        while i < 14 {
            terms[i] = 1.0 / (15 - i) as f64;
            i += 1;
        }
        terms
    };
    out.resize(logs.len(), 0.0);
    for ((&log, &product), out) in logs.iter().zip(products).zip(out) {
        let log = if log > LEAST { log } else { LEAST };
        let part = log * 0.5_f64.powi(HALVES);
        // 1 - e^x = -x (1 + x/2 (1 + x/3 (…))), and 1 - e^2x = (1 - e^x) (2 - (1 - e^x)).
        let series = TERMS.iter().fold(1.0, |sum, term| 1.0 + part * term * sum);
        let mut lost = -part * series;
        for _ in 0..HALVES {
            lost *= 2.0 - lost;
        }
        *out = (1.0 - product) + product * lost;
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
    use super::{Below, Range, complements};
    use proptest::prelude::*;

    fn chance(below: &Below, score: i64) -> f64 {
        let (log, product) = below.at(score);
        let mut out = Vec::new();
        complements(&[log], &[product], &mut out);
        out[0]
    }

    proptest! {
        #[test]
        fn a_chance_keeps_its_digits_for_tails_of_any_size(
            exponents in prop::collection::vec(-300.0..0.0_f64, 1..60),
        ) {
            let mut below = Below::certain(Range { low: 7, high: 7 });
            let tails: Vec<f64> = exponents.iter().map(|e| 10.0_f64.powf(*e)).collect();
            tails.iter().for_each(|tail| below.add(0, &[*tail]));
            let log: f64 = tails.iter().map(|tail| (-tail).ln_1p()).sum();
            let expected = -log.exp_m1();
            prop_assert!((chance(&below, 7) - expected).abs() <= 1e-13 * expected);
        }

        #[test]
        fn a_complement_is_that_of_the_exponential(log in -100.0..0.0_f64, least in -3..0_i32) {
            let log = log * 10.0_f64.powi(10 * least);
            let mut out = Vec::new();
            complements(&[log], &[1.0], &mut out);
            prop_assert!((out[0] + log.exp_m1()).abs() <= 1e-14 * out[0]);
        }
    }

    #[test]
    fn a_score_that_is_surely_reached_leaves_no_chance() {
        let mut below = Below::certain(Range { low: 3, high: 5 });
        below.add(1, &[0.5]);
        below.add(0, &[]);
        assert_eq!([3, 4, 5].map(|score| chance(&below, score)), [1.0, 0.5, 0.0]);
    }
}
