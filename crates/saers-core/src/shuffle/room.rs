//! Free space of one chromosome, and the starts it offers to an interval of some width.

use crate::intervals::{Place, Segment};

/// Free stretches, the longest first, with the sum of lengths before each.
///
/// Those that are long enough for an interval are then the first ones, and the number of
/// starts in the first `j` of them is `before[j] - j * (width - 1)`, for any width at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    stretches: Vec<(u64, u64)>,
    before: Vec<u64>,
}

impl Room {
    /// Takes the free stretches of one chromosome.
    pub(super) fn new<P: Place>(free: &[Segment<P>]) -> Self {
        let mut stretches: Vec<_> = free.iter().map(|s| (s.start.get(), s.end.get())).collect();
        stretches.sort_by_key(|&(start, end)| (std::cmp::Reverse(end - start), start));
        let lengths = stretches.iter().scan(0, |sum, (start, end)| {
            *sum += end - start;
            Some(*sum)
        });
        let before = std::iter::once(0).chain(lengths).collect();
        Self { stretches, before }
    }

    /// Stretches that hold an interval of this width.
    fn n_fitting(&self, width: u64) -> usize {
        self.stretches.partition_point(|(start, end)| end - start >= width)
    }

    fn starts_before(&self, stretch: usize, width: u64) -> u64 {
        self.before[stretch] - stretch as u64 * (width - 1)
    }

    /// All starts for an interval of this width, as sorted half-open stretches of starts.
    pub(super) fn starts(&self, width: u64) -> Vec<(u64, u64)> {
        let fitting = &self.stretches[..self.n_fitting(width)];
        let mut starts: Vec<_> =
            fitting.iter().map(|&(start, end)| (start, end - width + 1)).collect();
        starts.sort_unstable();
        starts
    }
}

/// Draws starts for intervals of one width.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    width: u64,
    n_starts: u64,
    /// Stretch that holds the first start of each equal share of all starts.
    guide: Vec<u32>,
}

impl Draws {
    /// Prepares for about `count` draws.
    pub(super) fn new(room: &Room, width: u64, count: usize) -> Self {
        let fitting = room.n_fitting(width);
        let n_starts = room.starts_before(fitting, width);
        let mut draws = Self { width, n_starts, guide: vec![0, fitting.saturating_sub(1) as u32] };
        if fitting > 0 {
            // Shares as many as stretches leave one or two to choose from; few draws need none.
            let shares = fitting.min(count).max(1) as u64;
            let first =
                |share| (u128::from(share) * u128::from(n_starts) / u128::from(shares)) as u64;
            let stretch = |share| draws.stretch(room, first(share), 0, fitting) as u32;
            draws.guide = (0..shares).map(stretch).chain([fitting as u32 - 1]).collect();
        }
        draws
    }

    /// Number of starts to choose from.
    pub(super) fn n_starts(&self) -> u64 {
        self.n_starts
    }

    /// The start that a uniform 64-bit number stands for; there must be one to choose.
    pub(super) fn start(&self, room: &Room, draw: u64) -> u64 {
        let of = |choices: u64| ((u128::from(draw) * u128::from(choices)) >> 64) as u64;
        let (number, share) = (of(self.n_starts), of(self.guide.len() as u64 - 1) as usize);
        let [low, high] = [self.guide[share] as usize, self.guide[share + 1] as usize + 1];
        let stretch = self.stretch(room, number, low, high);
        room.stretches[stretch].0 + number - room.starts_before(stretch, self.width)
    }

    /// The stretch in `low..high` that holds the start of this number.
    fn stretch(&self, room: &Room, number: u64, mut low: usize, mut high: usize) -> usize {
        while high - low > 1 {
            let middle = low.midpoint(high);
            if room.starts_before(middle, self.width) <= number {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The draw that stands for a number.
    fn draw_of(number: u64, choices: u64) -> u64 {
        ((u128::from(number) << 64) / u128::from(choices)) as u64 + 1
    }

    proptest! {
        #[test]
        fn every_place_comes_once(
            gaps in prop::collection::vec((1_u64..9, 1_u64..12), 1..8),
            width in 1_u64..12,
            count in 0_usize..20,
        ) {
            let mut at = 0;
            let mut free = Vec::new();
            for (gap, length) in gaps {
                free.push(Segment::<u64>::new(at + gap, at + gap + length, 0));
                at += gap + length;
            }
            let room = Room::new(&free);
            let expected: Vec<u64> = (0..at + 1)
                .filter(|s| free.iter().any(|f| f.start <= *s && s + width <= f.end))
                .collect();
            let draws = Draws::new(&room, width, count);
            let n = draws.n_starts();
            let mut places: Vec<u64> = (0..n).map(|i| draws.start(&room, draw_of(i, n))).collect();
            places.sort_unstable();
            prop_assert_eq!(&places, &expected);
            let listed: Vec<u64> = room.starts(width).into_iter().flat_map(|(a, b)| a..b).collect();
            prop_assert_eq!(listed, expected);
        }
    }
}
