//! Chromosomes laid end to end on one line, so that chromosome and place are one number.

use super::{Columns, Intervals};
use crate::{Error, Result};

/// A place on the line: 32 bits where the line is short enough, which halves what is moved.
pub(crate) trait Place: Copy + Default + Ord + Send + Sync + 'static {
    /// Takes a place that the line says fits.
    fn new(place: u64) -> Self;
    fn get(self) -> u64;
}

impl Place for u32 {
    fn new(place: u64) -> Self {
        place as Self
    }

    fn get(self) -> u64 {
        u64::from(self)
    }
}

impl Place for u64 {
    fn new(place: u64) -> Self {
        place
    }

    fn get(self) -> u64 {
        self
    }
}

/// A stretch of the line that belongs to `tag`; its order begins with the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment<P> {
    pub(crate) start: P,
    pub(crate) end: P,
    pub(crate) tag: u32,
}

impl<P: Place> Segment<P> {
    pub(crate) fn new(start: u64, end: u64, tag: u32) -> Self {
        Self { start: P::new(start), end: P::new(end), tag }
    }

    pub(crate) fn width(&self) -> u64 {
        self.end.get() - self.start.get()
    }

    /// Bases that two stretches share.
    pub(crate) fn overlap(&self, other: &Self) -> u64 {
        let end = self.end.min(other.end).get();
        end.saturating_sub(self.start.max(other.start).get())
    }
}

/// Where each chromosome begins on the line. Between two lies a place that is in neither, so
/// that nothing overlaps or touches across.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// Begin of each chromosome, and of the one that would follow.
    offsets: Vec<u64>,
}

impl Line {
    /// Makes room for all intervals of some tables, the first of which numbers chromosomes.
    pub(crate) fn of(tables: &[&Intervals<'_>]) -> Result<Self> {
        let mut ends = vec![0_i64; tables.first().map_or(0, |table| table.n_chroms())];
        for table in tables {
            let Columns { chrom, end, .. } = table.columns();
            for (&chrom, &end) in chrom.iter().zip(end) {
                if let Some(last) = ends.get_mut(chrom as usize) {
                    *last = end.max(*last);
                }
            }
        }
        let mut offsets = vec![0_u64];
        for (chrom, end) in ends.into_iter().enumerate() {
            let next = offsets[chrom].checked_add(end.unsigned_abs() + 1);
            let next = next.filter(|next| *next < 1 << 62).ok_or_else(|| {
                Error::invalid(format!("the ends of chromosomes add up to 2^62 bp or more: {end}"))
            })?;
            offsets.push(next);
        }
        Ok(Self { offsets })
    }

    /// Whether 32 bits hold every place, and so every number of bases.
    pub(crate) fn is_short(&self) -> bool {
        self.length() <= u64::from(u32::MAX)
    }

    pub(crate) fn n_chroms(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Number of places, those between chromosomes included.
    pub(crate) fn length(&self) -> u64 {
        self.offsets.last().copied().unwrap_or_default()
    }

    /// Where a chromosome begins and ends; one that is not on the line ends before it begins.
    pub(super) fn bounds(&self, chrom: u32) -> (u64, u64) {
        match self.offsets.get(chrom as usize..) {
            Some([from, next, ..]) => (*from, *next - 1),
            _ => (0, 0),
        }
    }

    /// Where a chromosome begins.
    pub(crate) fn offset(&self, chrom: u32) -> u64 {
        self.offsets[chrom as usize]
    }

    /// Splits sorted segments by chromosome.
    pub(crate) fn by_chromosome<'s, P: Place>(
        &self,
        mut sorted: &'s [Segment<P>],
    ) -> Vec<&'s [Segment<P>]> {
        let ends = self.offsets[1..].iter();
        ends.map(|end| {
            let (own, rest) = sorted.split_at(sorted.partition_point(|s| s.start.get() < *end));
            sorted = rest;
            own
        })
        .collect()
    }
}
