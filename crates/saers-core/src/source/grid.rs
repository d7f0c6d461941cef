//! How a dataset of (windows, positions, channels) is cut into blocks.

use std::ops::Range;

use crate::{Error, Result};

/// Numbers in a dataset along windows, positions and channels.
pub type Shape = [usize; 3];

/// Equal blocks over a dataset; those at an end may reach beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    shape: Shape,
    block: Shape,
    counts: Shape,
}

impl Grid {
    /// Lays blocks over a dataset.
    pub(crate) fn new(shape: Shape, block: Shape) -> Result<Self> {
        if block.contains(&0) {
            return Err(Error::invalid(format!("chunks must not be empty, got {block:?}")));
        }
        let counts = std::array::from_fn(|axis| shape[axis].div_ceil(block[axis]));
        let values = |shape: Shape| shape.iter().try_fold(8_usize, |n, &size| n.checked_mul(size));
        match (values(shape), values(block), values(counts)) {
            (Some(_), Some(_), Some(_)) => Ok(Self { shape, block, counts }),
            _ => Err(Error::invalid(format!("{shape:?} in chunks of {block:?} is too large"))),
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Extent of a block that does not reach beyond the dataset.
    pub(crate) fn block(&self) -> Shape {
        self.block
    }

    /// Numbers of blocks along the three axes.
    pub(crate) fn counts(&self) -> Shape {
        self.counts
    }

    /// The part of an axis that a block covers.
    pub(crate) fn extent(&self, axis: usize, block: usize) -> Range<usize> {
        let start = block * self.block[axis];
        start..(start + self.block[axis]).min(self.shape[axis])
    }

    /// Blocks that meet a part of an axis.
    pub(crate) fn blocks(&self, axis: usize, part: &Range<usize>) -> Range<usize> {
        match part.is_empty() {
            true => 0..0,
            false => part.start / self.block[axis]..part.end.div_ceil(self.block[axis]),
        }
    }

    /// Number of a block in the order of windows, positions, channels.
    pub(crate) fn number(&self, [window, position, channel]: Shape) -> usize {
        (window * self.counts[1] + position) * self.counts[2] + channel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_a_dataset_and_the_last_are_cut() {
        let grid = Grid::new([3, 10, 5], [2, 4, 5]).unwrap();
        assert_eq!(grid.counts(), [2, 3, 1]);
        assert_eq!((grid.extent(0, 1), grid.extent(1, 2)), (2..3, 8..10));
        assert_eq!((grid.blocks(1, &(3..5)), grid.blocks(1, &(4..4))), (0..2, 0..0));
        assert_eq!(grid.number([1, 2, 0]), 5);
    }

    #[test]
    fn empty_chunks_and_sizes_beyond_memory_are_refused() {
        assert!(Grid::new([3, 10, 5], [2, 0, 5]).is_err());
        assert!(Grid::new([usize::MAX, 2, 1], [1, 1, 1]).is_err());
    }
}
