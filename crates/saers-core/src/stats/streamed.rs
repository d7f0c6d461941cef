//! Statistics straight from a file.

use std::ops::Range;

use super::moments::{Moments, Stray};
use super::{ChannelStats, NonFinite};
use crate::source::{Dataset, Piece, Reader, in_order};
use crate::{Error, Result};

/// Rows that are summed up before they are merged; the grid of a file is fixed, so the result
/// does not depend on the number of threads.
const UNIT: usize = 1024;

/// Blocks of one strip of channels that follow each other.
struct Unit {
    strip: usize,
    /// (window, position) blocks, numbered in that order.
    blocks: Range<usize>,
}

impl ChannelStats {
    /// Adds some windows of a dataset, on all threads; of each row whose `mask` is false, nothing.
    ///
    /// `mask` has one entry a position of these windows. `first_window` is the caller's number
    /// of the dataset's first window and only serves to name the place of a bad value.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the sizes do not fit; [`Error::Format`] where the file is
    /// broken, or a value is not finite and that is not allowed. What came before stays added.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("acts.raw");
    /// use saers_core::source::{Dataset, Element, Storage};
    /// let bytes: Vec<u8> = [1.0_f32, 3.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    /// std::fs::write(&path, bytes)?;
    /// let element = Element::parse("<f4").ok_or("no such type")?;
    /// let storage = Storage::Contiguous { offset: 0 };
    /// let dataset = Dataset::open(&path, [1, 2, 1], element, 0.0, storage)?;
    /// let mut stats = saers_core::stats::ChannelStats::new(1, false)?;
    /// stats.update_from(&dataset, 0..1, 0, None)?;
    /// assert_eq!(stats.summary()[0].mean, 2.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update_from(
        &mut self,
        dataset: &Dataset,
        windows: Range<usize>,
        first_window: i64,
        mask: Option<&[bool]>,
    ) -> Result<()> {
        let [n_windows, positions, channels] = dataset.shape();
        if channels != self.total.mean.len()
            || windows.start > windows.end
            || windows.end > n_windows
        {
            let (shape, here) = (dataset.shape(), self.total.mean.len());
            let message = format!("windows {windows:?} of {shape:?} for {here} channels");
            return Err(Error::invalid(message));
        }
        if mask.is_some_and(|mask| mask.len() != windows.len() * positions) {
            return Err(Error::invalid("mask must have one entry a position"));
        }
        let units = units(dataset, &windows);
        let work = |reader: &mut Reader, unit: usize| {
            summarise(dataset, &units[unit], &windows, mask, reader).map(|found| (unit, found))
        };
        in_order(units.len(), work, |(unit, (part, stray))| {
            let stray = stray.map(|(row, channel, value)| NonFinite {
                window: first_window + (row / positions) as i64,
                position: (row % positions) as i64,
                channel,
                value,
            });
            self.meet(stray)
                .map_err(|error| Error::format(dataset.path(), "activations", error.to_string()))?;
            let first = dataset.grid().extent(2, units[unit].strip).start;
            self.total.merge(first, &part);
            Ok(())
        })
    }
}

/// Cuts some windows into units of about [`UNIT`] rows.
fn units(dataset: &Dataset, windows: &Range<usize>) -> Vec<Unit> {
    let grid = dataset.grid();
    let [_, along, strips] = grid.counts();
    let down = grid.blocks(0, windows);
    let rows = grid.extent(0, 0).len() * grid.extent(1, 0).len();
    let blocks = down.start * along..down.end * along;
    let together = (UNIT / rows.max(1)).max(1);
    let unit = |strip: usize| {
        let end = blocks.end;
        blocks
            .clone()
            .step_by(together)
            .map(move |start| Unit { strip, blocks: start..(start + together).min(end) })
    };
    (0..strips).flat_map(unit).collect()
}

/// Sums up one unit; a stray value is named by its row among all windows of the dataset.
fn summarise(
    dataset: &Dataset,
    unit: &Unit,
    windows: &Range<usize>,
    mask: Option<&[bool]>,
    reader: &mut Reader,
) -> Result<(Moments, Option<Stray>)> {
    let (positions, along) = (dataset.shape()[1], dataset.grid().counts()[1]);
    let mut part = Moments::new(dataset.grid().extent(2, unit.strip).len());
    let mut first = None;
    for number in unit.blocks.clone() {
        let block = [number / along, number % along, unit.strip];
        dataset.visit(block, reader, |piece: Piece<'_>| {
            if !windows.contains(&piece.window) {
                return Ok(());
            }
            let row = piece.window * positions + piece.position;
            let stray = match mask {
                None => part.add(piece.values),
                Some(mask) => {
                    let from = row - windows.start * positions;
                    let rows = piece.values.len() / piece.channels.len();
                    part.add_masked(piece.values, &mask[from..from + rows])
                }
            };
            let place = |(at, channel, value)| (row + at, piece.channels.start + channel, value);
            first = first.or(stray.map(place));
            Ok(())
        })?;
    }
    Ok((part, first))
}
