//! Chance that a sum of column scores reaches a score, column by column.

use multiversion::multiversion;

use super::scaled::BINS;

/// Numbers that are added at once.
const LINE: usize = 8;

/// Lines of outputs that are summed side by side in registers.
const LINES: usize = 8;

/// Memory that one convolution after another uses.
#[derive(Default)]
pub(super) struct Memory {
    values: Vec<f64>,
    spare: Vec<Vec<f64>>,
}

impl Memory {
    /// Takes sums back that are not needed any more.
    pub fn recycle(&mut self, tails: impl IntoIterator<Item = Tails>) {
        self.spare.extend(tails.into_iter().map(|tails| tails.chances));
    }
}

/// Scores of one column, from the lowest that occurs to the highest.
pub(super) struct Column<'a> {
    pub low: i64,
    pub shares: &'a [f64],
    /// Shares from the last on, every eighth in turn: what these meet starts whole lines apart.
    turns: Vec<f64>,
}

impl<'a> Column<'a> {
    /// Leaves out the scores at both ends that do not occur.
    pub fn new(shares: &'a [f64; BINS + 1]) -> Self {
        let low = shares.iter().position(|&p| p > 0.0).unwrap_or(0);
        let high = shares.iter().rposition(|&p| p > 0.0).unwrap_or(low);
        let shares = &shares[low..=high];
        let turn = |turn| shares.iter().rev().skip(turn).step_by(LINE).copied();
        Self { low: low as i64, shares, turns: (0..LINE).flat_map(turn).collect() }
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
        values.resize(count + taps - 1 + LINE * (LINES + 4), 0.0);
        let mut chances = memory.spare.pop().unwrap_or_default();
        // What was there before is overwritten.
        chances.resize(count.next_multiple_of(LINE * LINES / 2), 0.0);
        convolve(&column.turns, values, &mut chances);
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

/// Sums tap `j` times value `k + taps - 1 - j` for every output `k`; `turns` are those of the taps.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn convolve(turns: &[f64], values: &[f64], out: &mut [f64]) {
    const FUSED: bool = multiversion::target::target_cfg_f!(target_feature = "fma");
    let (lines, _) = out.as_chunks_mut::<LINE>();
    let mut at = 0;
    while at + LINES / 2 < lines.len() {
        block::<FUSED, LINES>(turns, &values[at * LINE..], &mut lines[at..]);
        at += LINES;
    }
    if at < lines.len() {
        block::<FUSED, { LINES / 2 }>(turns, &values[at * LINE..], &mut lines[at..]);
    }
}

/// Sums for the first `N` lines of outputs.
#[inline(always)]
fn block<const FUSED: bool, const N: usize>(
    turns: &[f64],
    values: &[f64],
    out: &mut [[f64; LINE]],
) {
    let mut sums = [[0.0; LINE]; N];
    let mut rest = turns;
    for turn in 0..LINE.min(turns.len()) {
        let (taps, later) = rest.split_at((turns.len() - turn).div_ceil(LINE));
        rest = later;
        let (lines, _) = values[turn..].as_chunks::<LINE>();
        let (fours, ones) = taps.as_chunks::<4>();
        for (four, lines) in fours.iter().zip(lines.windows(N + 3).step_by(4)) {
            for (line, sums) in sums.iter_mut().enumerate() {
                for (tap, line) in four.iter().zip(&lines[line..line + 4]) {
                    add_line::<FUSED>(sums, *tap, line);
                }
            }
        }
        for (tap, lines) in ones.iter().zip(lines[4 * fours.len()..].windows(N)) {
            for (sums, line) in sums.iter_mut().zip(lines) {
                add_line::<FUSED>(sums, *tap, line);
            }
        }
    }
    out[..N].copy_from_slice(&sums);
}

#[inline(always)]
fn add_line<const FUSED: bool>(sums: &mut [f64; LINE], tap: f64, line: &[f64; LINE]) {
    for (sum, value) in sums.iter_mut().zip(line) {
        *sum = if FUSED { tap.mul_add(*value, *sum) } else { tap * value + *sum };
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
