//! Intervals with a tag (a feature, or a class of an annotation): order, union, overlap.

use rayon::prelude::*;

use crate::{Error, Result};

/// A stretch of a chromosome that belongs to `tag`; 0-based, half-open.
///
/// The order begins with chromosome and start, as a sweep needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// Number of the chromosome.
    pub chrom: u32,
    /// First base.
    pub start: i64,
    /// One past the last base.
    pub end: i64,
    /// Number of the feature or class.
    pub tag: u32,
}

impl Interval {
    /// Number of bases.
    ///
    /// ```
    /// use saers_core::intervals::Interval;
    /// assert_eq!(Interval { chrom: 0, start: 3, end: 9, tag: 0 }.width(), 6);
    /// ```
    pub fn width(&self) -> i64 {
        self.end - self.start
    }

    /// Chromosome, start and tag as one number, which sorts a third faster than the fields;
    /// for starts that are not negative.
    pub(crate) fn sweep_key(&self) -> u128 {
        (u128::from(self.chrom) << 96)
            | (u128::from(self.start.unsigned_abs()) << 32)
            | u128::from(self.tag)
    }
}

/// Refuses negative coordinates, starts after ends, and tags beyond `n_tags`.
///
/// # Errors
/// [`Error::InvalidArgument`] names the first interval that is wrong; `name` is what the
/// caller calls the list.
///
/// ```
/// use saers_core::intervals::{Interval, check};
/// let swapped = Interval { chrom: 0, start: 9, end: 3, tag: 0 };
/// let error = check("intervals", &[swapped], 1).unwrap_err();
/// assert_eq!(error.to_string(), "intervals[0]: start 9 lies after end 3");
/// ```
pub fn check(name: &str, intervals: &[Interval], n_tags: usize) -> Result<()> {
    for (number, interval) in intervals.iter().enumerate() {
        let Interval { start, end, tag, .. } = *interval;
        let wrong = if start < 0 {
            format!("start {start} is negative")
        } else if start > end {
            format!("start {start} lies after end {end}")
        } else if tag as usize >= n_tags {
            format!("tag {tag} must lie below {n_tags}")
        } else {
            continue;
        };
        return Err(Error::invalid(format!("{name}[{number}]: {wrong}")));
    }
    Ok(())
}

/// Union of the intervals of each tag, in sweep order.
///
/// Intervals that overlap or touch become one; intervals without bases vanish. No start may
/// be negative ([`check`] sees to it).
///
/// ```
/// use saers_core::intervals::{Interval, merge};
/// let interval = |start, end, tag| Interval { chrom: 0, start, end, tag };
/// let merged = merge(vec![interval(5, 9, 0), interval(0, 5, 0), interval(4, 6, 1)]);
/// assert_eq!(merged, [interval(0, 9, 0), interval(4, 6, 1)]);
/// ```
pub fn merge(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.retain(|interval| interval.start < interval.end);
    let by_tag = |i: &Interval| (u128::from(i.tag) << 96) | (i.sweep_key() >> 32);
    intervals.par_sort_unstable_by_key(by_tag);
    intervals.dedup_by(|next, last| {
        let joins = (next.tag, next.chrom) == (last.tag, last.chrom) && next.start <= last.end;
        if joins {
            last.end = last.end.max(next.end);
        }
        joins
    });
    intervals.par_sort_unstable_by_key(Interval::sweep_key);
    intervals
}

/// The union of `space` without the union of `holes`, in sweep order; tags are left aside.
///
/// ```
/// use saers_core::intervals::{Interval, subtract};
/// let interval = |start, end| Interval { chrom: 0, start, end, tag: 0 };
/// let free = subtract(vec![interval(0, 9)], vec![interval(3, 5), interval(8, 12)]);
/// assert_eq!(free, [interval(0, 3), interval(5, 8)]);
/// ```
pub fn subtract(space: Vec<Interval>, holes: Vec<Interval>) -> Vec<Interval> {
    let union = |mut intervals: Vec<Interval>| {
        intervals.iter_mut().for_each(|interval| interval.tag = 0);
        merge(intervals)
    };
    let (space, holes) = (union(space), union(holes));
    let mut free = space.clone();
    let mut parts = Vec::new();
    sweep(&space, &holes, |number, _, hole| {
        let left = &mut free[number];
        if hole.start > left.start {
            parts.push(Interval { end: hole.start, ..*left });
        }
        left.start = hole.end.min(left.end);
    });
    free.retain(|interval| interval.start < interval.end);
    free.append(&mut parts);
    free.sort_unstable();
    free
}

