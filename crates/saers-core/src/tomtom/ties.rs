//! Alignments of equal p-value, told apart as Tomtom tells them apart.
//!
//! Without the score of unaligned columns a query that reads alike on both strands, or repeats a
//! column, has alignments whose p-values are equal but for the rounding of sums. Found from what
//! the program prints: it makes the distribution of each span from that of the span one column
//! shorter, to which it adds, for one target column after another, a share of 1 / N. Only where
//! p-values lie near each other is that repeated here, for it takes a hundred times as long.

use std::collections::{BTreeMap, BTreeSet};

use multiversion::multiversion;

use super::columns::Columns;
use super::incomplete::{Best, smallest_of};
use super::scaled::{BINS, Scaled};
use crate::{Result, threads};

/// More than the order of sums changes a p-value by, as a part of it.
const NEAR: f64 = 1e-9;

/// A span of query columns, `low..high`, and the score of an alignment on it.
type Source = (usize, usize, i64);

/// Tells whether the order of sums decides which of two p-values is smaller.
pub(super) fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= NEAR * a.min(b)
}

/// Chooses again where p-values lie near each other, within a strand and among strands.
///
/// `rivals` are alignments that were near the best one of their strand at some time, `counts` the
/// numbers of alignments of each strand.
pub(super) fn settle(
    scaled: &Scaled,
    columns: &Columns,
    counts: &[f64],
    rivals: Vec<(u32, Best)>,
    best: &mut [Best],
) -> Result<()> {
    let mut tied = tied(best, counts);
    let mut tried: BTreeMap<u32, Vec<Best>> = BTreeMap::new();
    for (strand, rival) in rivals {
        let known = &best[strand as usize];
        if near(rival.p_value, known.p_value) && source(&rival) != source(known) {
            tried.entry(strand).or_default().push(rival);
            tied.insert(strand);
        }
    }
    let mut wanted: BTreeMap<usize, BTreeSet<(usize, i64)>> = BTreeMap::new();
    for strand in &tied {
        for known in tried.get(strand).into_iter().flatten().chain([&best[*strand as usize]]) {
            let (low, high, score) = source(known);
            wanted.entry(low).or_default().insert((high, score));
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let order = in_order(columns);
    let rows: Vec<Vec<u8>> = (0..scaled.width())
        .map(|row| order.iter().map(|&column| scaled.lanes(row, column)[0]).collect())
        .collect();
    let mut tails = BTreeMap::new();
    for (low, wanted) in wanted {
        threads::check()?;
        add_tails(&rows, low, &wanted, &mut tails);
    }
    // All strands, for one chance may not have two values.
    for (strand, known) in (0..).zip(best) {
        known.p_value = tails.get(&source(known)).copied().unwrap_or(known.p_value);
        for rival in tried.get(&strand).into_iter().flatten() {
            let rival = Best { p_value: tails[&source(rival)], ..*rival };
            if rival.rank() < known.rank() {
                *known = rival;
            }
        }
    }
    Ok(())
}

fn source(best: &Best) -> Source {
    (best.lay.low, best.lay.high, best.score)
}

/// Lists strands whose place among the others the order of sums decides.
fn tied(best: &[Best], counts: &[f64]) -> BTreeSet<u32> {
    let bounds = |strand: u32| {
        let (p, count) = (best[strand as usize].p_value, counts[strand as usize]);
        let around = [1.0 - NEAR, 1.0, 1.0 + NEAR].map(|by| smallest_of((p * by).min(1.0), count));
        let [low, high] = [f64::min, f64::max].map(|of| of(of(around[0], around[1]), around[2]));
        (low, high, strand)
    };
    let mut sorted: Vec<(f64, f64, u32)> = (0..best.len() as u32).map(bounds).collect();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut tied = BTreeSet::new();
    let mut first = 0;
    while first < sorted.len() {
        let (least, mut most, _) = sorted[first];
        let mut end = first + 1;
        while end < sorted.len() && sorted[end].0 <= most {
            most = most.max(sorted[end].1);
            end += 1;
        }
        let group = &sorted[first..end];
        let key = |&(.., strand): &(f64, f64, u32)| {
            (source(&best[strand as usize]), counts[strand as usize].to_bits())
        };
        // Chances that round to the same number, as near 1, are equal in any case.
        if least < most && group.iter().any(|other| key(other) != key(&group[0])) {
            tied.extend(group.iter().map(|(.., strand)| strand));
        }
        first = end;
    }
    tied
}

/// Lists columns target by target, each followed by its other strand.
fn in_order(columns: &Columns) -> Vec<usize> {
    let mut homes = vec![(0, 0, 0); columns.strands().len()];
    for class in columns.classes() {
        for (place, &strand) in columns.members(class).iter().enumerate() {
            homes[strand as usize] = (class.start + place, class.count, class.width);
        }
    }
    let of = |(start, step, width)| (0..width).map(move |position| start + position * step);
    homes.into_iter().flat_map(of).collect()
}

/// Adds the chances of scores on spans from `low` on to reach what is wanted.
fn add_tails(
    rows: &[Vec<u8>],
    low: usize,
    wanted: &BTreeSet<(usize, i64)>,
    tails: &mut BTreeMap<Source, f64>,
) {
    let share = 1.0 / rows[low].len() as f64;
    let mut chances = vec![0.0; BINS + 1];
    rows[low].iter().for_each(|&cell| chances[usize::from(cell)] += share);
    let mut reached = low + 1;
    for &(high, score) in wanted {
        for row in &rows[reached..high] {
            chances = longer(&chances, row, share);
        }
        reached = high;
        let tail = chances[score as usize..].iter().rev().fold(0.0, |sum, chance| sum + chance);
        tails.insert((low, high, score), tail.min(1.0));
    }
}

/// Spreads chances by the cells of one more query column, one target column after another.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn longer(chances: &[f64], cells: &[u8], share: f64) -> Vec<f64> {
    let first = chances.iter().position(|chance| *chance > 0.0).unwrap_or(0);
    let end = chances.iter().rposition(|chance| *chance > 0.0).map_or(first, |last| last + 1);
    let parts: Vec<f64> = chances[first..end].iter().map(|chance| chance * share).collect();
    let mut sums = vec![0.0; chances.len() + BINS];
    for &cell in cells {
        let start = first + usize::from(cell);
        for (sum, part) in sums[start..start + parts.len()].iter_mut().zip(&parts) {
            *sum += part;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::Options;
    use super::super::alignment::Lay;
    use super::super::columns::Columns;
    use super::{Best, add_tails, in_order, near, tied};
    use crate::motif::{Frequencies, Motif, UNIFORM};
    use proptest::prelude::*;

    fn best(p_value: f64, low: usize) -> Best {
        Best { p_value, score: 5, lay: Lay { offset: 0, low, high: low + 1 } }
    }

    proptest! {
        #[test]
        fn tails_count_the_sums_of_all_columns(
            rows in prop::collection::vec(prop::collection::vec(0..=100_u8, 4), 1..4),
            score in 0..300_usize,
        ) {
            let width = rows.len();
            let score = (score % (100 * width + 1)) as i64;
            let mut tails = BTreeMap::new();
            add_tails(&rows, 0, &BTreeSet::from([(width, score)]), &mut tails);
            let mut sums = vec![0_i64];
            for row in &rows {
                let with = |sum: &i64| row.iter().map(|&cell| *sum + i64::from(cell)).collect::<Vec<_>>();
                sums = sums.iter().flat_map(with).collect();
            }
            let naive = sums.iter().filter(|sum| **sum >= score).count() as f64 / sums.len() as f64;
            prop_assert!((tails[&(0, width, score)] - naive).abs() < 1e-12);
        }
    }

    #[test]
    fn the_order_of_sums_decides_among_equals_of_other_spans_alone() {
        let counts = [8.0; 4];
        let of = |bests: [Best; 4]| tied(&bests, &counts).into_iter().collect::<Vec<u32>>();
        let equal = 0.3 * (1.0 + 1e-14);
        assert!(near(0.3, equal) && !near(0.3, 0.3001));
        assert_eq!(of([best(0.1, 0), best(0.3, 1), best(0.2, 2), best(equal, 3)]), [1, 3]);
        assert!(of([best(0.1, 0), best(0.3, 1), best(0.2, 2), best(0.3, 1)]).is_empty());
        // Chances of one at least, of 0.999 in any case: all are 1.
        assert!(of([0, 1, 2, 3].map(|low| best(0.999_999 - low as f64 * 1e-9, low))).is_empty());
    }

    #[test]
    fn columns_are_listed_target_by_target() {
        let motif = |width| Motif {
            id: "m".into(),
            name: String::new(),
            frequencies: Frequencies::new(vec![UNIFORM; width]).unwrap(),
            n_sites: None,
            background: UNIFORM,
            log10_evalue: None,
        };
        let columns =
            Columns::prepare(&[motif(2), motif(1), motif(2)], &UNIFORM, &Options::default());
        // The two strands that are one wide come first; of the others position by position.
        assert_eq!(in_order(&columns), [2, 6, 3, 7, 0, 1, 4, 8, 5, 9]);
    }
}
