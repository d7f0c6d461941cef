//! Intervals with a tag (a feature, or a class of an annotation): union and overlap.

mod lay;
mod line;
mod overlaps;
mod sort;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use line::{Line, Place, Segment};
pub(crate) use overlaps::tally_touches;
pub use overlaps::{Overlaps, count_overlaps};
pub(crate) use sort::sort;
pub(crate) use sweep::{cut, subtract, sweep, sweep_apart};

use std::ops::Range;

use crate::{Error, Result};

/// The number of a chromosome that is of no interest; intervals there take part in nothing.
pub const ELSEWHERE: u32 = u32::MAX;

/// Most tags and chromosomes of a table.
const MOST: usize = i32::MAX as usize;

/// Columns of a table of intervals; 0-based, half-open.
///
/// ```
/// use saers_core::intervals::Columns;
/// let table = Columns { tag: None, chrom: &[0, 0], start: &[3, 8], end: &[9, 20] };
/// assert_eq!(table.start.len(), 2);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// Number of the feature or class; all 0 where there is no such column.
    pub tag: Option<&'a [u32]>,
    /// Number of the chromosome, or [`ELSEWHERE`].
    pub chrom: &'a [u32],
    /// First base.
    pub start: &'a [i64],
    /// One past the last base.
    pub end: &'a [i64],
}

/// A table of intervals, with the numbers of tags and chromosomes.
///
/// Kernels check each row as they read it: no coordinate may be negative, no start lie after
/// its end, no tag or chromosome beyond their numbers. The error names the first row that is
/// wrong.
///
/// ```
/// use saers_core::intervals::{Columns, Intervals, merge};
/// let swapped = Columns { tag: None, chrom: &[0], start: &[9], end: &[3] };
/// let error = merge(&Intervals::new("intervals", swapped, 1, 1)?).unwrap_err();
/// assert_eq!(error.to_string(), "intervals[0]: start 9 lies after end 3");
/// # Ok::<(), saers_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Intervals<'a> {
    name: &'a str,
    columns: Columns<'a>,
    n_tags: usize,
    n_chroms: usize,
}

impl<'a> Intervals<'a> {
    /// Takes columns of one length; `name` is what the caller calls the table.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the columns differ in length, or there are 2^31 or
    /// more tags or chromosomes.
    ///
    /// ```
    /// use saers_core::intervals::{Columns, Intervals};
    /// let short = Columns { tag: None, chrom: &[0, 0], start: &[9], end: &[3] };
    /// assert!(Intervals::new("intervals", short, 1, 1).is_err());
    /// ```
    pub fn new(
        name: &'a str,
        columns: Columns<'a>,
        n_tags: usize,
        n_chroms: usize,
    ) -> Result<Self> {
        let Columns { tag, chrom, start, end } = columns;
        let lengths = [tag.map_or(chrom.len(), <[u32]>::len), start.len(), end.len()];
        if lengths != [chrom.len(); 3] {
            return Err(Error::invalid(format!("{name}: columns differ in length")));
        }
        if n_tags.max(n_chroms) > MOST {
            return Err(Error::invalid(format!("{name}: more than {MOST} tags or chromosomes")));
        }
        Ok(Self { name, columns, n_tags, n_chroms })
    }

    /// The columns.
    pub fn columns(&self) -> Columns<'a> {
        self.columns
    }

    /// Number of features or classes.
    pub fn n_tags(&self) -> usize {
        self.n_tags
    }

    /// Number of chromosomes.
    pub fn n_chroms(&self) -> usize {
        self.n_chroms
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.columns.chrom.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requires that some rows are intervals; names the first of the table that is not.
    fn check(&self, rows: &Range<usize>) -> Result<()> {
        let Columns { tag, chrom, start, end } = self.columns;
        // Whatever is wrong sets the sign of a number, without a branch or a comparison: any
        // processor does several rows at a time.
        let places = start[rows.clone()].iter().zip(&end[rows.clone()]);
        let places = places.fold(0, |signs, (s, e)| signs | s | e | e.wrapping_sub(*s)) >= 0;
        let beyond = |number: u32, last: u32| number | last.wrapping_sub(number);
        let sign = |signs: u32| signs >> 31 == 0;
        // One more than a chromosome's number, which is 0 for those elsewhere.
        let (chroms, last) = (chrom[rows.clone()].iter(), self.n_chroms as u32);
        let chroms = chroms.fold(0, |signs, c| signs | beyond(c.wrapping_add(1), last));
        let tags = tag.map_or(&[][..], |tag| &tag[rows.clone()]).iter();
        let last = (self.n_tags as u32).wrapping_sub(1);
        let tags = tags.fold(0, |signs, tag| signs | beyond(*tag, last));
        let tags = sign(tags) && (self.n_tags > 0 || rows.is_empty());
        if places && sign(chroms) && tags {
            return Ok(());
        }
        // The first of the table, whichever thread was the first to meet one.
        (0..self.len()).try_for_each(|row| match self.problem(row) {
            Some(problem) => Err(Error::invalid(format!("{}[{row}]: {problem}", self.name))),
            None => Ok(()),
        })
    }

    /// Says why a row is no interval.
    fn problem(&self, row: usize) -> Option<String> {
        let Columns { tag, chrom, start, end } = self.columns;
        let (chrom, start, end) = (chrom[row], start[row], end[row]);
        let tag = tag.map_or(0, |tag| tag[row]);
        if start < 0 {
            Some(format!("start {start} is negative"))
        } else if start > end {
            Some(format!("start {start} lies after end {end}"))
        } else if tag as usize >= self.n_tags {
            Some(format!("tag {tag} must lie below {}", self.n_tags))
        } else if chrom != ELSEWHERE && chrom as usize >= self.n_chroms {
            Some(format!("chromosome {chrom} must lie below {}", self.n_chroms))
        } else {
            None
        }
    }
}

/// Owned columns of a union: tag, chromosome, start, end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Union {
    /// Number of the feature or class.
    pub tag: Vec<u32>,
    /// Number of the chromosome.
    pub chrom: Vec<u32>,
    /// First base.
    pub start: Vec<i64>,
    /// One past the last base.
    pub end: Vec<i64>,
}

/// Unites the intervals of each tag that overlap or touch, by chromosome, start and tag.
///
/// Intervals without bases vanish.
///
/// # Errors
/// [`Error::InvalidArgument`] where coordinates are too large to be added up.
///
/// ```
/// use saers_core::intervals::{Columns, Intervals, merge};
/// let (tag, chrom) = ([0, 0, 1], [0; 3]);
/// let columns = Columns { tag: Some(&tag), chrom: &chrom, start: &[5, 0, 4], end: &[9, 5, 6] };
/// let union = merge(&Intervals::new("intervals", columns, 2, 1)?)?;
/// assert_eq!((union.tag, union.start, union.end), (vec![0, 1], vec![0, 4], vec![9, 6]));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn merge(intervals: &Intervals<'_>) -> Result<Union> {
    let line = Line::of(&[intervals])?;
    let mut united = line.union::<u64>(intervals)?;
    sort(&mut united, &mut Vec::new())?;
    let mut union = Union::default();
    for (chrom, part) in (0..).zip(line.by_chromosome(&united)) {
        union.tag.extend(part.iter().map(|segment| segment.tag));
        union.chrom.resize(union.tag.len(), chrom);
        let from = line.offset(chrom) as i64;
        union.start.extend(part.iter().map(|segment| segment.start as i64 - from));
        union.end.extend(part.iter().map(|segment| segment.end as i64 - from));
    }
    Ok(union)
}

#[cfg(test)]
mod tests;
