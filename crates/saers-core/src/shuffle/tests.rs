use super::*;
use crate::threads::{Stop, install};

fn interval(chrom: u32, start: i64, end: i64, tag: u32) -> Interval {
    Interval { chrom, start, end, tag }
}

/// Two features, two classes, two chromosomes with a hole in each.
fn placement() -> Placement {
    let intervals = (0..60)
        .map(|i| interval(i % 2, i64::from(i) * 3, i64::from(i) * 3 + 7 + i64::from(i % 3), i % 2))
        .collect();
    let annotation = vec![
        interval(0, 20, 60, 0),
        interval(0, 50, 75, 0),
        interval(0, 61, 64, 1),
        interval(0, 62, 70, 0),
        interval(1, 290, 310, 1),
        interval(1, 5, 6, 0),
    ];
    let space = vec![interval(0, 0, 250, 0), interval(1, 0, 400, 0)];
    let holes = vec![interval(0, 40, 52, 0), interval(1, 300, 301, 0), interval(1, 305, 309, 0)];
    Placement::new(intervals, annotation, space, holes, [2, 2]).unwrap()
}

#[test]
fn shuffled_intervals_stay_in_free_space() {
    let placement = placement();
    let mut moved = placement.intervals.clone();
    placement.shuffle(3, 1, &mut moved);
    for (one, other) in placement.intervals.iter().zip(&moved) {
        assert_eq!((one.chrom, one.width(), one.tag), (other.chrom, other.width(), other.tag));
        let room = &placement.rooms[one.chrom as usize];
        assert!(room.starts(one.width()).iter().any(|(a, b)| (*a..*b).contains(&other.start)));
    }
    assert_ne!(placement.intervals, moved);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let placement = placement();
    let one = install(Some(1), &Stop::default(), || placement.controls(37, 5)).unwrap();
    let many = install(Some(4), &Stop::default(), || placement.controls(37, 5)).unwrap();
    assert_eq!(one, many);
    assert_ne!(one, placement.controls(37, 6));
}

#[test]
fn the_order_of_rows_changes_nothing() {
    let one = placement();
    let space = vec![interval(0, 0, 250, 0), interval(1, 0, 400, 0)];
    let holes = vec![interval(0, 40, 52, 0), interval(1, 300, 301, 0), interval(1, 305, 309, 0)];
    let reversed = |list: &[Interval]| list.iter().rev().copied().collect();
    let (intervals, annotation) = (reversed(&one.intervals), reversed(&one.annotation));
    let other = Placement::new(intervals, annotation, space, holes, [2, 2]).unwrap();
    assert_eq!(one.controls(10, 1), other.controls(10, 1));
    assert_eq!(one.expected(), other.expected());
}

#[test]
fn many_shuffles_approach_what_is_expected() {
    let placement = placement();
    let n = 20_000_u32;
    let (controls, expected) = (placement.controls(n, 11), placement.expected());
    for row in 0..4 {
        let mean = controls.sum[row] as f64 / f64::from(n);
        let variance = controls.squares[row] as f64 / f64::from(n) - mean * mean;
        let error = (expected.variance[row] / f64::from(n)).sqrt();
        assert!((mean - expected.mean[row]).abs() < 4.0 * error, "row {row}");
        assert!((variance / expected.variance[row] - 1.0).abs() < 0.1, "row {row}");
        let share = |count: u32| f64::from(count) / f64::from(n);
        assert!((share(controls.at_least[row]) - expected.at_least[row]).abs() < 0.02);
        assert!((share(controls.at_most[row]) - expected.at_most[row]).abs() < 0.02);
    }
}

#[test]
fn the_mean_equals_trying_every_start() {
    let placement = placement();
    let mut mean = [0.0; 4];
    for own in &placement.intervals {
        let starts = placement.rooms[own.chrom as usize].starts(own.width());
        let starts: Vec<i64> = starts.into_iter().flat_map(|(a, b)| a..b).collect();
        for &start in &starts {
            let mut counts = [0; 4];
            let moved = Interval { start, end: start + own.width(), ..*own };
            placement.count(&[moved], &mut counts);
            counts
                .iter()
                .zip(&mut mean)
                .for_each(|(n, mean)| *mean += f64::from(*n) / starts.len() as f64);
        }
    }
    for (found, tried) in placement.expected().mean.iter().zip(mean) {
        assert!((found - tried).abs() < 1e-9);
    }
}

#[test]
fn an_interval_that_fits_nowhere_is_named() {
    let fits = interval(0, 0, 4, 0);
    for wrong in [interval(0, 0, 6, 0), interval(1, 0, 4, 0)] {
        let space = vec![interval(0, 0, 5, 0)];
        let error = Placement::new(vec![fits, wrong], vec![], space, vec![], [1, 1]).unwrap_err();
        assert!(error.to_string().starts_with("intervals[1]: nowhere"), "{error}");
    }
}
