//! The picks of every channel of a window, from its rows.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use multiversion::multiversion;
use rayon::prelude::*;

use super::{Pick, Rule, greedy};
use crate::source::MOST_CHANNELS;
use crate::{Error, Result, threads};

/// Channels that are compared with their thresholds at once.
const LANES: usize = 32;
/// Rows below which a window is not worth being split among threads.
const SHORT: usize = 1 << 14;

/// What is kept of one channel: every position that may still be among its picks.
#[derive(Clone, Debug, Default)]
struct Channel {
    /// The largest block maxima, ascending, at most `blocks_needed`.
    highest: Vec<f32>,
    candidates: Vec<Pick>,
    /// Number of candidates at which the next pruning is due.
    prune_at: usize,
}

impl Channel {
    /// Looks at one block, of which `maximum` is the largest value (-inf where all are NaN), and
    /// returns the least value that a pick has by now; NaN until enough blocks are seen.
    fn see(
        &mut self,
        block: impl Iterator<Item = Pick>,
        maximum: f32,
        least: f32,
        rule: &Rule,
    ) -> f32 {
        let before = self.candidates.len();
        if least.is_nan() {
            self.candidates.extend(block.filter(|pick| !pick.value.is_nan()));
        } else {
            // Blocks come in ascending order: a value that only equals the threshold loses to
            // as many earlier ones.
            self.candidates.extend(block.filter(|pick| pick.value > least));
        }
        if self.candidates.len() == before {
            return least;
        }
        let place = self.highest.partition_point(|&other| other < maximum);
        self.highest.insert(place, maximum);
        if self.highest.len() > rule.blocks_needed {
            self.highest.remove(0);
        }
        if self.highest.len() < rule.blocks_needed {
            return f32::NAN;
        }
        self.prune(self.highest[0], rule);
        self.highest[0]
    }

    fn prune(&mut self, least: f32, rule: &Rule) {
        if self.candidates.len() < self.prune_at.max(rule.blocks_needed * rule.block) {
            return;
        }
        self.candidates.retain(|pick| pick.value >= least);
        // Values equal to the threshold stay: those of earlier blocks may be picks.
        self.prune_at = 2 * self.candidates.len();
    }
}

/// A pick under the order of picks, for a heap.
struct Ranked(Pick);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.order(&other.0)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// Takes picks among the candidates of a channel; few of them are looked at, so they are not
/// sorted.
fn picks(candidates: Vec<Pick>, rule: &Rule) -> Vec<Pick> {
    let ranked: Vec<_> = candidates.into_iter().map(|pick| Reverse(Ranked(pick))).collect();
    let mut heap = BinaryHeap::from(ranked);
    let best_first = std::iter::from_fn(|| heap.pop().map(|Reverse(Ranked(pick))| pick));
    greedy(best_first, rule.k, rule.min_distance)
}

/// Finds the picks of every channel of one window whose rows come in any portions.
///
/// Values may have any sign; NaN is never picked. A channel keeps in the order of
/// k × `min_distance` candidates, however long the window is.
///
/// ```
/// use saers_core::topk::DenseTop;
/// let mut top = DenseTop::new(1, 2, 2)?;
/// top.update(&[0.5, 3.0, 2.0])?; // one channel, positions 0 to 2
/// top.update(&[2.0])?;
/// let picks = top.finish();
/// assert_eq!((picks[0][0].position, picks[0][1].position), (1, 3));
/// # Ok::<(), saers_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DenseTop {
    rule: Rule,
    /// Position of the first row.
    start: usize,
    channels: Vec<Channel>,
    /// No pick of the channel is smaller; NaN until that is known.
    least: Vec<f32>,
    /// Largest values of the block that is looked at.
    maxima: Vec<f32>,
    /// Rows of a block that is not complete yet.
    pending: Vec<f32>,
    /// Rows in complete blocks.
    rows: usize,
}

impl DenseTop {
    /// Starts a window; k picks are sought per channel.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when an argument is 0.
    ///
    /// ```
    /// assert!(saers_core::topk::DenseTop::new(4, 0, 1).is_err());
    /// ```
    pub fn new(channels: usize, k: usize, min_distance: usize) -> Result<Self> {
        if !(1..=MOST_CHANNELS).contains(&channels) {
            let message = format!("channels must lie in 1..{MOST_CHANNELS}, got {channels}");
            return Err(Error::invalid(message));
        }
        Ok(Self::starting_at(0, channels, Rule::new(k, min_distance)?))
    }

