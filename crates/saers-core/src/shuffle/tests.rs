use super::*;
use crate::fasta::Fasta;
use crate::intervals::testing::{Row, Table, assert_stops, on_threads};

/// Sixty intervals of two features, two classes, two chromosomes with a hole in each.
struct Case {
    intervals: Vec<Row>,
    annotation: Vec<Row>,
    /// Tolerance of the share of G and C.
    gc: Option<f64>,
}

impl Case {
    fn new() -> Self {
        let row = |i: i64| (i as u32 % 2, i as u32 % 2, i * 3, i * 3 + 7 + i % 3);
        Self {
            intervals: (0..60).map(row).collect(),
            annotation: vec![
                (0, 0, 20, 60),
                (0, 0, 50, 75),
                (1, 0, 61, 64),
                (0, 0, 62, 70),
                (1, 1, 290, 310),
                (0, 1, 5, 6),
            ],
            gc: None,
        }
    }

    fn nulls<P: Place>(&self) -> Nulls<P> {
        let space = Table::new(&[(0, 0, 0, 250), (0, 1, 0, 400)]);
        let holes = Table::new(&[(0, 0, 40, 52), (0, 1, 300, 301), (0, 1, 305, 309)]);
        let [own, other] = [&self.intervals, &self.annotation].map(|rows| Table::new(rows));
        let (own, other) = (own.intervals(2, 2), other.intervals(2, 2));
        let (space, holes) = (space.intervals(1, 2), holes.intervals(1, 2));
        let line = Line::of(&[&own, &space]).unwrap();
        Nulls::new(line, [&own, &other, &space, &holes], self.gc.map(composition)).unwrap()
    }
}

/// Letters that grow richer in G and C; one of them is unknown.
fn letters(length: usize) -> Vec<u8> {
    let letter = |i: usize| if (i * 7919) % 1000 < 200 + 2 * i { b'G' } else { b'T' };
    (0..length).map(|i| if i == 100 { b'R' } else { letter(i) }).collect()
}

fn composition(tolerance: f64) -> GcMatch {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genome.fa");
    let [one, other] = [250, 400].map(|n| String::from_utf8(letters(n)).unwrap());
    std::fs::write(&path, format!(">a\n{one}\n>b\n{other}\n")).unwrap();
    let genome = Fasta::open(&path).unwrap();
    let both = (0..2).map(|record| genome.composition(record).unwrap()).collect();
    GcMatch::new(both, tolerance).unwrap()
}

/// Every start of an interval, with whether each class is touched there.
fn starts(case: &Case, row: &Row) -> Vec<(u64, [bool; 2])> {
    let nulls = case.nulls::<u64>();
    let width = (row.3 - row.2) as u64;
    let (offset, share) = (nulls.line.offset(row.1), |from: usize| {
        let letters = &letters(if row.1 == 0 { 250 } else { 400 })[from..from + width as usize];
        let count = |wanted: &[u8]| letters.iter().filter(|l| wanted.contains(l)).count() as f64;
        count(b"G") / count(b"GT")
    });
    let all = nulls.rooms[row.1 as usize].starts(width).into_iter().flat_map(|(a, b)| a..b);
    let is_like = |start: &u64| {
        let difference = share((start - offset) as usize) - share(row.2 as usize);
        case.gc.is_none_or(|tolerance| difference.abs() <= tolerance + 1e-9)
    };
    all.filter(is_like)
        .map(|start| {
            let mut counts = [0; 2];
            let moved = Segment::new(start, start + width, 0);
            tally_touches(&[moved], &nulls.classes, 2, &mut counts).unwrap();
            (start - offset, counts.map(|count| count > 0))
        })
        .collect()
}

#[test]
fn the_number_of_threads_changes_nothing() {
    for gc in [None, Some(0.1)] {
        let nulls = Case { gc, ..Case::new() }.nulls::<u32>();
        let controls = on_threads(|| nulls.controls(37, 5));
        assert_ne!(controls, nulls.controls(37, 6).unwrap());
        on_threads(|| nulls.expected());
    }
}

#[test]
fn neither_the_order_of_rows_nor_the_size_of_places_matters() {
    for gc in [None, Some(0.1)] {
        let mut case = Case { gc, ..Case::new() };
        let one = case.nulls::<u32>();
        case.intervals.reverse();
        case.annotation.reverse();
        let other = case.nulls::<u64>();
        assert_eq!(one.controls(10, 1).unwrap(), other.controls(10, 1).unwrap());
        assert_eq!(one.expected().unwrap(), other.expected().unwrap());
        assert_eq!(one.observed, other.observed);
    }
}

