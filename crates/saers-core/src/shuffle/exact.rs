//! The limit of infinitely many shuffles: moments and tails of the count of overlaps.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::gc::{GcMatch, Histogram, Level};
use super::tails::{Masses, Trials, tails};
use super::{Group, Nulls, Room};
use crate::intervals::{Place, Segment};
use crate::{Result, threads};

/// Tails are told down to here.
const NEGLIGIBLE: f64 = 1e-290;

/// Distribution of the number of overlaps; row `feature * n_classes + class`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// Mean of the count.
    pub mean: Vec<f64>,
    /// Variance of the count.
    pub variance: Vec<f64>,
    /// Probability of a count of at least the one observed.
    pub at_least: Vec<f64>,
    /// Probability of a count of at most the one observed.
    pub at_most: Vec<f64>,
    /// Intervals for which no place of their share of G and C is free: they are put where it
    /// comes nearest.
    pub unmatched: u64,
}

/// Starts that are equally likely for some intervals, and those that touch each class.
struct Chances {
    starts: u64,
    touching: Vec<u64>,
    /// Intervals of each feature.
    members: BTreeMap<u32, u32>,
}

impl Chances {
    fn trials(&self, count: u32, class: usize) -> Trials {
        let (all, hits) = (self.starts as f64, self.touching[class]);
        Trials { count, hit: hits as f64 / all, miss: (self.starts - hits) as f64 / all }
    }
}

impl<P: Place> Nulls<P> {
    pub(super) fn expected(&self) -> Result<Expected> {
        let found: Vec<(Vec<Chances>, u64)> = self
            .groups
            .par_iter()
            .map(|group| match &self.gc {
                Some(gc) => self.chances_by_level(group, gc),
                None => Ok((vec![self.chances(group)?], 0)),
            })
            .collect::<Result<_>>()?;
        let unmatched = found.iter().map(|(_, unmatched)| unmatched).sum();
        let mut members = vec![Vec::new(); self.n_features];
        for chances in found.iter().flat_map(|(chances, _)| chances) {
            for (&feature, &count) in &chances.members {
                members[feature as usize].push((count, chances));
            }
        }
        let row = |masses: &mut Masses, row: usize| {
            threads::check()?;
            let (feature, class) = (row / self.n_classes, row % self.n_classes);
            let trials: Vec<Trials> = members[feature]
                .iter()
                .map(|(count, chances)| chances.trials(*count, class))
                .collect();
            Ok(summarise(&trials, self.observed[row], masses))
        };
        let rows = (0..self.observed.len()).into_par_iter().map_init(Masses::default, row);
        let rows: Vec<[f64; 4]> = rows.collect::<Result<_>>()?;
        let column = |i: usize| rows.iter().map(|row| row[i]).collect();
        let (mean, variance, at_least, at_most) = (column(0), column(1), column(2), column(3));
        Ok(Expected { mean, variance, at_least, at_most, unmatched })
    }

    fn chances(&self, group: &Group) -> Result<Chances> {
        let room = &self.rooms[group.chrom as usize];
        let starts = Starts::new(room, group.width);
        let mut touching = vec![0; self.n_classes];
        self.touching_starts(group, |class, from, to| {
            touching[class] += starts.below(to) - starts.below(from);
            Ok(())
        })?;
        let members = count_each(group.tags.iter());
        Ok(Chances { starts: starts.below(u64::MAX), touching, members })
    }

