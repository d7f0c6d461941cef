//! Part of a dataset into the memory of the caller.

use std::ops::Range;

use rayon::prelude::*;

use super::reader::{Piece, Reader};
use super::{Dataset, Layout};
use crate::{Error, Result, threads};

/// The rows of the output that one row of blocks fills, one stretch for each of its windows.
struct Slab<'o> {
    /// Blocks along windows and positions.
    block: [usize; 2],
    /// (window, first position, rows)
    stretches: Vec<(usize, usize, &'o mut [f32])>,
}

impl Dataset {
    /// Reads some positions of some windows, row-major, on all threads.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the part lies outside the dataset or `out` is not as
    /// large as it; [`Error::Format`] where the file is broken.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("acts.raw");
    /// use saers_core::source::{Dataset, Element, Storage};
    /// std::fs::write(&path, 7.0_f32.to_le_bytes())?;
    /// let element = Element::parse("<f4").ok_or("no such type")?;
    /// let storage = Storage::Contiguous { offset: 0 };
    /// let dataset = Dataset::open(&path, [1, 1, 1], element, 0.0, storage)?;
    /// assert!(dataset.read(0..1, 0..2, &mut [0.0; 2]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(
        &self,
        windows: Range<usize>,
        positions: Range<usize>,
        out: &mut [f32],
    ) -> Result<()> {
        let [n_windows, n_positions, channels] = self.shape();
        let outside = |part: &Range<usize>, size| part.start > part.end || part.end > size;
        if outside(&windows, n_windows) || outside(&positions, n_positions) {
            let shape = self.shape();
            let message = format!("windows {windows:?}, positions {positions:?} of {shape:?}");
            return Err(Error::invalid(message));
        }
        let size = windows.len() * positions.len() * channels;
        if out.len() != size {
            return Err(Error::invalid(format!("out has {} places for {size}", out.len())));
        }
        if size == 0 {
            return Ok(());
        }
        let slabs = self.slabs(&windows, &positions, out);
        slabs.into_par_iter().try_for_each_init(Reader::default, |reader, slab| {
            threads::check()?;
            self.fill(reader, slab)
        })
    }

    fn slabs<'o>(
        &self,
        windows: &Range<usize>,
        positions: &Range<usize>,
        out: &'o mut [f32],
    ) -> Vec<Slab<'o>> {
        let channels = self.shape()[2];
        let down = self.grid().blocks(0, windows);
        let along = self.grid().blocks(1, positions);
        let mut slabs: Vec<Slab<'o>> = down
            .clone()
            .flat_map(|a| along.clone().map(move |b| [a, b]))
            .map(|block| Slab { block, stretches: Vec::new() })
            .collect();
        let lines = out.chunks_exact_mut(positions.len() * channels);
        for (window, mut line) in windows.clone().zip(lines) {
            let row = (window / self.grid().block()[0] - down.start) * along.len();
            for (number, block) in along.clone().enumerate() {
                let extent = self.grid().extent(1, block);
                let from = extent.start.max(positions.start);
                let rows = extent.end.min(positions.end) - from;
                let (here, rest) = line.split_at_mut(rows * channels);
                slabs[row + number].stretches.push((window, from, here));
                line = rest;
            }
        }
        slabs
    }

    fn fill(&self, reader: &mut Reader, slab: Slab<'_>) -> Result<()> {
        let [_, positions, channels] = self.shape();
        if let Layout::Contiguous { offset } = &self.layout {
            let (file, packed) = reader.parts(&self.path)?;
            for (window, from, out) in slab.stretches {
                let first = (window * positions + from) * channels;
                let offset = offset + (first * self.element.size()) as u64;
                self.fetch(file, offset, packed, out)?;
            }
            return Ok(());
        }
        let mut stretches = slab.stretches;
        let first = stretches[0].0;
        for strip in 0..self.grid().counts()[2] {
            let block = [slab.block[0], slab.block[1], strip];
            self.visit(block, reader, |piece| {
                let wanted = piece.window.checked_sub(first).and_then(|i| stretches.get_mut(i));
                if let Some((_, from, out)) = wanted {
                    copy(&piece, *from, out, channels);
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// Copies what a piece has of the rows from `from` on.
fn copy(piece: &Piece<'_>, from: usize, out: &mut [f32], channels: usize) {
    let width = piece.channels.len();
    let rows = piece.values.chunks_exact(width).zip(piece.position..);
    let inside = rows.filter(|(_, position)| *position >= from);
    for (row, position) in inside {
        let start = (position - from) * channels + piece.channels.start;
        let Some(place) = out.get_mut(start..start + width) else { return };
        place.copy_from_slice(row);
    }
}
