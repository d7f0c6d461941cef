//! The code that is met at a rank, by counting: nothing is sorted or moved.

use multiversion::multiversion;

/// Codes that are rather listed than set apart by one more count.
const FEW: usize = 64;

/// Neighbours, and how many times so many, that a sample is made of.
const STRETCH: usize = 64;
const STRETCHES: usize = 16;

/// Places of a sample by which a rank may be off.
const OFF: usize = 48;

/// Lists the places of the codes within `reach` of the one at a rank (from 0, ascending), in any
/// order, and says which of them in ascending order is met at that rank.
///
/// No code may lie outside of `range`.
pub(super) fn around(
    codes: &[u16],
    range: (u16, u16),
    rank: usize,
    reach: u16,
    near: &mut Vec<u32>,
) -> usize {
    let Bracket { low, high, before, .. } = Bracket::of_rank(codes, range, rank);
    let (from, to) = (low.saturating_sub(reach), high.saturating_add(reach));
    near.clear();
    list_between(codes, from, to, near);
    let code = |place: &u32| codes[*place as usize];
    // All those below `low` are among the ones before; not all of them are listed.
    let not_listed = before - near.iter().filter(|place| code(place) < low).count();
    let middle = code(near.select_nth_unstable_by_key(rank - not_listed, code).1);
    let (from, to) = (middle.saturating_sub(reach), middle.saturating_add(reach));
    let less = near.iter().filter(|place| code(place) < from).count();
    near.retain(|place| (from..=to).contains(&code(place)));
    rank - not_listed - less
}

/// Codes `low..=high`, one of which is met at a rank.
#[derive(Clone, Copy)]
struct Bracket {
    low: u16,
    high: u16,
    /// Number of smaller codes.
    before: usize,
    /// Number of codes up to `high`.
    after: usize,
}

impl Bracket {
    /// Bounds the code at a rank until few codes lie between.
    fn of_rank(codes: &[u16], (low, high): (u16, u16), rank: usize) -> Self {
        let mut bracket = Self { low, high, before: 0, after: codes.len() };
        // A sample says where the rank is, to a few times the square root of its size.
        let mut room = [0; STRETCH * STRETCHES];
        let sample = sample(codes, &mut room);
        let mut near = Self { after: sample.len(), ..bracket };
        near.close(sample, rank * sample.len() / codes.len(), OFF);
        let step = OFF * usize::from(near.high - near.low) / (near.after - near.before);
        let step = step.min(usize::from(u16::MAX)) as u16;
        bracket.cut(codes, [near.low.saturating_sub(step), near.high.saturating_add(step)], rank);
        bracket.close(codes, rank, FEW);
        bracket
    }

    /// Cuts until few codes lie between.
    fn close(&mut self, codes: &[u16], rank: usize, few: usize) {
        for round in 0.. {
            if self.low == self.high || self.after - self.before <= few {
                break;
            }
            // Where codes lie unevenly, halving ends it.
            let pivots = match round % 3 {
                2 => [self.low + (self.high - self.low).div_ceil(2); 2],
                _ => [-1.0, 1.0].map(|side| self.aim(rank, side, few)),
            };
            self.cut(codes, pivots, rank);
        }
    }

    /// Cuts at two codes.
    fn cut(&mut self, codes: &[u16], pivots: [u16; 2], rank: usize) {
        for (pivot, count) in pivots.into_iter().zip(count_below(codes, pivots)) {
            if !(self.low < pivot && pivot <= self.high) {
                continue;
            }
            if count <= rank {
                (self.low, self.before) = (pivot, count);
            } else {
                (self.high, self.after) = (pivot - 1, count);
            }
        }
    }

    /// Names a code that lies past the rank, as far as codes lie evenly.
    fn aim(&self, rank: usize, side: f64, few: usize) -> u16 {
        let inside = (self.after - self.before) as f64;
        let past = side * (0.75 * inside.sqrt() + few as f64 / 8.0);
        let place = ((rank - self.before) as f64 + past) / inside;
        let width = f64::from(self.high - self.low);
        let step = (place.clamp(0.0, 1.0) * width) as u16;
        (self.low + step).clamp(self.low + 1, self.high)
    }
}

