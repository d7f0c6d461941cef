//! Logarithms of p-values that double precision cannot hold.
//!
//! Scores of each column are weighted by e^(θ·score) so that sums near the one observed become
//! likely: what is added up is of ordinary size, and the weights are taken out of the logarithm.

use std::collections::BTreeMap;

use super::Options;
use super::alignment::{Alignment, Lay, lays};
use super::columns::Columns;
use super::scaled::Scaled;
use super::tails::Column;

/// P-values below this are near the end of double precision, where digits are lost.
const LEAST: f64 = 1e-290;

/// What is smaller than the largest part by this factor, as a logarithm, is not added to it.
const NOTHING: f64 = -40.0;

/// Computes the natural logarithm of every p-value that is too small, with its strand.
pub(super) fn ln_p_values(
    scaled: &Scaled,
    columns: &Columns,
    options: &Options,
    best: &[Alignment],
    p_values: &[f64],
) -> Vec<(u32, f64)> {
    if p_values.iter().all(|p| *p >= LEAST) {
        return Vec::new();
    }
    let scores: Vec<Column> = scaled.histograms.iter().map(Column::new).collect();
    let strands = if options.reverse_complement { 2.0_f64 } else { 1.0 };
    let mut found = Vec::new();
    for class in columns.classes() {
        // Only incomplete scores count the alignments that the options allow.
        let every = Options { min_overlap: 1, internal: false, ..options.clone() };
        let tried = if options.complete { &every } else { options };
        let lays = lays(scaled.width(), class.width, tried);
        for &strand in columns.members(class) {
            let alignment = &best[strand as usize];
            if p_values[strand as usize] < LEAST {
                let ln = match options.complete {
                    true => ln_of_any(scaled, &scores, &lays, alignment.score),
                    false => {
                        let low = (-alignment.offset).max(0) as usize;
                        let span = &scores[low..low + alignment.overlap];
                        Tilted::new(span, alignment.score).ln_tail() + (lays.len() as f64).ln()
                    }
                };
                found.push((strand, ln + strands.ln()));
            }
        }
    }
    found
}

/// Logarithm of the chance that any alignment reaches a score; such chances add up.
fn ln_of_any(scaled: &Scaled, scores: &[Column], lays: &[Lay], score: i64) -> f64 {
    let mut spans: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    lays.iter().for_each(|lay| *spans.entry((lay.low, lay.high)).or_default() += 1.0);
    let free = |low, high| scaled.unaligned * (scaled.width() - (high - low)) as i64;
    let parts: Vec<(Tilted, f64)> = spans
        .into_iter()
        .map(|((low, high), count)| {
            (Tilted::new(&scores[low..high], score - free(low, high)), count)
        })
        .collect();
    let most = parts.iter().map(|(part, _)| part.bound()).fold(f64::NEG_INFINITY, f64::max);
    let near = parts.iter().filter(|(part, _)| part.bound() > most + NOTHING);
    let terms: Vec<f64> = near.map(|(part, count)| part.ln_tail() + count.ln()).collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.iter().map(|term| (term - largest).exp()).sum::<f64>().ln()
}

/// Columns with weights under which their sum is near a score.
struct Tilted<'a> {
    columns: &'a [Column<'a>],
    score: i64,
    theta: f64,
}

