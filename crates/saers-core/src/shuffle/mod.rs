//! What overlaps would be if intervals lay anywhere: by shuffling them, and exactly.

mod controls;
mod exact;
mod gc;
mod room;
mod tails;

use rayon::prelude::*;

pub use controls::Controls;
pub use exact::Expected;
pub use gc::GcMatch;
use room::{Draws, Room};

use crate::intervals::{Intervals, Line, Place, Segment, subtract, tally_touches};
use crate::{Error, Result};

/// Intervals, an annotation, and the room in which the intervals may be put elsewhere.
///
/// An interval keeps its chromosome and width; every start at which it lies wholly inside one
/// stretch of free space is equally likely, and intervals move independently of each other.
/// With a [`GcMatch`] only starts count where the share of G and C is like its own.
///
/// ```
/// use saers_core::{intervals::{Columns, Intervals}, shuffle::Placement};
/// let stretch = |start: &'static [i64; 1], end: &'static [i64; 1]| {
///     Intervals::new("x", Columns { tag: None, chrom: &[0], start, end }, 1, 1)
/// };
/// let (own, classes) = (stretch(&[0], &[10])?, stretch(&[0], &[100])?);
/// let (space, holes) = (stretch(&[0], &[100])?, stretch(&[50], &[60])?);
/// let placement = Placement::new(&own, &classes, &space, &holes, None)?;
/// assert_eq!(placement.observed(), [1]);
/// assert_eq!(placement.controls(20, 7)?.sum, [20]);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub struct Placement(Box<dyn Model + Send + Sync>);

/// The work of a placement, on a line of one size or the other.
trait Model {
    fn observed(&self) -> &[u32];
    fn controls(&self, n_controls: u32, seed: u64) -> Result<Controls>;
    fn expected(&self) -> Result<Expected>;
}

impl Placement {
    /// Sets up features (tags of `intervals`), classes (tags of `annotation`) and free space:
    /// the union of `space` without `holes`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where an interval fits nowhere, or `gc` does not have one
    /// composition a chromosome; [`Error::Stopped`] where the caller gives up.
    pub fn new(
        intervals: &Intervals<'_>,
        annotation: &Intervals<'_>,
        space: &Intervals<'_>,
        holes: &Intervals<'_>,
        gc: Option<GcMatch>,
    ) -> Result<Self> {
        let line = Line::of(&[intervals, space])?;
        if let Some(found) = gc.as_ref().map(GcMatch::n_chroms).filter(|n| *n != line.n_chroms()) {
            let message = format!("{found} compositions for {} chromosomes", line.n_chroms());
            return Err(Error::invalid(message));
        }
        let tables = [intervals, annotation, space, holes];
        Ok(Self(if line.is_short() {
            Box::new(Nulls::<u32>::new(line, tables, gc)?)
        } else {
            Box::new(Nulls::<u64>::new(line, tables, gc)?)
        }))
    }

    /// Intervals of each feature that touch each class where they lie.
    pub fn observed(&self) -> &[u32] {
        self.0.observed()
    }

    /// Puts all intervals elsewhere `n_controls` times and counts again.
    ///
    /// Each place follows from the seed, the control's number and the interval's alone.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the caller gives up.
    pub fn controls(&self, n_controls: u32, seed: u64) -> Result<Controls> {
        self.0.controls(n_controls, seed)
    }

    /// Computes what [`Placement::controls`] estimates.
    ///
    /// An interval touches a class with a probability that is a ratio of two counts of
    /// starts, and intervals move independently, so the count has a Poisson-binomial
    /// distribution. With a [`GcMatch`] the starts are those of like composition; all of them
    /// are looked at, once for each width that intervals of a chromosome have.
    ///
    /// # Errors
    /// [`Error::Stopped`] where the caller gives up.
    ///
    /// ```
    /// use saers_core::{intervals::{Columns, Intervals}, shuffle::Placement};
    /// let stretch = |start: &'static [i64; 1], end: &'static [i64; 1]| {
    ///     Intervals::new("x", Columns { tag: None, chrom: &[0], start, end }, 1, 1)
    /// };
    /// let (own, classes) = (stretch(&[0], &[10])?, stretch(&[50], &[60])?);
    /// let (space, none) = (stretch(&[0], &[100])?, stretch(&[0], &[0])?);
    /// // 91 starts; those from 41 to 59 touch the class.
    /// let placement = Placement::new(&own, &classes, &space, &none, None)?;
    /// assert_eq!(placement.expected()?.mean, [19.0 / 91.0]);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn expected(&self) -> Result<Expected> {
        self.0.expected()
    }
}

