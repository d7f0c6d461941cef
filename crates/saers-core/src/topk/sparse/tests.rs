use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Seqlet, TopSeqlets};
use crate::topk::tests::brute_force;

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
