//! Activations in HDF5 files, read without the HDF5 library.
//!
//! HDF5 decodes one chunk at a time behind one lock. Here whoever opened the file with HDF5 says
//! where its chunks lie ([`Storage`]); from then on every thread reads with `pread`, undoes the
//! filters and brings the numbers to `f32` by itself. Nothing in a file is trusted: a chunk that
//! lies outside the file, or is not what its filters promise, is an error that names the place.

mod element;
pub mod filters;
mod grid;
mod order;
mod read;
mod reader;

use std::path::{Path, PathBuf};

pub use element::Element;
use filters::{Filter, Pipeline};
pub(crate) use grid::Grid;
pub use grid::Shape;
pub(crate) use order::in_order;
pub(crate) use reader::{Piece, ROWS, Reader};

use crate::{Error, Result};

/// Rows that a thread takes at a time from a dataset without chunks.
const SPAN: usize = 1024;
/// Channels beyond which a shape is a mistake: no layer has so many.
pub(crate) const MOST_CHANNELS: usize = 1 << 24;
/// Bytes of a chunk beyond which nobody would have meant it.
const LARGEST_CHUNK: usize = 1 << 31;

/// Where the bytes of one chunk lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// First window, position and channel.
    pub first: Shape,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes in the file.
    pub size: u64,
    /// Bit i is set where filter i was left out.
    pub mask: u32,
}

/// Where the numbers of a dataset lie.
#[derive(Clone, Debug)]
pub enum Storage {
    /// One after the other, channels fastest.
    Contiguous {
        /// First byte in the file.
        offset: u64,
    },
    /// In chunks; one that is not listed holds the fill value.
    Chunked {
        /// Windows, positions and channels of a chunk.
        shape: Shape,
        /// What was done to each chunk, in that order.
        filters: Vec<Filter>,
        /// The chunks that were written, in any order.
        chunks: Vec<Chunk>,
    },
}

/// A dataset of activations, (windows, positions, channels).
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("acts.raw");
/// use saers_core::source::{Dataset, Element, Storage};
/// let bytes: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// std::fs::write(&path, bytes)?;
/// let element = Element::parse("<f4").ok_or("no such type")?;
/// let storage = Storage::Contiguous { offset: 0 };
/// let dataset = Dataset::open(&path, [1, 2, 2], element, 0.0, storage)?;
/// let mut out = [0.0; 2];
/// dataset.read(0..1, 1..2, &mut out)?;
/// assert_eq!(out, [3.0, 4.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    path: PathBuf,
    element: Element,
    fill: f32,
    grid: Grid,
    layout: Layout,
}

#[derive(Clone, Debug)]
enum Layout {
    Contiguous {
        offset: u64,
    },
    Chunked {
        pipeline: Pipeline,
        /// By their number in the grid.
        chunks: Vec<(usize, Chunk)>,
    },
}

impl Dataset {
    /// Describes a dataset; its bytes are read when they are asked for.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a filter that is not known here or a shape beyond memory,
    /// [`Error::Format`] where bytes would lie outside the file or a chunk outside the dataset,
    /// [`Error::Io`] where there is no such file.
    pub fn open(
        path: impl AsRef<Path>,
        shape: Shape,
        element: Element,
        fill: f32,
        storage: Storage,
    ) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let length = std::fs::metadata(&path).map_err(|error| Error::io(&path, error))?.len();
        let (grid, layout) = match storage {
            Storage::Contiguous { offset } => {
                let [_, positions, channels] = shape;
                let windows = (SPAN / positions.max(1)).max(1);
                let grid = Grid::new(shape, [windows, SPAN, channels.max(1)])?;
                let bytes = shape.iter().product::<usize>() as u64 * element.size() as u64;
                within(&path, "the dataset", offset, bytes, length)?;
                (grid, Layout::Contiguous { offset })
            }
            Storage::Chunked { shape: block, filters, chunks } => {
                let grid = Grid::new(shape, block)?;
                let raw = block.iter().product::<usize>().saturating_mul(element.size());
                let unknown = || Error::invalid(format!("unknown among filters {filters:?}"));
                let pipeline = Pipeline::new(&filters, element.size()).ok_or_else(unknown)?;
                if raw > LARGEST_CHUNK {
                    return Err(Error::invalid(format!("a chunk of {raw} bytes is too large")));
                }
                (grid, Layout::Chunked { pipeline, chunks: table(&path, &grid, chunks, length)? })
            }
        };
        Ok(Self { path, element, fill, grid, layout })
    }

    /// Windows, positions and channels.
    pub fn shape(&self) -> Shape {
        self.grid.shape()
    }

    /// The file that it lies in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }
}

/// Brings chunks into the order of the grid and checks that each lies where it can.
fn table(path: &Path, grid: &Grid, chunks: Vec<Chunk>, length: u64) -> Result<Vec<(usize, Chunk)>> {
    let numbered = |chunk: Chunk| {
        let odd = (0..3).find(|&axis| {
            !chunk.first[axis].is_multiple_of(grid.block()[axis])
                || chunk.first[axis] >= grid.shape()[axis]
        });
        if odd.is_some() {
            let message = format!("no chunk of {:?} begins there", grid.block());
            return Err(Error::format(path, place(chunk.first), message));
        }
        within(path, &place(chunk.first), chunk.offset, chunk.size, length)?;
        let block = std::array::from_fn(|axis| chunk.first[axis] / grid.block()[axis]);
        Ok((grid.number(block), chunk))
    };
    let mut table: Vec<_> = chunks.into_iter().map(numbered).collect::<Result<_>>()?;
    table.sort_unstable_by_key(|(number, _)| *number);
    match table.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(table),
        Some(pair) => Err(Error::format(path, place(pair[0].1.first), "is listed twice")),
    }
}

/// Refuses bytes beyond the end of the file.
fn within(path: &Path, what: &str, offset: u64, size: u64, length: u64) -> Result<()> {
    if offset.checked_add(size).is_some_and(|end| end <= length) {
        return Ok(());
    }
    let message = format!("{size} bytes from byte {offset} on, but the file has {length}");
    Err(Error::format(path, what, message))
}

/// Names a chunk in a message.
fn place([window, position, channel]: Shape) -> String {
    format!("chunk at window {window}, position {position}, channel {channel}")
}

#[cfg(test)]
pub(crate) mod tests;
