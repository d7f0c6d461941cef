//! Places whose share of G and C is like that of the interval that is put there.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::fasta::Composition;
use crate::{Error, Result, threads};

/// Places that are tried for one interval of one control.
const TRIES: u64 = 1000;
/// Starts between two looks at whether the caller still waits.
const SPAN: u64 = 1 << 20;

/// Compositions of the chromosomes and how far the share of G and C may be off.
///
/// A clone shares the compositions.
#[derive(Clone, Debug)]
pub struct GcMatch {
    compositions: Arc<Vec<Composition>>,
    tolerance: f64,
}

/// G and C of an interval, and its known bases; the order means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    gc: u32,
    known: u32,
}

impl GcMatch {
    /// Takes one composition a chromosome, and a tolerance between 0 and 1.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where the tolerance is outside.
    ///
    /// ```
    /// assert!(saers_core::shuffle::GcMatch::new(vec![], 1.5).is_err());
    /// ```
    pub fn new(compositions: Vec<Composition>, tolerance: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&tolerance) {
            return Err(Error::invalid(format!("gc_match must lie in 0..1, got {tolerance}")));
        }
        Ok(Self { compositions: Arc::new(compositions), tolerance })
    }

    pub(super) fn n_chroms(&self) -> usize {
        self.compositions.len()
    }

    /// Level of the interval at `start` of a chromosome.
    pub(super) fn level(&self, chrom: u32, start: u64, width: u64) -> Level {
        let composition = &self.compositions[chrom as usize];
        let end = start + width;
        Level { gc: composition.gc(start, end), known: composition.known(start, end) }
    }

    /// How far apart two levels are, as a product with both numbers of known bases, which
    /// keeps whole numbers whole. Nothing is unlike an interval of which no base is known.
    fn distance(own: Level, other: Level) -> (f64, f64) {
        if own.known == 0 {
            return (0.0, 1.0);
        }
        if other.known == 0 {
            return (f64::INFINITY, 1.0);
        }
        let [a, b] = [(own.gc, other.known), (other.gc, own.known)]
            .map(|(gc, known)| f64::from(gc) * f64::from(known));
        ((a - b).abs(), f64::from(own.known) * f64::from(other.known))
    }

    fn is_near(&self, own: Level, other: Level) -> bool {
        let (distance, scale) = Self::distance(own, other);
        distance <= self.tolerance * scale + 1e-9
    }

    /// Tries places until one is near, else takes the nearest; tells whether one was.
    pub(super) fn choose(
        &self,
        chrom: u32,
        width: u64,
        own: Level,
        place: impl Fn(u64) -> u64,
    ) -> (u64, bool) {
        let mut nearest = (f64::INFINITY, 0);
        for number in 0..TRIES {
            let start = place(number);
            let other = self.level(chrom, start, width);
            if self.is_near(own, other) {
                return (start, true);
            }
            let (distance, scale) = Self::distance(own, other);
            if number == 0 || distance / scale < nearest.0 {
                nearest = (distance / scale, start);
            }
        }
        (nearest.1, false)
    }
}

/// Numbers of starts by level, for intervals of one width on one chromosome.
pub(super) struct Histogram<'a> {
    composition: &'a Composition,
    width: u64,
    /// Numbers of levels that hold unknown bases; others are numbered by their G and C.
    odd: BTreeMap<Level, usize>,
}

impl<'a> Histogram<'a> {
    pub(super) fn new(gc: &'a GcMatch, chrom: u32, width: u64) -> Self {
        let composition = &gc.compositions[chrom as usize];
        Self { composition, width, odd: BTreeMap::new() }
    }

    /// Adds the starts `from..to` of the chromosome to `counts`, which grows as needed.
    pub(super) fn add(&mut self, from: u64, to: u64, counts: &mut Vec<u64>) -> Result<()> {
        let plain = self.width as usize + 1;
        if counts.len() < plain {
            counts.resize(plain, 0);
        }
        for from in (from..to).step_by(SPAN as usize) {
            threads::check()?;
            let to = to.min(from + SPAN);
            if self.composition.known(from, to + self.width - 1) as u64
                == to - from + self.width - 1
            {
                self.add_known(from, to, counts);
            } else {
                (from..to).for_each(|start| self.add_one(start, counts));
            }
        }
        Ok(())
    }

    /// Adds starts of stretches of which every base is known.
    fn add_known(&self, from: u64, to: u64, counts: &mut [u64]) {
        let mut gc = self.composition.gc(from, from + self.width) as usize;
        for start in from..to {
            counts[gc] += 1;
            gc += usize::from(self.composition.is_gc(start + self.width));
            gc -= usize::from(self.composition.is_gc(start));
        }
    }

    fn add_one(&mut self, start: u64, counts: &mut Vec<u64>) {
        let end = start + self.width;
        let level = Level {
            gc: self.composition.gc(start, end),
            known: self.composition.known(start, end),
        };
        let next = self.width as usize + 1 + self.odd.len();
        let number = if u64::from(level.known) == self.width {
            level.gc as usize
        } else {
            *self.odd.entry(level).or_insert(next)
        };
        if counts.len() <= number {
            counts.resize(number + 1, 0);
        }
        counts[number] += 1;
    }

    /// Numbers of the levels near `own` among those with a count, else of the nearest ones;
    /// tells whether any was near.
    pub(super) fn near(&self, gc: &GcMatch, own: Level, counts: &[u64]) -> (Vec<usize>, bool) {
        let known = self.width as u32;
        let plain = (0..=known).map(|gc| (Level { gc, known }, gc as usize));
        let levels: Vec<(Level, usize)> = plain
            .chain(self.odd.iter().map(|(level, number)| (*level, *number)))
            .filter(|(_, number)| counts.get(*number).is_some_and(|count| *count > 0))
            .collect();
        let pick = |is_in: &dyn Fn(Level) -> bool| -> Vec<usize> {
            levels.iter().filter(|(level, _)| is_in(*level)).map(|(_, number)| *number).collect()
        };
        let near = pick(&|level| gc.is_near(own, level));
        if !near.is_empty() {
            return (near, true);
        }
        let apart = |level| {
            let (distance, scale) = GcMatch::distance(own, level);
            distance / scale
        };
        let least = levels.iter().map(|(level, _)| apart(*level)).fold(f64::INFINITY, f64::min);
        (pick(&|level| apart(level) <= least), false)
    }
}
