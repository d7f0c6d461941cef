//! Chance of a best score, by convolution of the score distributions of the query columns.

use super::alignment::Alignment;
use super::columns::Columns;
use super::scaled::{BINS, Scaled};

/// Computes the p-value of every strand's best score.
///
/// With `E(k)` the sum of ln(1 - SF) over the first and the last `k` query columns, a target of
/// width L sums `E` up to L - 1, and spans of L query columns (or the whole query, once for each
/// offset) on top. Targets share `E`, and equal scores share everything.
pub(super) fn log_p_values(scaled: &Scaled, columns: &Columns, best: &[Alignment]) -> Vec<f64> {
    let null = Null::new(scaled, columns, best);
    let strands = columns.strands();
    let both = strands.iter().any(|strand| strand.reverse);
    strands
        .iter()
        .zip(best)
        .map(|(strand, alignment)| {
            let sum = null.log_below(strand.width, alignment.score);
            -(if both { 2.0 * sum } else { sum }).exp_m1()
        })
        .collect()
}

/// Sums of ln(1 - SF) at every score that was observed.
struct Null {
    width: usize,
    /// Observed scores, ascending.
    scores: Vec<i64>,
    /// `ends[k]`: prefixes and suffixes of 1..=k query columns, at each observed score.
    ends: Vec<Vec<f64>>,
    /// `spans[L]`: all spans of L query columns; empty where no target is so wide.
    spans: Vec<Vec<f64>>,
}

impl Null {
    fn new(scaled: &Scaled, columns: &Columns, best: &[Alignment]) -> Self {
        let width = scaled.width();
        let mut scores: Vec<i64> = best.iter().map(|alignment| alignment.score).collect();
        scores.sort_unstable();
        scores.dedup();
        let mut wanted = vec![false; width + 1];
        columns.strands().iter().for_each(|strand| wanted[strand.width.min(width)] = true);
        let mut null = Self {
            width,
            ends: vec![vec![0.0; scores.len()]; width],
            spans: wanted.iter().map(|&w| vec![0.0; if w { scores.len() } else { 0 }]).collect(),
            scores,
        };
        let longest = (0..width).rev().find(|&length| wanted[length]).unwrap_or(0);
        for first in 0..width {
            let reach = if first == 0 { width } else { longest };
            null.extend_right(scaled, first, reach.min(width - first));
        }
        null.extend_left(scaled);
        for k in 1..width {
            for i in 0..null.scores.len() {
                null.ends[k][i] += null.ends[k - 1][i];
            }
        }
        null
    }

    /// Adds the spans that start at `first`, up to `reach` columns long.
    fn extend_right(&mut self, scaled: &Scaled, first: usize, reach: usize) {
        let mut pmf = vec![1.0];
        for length in 1..=reach {
            pmf = convolve(&pmf, &scaled.histograms[first + length - 1]);
            let prefix = first == 0 && length < self.width;
            if prefix || !self.spans[length].is_empty() {
                let logs = self.logs(&pmf, scaled.unaligned, length);
                add(&mut self.spans[length], &logs);
                if prefix {
                    add(&mut self.ends[length], &logs);
                }
            }
        }
    }

    /// Adds the spans that end with the query.
    fn extend_left(&mut self, scaled: &Scaled) {
        let mut pmf = vec![1.0];
        for length in 1..self.width {
            pmf = convolve(&pmf, &scaled.histograms[self.width - length]);
            let logs = self.logs(&pmf, scaled.unaligned, length);
            add(&mut self.ends[length], &logs);
        }
    }

    /// Computes ln(1 - SF) of a span at every observed score.
    fn logs(&self, pmf: &[f64], unaligned: i64, length: usize) -> Vec<f64> {
        let shift = unaligned * (self.width - length) as i64;
        let mut next = pmf.len();
        let mut survival = 0.0;
        let log = |&score: &i64| {
            let from = (score - shift).clamp(0, pmf.len() as i64) as usize;
            // Summed from the top, so that small tails keep their digits.
            survival += pmf[from..next].iter().rev().sum::<f64>();
            next = from;
            log1m(survival)
        };
        let mut logs: Vec<f64> = self.scores.iter().rev().map(log).collect();
        logs.reverse();
        logs
    }

    /// Sums ln(1 - SF) over all alignments with a target of width `target`.
    fn log_below(&self, target: usize, score: i64) -> f64 {
        let index = self.scores.partition_point(|&known| known < score);
        if target >= self.width {
            let whole = (target - self.width + 1) as f64 * self.spans[self.width][index];
            self.ends[self.width - 1][index] + whole
        } else {
            self.ends[target - 1][index] + self.spans[target][index]
        }
    }
}

fn add(sums: &mut [f64], values: &[f64]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Computes ln(1 - x); a short series where x is so small that it is exact.
fn log1m(x: f64) -> f64 {
    if x < 1e-6 { -x * (1.0 + x * (0.5 + x / 3.0)) } else { (-x.min(1.0)).ln_1p() }
}

/// Distribution of a sum with one more column.
fn convolve(pmf: &[f64], column: &[f64; BINS + 1]) -> Vec<f64> {
    let mut out = vec![0.0; pmf.len() + BINS];
    for (score, &share) in column.iter().enumerate().filter(|(_, share)| **share > 0.0) {
        for (sum, &p) in out[score..].iter_mut().zip(pmf) {
            *sum += share * p;
        }
    }
    out
}
