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

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::columns::Columns;
    use super::super::scaled::Scaled;
    use super::{Alignment, best, best_alignments};
    use crate::motif::{Frequencies, Motif, Row, UNIFORM};

    const A: Row = [1.0, 0.0, 0.0, 0.0];
    const C: Row = [0.0, 1.0, 0.0, 0.0];

    fn motif(id: &str, rows: &[Row]) -> Motif {
        let frequencies = Frequencies::new(rows.to_vec()).unwrap();
        let (id, name, background) = (id.to_owned(), String::new(), UNIFORM);
        Motif { id, name, frequencies, n_sites: Some(20.0), background, log10_evalue: None }
    }

    fn align(query: &[Row], target: &[Row], options: &Options) -> Alignment {
        let columns =
            Columns::prepare(&[motif("t", target), motif("c", &[C, C])], &UNIFORM, options);
        let scaled = Scaled::new(&motif("q", query), &columns, options).unwrap();
        best_alignments(&scaled, &columns, options)[0]
    }

    fn offset(query: &[Row], target: &[Row], options: &Options) -> (i64, usize) {
        let best = align(query, target, options);
        (best.offset, best.overlap)
    }

    #[test]
    fn of_equal_alignments_the_first_is_taken() {
        assert_eq!(offset(&[A], &[C, A, C, A], &Options::default()), (1, 1));
    }

    #[test]
    fn of_equal_scores_the_larger_overlap_is_taken() {
        let columns = Columns::prepare(&[motif("t", &[C, A])], &UNIFORM, &Options::default());
        let mut scaled = Scaled::new(&motif("q", &[A, C]), &columns, &Options::default()).unwrap();
        scaled.unaligned = 50;
        // Offsets -1, 0, 1 score 60 + 50, 110, and 60 + 50.
        let found = best(&scaled, 2, &[60, 110, 60], &Options::default());
        assert_eq!((found.score, found.offset, found.overlap), (110, 0, 2));
    }

    #[test]
    fn the_narrower_motif_lies_inside_when_internal() {
        let internal = Options { internal: true, ..Options::default() };
        assert_eq!(offset(&[A, C], &[C, A, C, C], &internal), (1, 2));
        assert_eq!(offset(&[C, A, C, C], &[A, C], &internal), (-1, 2));
        assert_eq!(offset(&[A, A], &[C, C, A], &internal), (1, 2));
    }

    #[test]
    fn the_least_overlap_is_capped_at_the_widths() {
        let wide = Options { min_overlap: 9, ..Options::default() };
        assert_eq!(offset(&[A], &[C, A, C], &wide), (1, 1));
        assert_eq!(offset(&[C, C, A], &[A, C, C], &wide).1, 3);
    }
}