impl<'a> Tilted<'a> {
    fn new(columns: &'a [Column<'a>], score: i64) -> Self {
        // At the most a step of the score counts e^50.
        let (mut low, mut high) = (0.0, 50.0);
        for _ in 0..40 {
            let middle = 0.5 * (low + high);
            let mean: f64 = columns.iter().map(|column| weighted(column, middle).2).sum();
            if mean < score as f64 { low = middle } else { high = middle }
        }
        Self { columns, score, theta: low }
    }

    /// Logarithm of a number that the chance to reach the score does not exceed (Chernoff).
    fn bound(&self) -> f64 {
        let highest: i64 = self.columns.iter().map(Column::high).sum();
        if highest < self.score {
            return f64::NEG_INFINITY;
        }
        let logs = self.columns.iter().map(|column| weighted(column, self.theta).1);
        logs.sum::<f64>() - self.theta * self.score as f64
    }

    /// Logarithm of the chance to reach the score.
    fn ln_tail(&self) -> f64 {
        let bound = self.bound();
        if bound == f64::NEG_INFINITY {
            return bound;
        }
        let (mut low, mut sums) = (0, vec![1.0]);
        for column in self.columns {
            sums = convolved(&sums, &weighted(column, self.theta).0);
            low += column.low;
        }
        let reached = (low..).zip(&sums).filter(|(sum, _)| *sum >= self.score);
        let weight = |sum: i64| (-self.theta * (sum - self.score) as f64).exp();
        bound + reached.map(|(sum, chance)| chance * weight(sum)).sum::<f64>().ln()
    }
}

/// Weighs the scores of a column: their new chances, the logarithm of the old ones' total weight,
/// and the new mean.
fn weighted(column: &Column, theta: f64) -> (Vec<f64>, f64, f64) {
    let high = column.high() as f64;
    let scores = (0..column.shares.len()).map(|place| (column.low + place as i64) as f64);
    let weigh = |(score, share): (f64, &f64)| share * (theta * (score - high)).exp();
    let mut chances: Vec<f64> = scores.clone().zip(column.shares).map(weigh).collect();
    let total: f64 = chances.iter().sum();
    chances.iter_mut().for_each(|chance| *chance /= total);
    let mean = scores.zip(&chances).map(|(score, chance)| score * chance).sum();
    (chances, total.ln() + theta * high, mean)
}

fn convolved(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; a.len() + b.len() - 1];
    for (place, &share) in b.iter().enumerate() {
        out[place..].iter_mut().zip(a).for_each(|(out, value)| *out += share * value);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::scaled::BINS;
    use super::super::tails::{Column, Memory, Tails};
    use super::Tilted;
    use proptest::prelude::*;

    fn shares(scores: &[usize]) -> [f64; BINS + 1] {
        let mut shares = [0.0; BINS + 1];
        scores.iter().for_each(|&score| shares[score] += 1.0 / scores.len() as f64);
        shares
    }

    proptest! {
        #[test]
        fn a_logarithm_is_that_of_the_chance_where_it_does_not_underflow(
            scores in prop::collection::vec(prop::collection::vec(0..=BINS, 1..30), 1..8),
            part in 0.0..=1.0_f64,
        ) {
            let shares: Vec<_> = scores.iter().map(|scores| shares(scores)).collect();
            let columns: Vec<Column> = shares.iter().map(Column::new).collect();
            let [low, high] = [|c: &Column| c.low, |c: &Column| c.high()]
                .map(|end| columns.iter().map(end).sum::<i64>());
            let score = low + (part * (high - low) as f64).ceil() as i64;
            let mut tails = Tails::none();
            for column in &columns {
                tails = tails.with(column, (i64::MIN, i64::MAX), &mut Memory::default());
            }
            let expected = match tails.at(score, 1) {
                (1, _) => 1.0,
                (_, chances) => chances[0],
            };
            let found = Tilted::new(&columns, score).ln_tail();
            prop_assert!((found - expected.ln()).abs() < 1e-9, "{found} {}", expected.ln());
        }
    }

    #[test]
    fn the_highest_sum_of_many_columns_is_a_product() {
        let shares = shares(&[0, 40, 40, 50, 60, 60, 60, 60, 60, 100]);
        let columns: Vec<Column> = (0..1000).map(|_| Column::new(&shares)).collect();
        let found = Tilted::new(&columns, 100_000).ln_tail();
        assert!((found - 1000.0 * 0.1_f64.ln()).abs() < 1e-6);
        assert_eq!(Tilted::new(&columns, 100_001).ln_tail(), f64::NEG_INFINITY);
    }
}
