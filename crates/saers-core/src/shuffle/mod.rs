//! What overlaps would be if intervals lay anywhere: by shuffling them, and exactly.

mod exact;
mod room;

use rayon::prelude::*;

pub use exact::Expected;
use room::Room;

use crate::intervals::{Interval, Touched, check, merge, subtract, sweep};
use crate::{Error, Result};

/// Intervals, an annotation, and the room in which the intervals may be put elsewhere.
///
/// An interval keeps its chromosome and width; every start at which it lies wholly inside one
/// stretch of free space is equally likely, and intervals move independently of each other.
///
/// ```
/// use saers_core::{intervals::Interval, shuffle::Placement};
/// let interval = |start, end| Interval { chrom: 0, start, end, tag: 0 };
/// let (space, holes) = (vec![interval(0, 100)], vec![interval(50, 60)]);
/// let placement =
///     Placement::new(vec![interval(0, 10)], vec![interval(0, 100)], space, holes, [1, 1])?;
/// assert_eq!(placement.observed(), [1]);
/// assert_eq!(placement.controls(20, 7).sum, [20]);
/// # Ok::<(), saers_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Placement {
    /// In sweep order, so that the caller's order of rows changes nothing.
    intervals: Vec<Interval>,
    annotation: Vec<Interval>,
    rooms: Vec<Room>,
    n_features: usize,
    n_classes: usize,
}

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
}

impl Placement {
    /// Sets up features (tags of `intervals`), classes (tags of `annotation`) and free space:
    /// the union of `space` without `holes`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where an interval is wrong or fits nowhere.
    pub fn new(
        intervals: Vec<Interval>,
        annotation: Vec<Interval>,
        space: Vec<Interval>,
        holes: Vec<Interval>,
        [n_features, n_classes]: [usize; 2],
    ) -> Result<Self> {
        check("intervals", &intervals, n_features)?;
        check("annotation", &annotation, n_classes)?;
        check("space", &space, 1)?;
        check("holes", &holes, 1)?;
        let rooms = Room::of_chromosomes(&subtract(space, holes));
        for (number, interval) in intervals.iter().enumerate() {
            let room = rooms.get(interval.chrom as usize);
            if room.is_none_or(|room| room.n_starts(interval.width()) == 0) {
                return Err(Error::invalid(format!(
                    "intervals[{number}]: nowhere on its chromosome are {} bases free in a row",
                    interval.width()
                )));
            }
        }
        let mut intervals = intervals;
        intervals.par_sort_unstable();
        Ok(Self { intervals, annotation: merge(annotation), rooms, n_features, n_classes })
    }

    /// Intervals of each feature that touch each class where they lie.
    pub fn observed(&self) -> Vec<u32> {
        let mut counts = vec![0; self.n_features * self.n_classes];
        self.count(&self.intervals, &mut counts);
        counts
    }

    /// Puts all intervals elsewhere `n_controls` times and counts again.
    ///
    /// Each place follows from the seed, the control's number and the interval's alone.
    pub fn controls(&self, n_controls: u32, seed: u64) -> Controls {
        let observed = self.observed();
        let part = n_controls.div_ceil(rayon::current_num_threads() as u32).max(1) as usize;
        let numbers: Vec<u32> = (0..n_controls).collect();
        numbers
            .par_chunks(part)
            .map(|numbers| self.some_controls(numbers, seed, &observed))
            .reduce(|| Controls::new(observed.len()), Controls::add)
    }

    fn some_controls(&self, numbers: &[u32], seed: u64, observed: &[u32]) -> Controls {
        let mut controls = Controls::new(observed.len());
        let mut moved = self.intervals.clone();
        let mut counts = vec![0; observed.len()];
        for &number in numbers {
            self.shuffle(number, seed, &mut moved);
            moved.sort_unstable_by_key(Interval::sweep_key);
            counts.fill(0);
            self.count(&moved, &mut counts);
            controls.note(&counts, observed);
        }
        controls
    }

    /// Fills `moved` with the intervals at the places of one control.
    fn shuffle(&self, control: u32, seed: u64, moved: &mut [Interval]) {
        let stream = mix(mix(seed).wrapping_add(u64::from(control)));
        for ((number, interval), moved) in (0_u64..).zip(&self.intervals).zip(moved) {
            let room = &self.rooms[interval.chrom as usize];
            let draw = mix(stream.wrapping_add(number));
            let choices = u128::from(room.n_starts(interval.width()));
            let start = room.start(interval.width(), ((u128::from(draw) * choices) >> 64) as u64);
            *moved = Interval { start, end: start + interval.width(), ..*interval };
        }
    }

    /// Adds to `counts` the sorted intervals that touch each class.
    fn count(&self, sorted: &[Interval], counts: &mut [u32]) {
        let mut touched = Touched::new(self.n_classes);
        sweep(sorted, &self.annotation, |number, interval, class| {
            if touched.is_first(number, class.tag) {
                counts[interval.tag as usize * self.n_classes + class.tag as usize] += 1;
            }
        });
    }
}

impl Controls {
    fn new(rows: usize) -> Self {
        Self {
            sum: vec![0; rows],
            squares: vec![0; rows],
            at_least: vec![0; rows],
            at_most: vec![0; rows],
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

#[cfg(test)]
mod tests;