/// Takes some of the codes: all if few, else stretches at even distances.
fn sample<'a>(codes: &'a [u16], room: &'a mut [u16; STRETCH * STRETCHES]) -> &'a [u16] {
    if codes.len() < 4 * room.len() {
        return codes;
    }
    let parts = codes.chunks_exact(codes.len() / STRETCHES);
    for (to, part) in room.as_chunks_mut::<STRETCH>().0.iter_mut().zip(parts) {
        to.copy_from_slice(&part[..STRETCH]);
    }
    room
}

/// Counts the codes below each of two bounds.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn count_below(codes: &[u16], bounds: [u16; 2]) -> [usize; 2] {
    const LANES: usize = 64;
    let mut totals = [0; 2];
    // So short that no lane of 16 bits overflows.
    for part in codes.chunks(LANES * 60_000) {
        let mut counts = [[0_u16; LANES]; 2];
        let (chunks, rest) = part.as_chunks::<LANES>();
        for chunk in chunks {
            for (counts, bound) in counts.iter_mut().zip(bounds) {
                for (count, &code) in counts.iter_mut().zip(chunk) {
                    *count += u16::from(code < bound);
                }
            }
        }
        for ((total, counts), bound) in totals.iter_mut().zip(counts).zip(bounds) {
            *total += counts.into_iter().map(usize::from).sum::<usize>();
            *total += rest.iter().filter(|code| **code < bound).count();
        }
    }
    totals
}

/// Lists the places of codes in `from..=to`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn list_between(codes: &[u16], from: u16, to: u16, places: &mut Vec<u32>) {
    const LANES: usize = 32;
    let inside = |code: u16| (code >= from) & (code <= to);
    let (chunks, rest) = codes.as_chunks::<LANES>();
    for (index, chunk) in chunks.iter().enumerate() {
        let mut any = 0_u16;
        for &code in chunk {
            any |= u16::from(inside(code));
        }
        if any != 0 {
            list_inside(chunk, from, to, index * LANES, places);
        }
    }
    list_inside(rest, from, to, codes.len() - rest.len(), places);
}

/// Lists the places of at most 32 codes in `from..=to`, the first at `start`. Apart, as few
/// stretches hold any: the loop that calls it stays in wide vectors.
#[cold]
#[inline(never)]
fn list_inside(codes: &[u16], from: u16, to: u16, start: usize, places: &mut Vec<u32>) {
    let mut lanes = 0_u32;
    for (lane, &code) in codes.iter().enumerate() {
        lanes |= u32::from((code >= from) & (code <= to)) << lane;
    }
    while lanes != 0 {
        places.push(start as u32 + lanes.trailing_zeros());
        lanes &= lanes - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::around;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn codes_around_a_rank_are_those_of_the_sorted_codes(
            few in prop::collection::vec(0..=u16::MAX, 1..300),
            repeats in prop::sample::select(vec![1_usize, 2, 40]),
            shift in 0..16_u32,
            (position, reach) in (0.0..1.0_f64, prop::sample::select(vec![0, 1, 2, 900, u16::MAX])),
        ) {
            // Narrow ranges make ties; neighbours that rise mislead a sample of stretches.
            let mut codes = few.repeat(repeats);
            codes.iter_mut().for_each(|code| *code >>= shift);
            codes[..few.len() / 2].sort_unstable();
            let rank = (position * codes.len() as f64) as usize;
            let range = (*codes.iter().min().unwrap(), *codes.iter().max().unwrap());
            let mut near = vec![7];
            let place = around(&codes, range, rank, reach, &mut near);
            near.sort_unstable();
            let mut sorted = codes.clone();
            sorted.sort_unstable();
            let wanted = |code: u16| code.abs_diff(sorted[rank]) <= reach;
            let expected = (0..codes.len()).filter(|&at| wanted(codes[at])).map(|at| at as u32);
            prop_assert_eq!(&near, &expected.collect::<Vec<_>>());
            let mut found: Vec<u16> = near.iter().map(|&at| codes[at as usize]).collect();
            found.sort_unstable();
            prop_assert_eq!(found[place], sorted[rank]);
            prop_assert_eq!(rank - place, sorted.partition_point(|code| *code < found[0]));
        }
    }
}