    /// The same among places of like composition, apart for each composition of an interval.
    fn chances_by_level(&self, group: &Group, gc: &GcMatch) -> Result<(Vec<Chances>, u64)> {
        let starts = Starts::new(&self.rooms[group.chrom as usize], group.width);
        let offset = self.line.offset(group.chrom);
        let mut histogram = Histogram::new(gc, group.chrom, group.width);
        let mut all = Vec::new();
        for &(from, to) in &starts.stretches {
            histogram.add(from - offset, to - offset, &mut all)?;
        }
        let mut touching = vec![Vec::new(); self.n_classes];
        self.touching_starts(group, |class, from, to| {
            starts.within(from, to).try_for_each(|(from, to)| {
                histogram.add(from - offset, to - offset, &mut touching[class])
            })
        })?;
        let mut members: BTreeMap<Level, Vec<u32>> = BTreeMap::new();
        for (level, feature) in group.levels.iter().zip(&group.tags) {
            members.entry(*level).or_default().push(*feature);
        }
        let mut unmatched = 0;
        let chances = members.into_iter().map(|(level, features)| {
            let (near, is_near) = histogram.near(gc, level, &all);
            unmatched += if is_near { 0 } else { features.len() as u64 };
            let sum = |counts: &[u64]| near.iter().filter_map(|number| counts.get(*number)).sum();
            let touching = touching.iter().map(|counts| sum(counts)).collect();
            Chances { starts: sum(&all), touching, members: count_each(features.iter()) }
        });
        Ok((chances.collect(), unmatched))
    }

    /// Visits the stretches of starts at which an interval of the group touches each class,
    /// free or not, every start of a class once.
    fn touching_starts(
        &self,
        group: &Group,
        mut visit: impl FnMut(usize, u64, u64) -> Result<()>,
    ) -> Result<()> {
        threads::check()?;
        // Starts below these were visited for the class already.
        let mut visited = vec![0; self.n_classes];
        for class in of_chromosome(&self.classes, &self.class_ranges, group.chrom) {
            let (start, end, number) = (class.start.get(), class.end.get(), class.tag as usize);
            let from = (start + 1).saturating_sub(group.width).max(visited[number]);
            if from < end {
                visit(number, from, end)?;
                visited[number] = end;
            }
        }
        Ok(())
    }
}

pub(super) fn of_chromosome<'s, P>(
    sorted: &'s [Segment<P>],
    ranges: &[usize],
    chrom: u32,
) -> &'s [Segment<P>] {
    &sorted[ranges[chrom as usize]..ranges[chrom as usize + 1]]
}

fn count_each<'a>(features: impl Iterator<Item = &'a u32>) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    features.for_each(|feature| *counts.entry(*feature).or_default() += 1);
    counts
}

/// The starts that one width has, countable below any place.
struct Starts {
    stretches: Vec<(u64, u64)>,
    before: Vec<u64>,
}

impl Starts {
    fn new(room: &Room, width: u64) -> Self {
        let stretches = room.starts(width);
        let counts = stretches.iter().scan(0, |sum, (from, to)| {
            *sum += to - from;
            Some(*sum)
        });
        let before = std::iter::once(0).chain(counts).collect();
        Self { stretches, before }
    }

    /// Number of starts below `place`.
    fn below(&self, place: u64) -> u64 {
        let whole = self.stretches.partition_point(|&(_, to)| to <= place);
        let part = self.stretches.get(whole).map_or(0, |&(from, _)| place.saturating_sub(from));
        self.before[whole] + part
    }

    /// The stretches of starts among `from..to`.
    fn within(&self, from: u64, to: u64) -> impl Iterator<Item = (u64, u64)> {
        let first = self.stretches.partition_point(|&(_, end)| end <= from);
        let cut = move |&(start, end): &(u64, u64)| (start.max(from), end.min(to));
        self.stretches[first..].iter().take_while(move |(start, _)| *start < to).map(cut)
    }
}

/// Mean, variance, upper and lower tail of a sum of independent trials.
fn summarise(trials: &[Trials], observed: u32, masses: &mut Masses) -> [f64; 4] {
    let mean = trials.iter().map(Trials::mean).sum();
    let variance = trials.iter().map(Trials::variance).sum();
    let [at_least, at_most] = tails(trials, observed, masses);
    [mean, variance, at_least.clamp(NEGLIGIBLE, 1.0), at_most.clamp(NEGLIGIBLE, 1.0)]
}
