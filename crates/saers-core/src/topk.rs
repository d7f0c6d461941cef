//! The highest values of every channel that keep a distance from each other.
//!
//! Order the positions of a window by value, descending; equal values by position, ascending.
//! Take them in that order, skipping each that lies closer than `min_distance` positions to one
//! taken before, until there are k. [`DenseTop`] finds these picks in one pass over dense rows
//! and bounded memory; [`sparse`] does the same for the codes of a sparse autoencoder.

use std::cmp::Ordering;

use rayon::prelude::*;

use crate::{Error, Result};

pub mod sparse;

/// Channels that are compared, and given to a thread, together.
const LANES: usize = 32;

/// One taken position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Position within the window.
    pub position: u32,
    /// The value there.
    pub value: f32,
}

impl Pick {
    /// Orders by value, descending, then by position, ascending. Zeros of both signs are equal;
    /// NaN must not occur.
    ///
    /// ```
    /// use saers_core::topk::Pick;
    /// let mut picks = [Pick { position: 9, value: 1.0 }, Pick { position: 2, value: 1.0 }];
    /// picks.sort_by(Pick::order);
    /// assert_eq!(picks[0].position, 2);
    /// ```
    pub fn order(&self, other: &Self) -> Ordering {
        let by_value = other.value.partial_cmp(&self.value).unwrap_or(Ordering::Equal);
        by_value.then(self.position.cmp(&other.position))
    }
}

/// Takes positions one by one and refuses those too close to one taken before.
struct Spacing {
    min_distance: u32,
    taken: Vec<u32>,
}

impl Spacing {
    fn take(&mut self, position: u32) -> bool {
        let next = self.taken.partition_point(|&other| other < position);
        let clear = |other: Option<&u32>| {
            other.is_none_or(|&other| other.abs_diff(position) >= self.min_distance)
        };
        let free = clear(self.taken.get(next)) && clear(self.taken[..next].last());
        if free {
            self.taken.insert(next, position);
        }
        free
    }
}

/// Takes the first k of `ordered` that keep their distance.
fn greedy(ordered: impl Iterator<Item = Pick>, k: usize, min_distance: u32) -> Vec<Pick> {
    let mut spacing = Spacing { min_distance, taken: Vec::new() };
    ordered.filter(|pick| spacing.take(pick.position)).take(k).collect()
}

/// What is sought in each channel.
#[derive(Clone, Copy, Debug)]
struct Rule {
    k: usize,
    min_distance: u32,
    /// Rows whose maximum is looked at first; blocks lie on the absolute grid of the window.
    block: usize,
    /// While this many block maxima are at least t, all k picks are at least t: a pick rules out
    /// positions in at most `per_pick` blocks, so k - 1 picks leave one of these blocks untouched.
    blocks_needed: usize,
}

impl Rule {
    fn new(k: usize, min_distance: usize) -> Result<Self> {
        if k == 0 {
            return Err(Error::invalid("k must be positive, got 0"));
        }
        let wide = u32::try_from(min_distance).unwrap_or(0);
        if wide == 0 {
            let range = format!("1..{}", u32::MAX);
            let message = format!("min_distance must lie in {range}, got {min_distance}");
            return Err(Error::invalid(message));
        }
        let block = (min_distance.next_power_of_two() / 2).clamp(16, 1024);
        let per_pick = (2 * min_distance - 2).div_ceil(block) + 1;
        let blocks_needed = per_pick.saturating_mul(k - 1).saturating_add(1);
        Ok(Self { k, min_distance: wide, block, blocks_needed })
    }
}

/// What is kept of one channel: every position that may still be among its picks.
#[derive(Clone, Debug, Default)]
struct Channel {
    /// The largest block maxima, ascending, at most `blocks_needed`.
    highest: Vec<f32>,
    /// No pick is smaller; None until enough blocks are seen.
    threshold: Option<f32>,
    candidates: Vec<Pick>,
    /// Number of candidates at which the next pruning is due.
    prune_at: usize,
}

impl Channel {
    /// Looks at one block, of which `maximum` is the largest value (-inf where all are NaN).
    fn see(&mut self, block: impl Iterator<Item = Pick>, maximum: f32, rule: &Rule) {
        let before = self.candidates.len();
        match self.threshold {
            // Blocks come in ascending order: a value that only equals the threshold loses to
            // as many earlier ones.
            Some(least) => self.candidates.extend(block.filter(|pick| pick.value > least)),
            None => self.candidates.extend(block.filter(|pick| !pick.value.is_nan())),
        }
        if self.candidates.len() == before {
            return;
        }
        let place = self.highest.partition_point(|&other| other < maximum);
        self.highest.insert(place, maximum);
        if self.highest.len() > rule.blocks_needed {
            self.highest.remove(0);
        }
        if self.highest.len() == rule.blocks_needed {
            self.threshold = Some(self.highest[0]);
            self.prune(rule);
        }
    }