impl<P: Place> Model for Nulls<P> {
    fn observed(&self) -> &[u32] {
        &self.observed
    }

    fn controls(&self, n_controls: u32, seed: u64) -> Result<Controls> {
        self.controls(n_controls, seed)
    }

    fn expected(&self) -> Result<Expected> {
        self.expected()
    }
}

/// A placement on the line.
struct Nulls<P> {
    line: Line,
    /// By chromosome, then width.
    groups: Vec<Group>,
    /// The union of each class, and where each chromosome begins in it.
    classes: Vec<Segment<P>>,
    class_ranges: Vec<usize>,
    rooms: Vec<Room>,
    gc: Option<GcMatch>,
    observed: Vec<u32>,
    n_features: usize,
    n_classes: usize,
}

/// Intervals of one width on one chromosome.
struct Group {
    chrom: u32,
    width: u64,
    draws: Draws,
    /// Number of the first interval; they are numbered by chromosome, width, start and tag,
    /// so that the caller's order of rows changes nothing.
    first: u64,
    /// Feature of each interval.
    tags: Vec<u32>,
    /// Composition of each interval, where that matters.
    levels: Vec<gc::Level>,
}

impl<P: Place> Nulls<P> {
    fn new(
        line: Line,
        [intervals, annotation, space, holes]: [&Intervals<'_>; 4],
        gc: Option<GcMatch>,
    ) -> Result<Self> {
        let rooms = rooms::<P>(&line, space, holes)?;
        let classes = line.union::<P>(annotation)?;
        let sorted = line.sorted::<P>(intervals)?;
        let [n_features, n_classes] = [intervals.n_tags(), annotation.n_tags()];
        let mut observed = vec![0; n_features * n_classes];
        tally_touches(&sorted, &classes, n_classes, &mut observed)?;
        let by_chromosome = line.by_chromosome(&classes);
        let counts = by_chromosome.iter().scan(0, |sum, part| {
            *sum += part.len();
            Some(*sum)
        });
        let class_ranges = std::iter::once(0).chain(counts).collect();
        let groups = groups(&line, &sorted, &rooms, gc.as_ref());
        if let Some(wrong) = groups.iter().find(|group| group.draws.n_starts() == 0) {
            return Err(fits_nowhere(intervals, wrong));
        }
        Ok(Self { line, groups, classes, class_ranges, rooms, gc, observed, n_features, n_classes })
    }
}

/// Free space of each chromosome.
fn rooms<P: Place>(line: &Line, space: &Intervals<'_>, holes: &Intervals<'_>) -> Result<Vec<Room>> {
    let free = subtract(&line.union::<P>(space)?, &line.union::<P>(holes)?)?;
    Ok(line.by_chromosome(&free).into_iter().map(Room::new).collect())
}

/// Groups sorted intervals by chromosome and width.
fn groups<P: Place>(
    line: &Line,
    sorted: &[Segment<P>],
    rooms: &[Room],
    gc: Option<&GcMatch>,
) -> Vec<Group> {
    let parts = line.by_chromosome(sorted);
    let of_chromosome = |(chrom, part): (usize, &&[Segment<P>])| -> Vec<Group> {
        let mut own = part.to_vec();
        own.sort_by_key(Segment::width);
        let one = |group: &[Segment<P>]| {
            let (chrom, width) = (chrom as u32, group[0].width());
            let level = |gc: &GcMatch| {
                let from = line.offset(chrom);
                group.iter().map(|s| gc.level(chrom, s.start.get() - from, width)).collect()
            };
            Group {
                chrom,
                width,
                draws: Draws::new(&rooms[chrom as usize], width, group.len()),
                first: 0,
                tags: group.iter().map(|segment| segment.tag).collect(),
                levels: gc.map(level).unwrap_or_default(),
            }
        };
        own.chunk_by(|a, b| a.width() == b.width()).map(one).collect()
    };
    let mut groups: Vec<Group> = parts.par_iter().enumerate().flat_map(of_chromosome).collect();
    let mut first = 0;
    for group in &mut groups {
        group.first = first;
        first += group.tags.len() as u64;
    }
    groups
}

/// Names the first interval of a group that has no room.
fn fits_nowhere(intervals: &Intervals<'_>, group: &Group) -> Error {
    let columns = intervals.columns();
    let is_one = |row: &usize| {
        let width = columns.end[*row].abs_diff(columns.start[*row]);
        columns.chrom[*row] == group.chrom && width == group.width
    };
    let row = (0..intervals.len()).find(is_one).unwrap_or_default();
    Error::invalid(format!(
        "intervals[{row}]: nowhere on its chromosome are {} bases free in a row",
        group.width
    ))
}

#[cfg(test)]
mod tests;
