use proptest::prelude::*;

use super::{DenseTop, Found, Pick, top_positions, top_positions_from};
use crate::source::tests::pack;
use crate::threads::{Stop, install};

/// The definition, word by word.
pub(super) fn brute_force(values: &[f32], k: usize, min_distance: usize) -> Vec<(u32, u32)> {
    let mut order: Vec<usize> = (0..values.len()).filter(|&p| !values[p].is_nan()).collect();
    order.sort_by(|&a, &b| values[b].partial_cmp(&values[a]).unwrap().then(a.cmp(&b)));
    let mut taken: Vec<usize> = Vec::new();
    for p in order {
        if taken.len() < k && taken.iter().all(|q| p.abs_diff(*q) >= min_distance) {
            taken.push(p);
        }
    }
    taken.into_iter().map(|p| (p as u32, values[p].to_bits())).collect()
}

fn bits(picks: &[Pick]) -> Vec<(u32, u32)> {
    picks.iter().map(|pick| (pick.position, pick.value.to_bits())).collect()
}

/// One channel of values of many kinds, chosen by `kind`.
pub(super) fn series(kind: u32, noise: &[f32]) -> Vec<f32> {
    let mut level = 0.0;
    let smooth = noise.iter().map(|v| {
        level = 0.9 * level + v;
        level
    });
    match kind {
        0 => noise.to_vec(),
        1 => smooth.collect(),
        2 => noise.iter().map(|v| (v * 2.0).round()).collect(),
        3 => smooth.map(|v| v.round()).collect(),
        4 => vec![-1.5; noise.len()],
        5 => (0..noise.len()).map(|i| i as f32).collect(),
        6 => (0..noise.len()).map(|i| -(i as f32)).collect(),
        7 => noise.iter().map(|v| if *v > 0.5 { f32::NAN } else { v.round() }).collect(),
        8 => {
            noise.iter().map(|v| if *v > 0.8 { f32::INFINITY } else { f32::NEG_INFINITY }).collect()
        }
        9 => noise.iter().map(|v| if *v > 0.95 { *v } else { f32::NAN }).collect(),
        10 => noise.iter().map(|v| if *v > 0.0 { 0.0 } else { -0.0 }).collect(),
        _ => (0..noise.len()).map(|i| (i / 37) as f32 + noise[i].round()).collect(),
    }
}

