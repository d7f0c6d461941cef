//! The best alignment of a query with every target strand.

use multiversion::multiversion;

use super::Options;
use super::columns::{Class, Columns};
use super::scaled::{LANES, Scaled};

/// The best alignment of one strand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Alignment {
    pub score: i64,
    pub offset: i64,
    pub overlap: usize,
}

/// One way to lay a query on targets of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lay {
    pub offset: i64,
    /// Query columns `low..high` have a partner.
    pub low: usize,
    pub high: usize,
}

impl Lay {
    /// Number of aligned columns.
    pub fn overlap(&self) -> usize {
        self.high - self.low
    }
}

/// Lists the alignments of a query with a target, by their widths, that the options allow.
pub(super) fn lays(query: usize, target: usize, options: &Options) -> Vec<Lay> {
    let (w, l) = (query as i64, target as i64);
    let least = options.min_overlap.min(query).min(target) as i64;
    let (first, last) = match (options.internal, w < l) {
        (false, _) => (least - w, l - least),
        (true, true) => (0, l - w),
        (true, false) => (l - w, 0),
    };
    let lay = |offset: i64| Lay {
        offset,
        low: (-offset).max(0) as usize,
        high: w.min(l - offset) as usize,
    };
    (first..=last).map(lay).collect()
}

/// Aligns the query with every strand at every offset that the options allow.
///
/// Of equal scores the larger overlap wins, then the smaller offset.
pub(super) fn best_alignments(
    scaled: &Scaled,
    columns: &Columns,
    options: &Options,
) -> Vec<Alignment> {
    let mut best = vec![Alignment::default(); columns.strands().len()];
    for class in columns.classes() {
        let mut lays = lays(scaled.width(), class.width, options);
        // The first of equal scores is kept, so this order is the rule for ties.
        lays.sort_by_key(|lay| (std::cmp::Reverse(lay.overlap()), lay.offset));
        for (part, members) in columns.members(class).chunks(LANES).enumerate() {
            let (scores, which) = best_of(scaled, class, part * LANES, &lays);
            for ((&member, score), which) in members.iter().zip(scores).zip(which) {
                let lay = lays[usize::from(which)];
                best[member as usize] = Alignment {
                    score: i64::from(score),
                    offset: lay.offset,
                    overlap: lay.overlap(),
                };
            }
        }
    }
    best
}

/// Finds the best score of [`LANES`] members of a class, and the first alignment that has it.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn best_of(
    scaled: &Scaled,
    class: &Class,
    member: usize,
    lays: &[Lay],
) -> ([i16; LANES], [u16; LANES]) {
    let (mut best, mut which) = ([-1_i16; LANES], [0_u16; LANES]);
    for (index, lay) in lays.iter().enumerate() {
        let free = scaled.width() - lay.overlap();
        // Scores reach no further than MAX_QUERY_WIDTH · BINS.
        let sums = sums(scaled, class, member, lay, scaled.unaligned as i16 * free as i16);
        for lane in 0..LANES {
            let better = sums[lane] > best[lane];
            which[lane] = if better { index as u16 } else { which[lane] };
            best[lane] = if better { sums[lane] } else { best[lane] };
        }
    }
    (best, which)
}

/// Adds the scores of one alignment for [`LANES`] members of a class.
#[inline(always)]
pub(super) fn sums(
    scaled: &Scaled,
    class: &Class,
    member: usize,
    lay: &Lay,
    start: i16,
) -> [i16; LANES] {
    let mut sums = [start; LANES];
    for query in lay.low..lay.high {
        let position = (query as i64 + lay.offset) as usize;
        let cells = scaled.lanes(query, class.start + position * class.count + member);
        for (sum, &cell) in sums.iter_mut().zip(cells) {
            *sum += i16::from(cell);
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::columns::Columns;
    use super::super::scaled::{Scaled, Scratch};
    use super::{Alignment, best_alignments};
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
        let scaled =
            Scaled::new(&motif("q", query), &columns, options, &mut Scratch::default()).unwrap();
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
        let query = motif("q", &[A, C]);
        let mut scaled =
            Scaled::new(&query, &columns, &Options::default(), &mut Scratch::default()).unwrap();
        // One aligned column scores, at either end; two aligned ones score nothing.
        scaled.unaligned = 0;
        let found = best_alignments(&scaled, &columns, &Options::default())[0];
        assert_eq!((found.offset, found.overlap), (-1, 1));
        scaled.unaligned = -i64::from(scaled.lanes(1, 0)[0]);
        let found = best_alignments(&scaled, &columns, &Options::default())[0];
        assert_eq!((found.score, found.offset, found.overlap), (0, 0, 2));
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