/// Calls `visit(number of the query, query, target)` for every overlap of two sorted lists.
///
/// The time is that of reading both lists and of visiting each overlap once, also where
/// intervals are long or nested.
///
/// ```
/// use saers_core::intervals::{Interval, sweep};
/// let interval = |start, end, tag| Interval { chrom: 0, start, end, tag };
/// let mut bases = 0;
/// sweep(&[interval(0, 9, 0)], &[interval(2, 4, 1), interval(8, 20, 1)], |_, query, target| {
///     bases += saers_core::intervals::overlap(query, target);
/// });
/// assert_eq!(bases, 3);
/// ```
pub fn sweep<'t>(
    queries: &[Interval],
    targets: &'t [Interval],
    mut visit: impl FnMut(usize, &Interval, &'t Interval),
) {
    // Targets that began at or before the query and had not ended when last looked at.
    let mut open: Vec<&Interval> = Vec::new();
    let mut rest = targets;
    for (number, query) in queries.iter().enumerate() {
        while let [target, later @ ..] = rest
            && (target.chrom, target.start) <= (query.chrom, query.start)
        {
            open.push(target);
            rest = later;
        }
        open.retain(|target| target.chrom == query.chrom && target.end > query.start);
        if query.start == query.end {
            continue;
        }
        open.iter().for_each(|target| visit(number, query, target));
        rest.iter()
            .take_while(|target| target.chrom == query.chrom && target.start < query.end)
            .filter(|target| target.start < target.end)
            .for_each(|target| visit(number, query, target));
    }
}

/// Number of bases that two intervals of one chromosome share.
///
/// ```
/// use saers_core::intervals::{Interval, overlap};
/// let interval = |start, end| Interval { chrom: 0, start, end, tag: 0 };
/// assert_eq!(overlap(&interval(0, 5), &interval(3, 9)), 2);
/// assert_eq!(overlap(&interval(0, 5), &interval(7, 9)), 0);
/// ```
pub fn overlap(a: &Interval, b: &Interval) -> i64 {
    (a.end.min(b.end) - a.start.max(b.start)).max(0)
}

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
/// [`Error::InvalidArgument`] as in [`check`].
///
/// ```
/// use saers_core::intervals::{Interval, count_overlaps};
/// let interval = |start, end, tag| Interval { chrom: 0, start, end, tag };
/// let annotation = vec![interval(0, 4, 0), interval(2, 6, 0)];
/// let counts = count_overlaps(&[interval(3, 9, 0)], annotation, 1, 1)?;
/// assert_eq!((counts.n_intervals[0], counts.bases[0]), (1, 3));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn count_overlaps(
    intervals: &[Interval],
    annotation: Vec<Interval>,
    n_features: usize,
    n_classes: usize,
) -> Result<Overlaps> {
    check("intervals", intervals, n_features)?;
    check("annotation", &annotation, n_classes)?;
    let mut queries = intervals.to_vec();
    queries.par_sort_unstable();
    let mut bases = vec![0; n_features * n_classes];
    let mut n_intervals = vec![0; n_features * n_classes];
    let mut touched = Touched::new(n_classes);
    sweep(&queries, &merge(annotation), |number, query, target| {
        let row = query.tag as usize * n_classes + target.tag as usize;
        bases[row] += overlap(query, target);
        n_intervals[row] += u32::from(touched.is_first(number, target.tag));
    });
    Ok(Overlaps { n_intervals, bases })
}

/// Tells the first overlap of a query with a class from further ones.
pub(crate) struct Touched(Vec<usize>);

impl Touched {
    pub(crate) fn new(n_classes: usize) -> Self {
        Self(vec![usize::MAX; n_classes])
    }

