//! The best alignment of a query with every target strand.

use super::Options;
use super::columns::{Columns, Strand};
use super::scaled::Scaled;

/// The best alignment of one strand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Alignment {
    pub score: i64,
    pub offset: i64,
    pub overlap: usize,
}

/// Aligns the query with every strand at every offset that the options allow.
///
/// Of equal scores the larger overlap wins, then the smaller offset.
pub(super) fn best_alignments(
    scaled: &Scaled,
    columns: &Columns,
    options: &Options,
) -> Vec<Alignment> {
    let mut sums = Vec::new();
    columns
        .strands()
        .iter()
        .map(|strand| {
            add_diagonals(scaled, columns, strand, &mut sums);
            best(scaled, strand.width, &sums, options)
        })
        .collect()
}

/// Sums the scores of each alignment: entry `offset + width - 1` holds that of `offset`.
fn add_diagonals(scaled: &Scaled, columns: &Columns, strand: &Strand, sums: &mut Vec<u16>) {
    let width = scaled.width();
    sums.clear();
    sums.resize(strand.width + width - 1, 0);
    for (position, &column) in columns.of(strand).iter().enumerate() {
        // Cells run from the last query column to the first, so that a step in the target and a
        // step in the sums are the same step.
        let diagonals = &mut sums[position..position + width];
        for (sum, &cell) in diagonals.iter_mut().zip(scaled.column(column)) {
            *sum += u16::from(cell);
        }
    }
}

fn best(scaled: &Scaled, target: usize, sums: &[u16], options: &Options) -> Alignment {
    let (w, l) = (scaled.width() as i64, target as i64);
    let least = (options.min_overlap.min(scaled.width()).min(target)) as i64;
    let (first, last) = match (options.internal, w < l) {
        (false, _) => (least - w, l - least),
        (true, true) => (0, l - w),
        (true, false) => (l - w, 0),
    };
    let mut best = Alignment { score: i64::MIN, offset: 0, overlap: 0 };
    for offset in first..=last {
        let overlap = (w.min(l - offset) - (-offset).max(0)) as usize;
        let free = w - overlap as i64;
        let score = i64::from(sums[(offset + w - 1) as usize]) + scaled.unaligned * free;
        if (score, overlap) > (best.score, best.overlap) {
            best = Alignment { score, offset, overlap };
        }
    }
    best
}