fn columns(kinds: &[u32], noise: &[f32]) -> (Vec<Vec<f32>>, Vec<f32>) {
    let columns: Vec<Vec<f32>> = kinds.iter().map(|&kind| series(kind, noise)).collect();
    let rows = (0..noise.len()).flat_map(|i| columns.iter().map(move |c| c[i])).collect();
    (columns, rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_split_of_every_series_gives_the_brute_force_picks(
        noise in proptest::collection::vec(-1.0_f32..1.0, 1..900),
        kinds in proptest::collection::vec(0_u32..12, 1..4),
        k in 1_usize..9,
        min_distance in 1_usize..70,
        portion in 1_usize..300,
    ) {
        let (columns, rows) = columns(&kinds, &noise);
        let mut top = DenseTop::new(kinds.len(), k, min_distance).unwrap();
        for part in rows.chunks(portion * kinds.len()) {
            top.update(part).unwrap();
        }
        for (column, picks) in columns.iter().zip(top.finish()) {
            prop_assert_eq!(bits(&picks), brute_force(column, k, min_distance));
        }
    }
}

#[test]
fn long_windows_of_many_channels_agree_on_any_number_of_threads() {
    let noise: Vec<f32> = (0..20_000_u32)
        .map(|i| i.wrapping_mul(2_654_435_761).wrapping_add(i * i) as f32 / 2_147_483_648.0 - 1.0)
        .collect();
    let kinds: Vec<u32> = (0..70).map(|i| i % 12).collect();
    let (columns, rows) = columns(&kinds, &noise);
    for threads in [1, 4] {
        let found =
            install(Some(threads), &Stop::default(), || top_positions(&rows, 20_000, 70, 8, 34));
        for (column, picks) in columns.iter().zip(found.unwrap().unwrap()) {
            assert_eq!(bits(&picks), brute_force(column, 8, 34));
        }
    }
}

#[test]
fn more_picks_than_positions_are_all_positions() {
    let picks = top_positions(&[1.0, 2.0, 3.0], 3, 1, 10, 1).unwrap();
    assert_eq!(bits(&picks[0]), brute_force(&[1.0, 2.0, 3.0], 10, 1));
    assert_eq!(picks[0].len(), 3);
}

#[test]
fn windows_do_not_rule_out_each_other() {
    let picks = top_positions(&[0.0, 9.0, 8.0, 1.0], 2, 1, 2, 5).unwrap();
    assert_eq!(picks.iter().map(|p| bits(p)[0].0).collect::<Vec<_>>(), [1, 0]);
    assert!(picks.iter().all(|window| window.len() == 1));
}

#[test]
fn a_distance_beyond_the_window_leaves_one_pick() {
    let picks = top_positions(&[1.0, 2.0, 3.0, 3.0], 4, 1, 4, u32::MAX as usize).unwrap();
    assert_eq!(bits(&picks[0]), [(2, 3.0_f32.to_bits())]);
}

#[test]
fn arguments_out_of_range_are_refused() {
    assert!(DenseTop::new(0, 1, 1).is_err());
    assert!(DenseTop::new(1, 0, 1).is_err());
    assert!(DenseTop::new(1, 1, 0).is_err());
    assert!(DenseTop::new(1, 1, 1 << 40).is_err());
    assert!(top_positions(&[1.0; 3], 2, 1, 1, 1).is_err());
}

proptest! {
    #[test]
    fn a_file_in_any_layout_gives_the_brute_force_picks(
        noise in proptest::collection::vec(-1.0_f32..1.0, 3..900),
        kinds in proptest::collection::vec(0_u32..12, 1..5),
        windows in 1_usize..4,
        block in [1_usize..4, 1_usize..200, 1_usize..6],
        k in 1_usize..9,
        min_distance in 1_usize..70,
        threads in 1_usize..5,
        masked: bool,
    ) {
        let positions = noise.len() / windows;
        let parts: Vec<_> = noise.chunks_exact(positions).take(windows).map(|n| columns(&kinds, n)).collect();
        let rows = parts.iter().flat_map(|(_, rows)| rows.clone()).collect();
        let made = pack(rows, [windows, positions, kinds.len()], block, 1);
        let mask: Vec<bool> = (0..windows * positions).map(|i| i % 7 != 3).collect();
        let dataset = made.open().unwrap();
        let search = || top_positions_from(&dataset, 0..windows, k, min_distance, masked.then_some(&mask[..]));
        let found = install(Some(threads), &Stop::default(), search).unwrap().unwrap();
        let mut rest = &found[..];
        for (window, (columns, _)) in parts.iter().enumerate() {
            for (channel, column) in columns.iter().enumerate() {
                let usable = |(i, &value): (usize, &f32)| if masked && (window * positions + i) % 7 == 3 { f32::NAN } else { value };
                let column: Vec<f32> = column.iter().enumerate().map(usable).collect();
                let expected = brute_force(&column, k, min_distance);
                let (here, later) = rest.split_at(expected.len());
                rest = later;
                let place = |f: &Found| (f.window, f.channel as usize);
                prop_assert!(here.iter().all(|f| place(f) == (window, channel)));
                prop_assert_eq!(bits(&here.iter().map(|f| f.pick).collect::<Vec<_>>()), expected);
            }
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn a_long_window_of_a_file_is_split_among_threads_without_a_trace() {
    let noise: Vec<f32> =
        (0..70_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32).collect();
    let kinds = [0, 1, 3, 4, 5, 6];
    let (columns, rows) = columns(&kinds, &noise);
    let made = pack(rows, [1, noise.len(), kinds.len()], [1, 1000, 4], 1);
    let dataset = made.open().unwrap();
    for threads in [1, 2, 8] {
        let search = || top_positions_from(&dataset, 0..1, 8, 34, None);
        let found = install(Some(threads), &Stop::default(), search).unwrap().unwrap();
        for (channel, column) in columns.iter().enumerate() {
            let picks: Vec<Pick> =
                found.iter().filter(|f| f.channel as usize == channel).map(|f| f.pick).collect();
            assert_eq!(bits(&picks), brute_force(column, 8, 34));
        }
    }
}
