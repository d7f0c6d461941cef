//! Free space of one chromosome, and the starts it offers to an interval of some width.

use crate::intervals::Interval;

/// Free stretches, the longest first, with the sum of lengths before each.
///
/// Those that are long enough for an interval are then the first ones, and the number of
/// starts in the first `j` of them is `before[j] - j * (width - 1)`, for any width at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    stretches: Vec<(i64, i64)>,
    before: Vec<i64>,
}

impl Room {
    /// Splits sorted free stretches by chromosome; the place in the list is its number.
    pub(super) fn of_chromosomes(free: &[Interval]) -> Vec<Self> {
        let mut rooms = vec![Self::default(); free.last().map_or(0, |i| i.chrom as usize + 1)];
        for interval in free {
            rooms[interval.chrom as usize].stretches.push((interval.start, interval.end));
        }
        rooms.iter_mut().for_each(Self::arrange);
        rooms
    }

    fn arrange(&mut self) {
        self.stretches.sort_by_key(|&(start, end)| (start - end, start));
        let lengths = self.stretches.iter().scan(0, |sum, (start, end)| {
            *sum += end - start;
            Some(*sum)
        });
        self.before = std::iter::once(0).chain(lengths).collect();
    }

    /// Stretches that hold an interval of this width.
    fn n_fitting(&self, width: i64) -> usize {
        self.stretches.partition_point(|(start, end)| end - start >= width)
    }

    fn starts_before(&self, stretch: usize, width: i64) -> i64 {
        self.before[stretch] - stretch as i64 * (width - 1)
    }

    /// Number of places for an interval of this width.
    pub(super) fn n_starts(&self, width: i64) -> u64 {
        let fitting = self.n_fitting(width);
        if fitting == 0 { 0 } else { self.starts_before(fitting, width).unsigned_abs() }
    }

    /// The start of the place with this number, below [`Room::n_starts`].
    pub(super) fn start(&self, width: i64, number: u64) -> i64 {
        let number = number as i64;
        let (mut low, mut high) = (0, self.n_fitting(width));
        while high - low > 1 {
            let middle = low.midpoint(high);
            if self.starts_before(middle, width) <= number {
                low = middle;
            } else {
                high = middle;
            }
        }
        self.stretches[low].0 + number - self.starts_before(low, width)
    }

    /// All starts for an interval of this width, as sorted half-open stretches of starts.
    pub(super) fn starts(&self, width: i64) -> Vec<(i64, i64)> {
        let fitting = &self.stretches[..self.n_fitting(width)];
        let mut starts: Vec<_> =
            fitting.iter().map(|&(start, end)| (start, end - width + 1)).collect();
        starts.sort_unstable();
        starts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_place_comes_once(gaps in prop::collection::vec((1_i64..9, 1_i64..12), 1..8), width in 0_i64..12) {
            let mut at = 0;
            let mut free = Vec::new();
            for (gap, length) in gaps {
                free.push(Interval { chrom: 1, start: at + gap, end: at + gap + length, tag: 0 });
                at += gap + length;
            }
            let room = &Room::of_chromosomes(&free)[1];
            let mut expected: Vec<i64> = (0..at + 1)
                .filter(|s| free.iter().any(|f| f.start <= *s && s + width <= f.end))
                .collect();
            let mut places: Vec<i64> =
                (0..room.n_starts(width)).map(|number| room.start(width, number)).collect();
            places.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(&places, &expected);
            let listed: Vec<i64> = room.starts(width).into_iter().flat_map(|(a, b)| a..b).collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