    /// Starts in the middle of a window: what it finds is merged with what others find of the
    /// same window.
    pub(super) fn starting_at(start: usize, channels: usize, rule: Rule) -> Self {
        Self {
            rule,
            start,
            channels: vec![Channel::default(); channels],
            least: vec![f32::NAN; channels],
            maxima: vec![0.0; channels],
            pending: Vec::new(),
            rows: 0,
        }
    }

    /// Adds the next rows of the window, row-major (rows, channels).
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the values are no whole rows, or the window gets longer
    /// than 2³² positions.
    ///
    /// ```
    /// let mut top = saers_core::topk::DenseTop::new(2, 1, 1)?;
    /// assert!(top.update(&[1.0, 2.0, 3.0]).is_err());
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn update(&mut self, mut values: &[f32]) -> Result<()> {
        let channels = self.channels.len();
        if !values.len().is_multiple_of(channels) {
            let message = format!("{} values are not rows of {channels} channels", values.len());
            return Err(Error::invalid(message));
        }
        let rows = self.start + self.rows + (self.pending.len() + values.len()) / channels;
        if u32::try_from(rows).is_err() {
            return Err(Error::invalid(format!("a window of {rows} positions is too long")));
        }
        let block = self.rule.block * channels;
        if !self.pending.is_empty() {
            let (head, rest) = values.split_at(values.len().min(block - self.pending.len()));
            self.pending.extend_from_slice(head);
            values = rest;
            if self.pending.len() < block {
                return Ok(());
            }
            let full = std::mem::take(&mut self.pending);
            self.see(&full);
            self.pending = full;
            self.pending.clear();
        }
        let (whole, rest) = values.split_at(values.len() - values.len() % block);
        whole.chunks_exact(block).for_each(|block| self.see(block));
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Returns the picks of each channel, best first.
    ///
    /// ```
    /// let top = saers_core::topk::DenseTop::new(3, 1, 1)?;
    /// assert!(top.finish().iter().all(Vec::is_empty));
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn finish(self) -> Vec<Vec<Pick>> {
        let rule = self.rule;
        Candidates::of(self).picks(&rule)
    }

    /// Looks at one block; blocks lie on a grid that starts with the rows, and only the last of
    /// them may be short.
    fn see(&mut self, block: &[f32]) {
        let channels = self.channels.len();
        column_maxima(block, &mut self.maxima);
        let start = self.start + self.rows;
        for first in (0..channels).step_by(LANES) {
            let lanes = first..(first + LANES).min(channels);
            // NaN: nothing is known yet, everything counts.
            let rises = |(maximum, least): (&f32, &f32)| (maximum > least) | least.is_nan();
            let (maxima, least) = (&self.maxima[lanes.clone()], &self.least[lanes.clone()]);
            if !maxima.iter().zip(least).fold(false, |any, pair| any | rises(pair)) {
                continue;
            }
            for lane in lanes {
                let (maximum, least) = (self.maxima[lane], self.least[lane]);
                if rises((&maximum, &least)) {
                    let rows = block.iter().skip(lane).step_by(channels).zip(start..);
                    let picks = rows.map(|(&value, row)| Pick { position: row as u32, value });
                    self.least[lane] = self.channels[lane].see(picks, maximum, least, &self.rule);
                }
            }
        }
        self.rows += block.len() / channels;
    }
}

/// Largest value of every column, -inf where all are NaN; rows are met as they lie.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn column_maxima(rows: &[f32], maxima: &mut [f32]) {
    column_maxima_here(rows, maxima);
}

#[inline(always)]
fn column_maxima_here(rows: &[f32], maxima: &mut [f32]) {
    let channels = maxima.len();
    maxima.fill(f32::NEG_INFINITY);
    // A NaN on the left of `>` is passed over.
    let larger = |value: f32, most: f32| if value > most { value } else { most };
    let mut fours = rows.chunks_exact(4 * channels);
    for four in &mut fours {
        let row = |number: usize| &four[number * channels..][..channels];
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        for j in 0..channels {
            maxima[j] = larger(d[j], larger(c[j], larger(b[j], larger(a[j], maxima[j]))));
        }
    }
    for row in fours.remainder().chunks_exact(channels) {
        for (most, &value) in maxima.iter_mut().zip(row) {
            *most = larger(value, *most);
        }
    }
}

/// Positions among which the picks of each channel are, from one stretch of a window or several.
pub(super) struct Candidates(Vec<Vec<Pick>>);

