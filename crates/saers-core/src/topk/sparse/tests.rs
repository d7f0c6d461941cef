use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Seqlet, TopSeqlets};
use crate::topk::tests::{brute_force, series};

const FEATURES: usize = 5;

#[derive(Clone, Debug)]
struct Window {
    id: i64,
    indices: Vec<i64>,
    values: Vec<f32>,
}

/// Features and activations of one position.
type Position = (Vec<i64>, Vec<f32>);

/// The activations of each feature along a window, 0 where it is silent.
fn dense(window: &Window, k: usize, feature: usize) -> Vec<f32> {
    let mut line = vec![0.0_f32; window.values.len() / k];
    for (entry, (&index, &value)) in window.indices.iter().zip(&window.values).enumerate() {
        if index == feature as i64 && value > 0.0 {
            line[entry / k] = value;
        }
    }
    line
}

fn expected(windows: &[Window], k: usize, top: &TopSeqlets) -> Vec<Vec<Seqlet>> {
    (0..FEATURES)
        .map(|feature| {
            let mut all = Vec::new();
            for window in windows {
                let line: Vec<f32> = dense(window, k, feature)
                    .into_iter()
                    .map(|v| if v > 0.0 { v } else { f32::NAN })
                    .collect();
                for (position, bits) in
                    brute_force(&line, top.per_window, top.min_distance as usize)
                {
                    let activation = f32::from_bits(bits);
                    all.push(Seqlet { window: window.id, position, activation });
                }
            }
            all.sort_by(Seqlet::order);
            all.truncate(top.per_feature);
            all
        })
        .collect()
}

/// Windows of k distinct features a position, with ties and silent entries.
fn windows(k: usize) -> impl Strategy<Value = Vec<Window>> {
    let value = prop_oneof![Just(0.0_f32), Just(-1.0), (1_u8..4).prop_map(f32::from), 0.0_f32..1.0];
    let features: Vec<i64> = (0..FEATURES as i64).collect();
    let position =
        (proptest::sample::subsequence(features, k), proptest::collection::vec(value, k));
    let window = (-20_i64..20, proptest::collection::vec(position, 12));
    proptest::collection::vec(window, 1..10).prop_map(|windows| {
        let distinct: BTreeMap<i64, _> = windows.into_iter().collect();
        let make = |(id, positions): (i64, Vec<Position>)| {
            let (indices, values): (Vec<_>, Vec<_>) = positions.into_iter().unzip();
            Window { id, indices: indices.concat(), values: values.concat() }
        };
        distinct.into_iter().map(make).collect()
    })
}

