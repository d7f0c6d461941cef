//! Picks straight from a file.

use std::ops::Range;

use super::Pick;
use super::Rule;
use super::dense::{Candidates, DenseTop, stretch};
use crate::source::{Dataset, Piece, Reader, in_order};
use crate::{Error, Result};

/// One pick of a window and channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Window as the dataset numbers it.
    pub window: usize,
    /// Channel.
    pub channel: u32,
    /// 1 for the best of the window and channel.
    pub rank: u32,
    /// Position and value.
    pub pick: Pick,
}

/// A stretch of some windows, some of their channels.
struct Unit {
    /// Blocks along windows and channels.
    row: usize,
    strip: usize,
    /// Blocks along positions.
    along: Range<usize>,
    /// Whether it is the last of its windows.
    last: bool,
}

/// Finds the picks of every channel in some windows of a dataset, by window, channel and rank.
///
/// Positions whose `mask` is false are never taken; it has one entry a position of these windows.
///
/// # Errors
/// [`Error::InvalidArgument`] when `k` or `min_distance` is 0 or the sizes do not fit,
/// [`Error::Format`] where the file is broken.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("acts.raw");
/// use saers_core::source::{Dataset, Element, Storage};
/// let bytes: Vec<u8> = [1.0_f32, 5.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// std::fs::write(&path, bytes)?;
/// let element = Element::parse("<f4").ok_or("no such type")?;
/// let storage = Storage::Contiguous { offset: 0 };
/// let dataset = Dataset::open(&path, [1, 3, 1], element, 0.0, storage)?;
/// let found = saers_core::topk::top_positions_from(&dataset, 0..1, 1, 2, None)?;
/// assert_eq!((found[0].pick.position, found[0].pick.value), (1, 5.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn top_positions_from(
    dataset: &Dataset,
    windows: Range<usize>,
    k: usize,
    min_distance: usize,
    mask: Option<&[bool]>,
) -> Result<Vec<Found>> {
    let [n_windows, positions, channels] = dataset.shape();
    let rule = Rule::new(k, min_distance)?;
    if windows.start > windows.end || windows.end > n_windows {
        let message = format!("windows {windows:?} of {:?}", dataset.shape());
        return Err(Error::invalid(message));
    }
    if mask.is_some_and(|mask| mask.len() != windows.len() * positions) {
        return Err(Error::invalid("mask must have one entry a position"));
    }
    let units = units(dataset, &windows);
    let search = Search { dataset, windows, rule, mask };
    let mut found = Vec::new();
    let mut open: Vec<(usize, Candidates)> = Vec::new();
    let work = |reader: &mut Reader, unit: usize| Ok((unit, search.run(&units[unit], reader)?));
    in_order(units.len(), work, |(unit, parts)| {
        let unit = &units[unit];
        let first = dataset.grid().extent(2, unit.strip).start;
        for (place, (window, part)) in parts.into_iter().enumerate() {
            if open.len() == place {
                open.push((window, Candidates::none(channels)));
            }
            open[place].1.add(first, part);
        }
        if unit.last {
            for (window, candidates) in open.drain(..) {
                list(window, candidates.picks(&rule), &mut found);
            }
        }
        Ok(())
    })?;
    Ok(found)
}

/// Lists the picks of one window.
fn list(window: usize, picks: Vec<Vec<Pick>>, found: &mut Vec<Found>) {
    for (channel, picks) in (0..).zip(picks) {
        let ranked = (1..).zip(picks);
        found.extend(ranked.map(|(rank, pick)| Found { window, channel, rank, pick }));
    }
}

/// Cuts windows into stretches, those of the same windows one after the other.
fn units(dataset: &Dataset, windows: &Range<usize>) -> Vec<Unit> {
    let grid = dataset.grid();
    let [_, along, strips] = grid.counts();
    let rows = grid.blocks(0, windows);
    let together =
        stretch(dataset.shape()[1], rows.len() * strips).div_ceil(grid.block()[1]).max(1);
    let mut units = Vec::new();
    for row in rows {
        for start in (0..along).step_by(together) {
            for strip in 0..strips {
                let end = (start + together).min(along);
                let last = end == along && strip + 1 == strips;
                units.push(Unit { row, strip, along: start..end, last });
            }
        }
    }
    units
}

/// What is sought, and where.
struct Search<'a> {
    dataset: &'a Dataset,
    windows: Range<usize>,
    rule: Rule,
    mask: Option<&'a [bool]>,
}

impl Search<'_> {
    /// Finds the candidates of every window of a unit.
    fn run(&self, unit: &Unit, reader: &mut Reader) -> Result<Vec<(usize, Candidates)>> {
        let grid = self.dataset.grid();
        let channels = grid.extent(2, unit.strip).len();
        let start = grid.extent(1, unit.along.start).start;
        let rows = grid.extent(0, unit.row);
        let wanted = rows.start.max(self.windows.start)..rows.end.min(self.windows.end);
        let fresh = |window| (window, DenseTop::starting_at(start, channels, self.rule));
        let mut tops: Vec<(usize, DenseTop)> = wanted.clone().map(fresh).collect();
        let mut masked = Vec::new();
        for along in unit.along.clone() {
            self.dataset.visit([unit.row, along, unit.strip], reader, |piece| {
                if !wanted.contains(&piece.window) {
                    return Ok(());
                }
                let (_, top) = &mut tops[piece.window - wanted.start];
                top.update(self.usable(&piece, &mut masked))
            })?;
        }
        Ok(tops.into_iter().map(|(window, top)| (window, Candidates::of(top))).collect())
    }

    /// The values of a piece, NaN where the mask is.
    fn usable<'v>(&self, piece: &Piece<'v>, masked: &'v mut Vec<f32>) -> &'v [f32] {
        let Some(mask) = self.mask else { return piece.values };
        let channels = piece.channels.len();
        let from = (piece.window - self.windows.start) * self.dataset.shape()[1] + piece.position;
        let mask = &mask[from..from + piece.values.len() / channels];
        if mask.iter().all(|&usable| usable) {
            return piece.values;
        }
        masked.clear();
        masked.extend_from_slice(piece.values);
        for (row, _) in masked.chunks_exact_mut(channels).zip(mask).filter(|(_, usable)| !**usable)
        {
            row.fill(f32::NAN);
        }
        masked
    }
}
