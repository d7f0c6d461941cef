use proptest::prelude::*;

use super::{ChannelStats, Summary};

fn plain(values: &[f32]) -> Summary {
    let count = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let scatter = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
    Summary {
        max: f64::from(values.iter().copied().fold(f32::NEG_INFINITY, f32::max)),
        min: f64::from(values.iter().copied().fold(f32::INFINITY, f32::min)),
        mean,
        std: (scatter / count).sqrt(),
        nonzero: values.iter().filter(|&&v| v != 0.0).count() as u64,
        count: values.len() as u64,
        nan: 0,
    }
}

fn seen(values: &[f32], channels: usize, mask: Option<&[bool]>) -> ChannelStats {
    let mut stats = ChannelStats::new(channels, false).unwrap();
    stats.update(values, &[0], 0, mask).unwrap();
    stats
}

fn assert_close(found: Summary, expected: Summary) {
    // Values of both signs cancel in a mean, so its rounding is that of the largest of them.
    let scale = 1.0 + expected.max.abs().max(expected.min.abs());
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-12 * scale;
    assert_eq!((found.max, found.min), (expected.max, expected.min));
    assert_eq!((found.nonzero, found.count), (expected.nonzero, expected.count));
    assert!(near(found.mean, expected.mean), "{} {}", found.mean, expected.mean);
    assert!(near(found.std, expected.std), "{} {}", found.std, expected.std);
}

#[test]
fn deviations_around_a_large_mean_keep_their_digits() {
    let values: Vec<f32> = (0..40_000).map(|i| 16_777_000.0 + (i % 3) as f32).collect();
    let std = seen(&values, 1, None).summary()[0].std;
    assert!((std - (2.0_f64 / 3.0).sqrt()).abs() < 1e-4, "{std}");
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let values: Vec<f32> =
        (0..30_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) as f32).sqrt()).collect();
    let run = |threads| {
        crate::threads::install(Some(threads), &crate::threads::Stop::default(), || {
            seen(&values, 3, None).summary()
        })
        .unwrap()
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn a_bad_value_is_named_by_its_window_and_nothing_is_added() {
    let mut stats = ChannelStats::new(2, false).unwrap();
    let mut values = vec![1.0; 2 * 6];
    values[2 * 4 + 1] = f32::NEG_INFINITY;
    let error = stats.update(&values, &[10, 20], 5, None).unwrap_err();
    assert_eq!(error.to_string(), "-inf at window 20, position 6, channel 1");
    assert_eq!(stats.summary()[0].count, 0);
}

#[test]
fn allowed_nan_leaves_the_rest_of_its_tile_in() {
    let mut stats = ChannelStats::new(2, true).unwrap();
    stats.update(&[1.0, f32::NAN, 3.0, 4.0, f32::INFINITY, 6.0], &[0], 0, None).unwrap();
    let found = stats.summary();
    assert_close(found[0], plain(&[1.0, 3.0]));
    assert_close(found[1], plain(&[4.0, 6.0]));
    assert_eq!(stats.left_out(), (1, 1));
    assert_eq!(stats.first_left_out().map(|p| (p.position, p.channel)), Some((0, 1)));
}

#[test]
fn a_masked_nan_is_not_seen() {
    let stats = seen(&[f32::NAN, 2.0], 1, Some(&[false, true]));
    assert_close(stats.summary()[0], plain(&[2.0]));
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let mut stats = ChannelStats::new(2, false).unwrap();
    assert!(stats.update(&[1.0; 3], &[0], 0, None).is_err());
    assert!(stats.update(&[1.0; 6], &[0, 1], 0, None).is_err());
    assert!(stats.update(&[1.0; 6], &[], 0, None).is_err());
    assert!(stats.update(&[1.0; 6], &[0], 0, Some(&[true])).is_err());
    assert!(stats.merge(&ChannelStats::new(3, false).unwrap()).is_err());
    assert!(stats.update(&[], &[], 0, None).is_ok());
}

proptest! {
    #[test]
    fn any_split_and_mask_gives_the_plain_statistics(
        rows in proptest::collection::vec((-1e6_f32..1e6, any::<bool>()), 1..3000),
        cut in 0.0_f64..1.0,
    ) {
        let (values, mask): (Vec<f32>, Vec<bool>) = rows.into_iter().unzip();
        let values: Vec<f32> = values.into_iter().map(|v| if v < 0.0 { v } else { v.floor() }).collect();
        let kept: Vec<f32> = values.iter().zip(&mask).filter(|(_, m)| **m).map(|(v, _)| *v).collect();
        prop_assume!(!kept.is_empty());
        let at = (cut * values.len() as f64) as usize;
        let mut stats = seen(&values[..at], 1, Some(&mask[..at]));
        stats.merge(&seen(&values[at..], 1, Some(&mask[at..]))).unwrap();
        assert_close(stats.summary()[0], plain(&kept));
    }
}
