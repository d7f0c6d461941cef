//! Incomplete scores: only aligned columns count, and every alignment has a p-value of its own.

use super::Options;
use super::alignment::{Alignment, Lay, lays, sums};
use super::columns::{Class, Columns};
use super::scaled::{LANES, Scaled};
use super::tails::{Column, Memory, Tails};

/// The best alignment of a strand so far, by its own p-value.
#[derive(Clone, Copy)]
struct Best {
    p_value: f64,
    score: i64,
    lay: Lay,
}

/// Finds the alignment of the smallest p-value for every strand, and the chance that the best of
/// as many alignments as there are has one so small.
///
/// Of equal p-values the larger overlap wins, then the smaller offset.
pub(super) fn best_alignments(
    scaled: &Scaled,
    columns: &Columns,
    options: &Options,
    memory: &mut Memory,
) -> (Vec<Alignment>, Vec<f64>) {
    let width = scaled.width();
    let start = Best { p_value: f64::INFINITY, score: 0, lay: Lay { offset: 0, low: 0, high: 0 } };
    let mut best = vec![start; columns.strands().len()];
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
                    try_lay(scaled, columns, class, lay, &tails, &mut best);
                }
            }
        }
    }
    let strands = if columns.strands().iter().any(|strand| strand.reverse) { 2.0 } else { 1.0 };
    let mut p_values = vec![0.0; best.len()];
    for (class, lays) in columns.classes().iter().zip(&allowed) {
        for &member in columns.members(class) {
            let p = best[member as usize].p_value;
            p_values[member as usize] = smallest_of(p, strands * lays.len() as f64);
        }
    }
    let alignment = |Best { score, lay, .. }: Best| Alignment {
        score,
        offset: lay.offset,
        overlap: lay.overlap(),
    };
    (best.into_iter().map(alignment).collect(), p_values)
}

/// Offers one alignment to all members of a class.
fn try_lay(
    scaled: &Scaled,
    columns: &Columns,
    class: &Class,
    lay: &Lay,
    tails: &Tails,
    best: &mut [Best],
) {
    for (part, members) in columns.members(class).chunks(LANES).enumerate() {
        let scores = sums(scaled, class, part * LANES, lay, 0);
        for (&member, score) in members.iter().zip(scores) {
            let p_value = match tails.at(i64::from(score), 1) {
                (1, _) => 1.0,
                (_, chances) => chances.first().copied().unwrap_or(0.0).min(1.0),
            };
            let known = &mut best[member as usize];
            let rank = |p: f64, lay: &Lay| (p, std::cmp::Reverse(lay.overlap()), lay.offset);
            if rank(p_value, lay) < rank(known.p_value, &known.lay) {
                *known = Best { p_value, score: i64::from(score), lay: *lay };
            }
        }
    }
}

/// Chance that the smallest of `count` p-values is at most `p`.
fn smallest_of(p: f64, count: f64) -> f64 {
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