impl Candidates {
    /// Those of no stretch.
    pub(super) fn none(channels: usize) -> Self {
        Self(vec![Vec::new(); channels])
    }

    pub(super) fn of(mut top: DenseTop) -> Self {
        let rest = std::mem::take(&mut top.pending);
        if !rest.is_empty() {
            top.see(&rest);
        }
        Self(top.channels.into_iter().map(|channel| channel.candidates).collect())
    }

    /// Adds those of another stretch, of the channels from `first` on. Each stretch alone keeps
    /// whatever may be a pick of the whole window: what is taken elsewhere only rules out more.
    pub(super) fn add(&mut self, first: usize, other: Self) {
        for (here, mut there) in self.0[first..].iter_mut().zip(other.0) {
            match here.is_empty() {
                true => *here = there,
                false => here.append(&mut there),
            }
        }
    }

    pub(super) fn picks(self, rule: &Rule) -> Vec<Vec<Pick>> {
        self.0.into_iter().map(|candidates| picks(candidates, rule)).collect()
    }
}

/// Cuts a window into stretches, so that `windows` of them give all threads work.
pub(super) fn stretch(positions: usize, windows: usize) -> usize {
    let parts = (2 * rayon::current_num_threads()).div_ceil(windows.max(1));
    let alone = rayon::current_num_threads() == 1;
    if alone { positions.max(1) } else { positions.div_ceil(parts).max(SHORT) }
}

/// Finds the picks of whole windows, row-major (windows, positions, channels): one list for each
/// window and channel, channels running fastest.
///
/// # Errors
/// Those of [`DenseTop::new`] and [`DenseTop::update`], or when the values are no whole windows.
///
/// ```
/// let picks = saers_core::topk::top_positions(&[1.0, 5.0, 4.0, 0.0], 4, 1, 2, 2)?;
/// assert_eq!(picks[0].iter().map(|pick| pick.position).collect::<Vec<_>>(), [1, 3]);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn top_positions(
    values: &[f32],
    positions: usize,
    channels: usize,
    k: usize,
    min_distance: usize,
) -> Result<Vec<Vec<Pick>>> {
    let rule = DenseTop::new(channels, k, min_distance)?.rule;
    let size = positions * channels;
    if size == 0 || !values.len().is_multiple_of(size) {
        let message = format!("{} values are not windows of {size}", values.len());
        return Err(Error::invalid(message));
    }
    let rows = stretch(positions, values.len() / size);
    let part = |(number, values): (usize, &[f32])| {
        threads::check()?;
        let mut top = DenseTop::starting_at(number * rows, channels, rule);
        top.update(values)?;
        Ok(Candidates::of(top))
    };
    let window = |values: &[f32]| {
        let parts = values.par_chunks(rows * channels).enumerate().map(part);
        let mut all = Candidates::none(channels);
        parts.collect::<Result<Vec<_>>>()?.into_iter().for_each(|part| all.add(0, part));
        Ok(all.picks(&rule))
    };
    let windows: Result<Vec<_>> = values.par_chunks(size).map(window).collect();
    Ok(windows?.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_machine_without_vectors_finds_the_same_maxima(
            values in prop::collection::vec(any::<f32>(), 1..3000),
            channels in 1_usize..70,
        ) {
            let rows = &values[..values.len() - values.len() % channels];
            let (mut wide, mut plain) = (vec![0.0; channels], vec![0.0; channels]);
            column_maxima(rows, &mut wide);
            column_maxima_here(rows, &mut plain);
            let brute = (0..channels).map(|j| {
                let column = rows.iter().skip(j).step_by(channels).filter(|v| !v.is_nan());
                column.fold(f32::NEG_INFINITY, |most, &v| if v > most { v } else { most })
            });
            prop_assert_eq!(&wide, &brute.collect::<Vec<_>>());
            prop_assert_eq!(wide, plain);
        }
    }

    #[test]
    fn rising_and_tied_data_keep_few_candidates() {
        let mut top = DenseTop::new(3, 8, 34).unwrap();
        let rows: Vec<f32> =
            (0..100_000).flat_map(|i| [i as f32, 1.0, (i / 5000) as f32]).collect();
        top.update(&rows).unwrap();
        let bound = 6 * top.rule.blocks_needed * top.rule.block;
        assert!(top.channels.iter().all(|channel| channel.candidates.capacity() <= bound));
    }
}
