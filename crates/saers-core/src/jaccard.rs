//! Base-pair Jaccard index of all pairs of features.

use rayon::prelude::*;

use crate::Result;
use crate::intervals::{Interval, check, merge, overlap};

/// Cells that one task adds up in, 16 bytes each: bounds the memory of a thread.
const CELLS_A_TASK: usize = 1 << 22;

/// What two features share; both sums in one place, as they are always touched together.
#[derive(Clone, Copy, Default)]
struct Cell {
    bases: i64,
    pairs: u32,
}

/// Two features whose intervals overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation {
    /// The feature of the lower number.
    pub a: u32,
    /// The feature of the higher number.
    pub b: u32,
    /// Bases that both cover.
    pub intersection: i64,
    /// Bases that at least one covers.
    pub union: i64,
    /// Pairs of merged intervals that overlap.
    pub n_overlap: u32,
}

/// Compares the bases that every two features cover; pairs without a common base are left out.
///
/// The intervals of each feature are merged first, those that touch included. The tag of an
/// interval is its feature. Pairs come in order of `a`, then `b`. One sweep along the genome
/// serves as many features as fit a task; tasks run side by side.
///
/// # Errors
/// [`crate::Error::InvalidArgument`] as in [`check`].
///
/// ```
/// use saers_core::{intervals::Interval, jaccard::jaccard};
/// let interval = |start, end, tag| Interval { chrom: 0, start, end, tag };
/// let pairs = jaccard(vec![interval(0, 10, 0), interval(5, 20, 1)], 2)?;
/// assert_eq!((pairs[0].intersection, pairs[0].union), (5, 20));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn jaccard(intervals: Vec<Interval>, n_features: usize) -> Result<Vec<Relation>> {
    check("intervals", &intervals, n_features)?;
    let merged = merge(intervals);
    let mut covered = vec![0; n_features];
    for interval in &merged {
        covered[interval.tag as usize] += interval.width();
    }
    let rows = (CELLS_A_TASK / n_features.max(1)).max(1);
    let tasks: Vec<usize> = (0..n_features).step_by(rows).collect();
    let found: Vec<Vec<Relation>> =
        tasks.into_par_iter().map(|first| relate_rows(&merged, &covered, first, rows)).collect();
    Ok(found.concat())
}

/// Relations whose lower feature lies in `first..first + rows`.
fn relate_rows(merged: &[Interval], covered: &[i64], first: usize, rows: usize) -> Vec<Relation> {
    let n_features = covered.len();
    let rows = rows.min(n_features - first);
    let mut cells = vec![Cell::default(); rows * n_features];
    self_sweep(merged, |one, other| {
        let (a, b) = (one.tag.min(other.tag) as usize, one.tag.max(other.tag) as usize);
        if (first..first + rows).contains(&a) {
            let cell = &mut cells[(a - first) * n_features + b];
            cell.bases += overlap(one, other);
            cell.pairs += 1;
        }
    });
    let shared = cells.into_iter().enumerate().filter(|(_, cell)| cell.pairs > 0);
    shared
        .map(|(place, Cell { bases, pairs })| {
            let (a, b) = (first + place / n_features, place % n_features);
            let union = covered[a] + covered[b] - bases;
            Relation { a: a as u32, b: b as u32, intersection: bases, union, n_overlap: pairs }
        })
        .collect()
}

/// Visits every two intervals of a sorted list that overlap.
fn self_sweep(sorted: &[Interval], mut visit: impl FnMut(&Interval, &Interval)) {
    let mut open: Vec<&Interval> = Vec::new();
    for interval in sorted {
        open.retain(|other| other.chrom == interval.chrom && other.end > interval.start);
        open.iter().for_each(|other| visit(other, interval));
        open.push(interval);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::threads::{Stop, install};

    fn lists() -> impl Strategy<Value = Vec<Interval>> {
        let one = (0_u32..2, 0_i64..80, 0_i64..15, 0_u32..5);
        prop::collection::vec(
            one.prop_map(|(chrom, start, width, tag)| Interval {
                chrom,
                start,
                end: start + width,
                tag,
            }),
            0..60,
        )
    }

    /// Bases as a set, feature by feature.
    fn twin(intervals: &[Interval]) -> BTreeMap<(u32, u32), (i64, i64)> {
        let bases = |tag| -> HashSet<(u32, i64)> {
            let own = intervals.iter().filter(|i| i.tag == tag);
            own.flat_map(|i| (i.start..i.end).map(|base| (i.chrom, base))).collect()
        };
        let mut found = BTreeMap::new();
        for (a, b) in (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))) {
            let (of_a, of_b) = (bases(a), bases(b));
            let both = of_a.intersection(&of_b).count() as i64;
            if both > 0 {
                found.insert((a, b), (both, of_a.union(&of_b).count() as i64));
            }
        }
        found
    }

    #[test]
    fn no_features_have_no_relations() {
        assert_eq!(jaccard(Vec::new(), 0).unwrap(), []);
    }

    #[test]
    fn a_task_of_few_rows_changes_nothing() {
        let interval = |start, tag| Interval { chrom: 0, start, end: start + 9, tag };
        let merged: Vec<Interval> = (0..20).map(|i| interval(i * 3, i as u32 % 7)).collect();
        let merged = merge(merged);
        let covered = [27; 7];
        let whole = relate_rows(&merged, &covered, 0, 7);
        let parts: Vec<Relation> = [0, 3, 6]
            .into_iter()
            .flat_map(|first| relate_rows(&merged, &covered, first, 3))
            .collect();
        assert_eq!(whole, parts);
    }

    proptest! {
        #[test]
        fn relations_equal_those_of_sets_of_bases(intervals in lists()) {
            let found: BTreeMap<_, _> = jaccard(intervals.clone(), 5)
                .unwrap()
                .into_iter()
                .map(|pair| ((pair.a, pair.b), (pair.intersection, pair.union)))
                .collect();
            prop_assert_eq!(found, twin(&intervals));
        }

        #[test]
        fn the_number_of_threads_changes_nothing(intervals in lists()) {
            let one = install(Some(1), &Stop::default(), || jaccard(intervals.clone(), 5)).unwrap().unwrap();
            let many = install(Some(4), &Stop::default(), || jaccard(intervals, 5)).unwrap().unwrap();
            prop_assert_eq!(one, many);
        }
    }
}