    /// Whether this query had not met the class before; queries come one after the other.
    pub(crate) fn is_first(&mut self, query: usize, class: u32) -> bool {
        std::mem::replace(&mut self.0[class as usize], query) != query
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Intervals on two chromosomes with tags below three; some empty, some long.
    fn lists() -> impl Strategy<Value = Vec<Interval>> {
        let one = (0_u32..2, 0_i64..60, 0_i64..25, 0_u32..3);
        prop::collection::vec(
            one.prop_map(|(chrom, start, width, tag)| Interval {
                chrom,
                start,
                end: start + width,
                tag,
            }),
            0..40,
        )
    }

    fn covers(intervals: &[Interval], tag: u32, chrom: u32, base: i64) -> bool {
        intervals
            .iter()
            .any(|i| i.tag == tag && i.chrom == chrom && i.start <= base && base < i.end)
    }

    #[test]
    fn wrong_intervals_are_named() {
        let fine = Interval { chrom: 0, start: 0, end: 1, tag: 0 };
        for (wrong, message) in [
            (Interval { start: -1, ..fine }, "x[1]: start -1 is negative"),
            (Interval { start: 2, ..fine }, "x[1]: start 2 lies after end 1"),
            (Interval { tag: 3, ..fine }, "x[1]: tag 3 must lie below 3"),
        ] {
            assert_eq!(check("x", &[fine, wrong], 3).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn merging_keeps_every_base_once(intervals in lists()) {
            let merged = merge(intervals.clone());
            for (tag, chrom, base) in (0..3).flat_map(|t| (0..2).flat_map(move |c| (0..90).map(move |b| (t, c, b)))) {
                prop_assert_eq!(covers(&merged, tag, chrom, base), covers(&intervals, tag, chrom, base));
            }
            for (number, a) in merged.iter().enumerate() {
                prop_assert!(a.width() > 0);
                let apart = |b: &Interval| (b.tag, b.chrom) != (a.tag, a.chrom) || b.start > a.end || b.end < a.start;
                prop_assert!(merged[number + 1..].iter().all(apart));
            }
            prop_assert!(merged.is_sorted_by_key(Interval::sweep_key));
        }

        #[test]
        fn the_sweep_visits_every_overlap_once(mut queries in lists(), mut targets in lists()) {
            queries.sort();
            targets.sort();
            let mut visited = Vec::new();
            sweep(&queries, &targets, |number, query, target| visited.push((number, *query, *target)));
            let mut expected = Vec::new();
            for (number, query) in queries.iter().enumerate() {
                for target in &targets {
                    if query.chrom == target.chrom && overlap(query, target) > 0 {
                        expected.push((number, *query, *target));
                    }
                }
            }
            visited.sort();
            expected.sort();
            prop_assert_eq!(visited, expected);
        }

        #[test]
        fn what_is_left_of_space_lies_in_no_hole(space in lists(), holes in lists()) {
            let free = subtract(space.clone(), holes.clone());
            let any = |list: &[Interval], c, b| (0..3).any(|tag| covers(list, tag, c, b));
            for (chrom, base) in (0..2).flat_map(|c| (0..90).map(move |b| (c, b))) {
                let expected = any(&space, chrom, base) && !any(&holes, chrom, base);
                prop_assert_eq!(covers(&free, 0, chrom, base), expected);
            }
        }

        #[test]
        fn counts_equal_those_of_single_bases(intervals in lists(), annotation in lists()) {
            let counts = count_overlaps(&intervals, annotation.clone(), 3, 3).unwrap();
            for (feature, class) in (0..3).flat_map(|f| (0..3).map(move |c| (f, c))) {
                let bases: Vec<i64> = intervals
                    .iter()
                    .filter(|i| i.tag == feature)
                    .map(|i| (i.start..i.end).filter(|&b| covers(&annotation, class, i.chrom, b)).count() as i64)
                    .collect();
                let row = (feature * 3 + class) as usize;
                prop_assert_eq!(counts.bases[row], bases.iter().sum::<i64>());
                prop_assert_eq!(counts.n_intervals[row] as usize, bases.iter().filter(|b| **b > 0).count());
            }
        }
    }
}
