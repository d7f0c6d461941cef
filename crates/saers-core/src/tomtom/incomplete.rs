//! Incomplete scores: only aligned columns count, and every alignment has a p-value of its own.

use std::cmp::Reverse;

use super::Options;
use super::alignment::{Alignment, Lay, lays, sums};
use super::columns::{Class, Columns};
use super::scaled::{LANES, Scaled};
use super::tails::{Column, Memory, Tails};
use super::ties;
use crate::Result;

/// The best alignment of a strand so far, by its own p-value.
#[derive(Clone, Copy)]
pub(super) struct Best {
    pub p_value: f64,
    pub score: i64,
    pub lay: Lay,
}

impl Best {
    /// Orders alignments, the better one first: of equal p-values the larger overlap wins, then the
    /// smaller offset.
    pub fn rank(&self) -> (f64, Reverse<usize>, i64) {
        (self.p_value, Reverse(self.lay.overlap()), self.lay.offset)
    }
}

/// Finds the alignment of the smallest p-value for every strand, and the chance that the best of
/// as many alignments as there are has one so small.
///
/// # Errors
/// Where the caller asked to stop.
pub(super) fn best_alignments(
    scaled: &Scaled,
    columns: &Columns,
    options: &Options,
    memory: &mut Memory,
) -> Result<(Vec<Alignment>, Vec<f64>)> {
    let width = scaled.width();
    let start = Best { p_value: f64::INFINITY, score: 0, lay: Lay { offset: 0, low: 0, high: 0 } };
    let mut best = vec![start; columns.strands().len()];
    let mut rivals = Vec::new();
    let allowed: Vec<Vec<Lay>> =
        columns.classes().iter().map(|class| lays(width, class.width, options)).collect();
    for low in 0..width {
        let mut tails = Tails::none();
        for high in low + 1..=width {
            let column = Column::new(&scaled.histograms[high - 1]);
            let shorter = std::mem::replace(&mut tails, Tails::none());
            tails = shorter.with(&column, (i64::MIN, i64::MAX), memory);
            memory.recycle([shorter]);
            for (class, lays) in columns.classes().iter().zip(&allowed) {
                for lay in lays.iter().filter(|lay| (lay.low, lay.high) == (low, high)) {
                    try_lay(scaled, columns, class, lay, &tails, &mut best, &mut rivals);
                }
            }
        }
    }
    let strands = if columns.strands().iter().any(|strand| strand.reverse) { 2.0 } else { 1.0 };
    let mut counts = vec![0.0; best.len()];
    for (class, lays) in columns.classes().iter().zip(&allowed) {
        for &member in columns.members(class) {
            counts[member as usize] = strands * lays.len() as f64;
        }
    }
    ties::settle(scaled, columns, &counts, rivals, &mut best)?;
    let chance = |(best, count): (&Best, f64)| smallest_of(best.p_value, count);
    let p_values = best.iter().zip(counts).map(chance).collect();
    let alignment = |Best { score, lay, .. }: Best| Alignment {
        score,
        offset: lay.offset,
        overlap: lay.overlap(),
    };
    Ok((best.into_iter().map(alignment).collect(), p_values))
}

/// Offers one alignment to all members of a class; `rivals` takes what nearly wins.
fn try_lay(
    scaled: &Scaled,
    columns: &Columns,
    class: &Class,
    lay: &Lay,
    tails: &Tails,
    best: &mut [Best],
    rivals: &mut Vec<(u32, Best)>,
) {
    for (part, members) in columns.members(class).chunks(LANES).enumerate() {
        let scores = sums(scaled, class, part * LANES, lay, 0);
        for (&member, score) in members.iter().zip(scores) {
            let p_value = match tails.at(i64::from(score), 1) {
                (1, _) => 1.0,
                (_, chances) => chances.first().copied().unwrap_or(0.0).min(1.0),
            };
            let known = &mut best[member as usize];
            let (mut other, near) = (
                Best { p_value, score: i64::from(score), lay: *lay },
                ties::near(p_value, known.p_value),
            );
            if other.rank() < known.rank() {
                std::mem::swap(&mut other, known);
            }
            if near {
                rivals.push((member, other));
            }
        }
    }
}

/// Chance that the smallest of `count` p-values is at most `p`.
pub(super) fn smallest_of(p: f64, count: f64) -> f64 {
    // Tomtom's own rule, approximate below its threshold.
    const FEW: f64 = 0.001;
    if p * count < FEW { p * count } else { 1.0 - (1.0 - p).powf(count) }
}

#[cfg(test)]
mod tests {
    use super::smallest_of;

    #[test]
    fn the_smallest_of_several_is_smaller() {
        assert_eq!(smallest_of(1e-9, 4.0), 4e-9);
        assert_eq!(smallest_of(0.5, 2.0), 0.75);
        assert_eq!(smallest_of(1.0, 7.0), 1.0);
    }
}
