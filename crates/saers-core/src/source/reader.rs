//! Blocks of a dataset as rows of `f32`, a few at a time.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::filters::Scratch;
use super::{Chunk, Dataset, Layout, Shape, place};
use crate::{Error, Result};

/// Rows that are handed on together, where they stay in the L2 cache.
pub(crate) const ROWS: usize = 128;
/// Numbers of a tile whose rows are so long that fewer must do.
const TILE: usize = 96 * 1024;

/// Consecutive rows of one window, some or all of its channels.
pub(crate) struct Piece<'a> {
    pub(crate) window: usize,
    /// Position of the first row.
    pub(crate) position: usize,
    pub(crate) channels: Range<usize>,
    /// Rows of as many numbers as there are `channels`.
    pub(crate) values: &'a [f32],
}

/// What a thread keeps from block to block: the open file and its buffers.
#[derive(Default)]
pub(crate) struct Reader {
    file: Option<(PathBuf, File)>,
    packed: Vec<u8>,
    scratch: Scratch,
    tile: Vec<f32>,
}

impl Dataset {
    /// Hands on the pieces of one block, window after window, rows in ascending order.
    pub(crate) fn visit(
        &self,
        block: Shape,
        reader: &mut Reader,
        mut visit: impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let Reader { file, packed, scratch, tile } = reader;
        let extent: [Range<usize>; 3] =
            std::array::from_fn(|axis| self.grid().extent(axis, block[axis]));
        match &self.layout {
            Layout::Contiguous { offset } => {
                let file = open(file, &self.path)?;
                self.tiles(&extent, |window, rows| {
                    let [_, positions, channels] = self.shape();
                    let first = (window * positions + rows.start) * channels;
                    let values = room(tile, rows.len() * channels);
                    let from = offset + (first * self.element.size()) as u64;
                    self.fetch(file, from, packed, values)?;
                    visit(Piece { window, position: rows.start, channels: 0..channels, values })
                })
            }
            Layout::Chunked { pipeline, .. } => {
                let Some(chunk) = self.chunk(block) else {
                    return self.tiles(&extent, |window, rows| {
                        let values = room(tile, rows.len() * extent[2].len());
                        values.fill(self.fill);
                        let channels = extent[2].clone();
                        visit(Piece { window, position: rows.start, channels, values })
                    });
                };
                let stored = bytes_of(packed, chunk.size);
                read_at(open(file, &self.path)?, &self.path, chunk.offset, stored)?;
                let raw = self.grid().block().iter().product::<usize>() * self.element.size();
                let bytes = pipeline
                    .decode(stored, chunk.mask, raw, scratch)
                    .map_err(|message| Error::format(&self.path, place(chunk.first), message))?;
                self.tiles(&extent, |window, rows| {
                    let (position, channels) = (rows.start, extent[2].clone());
                    let stored = self.rows_of(bytes, chunk.first, window, &rows);
                    if let Some(values) = self.as_they_lie(stored, &channels) {
                        return visit(Piece { window, position, channels, values });
                    }
                    let values = room(tile, rows.len() * channels.len());
                    self.unpack(stored, rows.len(), values);
                    visit(Piece { window, position, channels, values })
                })
            }
        }
    }

    /// Cuts the windows of a block into runs of rows.
    fn tiles(
        &self,
        [windows, positions, channels]: &[Range<usize>; 3],
        mut tile: impl FnMut(usize, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let rows = (TILE / channels.len().max(1)).clamp(1, ROWS);
        for window in windows.clone() {
            for start in positions.clone().step_by(rows) {
                tile(window, start..(start + rows).min(positions.end))?;
            }
        }
        Ok(())
    }

    fn chunk(&self, block: Shape) -> Option<&Chunk> {
        let Layout::Chunked { chunks, .. } = &self.layout else { return None };
        let number = self.grid().number(block);
        let found = chunks.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&chunks[found].1)
    }

    /// Reads numbers that lie one after the other.
    pub(super) fn fetch(
        &self,
        file: &File,
        offset: u64,
        packed: &mut Vec<u8>,
        values: &mut [f32],
    ) -> Result<()> {
        if self.element.is_native() {
            return read_at(file, &self.path, offset, bytemuck::cast_slice_mut(values));
        }
        let stored = bytes_of(packed, (values.len() * self.element.size()) as u64);
        read_at(file, &self.path, offset, stored)?;
        self.element.decode(stored, values);
        Ok(())
    }

    /// Bytes of some rows of one window in a decoded chunk.
    fn rows_of<'b>(
        &self,
        bytes: &'b [u8],
        first: Shape,
        window: usize,
        rows: &Range<usize>,
    ) -> &'b [u8] {
        let [_, positions, channels] = self.grid().block();
        let row = |position: usize| {
            let number = (window - first[0]) * positions + position - first[1];
            number * channels * self.element.size()
        };
        &bytes[row(rows.start)..row(rows.end)]
    }

    /// The numbers themselves, where a chunk holds them as this machine has them and nothing else.
    fn as_they_lie<'b>(&self, stored: &'b [u8], channels: &Range<usize>) -> Option<&'b [f32]> {
        let whole = self.element.is_native() && channels.len() == self.grid().block()[2];
        whole.then(|| bytemuck::try_cast_slice(stored).ok()).flatten()
    }

    /// Brings the rows of a chunk to `f32`, without what reaches beyond the dataset.
    fn unpack(&self, stored: &[u8], rows: usize, values: &mut [f32]) {
        let wanted = values.len() / rows;
        if wanted == self.grid().block()[2] {
            self.element.decode(stored, values);
            return;
        }
        let lines = stored.chunks_exact(stored.len() / rows);
        for (line, values) in lines.zip(values.chunks_exact_mut(wanted)) {
            self.element.decode(&line[..wanted * self.element.size()], values);
        }
    }
}

impl Reader {
    /// The open file and a buffer for bytes.
    pub(super) fn parts(&mut self, path: &Path) -> Result<(&File, &mut Vec<u8>)> {
        Ok((open(&mut self.file, path)?, &mut self.packed))
    }
}

/// Opens a file unless it is the one that is open.
fn open<'f>(kept: &'f mut Option<(PathBuf, File)>, path: &Path) -> Result<&'f File> {
    let fresh = match kept.take() {
        Some((known, file)) if known == path => (known, file),
        _ => (path.to_path_buf(), File::open(path).map_err(|error| Error::io(path, error))?),
    };
    Ok(&kept.insert(fresh).1)
}

/// A part of a buffer that grows as needed; what stands in it is overwritten.
fn room(buffer: &mut Vec<f32>, size: usize) -> &mut [f32] {
    if buffer.len() < size {
        buffer.resize(size, 0.0);
    }
    &mut buffer[..size]
}

fn bytes_of(buffer: &mut Vec<u8>, size: u64) -> &mut [u8] {
    // No chunk is larger than the file, which was checked when the dataset was opened.
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if buffer.len() < size {
        buffer.resize(size, 0);
    }
    &mut buffer[..size]
}

/// Fills `out` from a place of the file; a file that has become shorter is broken.
fn read_at(file: &File, path: &Path, offset: u64, out: &mut [u8]) -> Result<()> {
    file.read_exact_at(out, offset).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => {
            let message = format!("the file ends before {} bytes are read", out.len());
            Error::format(path, format!("byte {offset}"), message)
        }
        _ => Error::io(path, error),
    })
}
