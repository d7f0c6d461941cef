//! Chance that a sum of column scores reaches a score, column by column.

use multiversion::multiversion;

use super::scaled::BINS;

/// Numbers that lie in one line of the cache.
const LINE: usize = 8;

/// Lines of outputs that are summed side by side in registers.
const LINES: usize = 4;

/// A line of the cache, so that it is read at once.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line([f64; LINE]);

/// Memory that one convolution after another uses.
///
/// Of the values copy `s` starts with value `s`, so that from every value on there is a copy in
/// which it begins a line.
#[derive(Default)]
pub(super) struct Memory {
    values: Vec<f64>,
    lines: [Vec<Line>; LINE],
    spare: Vec<Vec<f64>>,
}

impl Memory {
    /// Takes sums back that are not needed any more.
    pub fn recycle(&mut self, tails: impl IntoIterator<Item = Tails>) {
        self.spare.extend(tails.into_iter().map(|tails| tails.chances));
    }
}

/// Lays out values in copies.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn lay(values: &[f64], copies: &mut [Vec<Line>; LINE]) {
    for (shift, copy) in copies.iter_mut().enumerate() {
        let (lines, _) = values[shift..].as_chunks();
        copy.resize(lines.len(), Line([0.0; LINE]));
        copy.iter_mut().zip(lines).for_each(|(to, from)| to.0 = *from);
    }
}

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
    pub fn with(&self, column: &Column, wanted: (i64, i64), memory: &mut Memory) -> Self {
        let lowest = self.low + column.low;
        let highest = lowest + (self.chances.len() + column.shares.len()) as i64 - 2;
        let low = wanted.0.clamp(lowest, highest);
        let high = wanted.1.clamp(low, highest);
        let count = (high - low + 1) as usize;
        let taps = column.shares.len();
        // Output k sums tap j times value start + k - j. What is before the chances is 1, what is
        // behind them 0, so that every output sums the same number of terms.
        let start = (low - lowest) as usize;
        let before = taps.saturating_sub(start + 1);
        let from = (start + 1).saturating_sub(taps).min(self.chances.len());
        let to = (start + count).min(self.chances.len());
        let values = &mut memory.values;
        values.clear();
        values.resize(before, 1.0);
        values.extend_from_slice(&self.chances[from..to.max(from)]);
        values.resize(count + taps - 1 + LINE * (LINES + 1), 0.0);
        lay(values, &mut memory.lines);
        let mut chances = memory.spare.pop().unwrap_or_default();
        // What was there before is overwritten.
        chances.resize(count.next_multiple_of(LINE * LINES), 0.0);
        convolve(column.shares, &memory.lines, &mut chances);
        chances.truncate(count);
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

/// Sums tap `j` times value `k + taps - 1 - j` for every output `k`.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn convolve(taps: &[f64], values: &[Vec<Line>; LINE], out: &mut [f64]) {
    const FUSED: bool = multiversion::target::target_cfg_f!(target_feature = "fma");
    let (lines, _) = out.as_chunks_mut::<LINE>();
    for (index, lines) in lines.chunks_exact_mut(LINES).enumerate() {
        let mut sums = [[0.0; LINE]; LINES];
        for (shift, copy) in values.iter().enumerate() {
            // The last tap meets the first window; copy `shift` serves every eighth from there.
            let taps = taps.iter().rev().skip(shift).step_by(LINE);
            for (&tap, lines) in taps.zip(copy[index * LINES..].windows(LINES)) {
                add_lines::<FUSED>(&mut sums, tap, lines);
            }
        }
        lines.copy_from_slice(&sums);
    }
}

#[inline(always)]
fn add_lines<const FUSED: bool>(sums: &mut [[f64; LINE]; LINES], tap: f64, lines: &[Line]) {
    for (sums, line) in sums.iter_mut().zip(lines) {
        for (sum, value) in sums.iter_mut().zip(line.0) {
            *sum = if FUSED { tap.mul_add(value, *sum) } else { tap * value + *sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BINS, Column, Memory, Tails};
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
            let mut memory = Memory::default();
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