fn feed(top: &mut TopSeqlets, windows: &[Window], k: usize) {
    for window in windows {
        top.update(&[window.id], &window.indices, &window.values, k).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_order_and_merge_gives_the_brute_force_seqlets(
        windows in windows(2),
        limits in (1_usize..5, 1_usize..12, 1_usize..6),
        shuffle in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (per_window, per_feature, min_distance) = limits;
        let fresh = TopSeqlets::new(FEATURES, per_window, per_feature, min_distance).unwrap();
        let mut plain = fresh.clone();
        feed(&mut plain, &windows, 2);
        prop_assert_eq!(plain.finish(), expected(&windows, 2, &plain));

        let mut turned = windows.clone();
        turned.rotate_left(shuffle.index(windows.len()));
        turned.reverse();
        let (front, back) = turned.split_at(cut.index(windows.len()));
        let (mut one, mut two) = (fresh.clone(), fresh.clone());
        feed(&mut one, front, 2);
        feed(&mut two, back, 2);
        two.merge(&one).unwrap();
        prop_assert_eq!(two.finish(), plain.finish());
        prop_assert_eq!(two.totals(), plain.totals());

        let mut batch = fresh;
        let ids: Vec<i64> = windows.iter().map(|w| w.id).collect();
        let indices: Vec<u32> = windows.iter().flat_map(|w| w.indices.iter().map(|&i| i as u32)).collect();
        let values: Vec<f32> = windows.iter().flat_map(|w| w.values.clone()).collect();
        batch.update(&ids, &indices, &values, 2).unwrap();
        prop_assert_eq!(batch.finish(), plain.finish());
        prop_assert_eq!(batch.positions(), plain.positions());
    }
}

/// Windows long enough for thresholds: a series of each feature, scaled, in shuffled columns.
fn long_windows() -> impl Strategy<Value = Vec<Window>> {
    let line = (0_u32..12, prop_oneof![Just(1e-43_f32), Just(1.0), Just(1e30), Just(1e-12)]);
    let lines = proptest::collection::vec(line, FEATURES);
    let noise = (200_usize..700).prop_flat_map(|length| {
        proptest::collection::vec(proptest::collection::vec(-1.0_f32..1.0, length), 1..4)
    });
    (noise, lines, any::<bool>()).prop_map(|(noise, lines, backwards)| {
        let window = |(id, noise): (i64, Vec<f32>)| {
            let lines: Vec<Vec<f32>> =
                lines.iter().map(|(kind, scale)| scaled(&series(*kind, &noise), *scale)).collect();
            let entry = |place: usize| {
                let position = place / FEATURES;
                let feature = (place + position * 3) % FEATURES;
                (feature as i64, lines[feature][position])
            };
            let (indices, values) = (0..noise.len() * FEATURES).map(entry).unzip();
            Window { id, indices, values }
        };
        let ids = (0..9_i64).map(|id| if backwards { -id } else { id });
        ids.zip(noise).map(window).collect()
    })
}

fn scaled(line: &[f32], scale: f32) -> Vec<f32> {
    // A third stays at 0 or below; what is not finite is silent.
    let value = |v: &f32| if v.is_finite() { (v + 0.3) * scale } else { 0.0 };
    line.iter().map(value).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn thresholds_do_not_change_the_seqlets_of_adversarial_windows(
        windows in long_windows(),
        limits in (1_usize..5, prop_oneof![1_usize..12, Just(1000)], 1_usize..40),
    ) {
        let (per_window, per_feature, min_distance) = limits;
        let mut top = TopSeqlets::new(FEATURES, per_window, per_feature, min_distance).unwrap();
        feed(&mut top, &windows, FEATURES);
        prop_assert_eq!(top.finish(), expected(&windows, FEATURES, &top));
        for (feature, total) in top.totals().iter().enumerate() {
            let lines: Vec<f32> =
                windows.iter().flat_map(|window| dense(window, FEATURES, feature)).collect();
            prop_assert_eq!(total.max, lines.iter().copied().fold(0.0, f32::max));
            prop_assert_eq!(total.n_nonzero as usize, lines.iter().filter(|&&v| v > 0.0).count());
        }
        let counted: u64 = top.histogram().iter().sum();
        prop_assert_eq!(counted, top.totals().iter().map(|total| total.n_nonzero).sum::<u64>());
    }
}

#[test]
fn batches_agree_on_any_number_of_threads() {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / 1e6
    };
    let (windows, positions, k) = (7, 3000, 4);
    let size = windows * positions * k;
    let values: Vec<f32> = (0..size).map(|_| next()).collect();
    let indices: Vec<u16> = (0..size as u32).map(|i| ((i * 7 + i / 4) % 40) as u16).collect();
    let ids: Vec<i64> = (0..windows as i64).collect();
    let run = |threads| {
        let mut top = TopSeqlets::new(40, 3, 15, 9).unwrap();
        let work = || top.update(&ids, &indices, &values, k);
        crate::threads::install(Some(threads), &Default::default(), work).unwrap().unwrap();
        (top.finish(), top.totals(), top.histogram())
    };
    assert_eq!(run(1), run(3));
}

#[test]
fn memory_stays_bounded_while_windows_stream_by() {
    let mut top = TopSeqlets::new(1, 4, 10, 1).unwrap();
    for window in 0..500 {
        let values: Vec<f32> = (0..8).map(|p| 1.0 + (window * 8 + p) as f32).collect();
        top.update(&[window], &[0_u32; 8], &values, 1).unwrap();
        assert!(top.features[0].seqlets.len() <= 20);
    }
    let kept: Vec<(i64, u32)> = top.finish()[0].iter().map(|s| (s.window, s.position)).collect();
    assert_eq!(kept[..5], [(499, 7), (499, 6), (499, 5), (499, 4), (498, 7)]);
}

#[test]
fn the_tail_is_kept_where_fewer_are_found_than_asked_for() {
    let mut top = TopSeqlets::new(2, 3, 1000, 1).unwrap();
    top.update(&[0], &[0_u32, 0, 0, 0], &[1.0, 1e-30, 0.0, 3.0], 1).unwrap();
    assert_eq!(top.finish()[0].len(), 3);
}

#[test]
fn a_bad_window_leaves_no_trace() {
    let mut top = TopSeqlets::new(2, 1, 1, 1).unwrap();
    assert!(top.update(&[0, 1], &[0_i64, 1, 0, 7], &[1.0; 4], 1).is_err());
    assert!(top.update(&[0], &[0_i64, 1], &[1.0, f32::NAN], 1).is_err());
    assert!(top.update(&[0, 0], &[0_i64, 1], &[1.0; 2], 1).is_err());
    assert!(top.update(&[0], &[0_i64, 1], &[1.0; 3], 1).is_err());
    assert!(top.update(&[0, 1], &[0_i64; 3], &[1.0; 3], 1).is_err());
    assert_eq!((top.positions(), top.totals()[0].n_nonzero), (0, 0));
    top.update(&[0, 1], &[0_i64, -1], &[1.0, 0.0], 1).unwrap();
    assert!(top.update(&[1], &[0_i64], &[1.0], 1).is_err());
}

#[test]
fn accumulators_that_do_not_match_are_not_merged() {
    let mut top = TopSeqlets::new(2, 1, 1, 1).unwrap();
    assert!(top.merge(&TopSeqlets::new(3, 1, 1, 1).unwrap()).is_err());
    top.update(&[3], &[0_u32], &[1.0], 1).unwrap();
    let error = top.clone().merge(&top).unwrap_err();
    assert_eq!(error.to_string(), "window 3 is in both");
}