    fn prune(&mut self, rule: &Rule) {
        if self.candidates.len() < self.prune_at.max(rule.blocks_needed * rule.block) {
            return;
        }
        let least = self.threshold.unwrap_or(f32::NEG_INFINITY);
        self.candidates.retain(|pick| pick.value >= least);
        // Values equal to the threshold stay: those of earlier blocks may be picks.
        self.prune_at = 2 * self.candidates.len();
    }

    fn picks(mut self, rule: &Rule) -> Vec<Pick> {
        self.candidates.sort_unstable_by(Pick::order);
        greedy(self.candidates.into_iter(), rule.k, rule.min_distance)
    }
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
    channels: Vec<Channel>,
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
        if channels == 0 {
            return Err(Error::invalid("channels must be positive, got 0"));
        }
        let rule = Rule::new(k, min_distance)?;
        let channels = vec![Channel::default(); channels];
        Ok(Self { rule, channels, pending: Vec::new(), rows: 0 })
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
        let rows = self.rows + (self.pending.len() + values.len()) / channels;
        if u32::try_from(rows).is_err() {
            return Err(Error::invalid(format!("a window of {rows} positions is too long")));
        }
        let block = self.rule.block * channels;
        if !self.pending.is_empty() {
            let (head, rest) = values.split_at(values.len().min(block - self.pending.len()));
            self.pending.extend_from_slice(head);
            values = rest;
            if self.pending.len() == block {
                let full = std::mem::take(&mut self.pending);
                self.blocks(&full);
            }
        }
        let (whole, rest) = values.split_at(values.len() - values.len() % block);
        self.blocks(whole);
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
    pub fn finish(mut self) -> Vec<Vec<Pick>> {
        let rest = std::mem::take(&mut self.pending);
        self.blocks(&rest);
        let rule = self.rule;
        self.channels.into_par_iter().map(|channel| channel.picks(&rule)).collect()
    }

    /// Looks at blocks that start on the grid; only the last of a window may be short.
    fn blocks(&mut self, values: &[f32]) {
        let (channels, rows, rule) = (self.channels.len(), self.rows, self.rule);
        self.channels.par_chunks_mut(LANES).enumerate().for_each(|(index, group)| {
            let lanes = index * LANES..index * LANES + group.len();
            let mut start = rows;
            for block in values.chunks(rule.block * channels) {
                see_block(group, block, lanes.clone(), channels, start, &rule);
                start += block.len() / channels;
            }
        });
        self.rows += values.len() / channels;
    }
}

/// Gives one block to those channels of a group whose maximum exceeds their threshold.
fn see_block(
    group: &mut [Channel],
    block: &[f32],
    lanes: std::ops::Range<usize>,
    channels: usize,
    start: usize,
    rule: &Rule,
) {
    let mut maxima = [f32::NEG_INFINITY; LANES];
    for row in block.chunks_exact(channels) {
        for (maximum, &value) in maxima.iter_mut().zip(&row[lanes.clone()]) {
            // A NaN on the right of `>` is passed over.
            *maximum = if value > *maximum { value } else { *maximum };
        }
    }
    for (lane, channel) in group.iter_mut().enumerate() {
        if channel.threshold.is_some_and(|least| maxima[lane] <= least) {
            continue;
        }
        let rows = block.iter().skip(lanes.start + lane).step_by(channels).enumerate();
        let picks = rows.map(|(row, &value)| Pick { position: (start + row) as u32, value });
        channel.see(picks, maxima[lane], rule);
    }
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
    let fresh = DenseTop::new(channels, k, min_distance)?;
    let size = positions * channels;
    if size == 0 || !values.len().is_multiple_of(size) {
        let message = format!("{} values are not windows of {size}", values.len());
        return Err(Error::invalid(message));
    }
    let window = |values| {
        let mut top = fresh.clone();
        top.update(values)?;
        Ok(top.finish())
    };
    let windows: Result<Vec<_>> = values.par_chunks(size).map(window).collect();
    Ok(windows?.concat())
}

#[cfg(test)]
mod tests;
