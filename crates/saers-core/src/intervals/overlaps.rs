//! What intervals share with the classes of an annotation.

use std::ops::Range;

use rayon::prelude::*;

use super::sweep::Joiner;
use super::{Intervals, Line, Place, Segment, cut, sweep, sweep_apart};
use crate::Result;

/// What the intervals of each feature share with each class; row `feature * n_classes + class`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlaps {
    /// Intervals of the feature that share a base with the class.
    pub n_intervals: Vec<u32>,
    /// Bases of the feature's intervals that the class covers, summed over intervals.
    pub bases: Vec<i64>,
}

/// Counts, for every feature and class, the intervals that touch and the bases covered.
///
/// Tags of `intervals` are features, those of `annotation` classes. A class counts a base
/// once however many of its intervals cover it; a feature's own intervals are not merged.
///
/// # Errors
/// [`crate::Error::InvalidArgument`] where coordinates are too large to be added up,
/// [`crate::Error::Stopped`] where the caller gives up.
///
/// ```
/// use saers_core::intervals::{Columns, Intervals, count_overlaps};
/// let seqlets = Columns { tag: None, chrom: &[0], start: &[3], end: &[9] };
/// let classes = Columns { tag: None, chrom: &[0, 0], start: &[0, 2], end: &[4, 6] };
/// let counts = count_overlaps(
///     &Intervals::new("intervals", seqlets, 1, 1)?,
///     &Intervals::new("annotation", classes, 1, 1)?,
/// )?;
/// assert_eq!((counts.n_intervals[0], counts.bases[0]), (1, 3));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn count_overlaps(intervals: &Intervals<'_>, annotation: &Intervals<'_>) -> Result<Overlaps> {
    let line = Line::of(&[intervals])?;
    if line.is_short() {
        count_on::<u32>(&line, intervals, annotation)
    } else {
        count_on::<u64>(&line, intervals, annotation)
    }
}

fn count_on<P: Place>(
    line: &Line,
    intervals: &Intervals<'_>,
    annotation: &Intervals<'_>,
) -> Result<Overlaps> {
    let queries = line.sorted::<P>(intervals)?;
    let shape = [intervals.n_tags(), annotation.n_tags()];
    let n = rayon::current_num_threads();
    let add = |one: Overlaps, other: Overlaps| Ok(one.add(&other));
    if let Some(groups) = line.groups(annotation) {
        // A chromosome's union stays in the processor's cache until it has been swept.
        let work = |groups: Vec<Group>| count_groups(line, &queries, annotation, groups, shape);
        return share(groups, n).into_par_iter().map(work).try_reduce(|| Overlaps::new(shape), add);
    }
    let classes = line.union::<P>(annotation)?;
    let parts = cut(&queries, n).into_par_iter();
    parts
        .map(|part| {
            let mut found = Overlaps::new(shape);
            found.tally(part, &classes, shape[1])?;
            Ok(found)
        })
        .try_reduce(|| Overlaps::new(shape), add)
}

/// A chromosome and its rows.
type Group = (u32, Vec<Range<usize>>);

/// Divides chromosomes among threads, each time to the one with the fewest rows.
fn share(mut groups: Vec<Group>, n: usize) -> Vec<Vec<Group>> {
    let rows = |group: &Group| -> usize { group.1.iter().map(Range::len).sum() };
    groups.sort_by_key(|group| std::cmp::Reverse(rows(group)));
    let mut shares: Vec<(usize, Vec<Group>)> = vec![(0, Vec::new()); n];
    for group in groups {
        if let Some(least) = shares.iter_mut().min_by_key(|share| share.0) {
            least.0 += rows(&group);
            least.1.push(group);
        }
    }
    shares.into_iter().map(|share| share.1).collect()
}

/// Counts chromosome by chromosome.
fn count_groups<P: Place>(
    line: &Line,
    queries: &[Segment<P>],
    annotation: &Intervals<'_>,
    groups: Vec<Group>,
    shape: [usize; 2],
) -> Result<Overlaps> {
    let mut found = Overlaps::new(shape);
    let mut joiner = Joiner::new(shape[1], 0);
    let parts = line.by_chromosome(queries);
    for (chrom, rows) in groups {
        match parts.get(chrom as usize) {
            Some(part) if !part.is_empty() => {
                let classes = line.union_of(annotation, &rows, &mut joiner)?;
                found.tally(part, classes, shape[1])?;
            }
            _ => rows.iter().try_for_each(|rows| annotation.check(rows))?,
        }
    }
    Ok(found)
}

/// Adds to `counts` the sorted queries that touch each class.
pub(crate) fn tally_touches<P: Place>(
    queries: &[Segment<P>],
    classes: &[Segment<P>],
    n_classes: usize,
    counts: &mut [u32],
) -> Result<()> {
    let mut touched = Touched::new(n_classes);
    walk(queries, classes, n_classes, |number, query, class| {
        let row = query.tag as usize * n_classes + class.tag as usize;
        counts[row] += u32::from(touched.is_first(number, class.tag));
    })
}

/// Visits overlaps of sorted queries with the union of each class.
fn walk<P: Place>(
    queries: &[Segment<P>],
    classes: &[Segment<P>],
    n_classes: usize,
    visit: impl FnMut(usize, &Segment<P>, &Segment<P>),
) -> Result<()> {
    if n_classes == 1 {
        sweep_apart(queries, classes, visit)
    } else {
        sweep(queries, classes, visit)
    }
}

impl Overlaps {
    fn new([n_features, n_classes]: [usize; 2]) -> Self {
        let rows = n_features * n_classes;
        Self { n_intervals: vec![0; rows], bases: vec![0; rows] }
    }

    /// Takes in sorted queries and the union of each class.
    fn tally<P: Place>(
        &mut self,
        queries: &[Segment<P>],
        classes: &[Segment<P>],
        n_classes: usize,
    ) -> Result<()> {
        let mut touched = Touched::new(n_classes);
        walk(queries, classes, n_classes, |number, query, class| {
            let row = query.tag as usize * n_classes + class.tag as usize;
            self.bases[row] += query.overlap(class) as i64;
            self.n_intervals[row] += u32::from(touched.is_first(number, class.tag));
        })
    }

    /// Joins two parts; whole numbers, so the order of joining does not matter.
    fn add(mut self, other: &Self) -> Self {
        self.n_intervals.iter_mut().zip(&other.n_intervals).for_each(|(a, b)| *a += b);
        self.bases.iter_mut().zip(&other.bases).for_each(|(a, b)| *a += b);
        self
    }
}

/// Tells the first overlap of a query with a class from further ones.
struct Touched(Vec<usize>);

impl Touched {
    fn new(n_classes: usize) -> Self {
        Self(vec![usize::MAX; n_classes])
    }

    /// Whether this query had not met the class before; queries come one after the other.
    fn is_first(&mut self, query: usize, class: u32) -> bool {
        std::mem::replace(&mut self.0[class as usize], query) != query
    }
}
