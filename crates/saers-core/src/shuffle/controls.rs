//! Shuffles: intervals put elsewhere at random, and counted there.

use rayon::prelude::*;

use super::exact::of_chromosome;
use super::{Group, Nulls};
use crate::intervals::{Place, Segment, sort, tally_touches};
use crate::{Result, threads};

/// Overlaps of shuffled intervals, summed over controls; row `feature * n_classes + class`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Controls {
    /// Sum of the counts.
    pub sum: Vec<u64>,
    /// Sum of the squared counts.
    pub squares: Vec<u64>,
    /// Controls that count at least as many overlaps as the intervals do where they lie.
    pub at_least: Vec<u32>,
    /// Controls that count at most as many.
    pub at_most: Vec<u32>,
    /// Placements, of all intervals and controls, for which no place that was tried had a like
    /// share of G and C: the nearest was taken.
    pub unmatched: u64,
}

/// What a thread uses again from control to control.
struct Bench<P> {
    moved: Vec<Segment<P>>,
    scratch: Vec<Segment<P>>,
    counts: Vec<u32>,
}

impl<P: Place> Nulls<P> {
    pub(super) fn controls(&self, n_controls: u32, seed: u64) -> Result<Controls> {
        let rows = self.observed.len();
        let part = n_controls.div_ceil(rayon::current_num_threads() as u32).max(1) as usize;
        (0..n_controls)
            .into_par_iter()
            .with_min_len(part.min(8))
            .try_fold(
                || (Controls::new(rows), None),
                |(mut controls, bench), number| {
                    let mut bench = bench.unwrap_or_else(|| Bench::new(rows));
                    controls.unmatched += self.control(number, seed, &mut bench)?;
                    controls.note(&bench.counts, &self.observed);
                    Ok((controls, Some(bench)))
                },
            )
            .map(|done| Ok(done?.0))
            .try_reduce(|| Controls::new(rows), |one, other| Ok(one.add(other)))
    }

    /// Counts the overlaps of one control, chromosome by chromosome, whose intervals stay in
    /// the processor's cache; returns how many places are unlike their intervals.
    fn control(&self, number: u32, seed: u64, bench: &mut Bench<P>) -> Result<u64> {
        let stream = mix(mix(seed).wrapping_add(u64::from(number)));
        bench.counts.fill(0);
        let mut unmatched = 0;
        for groups in self.groups.chunk_by(|a, b| a.chrom == b.chrom) {
            bench.moved.clear();
            for group in groups {
                threads::check()?;
                unmatched += self.shuffle(group, stream, &mut bench.moved);
            }
            sort(&mut bench.moved, &mut bench.scratch)?;
            let classes = of_chromosome(&self.classes, &self.class_ranges, groups[0].chrom);
            tally_touches(&bench.moved, classes, self.n_classes, &mut bench.counts)?;
        }
        Ok(unmatched)
    }

    /// Adds the intervals of a group at the places of one control.
    pub(super) fn shuffle(&self, group: &Group, stream: u64, moved: &mut Vec<Segment<P>>) -> u64 {
        let (room, width) = (&self.rooms[group.chrom as usize], group.width);
        let draws = (group.first..).map(|number| mix(stream.wrapping_add(number)));
        let Some(gc) = &self.gc else {
            moved.extend(group.tags.iter().zip(draws).map(|(&tag, draw)| {
                let start = group.draws.start(room, draw);
                Segment::new(start, start + width, tag)
            }));
            return 0;
        };
        let offset = self.line.offset(group.chrom);
        let mut unmatched = 0;
        moved.extend(group.tags.iter().zip(&group.levels).zip(draws).map(
            |((&tag, &own), draw)| {
                let place = |number| {
                    let draw = if number == 0 { draw } else { mix(draw.wrapping_add(number)) };
                    group.draws.start(room, draw) - offset
                };
                let (start, is_near) = gc.choose(group.chrom, width, own, place);
                unmatched += u64::from(!is_near);
                Segment::new(offset + start, offset + start + width, tag)
            },
        ));
        unmatched
    }
}

impl<P> Bench<P> {
    fn new(rows: usize) -> Self {
        Self { moved: Vec::new(), scratch: Vec::new(), counts: vec![0; rows] }
    }
}

impl Controls {
    fn new(rows: usize) -> Self {
        Self {
            sum: vec![0; rows],
            squares: vec![0; rows],
            at_least: vec![0; rows],
            at_most: vec![0; rows],
            unmatched: 0,
        }
    }

    /// Takes in the counts of one control.
    fn note(&mut self, counts: &[u32], observed: &[u32]) {
        for (row, (&count, &observed)) in counts.iter().zip(observed).enumerate() {
            self.sum[row] += u64::from(count);
            self.squares[row] += u64::from(count).pow(2);
            self.at_least[row] += u32::from(count >= observed);
            self.at_most[row] += u32::from(count <= observed);
        }
    }

    /// Joins two parts; whole numbers, so the order of joining does not matter.
    fn add(mut self, other: Self) -> Self {
        let wide = |a: &mut Vec<u64>, b: Vec<u64>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        wide(&mut self.sum, other.sum);
        wide(&mut self.squares, other.squares);
        let short = |a: &mut Vec<u32>, b: Vec<u32>| a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        short(&mut self.at_least, other.at_least);
        short(&mut self.at_most, other.at_most);
        self.unmatched += other.unmatched;
        self
    }
}

/// Spreads a counter over all 64-bit numbers (the finaliser of SplitMix64).
fn mix(counter: u64) -> u64 {
    let mut x = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
