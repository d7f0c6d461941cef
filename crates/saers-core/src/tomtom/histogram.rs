//! How often each scaled score occurs.

use multiversion::multiversion;

use super::scaled::BINS;

/// Cells that are looked at side by side: more than there are scores.
const LANES: usize = 128;

/// Room for every pair of cells, so that no place has to be checked; most of it is never touched.
const ROOM: usize = 1 << u16::BITS;

/// Counts of pairs of neighbouring cells: one addition for two cells.
///
/// Between two rows of cells all counts are 0.
pub(super) struct Pairs(Box<[u16; ROOM]>);

impl Default for Pairs {
    fn default() -> Self {
        Self(Box::new([0; ROOM]))
    }
}

impl Pairs {
    /// Counts the cells of each score, as shares.
    pub fn shares(&mut self, cells: &[u8]) -> [f64; BINS + 1] {
        let mut totals = [0; LANES];
        // So few that no count of 16 bits overflows.
        for part in cells.chunks(2 * usize::from(u16::MAX)) {
            let (pairs, rest) = part.as_chunks::<2>();
            rest.iter().for_each(|&cell| totals[usize::from(cell)] += 1);
            pairs.iter().for_each(|&pair| self.0[usize::from(u16::from_le_bytes(pair))] += 1);
            add_up(&mut self.0, &mut totals);
        }
        std::array::from_fn(|bin| f64::from(totals[bin]) / cells.len() as f64)
    }
}

/// Moves the counts of pairs to those of their first and of their second cell.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_up(counts: &mut [u16; ROOM], totals: &mut [u32; LANES]) {
    let mut first = [0_u32; LANES];
    let (rows, _) = counts.as_chunks_mut::<{ 1 << u8::BITS }>();
    for (second, row) in rows[..=BINS].iter_mut().enumerate() {
        let row = &mut row[..LANES];
        first.iter_mut().zip(&*row).for_each(|(total, &count)| *total += u32::from(count));
        totals[second] += row.iter().map(|&count| u32::from(count)).sum::<u32>();
        row.fill(0);
    }
    totals.iter_mut().zip(first).for_each(|(total, count)| *total += count);
}

#[cfg(test)]
mod tests {
    use super::{BINS, Pairs};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_are_those_of_counting_one_by_one(
            cells in prop::collection::vec(0..=BINS as u8, 1..400),
            repeats in prop::sample::select(vec![1_usize, 3, 700]),
        ) {
            let cells = cells.repeat(repeats);
            let mut pairs = Pairs::default();
            pairs.shares(&[7, 7, 100]);
            let shares = pairs.shares(&cells);
            for (bin, share) in shares.into_iter().enumerate() {
                let count = cells.iter().filter(|cell| usize::from(**cell) == bin).count();
                prop_assert_eq!(share, count as f64 / cells.len() as f64);
            }
        }
    }

    #[test]
    fn more_equal_cells_than_a_count_holds_are_counted() {
        let shares = Pairs::default().shares(&[100; 300_001]);
        assert_eq!((shares[100], shares[99]), (1.0, 0.0));
    }
}
