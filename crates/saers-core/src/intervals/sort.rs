//! Sorting of segments in two passes over buckets of equal width.

use super::{Place, Segment};
use crate::{Result, threads};

/// Buckets of the first pass: as many as the processor can write to side by side.
const COARSE: u32 = 11;
/// Lists up to this length are left to the standard library.
const FEW: usize = 32;

/// Sorts by start, then end, then tag; `scratch` is room that the next call may use again.
///
/// # Errors
/// [`crate::Error::Stopped`] where the caller gives up.
pub(crate) fn sort<P: Place>(
    segments: &mut [Segment<P>],
    scratch: &mut Vec<Segment<P>>,
) -> Result<()> {
    if segments.is_sorted() {
        return Ok(());
    }
    if segments.len() <= FEW {
        segments.sort_unstable();
        return Ok(());
    }
    let (low, high) = segments.iter().fold((u64::MAX, 0), |(low, high), segment| {
        (low.min(segment.start.get()), high.max(segment.start.get()))
    });
    let coarse = Buckets::new(low, high);
    scratch.clear();
    scratch.extend_from_slice(segments);
    let mut ends = coarse.counters();
    coarse.spread(scratch, segments, &mut ends);
    let mut fine_ends = Vec::new();
    coarse.split(segments, &ends).into_iter().try_for_each(|(within, bucket)| {
        let copy = &mut scratch[..bucket.len()];
        copy.copy_from_slice(bucket);
        settle(within, copy, bucket, &mut fine_ends)
    })
}

/// Sorts the segments of one bucket from one list into another.
pub(super) fn settle<P: Place>(
    within: Buckets,
    from: &[Segment<P>],
    to: &mut [Segment<P>],
    ends: &mut Vec<usize>,
) -> Result<()> {
    if from.len() <= FEW {
        to.copy_from_slice(from);
        to.sort_unstable();
        return Ok(());
    }
    threads::check()?;
    // About one bucket a segment: what is left to sort are a few neighbours.
    let bits = (usize::BITS - from.len().leading_zeros()).min(within.shift);
    let fine = Buckets { low: within.low, shift: within.shift - bits, count: 1 << bits };
    ends.clear();
    ends.resize(fine.count + 1, 0);
    fine.spread(from, to, ends);
    insert_each(to);
    Ok(())
}

/// Sorts a list in which few are out of place by more than a few places.
fn insert_each<P: Place>(segments: &mut [Segment<P>]) {
    let mut moves = 0;
    for number in 1..segments.len() {
        let segment = segments[number];
        let mut place = number;
        while place > 0 && segment < segments[place - 1] {
            segments[place] = segments[place - 1];
            place -= 1;
        }
        segments[place] = segment;
        moves += number - place;
        if moves > 8 * segments.len() {
            return segments.sort_unstable();
        }
    }
}

/// Stretches of the line of `2^shift` places each, from `low` on.
#[derive(Clone, Copy)]
pub(super) struct Buckets {
    low: u64,
    shift: u32,
    count: usize,
}

impl Buckets {
    /// Divides the places from `low` to `high`.
    pub(super) fn new(low: u64, high: u64) -> Self {
        let shift = (u64::BITS - (high - low).leading_zeros()).saturating_sub(COARSE);
        Self { low, shift, count: ((high - low) >> shift) as usize + 1 }
    }

    /// Number of the bucket that holds a segment's start.
    fn of<P: Place>(&self, segment: &Segment<P>) -> usize {
        ((segment.start.get() - self.low) >> self.shift) as usize
    }

    /// One counter a bucket, each behind its own place.
    pub(super) fn counters(&self) -> Vec<usize> {
        vec![0; self.count + 1]
    }

    /// Turns counts, each behind its own place, into where buckets begin; returns their sum.
    pub(super) fn sum_up(counts: &mut [usize]) -> usize {
        counts.iter_mut().fold(0, |sum, count| {
            *count += sum;
            *count
        })
    }

    /// Counts segments by bucket, each count behind its own place.
    pub(super) fn count<P: Place>(&self, segments: &[Segment<P>], counts: &mut [usize]) {
        segments.iter().for_each(|segment| counts[self.of(segment) + 1] += 1);
    }

    /// Copies segments to where their buckets go on, and moves that on.
    pub(super) fn place<P: Place>(
        &self,
        from: &[Segment<P>],
        to: &mut [Segment<P>],
        ends: &mut [usize],
    ) {
        for segment in from {
            let next = &mut ends[self.of(segment)];
            to[*next] = *segment;
            *next += 1;
        }
    }

    /// Copies segments by bucket, and leaves in `ends`, zero before, where each bucket ends.
    fn spread<P: Place>(&self, from: &[Segment<P>], to: &mut [Segment<P>], ends: &mut [usize]) {
        self.count(from, ends);
        Self::sum_up(ends);
        self.place(from, to, ends);
    }

    /// Splits a list at the ends of buckets, those without segments left out.
    pub(super) fn split<'s, P>(
        &self,
        mut segments: &'s mut [Segment<P>],
        ends: &[usize],
    ) -> Vec<(Self, &'s mut [Segment<P>])> {
        let mut parts = Vec::with_capacity(ends.len());
        let mut first = 0;
        for (number, &end) in (0_u64..).zip(ends) {
            let (own, rest) = std::mem::take(&mut segments).split_at_mut(end - first);
            (segments, first) = (rest, end);
            if !own.is_empty() {
                let low = self.low + (number << self.shift);
                parts.push((Self { low, ..*self }, own));
            }
        }
        parts
    }
}
