//! What an activation of a window must exceed to be among its feature's picks.
//!
//! Cut the window into blocks of `length` positions, so long that a pick rules out positions in
//! at most two of them. Where 2 k - 1 blocks hold an activation of at least t, k - 1 picks
//! leave one of these untouched: all k picks are at least t. An activation that only equals t and
//! comes after these blocks stands behind k others that do not rule out each other.

/// What is sought in a window, and the blocks that it is cut into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    /// Positions of a block.
    pub(super) length: usize,
    /// While this many block maxima are at least t, all picks are.
    needed: usize,
}

impl Blocks {
    /// Chooses the blocks of a window; None where it is too short to repay the trouble.
    pub(super) fn new(
        positions: usize,
        k: usize,
        n_features: usize,
        per_window: usize,
        min_distance: usize,
    ) -> Option<Self> {
        let needed = per_window.checked_mul(2)? - 1;
        // A look at every feature after each block shall cost less than the entries of the block.
        let cheap = (4 * n_features).div_ceil(k);
        let apart = min_distance.checked_mul(2)? - 2;
        let length = positions.div_ceil(needed.checked_mul(8)?).max(cheap).max(apart);
        (positions / length >= needed).then_some(Self { length, needed })
    }
}

/// For each feature, bits that an activation of one window must exceed.
#[derive(Debug)]
pub(super) struct Cutoffs {
    pub(super) bits: Vec<u32>,
    /// An activation that only equals its cutoff counts before this position.
    pub(super) before: Vec<u32>,
}

impl Cutoffs {
    /// Starts with what is known from other windows.
    pub(super) fn new(bits: impl Iterator<Item = u32>) -> Self {
        let bits: Vec<u32> = bits.collect();
        let before = vec![0; bits.len()];
        Self { bits, before }
    }
}

/// The highest block maxima of every feature.
#[derive(Clone, Debug, Default)]
pub(super) struct Highest {
    /// Of the block at hand: bits of each feature's largest activation.
    pub(super) maxima: Vec<u32>,
    /// (features, needed) in no order, 0 where there were fewer blocks.
    kept: Vec<u32>,
}

impl Highest {
    /// Makes room for a window.
    pub(super) fn clear(&mut self, n_features: usize, blocks: Blocks) {
        self.maxima.clear();
        self.maxima.resize(n_features, 0);
        self.kept.clear();
        self.kept.resize(n_features * blocks.needed, 0);
    }

    /// Ends a block at a position and raises the cutoffs.
    pub(super) fn end_block(&mut self, blocks: Blocks, end: u32, cutoffs: &mut Cutoffs) {
        let rows = self.kept.chunks_exact_mut(blocks.needed);
        let features = self.maxima.iter_mut().zip(rows);
        let cuts = cutoffs.bits.iter_mut().zip(&mut cutoffs.before);
        for ((maximum, kept), (bits, before)) in features.zip(cuts) {
            if *maximum > *bits {
                let least = replace_least(kept, *maximum);
                if least > *bits {
                    (*bits, *before) = (least, end);
                }
            }
            *maximum = 0;
        }
    }
}

/// Puts a value in the place of the least and returns the least of what is there then.
fn replace_least(kept: &mut [u32], value: u32) -> u32 {
    let least = kept.iter().copied().fold(u32::MAX, u32::min);
    if let Some(place) = kept.iter().position(|&other| other == least) {
        kept[place] = least.max(value);
    }
    kept.iter().copied().fold(u32::MAX, u32::min)
}
