//! Walks along sorted segments.

use super::{Place, Segment};
use crate::{Result, threads};

/// Queries between two looks at whether the caller still waits.
const SPAN: usize = 1 << 16;

/// Joins the segments of each tag that overlap or touch, one after the other.
pub(crate) struct Joiner<P> {
    /// Segments that are joined, then room for more.
    joined: Vec<Segment<P>>,
    n_joined: usize,
    /// Where the latest segment of each tag lies, and one past where it ends; 0 before any.
    latest: Vec<(usize, P)>,
    start: P,
}

impl<P: Place> Joiner<P> {
    pub(crate) fn new(n_tags: usize, n_segments: usize) -> Self {
        Self {
            joined: Vec::with_capacity(n_segments),
            n_joined: 0,
            latest: vec![(0, P::default()); n_tags],
            start: P::default(),
        }
    }

    /// Takes the next segments; declines where one begins before the last.
    pub(crate) fn add(&mut self, segments: &[Segment<P>]) -> bool {
        if !segments.is_sorted_by_key(|segment| segment.start)
            || segments.first().is_some_and(|first| first.start < self.start)
        {
            return false;
        }
        self.start = segments.last().map_or(self.start, |last| last.start);
        let room = self.n_joined + segments.len();
        if self.joined.len() < room {
            self.joined.resize(room, Segment::default());
        }
        match &mut self.latest[..] {
            // A tag that stands alone is kept in registers.
            [only] => {
                let mut latest = *only;
                segments
                    .iter()
                    .for_each(|s| join(s, &mut latest, &mut self.joined, &mut self.n_joined));
                *only = latest;
            }
            latest => segments.iter().for_each(|s| {
                join(s, &mut latest[s.tag as usize], &mut self.joined, &mut self.n_joined);
            }),
        }
        true
    }

    /// Forgets what was joined, and keeps the room it took.
    pub(crate) fn clear(&mut self) {
        self.n_joined = 0;
        self.start = P::default();
        self.latest.fill((0, P::default()));
    }

    pub(crate) fn joined(&self) -> &[Segment<P>] {
        &self.joined[..self.n_joined]
    }

    pub(crate) fn finish(mut self) -> Vec<Segment<P>> {
        self.joined.truncate(self.n_joined);
        self.joined
    }
}

/// Adds a segment to those joined. Whether it joins the latest of its tag is as good as random,
/// so nothing here hangs on a branch.
#[inline(always)]
fn join<P: Place>(
    segment: &Segment<P>,
    (place, past): &mut (usize, P),
    joined: &mut [Segment<P>],
    n_joined: &mut usize,
) {
    let joins = segment.start < *past;
    joined[*n_joined] = *segment;
    *place = if joins { *place } else { *n_joined };
    *n_joined += usize::from(!joins);
    *past = P::new(segment.end.get() + 1).max(*past);
    joined[*place].end = P::new(past.get() - 1);
}

/// Cuts a sorted list of queries into `n` parts of about one length, to be swept side by side.
pub(crate) fn cut<P: Place>(queries: &[Segment<P>], n: usize) -> Vec<&[Segment<P>]> {
    queries.chunks(queries.len().div_ceil(n.max(1)).max(1)).collect()
}

/// The same as [`sweep`] for targets that are apart from each other, as those of one tag are.
pub(crate) fn sweep_apart<P: Place>(
    queries: &[Segment<P>],
    targets: &[Segment<P>],
    mut visit: impl FnMut(usize, &Segment<P>, &Segment<P>),
) -> Result<()> {
    let Some(first) = queries.first() else { return Ok(()) };
    let mut next = targets.partition_point(|target| target.end <= first.start);
    for (number, query) in queries.iter().enumerate() {
        if number % SPAN == 0 {
            threads::check()?;
        }
        while targets.get(next).is_some_and(|target| target.end <= query.start) {
            next += 1;
        }
        targets[next..]
            .iter()
            .take_while(|target| target.start < query.end)
            .for_each(|target| visit(number, query, target));
    }
    Ok(())
}

/// Calls `visit(number of the query, query, target)` for every overlap of two sorted lists.
///
/// The queries may begin anywhere along the targets. The time is that of reading both lists
/// and of visiting each overlap once, also where segments are long or nested.
///
/// # Errors
/// [`crate::Error::Stopped`] where the caller gives up.
pub(crate) fn sweep<P: Place>(
    queries: &[Segment<P>],
    targets: &[Segment<P>],
    mut visit: impl FnMut(usize, &Segment<P>, &Segment<P>),
) -> Result<()> {
    let Some(first) = queries.first() else { return Ok(()) };
    let (before, mut rest) =
        targets.split_at(targets.partition_point(|target| target.start <= first.start));
    // Targets that began at or before the query and had not ended when last looked at.
    let mut open: Vec<Segment<P>> =
        before.iter().filter(|target| target.end > first.start).copied().collect();
    for (number, query) in queries.iter().enumerate() {
        if number % SPAN == 0 {
            threads::check()?;
        }
        open.retain(|target| target.end > query.start);
        while let [target, later @ ..] = rest
            && target.start <= query.start
        {
            if target.end > query.start {
                open.push(*target);
            }
            rest = later;
        }
        open.iter().for_each(|target| visit(number, query, target));
        rest.iter()
            .take_while(|target| target.start < query.end)
            .for_each(|target| visit(number, query, target));
    }
    Ok(())
}

/// The bases of `space` that lie in no hole; both are unions of one tag, and so is the result.
pub(crate) fn subtract<P: Place>(
    space: &[Segment<P>],
    holes: &[Segment<P>],
) -> Result<Vec<Segment<P>>> {
    let mut left = space.to_vec();
    let mut parts = Vec::new();
    sweep(space, holes, |number, _, hole| {
        let left = &mut left[number];
        if hole.start > left.start {
            parts.push(Segment { end: hole.start, ..*left });
        }
        left.start = hole.end.min(left.end);
    })?;
    left.retain(|segment| segment.start < segment.end);
    left.append(&mut parts);
    left.sort_unstable();
    Ok(left)
}
