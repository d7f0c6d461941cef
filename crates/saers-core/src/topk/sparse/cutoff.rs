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
        let length = positions.div_ceil(needed.checked_mul(4)?).max(cheap).max(apart);
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

    /// Puts the `needed` highest of some block maxima first; the last of these is the cutoff.
    fn raise(&mut self, feature: usize, kept: &mut [u32], needed: usize, end: u32) {
        let (_, least, _) = kept.select_nth_unstable_by(needed - 1, |a, b| b.cmp(a));
        if *least > self.bits[feature] {
            (self.bits[feature], self.before[feature]) = (*least, end);
        }
    }
}

/// The highest block maxima of every feature.
#[derive(Clone, Debug, Default)]
pub(super) struct Highest {
    /// Of the block at hand: bits of each feature's largest activation.
    pub(super) maxima: Vec<u32>,
    /// (features, 2 needed): in no order, those that were above the cutoff when they came.
    kept: Vec<u32>,
    /// How many there are of each feature.
    counts: Vec<usize>,
}

impl Highest {
    /// Makes room for a window.
    pub(super) fn clear(&mut self, n_features: usize, blocks: Blocks) {
        for (column, width) in [(&mut self.maxima, 1), (&mut self.kept, 2 * blocks.needed)] {
            column.clear();
            column.resize(n_features * width, 0);
        }
        self.counts.clear();
        self.counts.resize(n_features, 0);
    }

    /// Ends a block at a position and raises the cutoffs of features of which enough was kept.
    pub(super) fn end_block(&mut self, blocks: Blocks, end: u32, cutoffs: &mut Cutoffs) {
        for (feature, maximum) in self.maxima.iter_mut().enumerate() {
            if *maximum > cutoffs.bits[feature] {
                let kept = &mut self.kept[2 * blocks.needed * feature..][..2 * blocks.needed];
                let count = &mut self.counts[feature];
                kept[*count] = *maximum;
                *count += 1;
                if *count == kept.len() {
                    cutoffs.raise(feature, kept, blocks.needed, end);
                    *count = blocks.needed;
                }
            }
            *maximum = 0;
        }
    }

    /// Ends the window at a position and raises the cutoffs as far as they go.
    pub(super) fn end_window(&mut self, blocks: Blocks, end: u32, cutoffs: &mut Cutoffs) {
        let rows = self.kept.chunks_exact_mut(2 * blocks.needed);
        for (feature, (kept, &count)) in rows.zip(&self.counts).enumerate() {
            if count >= blocks.needed {
                cutoffs.raise(feature, &mut kept[..count], blocks.needed, end);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cutoff of one feature after blocks of some maxima, and what counts as before.
    fn cutoff(maxima: impl Iterator<Item = u32>) -> (u32, u32) {
        let blocks = Blocks { length: 10, needed: 3 };
        let mut cutoffs = Cutoffs::new(std::iter::once(5));
        let mut highest = Highest::default();
        highest.clear(1, blocks);
        let mut end = 0;
        for maximum in maxima {
            end += 10;
            highest.maxima[0] = maximum;
            highest.end_block(blocks, end, &mut cutoffs);
        }
        highest.end_window(blocks, end, &mut cutoffs);
        (cutoffs.bits[0], cutoffs.before[0])
    }

    #[test]
    fn the_cutoff_is_the_third_highest_maximum_of_three_blocks_that_are_needed() {
        assert_eq!(cutoff([9, 7, 8, 0, 20, 6].into_iter()).0, 8);
        assert_eq!(cutoff(0..100).0, 97);
        assert_eq!(cutoff((0..100).rev()).0, 97);
    }

    #[test]
    fn what_is_known_stays_where_few_blocks_exceed_it() {
        assert_eq!(cutoff([9, 9, 5, 4].into_iter()), (5, 0));
    }

    #[test]
    fn of_equal_maxima_those_of_the_first_blocks_count() {
        assert_eq!(cutoff([9; 100].into_iter()), (9, 60));
    }

    #[test]
    fn short_windows_and_large_distances_have_no_blocks() {
        assert!(Blocks::new(1, 1, 1, 1, 1).is_none());
        assert!(Blocks::new(60, 30, 30, 16, 34).is_none());
        assert!(Blocks::new(65_536, 30, 2432, 16, usize::MAX).is_none());
        assert!(Blocks::new(65_536, 30, 2432, usize::MAX, 34).is_none());
        let blocks = Blocks::new(65_536, 30, 2432, 16, 34).unwrap();
        assert_eq!((blocks.length, blocks.needed), (529, 31));
    }
}