#[test]
fn shuffles_give_the_mean_spread_and_tails_that_are_computed() {
    for gc in [None, Some(0.08)] {
        let nulls = Case { gc, ..Case::new() }.nulls::<u32>();
        let n = 10_000_u32;
        let controls = nulls.controls(n, 11).unwrap();
        let expected = nulls.expected().unwrap();
        for row in 0..4 {
            let mean = controls.sum[row] as f64 / f64::from(n);
            let variance = controls.squares[row] as f64 / f64::from(n) - mean * mean;
            let error = (expected.variance[row] / f64::from(n)).sqrt();
            assert!((mean - expected.mean[row]).abs() <= 4.0 * error, "row {row}");
            assert!((variance / expected.variance[row] - 1.0).abs() < 0.1, "row {row}");
            for (count, p) in [
                (controls.at_least[row], expected.at_least[row]),
                (controls.at_most[row], expected.at_most[row]),
            ] {
                let error = (p * (1.0 - p) / f64::from(n)).sqrt();
                assert!((f64::from(count) / f64::from(n) - p).abs() <= 4.0 * error, "row {row}");
            }
        }
    }
}

#[test]
fn the_mean_equals_trying_every_start() {
    for gc in [None, Some(0.0), Some(0.1), Some(1.0)] {
        let case = Case { gc, ..Case::new() };
        let mut mean = [0.0; 4];
        for row in &case.intervals {
            let starts = starts(&case, row);
            assert!(!starts.is_empty());
            for class in 0..2 {
                let touching = starts.iter().filter(|(_, touched)| touched[class]).count();
                mean[row.0 as usize * 2 + class] += touching as f64 / starts.len() as f64;
            }
        }
        let expected = case.nulls::<u32>().expected().unwrap();
        for (found, tried) in expected.mean.iter().zip(mean) {
            assert!((found - tried).abs() < 1e-9, "{found} is not {tried}");
        }
        assert_eq!(expected.unmatched, 0);
    }
}

#[test]
fn an_interval_takes_only_starts_of_like_composition() {
    for gc in [None, Some(0.05)] {
        for row in &Case::new().intervals[..20] {
            let case = Case { intervals: vec![*row], gc, ..Case::new() };
            let (nulls, starts) = (case.nulls::<u32>(), starts(&case, row));
            let mut seen = std::collections::BTreeSet::new();
            for number in 0..300 {
                let mut moved = Vec::new();
                assert_eq!(nulls.shuffle(&nulls.groups[0], number * 7919, &mut moved), 0);
                let start = moved[0].start.get() - nulls.line.offset(row.1);
                assert!(starts.iter().any(|(one, _)| *one == start));
                seen.insert(start);
            }
            assert!(seen.len() > starts.len().min(300) / 3);
        }
    }
}

#[test]
fn without_a_like_place_the_nearest_is_taken_and_counted() {
    // The only place is the interval's own but for its neighbours, all T; it is all G.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genome.fa");
    std::fs::write(&path, ">a\nGGGGTTTTTTTG\n").unwrap();
    let gc = || {
        let genome = Fasta::open(&path).unwrap();
        Some(GcMatch::new(vec![genome.composition(0).unwrap()], 0.1).unwrap())
    };
    let own = Table::new(&[(0, 0, 0, 4)]);
    let [classes, space, holes] =
        [(0, 0, 11, 12), (0, 0, 0, 12), (0, 0, 0, 4)].map(|row| Table::new(&[row]));
    let [own, classes, space, holes] =
        [&own, &classes, &space, &holes].map(|table| table.intervals(1, 1));
    let placement = Placement::new(&own, &classes, &space, &holes, gc()).unwrap();
    // Starts 4 to 8, of which the last holds one G and touches the class.
    let expected = placement.expected().unwrap();
    assert_eq!((expected.mean[0], expected.unmatched), (1.0, 1));
    let controls = placement.controls(10, 0).unwrap();
    assert_eq!((controls.sum[0], controls.unmatched), (10, 10));
    assert!(
        Placement::new(&own, &classes, &space, &holes, Some(GcMatch::new(vec![], 0.1).unwrap()))
            .is_err()
    );
}

#[test]
fn an_interval_that_fits_nowhere_is_named() {
    for wrong in [(0, 0, 0, 6), (0, 1, 0, 4)] {
        let own = Table::new(&[(0, 0, 0, 4), wrong]);
        let (none, space) = (Table::default(), Table::new(&[(0, 0, 0, 5)]));
        let [own, none, space] = [&own, &none, &space].map(|table| table.intervals(1, 2));
        let error = Placement::new(&own, &none, &space, &none, None).err().unwrap();
        assert!(error.to_string().starts_with("intervals[1]: nowhere"), "{error}");
    }
}

#[test]
fn an_interrupt_ends_it() {
    for gc in [None, Some(0.1)] {
        let nulls = Case { gc, ..Case::new() }.nulls::<u32>();
        assert_stops(|| nulls.controls(3, 0));
        assert_stops(|| nulls.expected());
    }
}
