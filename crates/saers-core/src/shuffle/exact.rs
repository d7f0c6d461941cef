//! The limit of infinitely many shuffles: moments and tails of the count of overlaps.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::{Placement, Room};
use crate::intervals::Interval;

/// Mass below this is dropped from the upper end of a distribution; tails end there.
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
}

impl Placement {
    /// Computes what [`Placement::controls`] estimates.
    ///
    /// An interval touches a class with a probability that is a ratio of two counts of
    /// starts, and intervals move independently, so the count has a Poisson-binomial
    /// distribution, which is added up interval by interval.
    ///
    /// ```
    /// use saers_core::{intervals::Interval, shuffle::Placement};
    /// let interval = |start, end| Interval { chrom: 0, start, end, tag: 0 };
    /// // 91 starts; those from 41 to 59 touch the class.
    /// let placement = Placement::new(
    ///     vec![interval(0, 10)], vec![interval(50, 60)], vec![interval(0, 100)], vec![], [1, 1],
    /// )?;
    /// assert_eq!(placement.expected().mean, [19.0 / 91.0]);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn expected(&self) -> Expected {
        let groups = self.groups();
        let chances: Vec<Vec<f64>> =
            groups.par_iter().map(|((chrom, width), _)| self.chances(*chrom, *width)).collect();
        let mut members = vec![Vec::new(); self.n_features];
        for ((_, features), chances) in groups.iter().zip(&chances) {
            for (&feature, &count) in features {
                members[feature as usize].push((count, chances));
            }
        }
        let observed = self.observed();
        let rows: Vec<[f64; 4]> = (0..observed.len())
            .into_par_iter()
            .map(|row| {
                let (feature, class) = (row / self.n_classes, row % self.n_classes);
                let chances = members[feature].iter().map(|(count, p)| (*count, p[class]));
                summarise(chances, observed[row])
            })
            .collect();
        let column = |i: usize| rows.iter().map(|row| row[i]).collect();
        Expected { mean: column(0), variance: column(1), at_least: column(2), at_most: column(3) }
    }

    /// Intervals by chromosome and width, and how many of them each feature has.
    fn groups(&self) -> Vec<((u32, i64), BTreeMap<u32, usize>)> {
        let mut groups: BTreeMap<(u32, i64), BTreeMap<u32, usize>> = BTreeMap::new();
        for interval in &self.intervals {
            let features = groups.entry((interval.chrom, interval.width())).or_default();
            *features.entry(interval.tag).or_default() += 1;
        }
        groups.into_iter().collect()
    }

    /// For each class, the share of starts at which an interval of this width touches it.
    fn chances(&self, chrom: u32, width: i64) -> Vec<f64> {
        let starts = Starts::new(&self.rooms[chrom as usize], width);
        let mut touching = vec![0; self.n_classes];
        // Starts below these were counted for the class already.
        let mut counted = vec![i64::MIN; self.n_classes];
        for class in of_chromosome(&self.annotation, chrom) {
            let number = class.tag as usize;
            let from = (class.start - width + 1).max(counted[number]);
            touching[number] += starts.below(class.end) - starts.below(from.min(class.end));
            counted[number] = counted[number].max(class.end);
        }
        let all = starts.below(i64::MAX) as f64;
        // An interval without bases touches nothing.
        touching.into_iter().map(|n| if width == 0 { 0.0 } else { n as f64 / all }).collect()
    }
}

fn of_chromosome(sorted: &[Interval], chrom: u32) -> &[Interval] {
    let from = sorted.partition_point(|interval| interval.chrom < chrom);
    let to = sorted.partition_point(|interval| interval.chrom <= chrom);
    &sorted[from..to]
}

/// The starts that one width has, countable below any place.
struct Starts {
    stretches: Vec<(i64, i64)>,
    before: Vec<i64>,
}

impl Starts {
    fn new(room: &Room, width: i64) -> Self {
        let stretches = room.starts(width);
        let counts = stretches.iter().scan(0, |sum, (from, to)| {
            *sum += to - from;
            Some(*sum)
        });
        let before = std::iter::once(0).chain(counts).collect();
        Self { stretches, before }
    }

    /// Number of starts below `place`.
    fn below(&self, place: i64) -> i64 {
        let whole = self.stretches.partition_point(|&(_, to)| to <= place);
        let part = self.stretches.get(whole).map_or(0, |&(from, _)| (place - from).max(0));
        self.before[whole] + part
    }
}

/// Mean, variance, upper and lower tail of a sum of independent trials.
fn summarise(chances: impl Iterator<Item = (usize, f64)> + Clone, observed: u32) -> [f64; 4] {
    let mean = chances.clone().map(|(count, p)| count as f64 * p).sum();
    let variance = chances.clone().map(|(count, p)| count as f64 * p * (1.0 - p)).sum();
    let mass = distribution(chances.flat_map(|(count, p)| std::iter::repeat_n(p, count)));
    let observed = observed as usize;
    let at_least: f64 = mass.iter().skip(observed).rev().sum();
    let at_most: f64 = mass.iter().take(observed + 1).sum();
    [mean, variance, at_least.clamp(NEGLIGIBLE, 1.0), at_most.clamp(NEGLIGIBLE, 1.0)]
}

/// Probability of each number of successes in independent trials.
fn distribution(chances: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut mass = vec![1.0_f64];
    let mut next = Vec::new();
    for p in chances.filter(|p| *p > 0.0) {
        mass.push(0.0);
        next.clear();
        next.push(mass[0] * (1.0 - p));
        // Reads one list and writes another: in place it would not be vectorised.
        next.extend(mass.iter().zip(&mass[1..]).map(|(hit, miss)| hit * p + miss * (1.0 - p)));
        std::mem::swap(&mut mass, &mut next);
        while mass.len() > 1 && mass[mass.len() - 1] < NEGLIGIBLE {
            mass.pop();
        }
    }
    mass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_chances_give_the_binomial_distribution() {
        let mass = distribution(std::iter::repeat_n(0.25, 4));
        let binomial = [81.0, 108.0, 54.0, 12.0, 1.0].map(|n| n / 256.0);
        for (found, expected) in mass.iter().zip(binomial) {
            assert!((found - expected).abs() < 1e-15);
        }
    }

    #[test]
    fn a_certain_trial_moves_everything_by_one() {
        assert_eq!(distribution([1.0, 0.5, 0.0].into_iter()), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn far_tails_keep_their_precision() {
        let [_, _, at_least, at_most] = summarise([(40, 0.001)].into_iter(), 40);
        assert!((at_least.log10() + 120.0).abs() < 1e-9);
        assert_eq!(at_most, 1.0);
    }
}
