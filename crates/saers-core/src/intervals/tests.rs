use proptest::prelude::*;

use super::testing::{FAR, Row, Table, assert_stops, covers, far, on_threads, rows};
use super::*;

/// Rows of a union.
fn merged(rows: &[Row]) -> Vec<Row> {
    let table = Table::new(rows);
    let union = on_threads(|| merge(&table.intervals(3, 2)));
    let places = union.start.iter().zip(&union.end);
    let columns = union.tag.iter().zip(&union.chrom).zip(places);
    columns.map(|((tag, chrom), (start, end))| (*tag, *chrom, *start, *end)).collect()
}

/// Segments of the first chromosome, sorted.
fn segments(rows: &[Row]) -> Vec<Segment<u32>> {
    let mut list: Vec<_> = rows
        .iter()
        .filter(|row| row.1 == 0 && row.2 < row.3)
        .map(|row| Segment::new(row.2 as u64, row.3 as u64, row.0))
        .collect();
    list.sort();
    list
}

#[test]
fn wrong_intervals_are_named() {
    let fine = (0, 0, 0, 1);
    for (wrong, message) in [
        ((0, 0, -1, 1), "x[1]: start -1 is negative"),
        ((0, 0, 2, 1), "x[1]: start 2 lies after end 1"),
        ((0, 0, 2, i64::MIN), "x[1]: start 2 lies after end -9223372036854775808"),
        ((3, 0, 0, 1), "x[1]: tag 3 must lie below 3"),
        ((u32::MAX, 0, 0, 1), "x[1]: tag 4294967295 must lie below 3"),
        ((0, 2, 0, 1), "x[1]: chromosome 2 must lie below 2"),
        ((0, 0, 0, i64::MAX), "the ends of chromosomes add up to 2^62"),
    ] {
        let table = Table::new(&[fine, wrong]);
        let error = merge(&table.intervals(3, 2)).unwrap_err().to_string();
        assert!(error.starts_with(message), "{error}");
        let error = count_overlaps(&table.intervals(3, 2), &table.intervals(3, 2)).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let table = Table::new(&[fine]);
    assert!(merge(&table.intervals(0, 1)).is_err());
}

#[test]
fn what_lies_elsewhere_takes_no_part() {
    let table = Table::new(&[(0, ELSEWHERE, 0, 9), (0, 1, 2, 4)]);
    let union = merge(&table.intervals(1, 2)).unwrap();
    assert_eq!((union.chrom, union.start), (vec![1], vec![2]));
}

#[test]
fn chromosomes_may_come_in_any_order() {
    let rows: Vec<Row> = [1, 0]
        .into_iter()
        .flat_map(|chrom| (0..20_000).map(move |i| (0, chrom, 10 * i, 10 * i + 7)))
        .collect();
    let found = merged(&rows);
    assert!(found.is_sorted_by_key(|row| (row.1, row.2)));
    assert_eq!(found.len(), rows.len());
}

#[test]
fn long_lists_in_any_order_are_sorted() {
    // Buckets with none, few and many segments.
    let place = |i: u64| if i.is_multiple_of(3) { 5_000 + i % 700 } else { i * i % 90_001 };
    let rows: Vec<Row> = (0..30_000_u64)
        .map(|i| ((i % 3) as u32, (i % 2) as u32, place(i) as i64, (place(i) + 1 + i % 40) as i64))
        .collect();
    let table = Table::new(&rows);
    let sorted = on_threads(|| {
        let table = table.intervals(3, 2);
        Line::of(&[&table])?.sorted::<u32>(&table)
    });
    assert_eq!(sorted.len(), rows.len());
    assert!(sorted.is_sorted());
    let mut again: Vec<_> = sorted.iter().rev().copied().collect();
    sort(&mut again, &mut Vec::new()).unwrap();
    assert_eq!(again, sorted);
}

#[test]
fn an_interrupt_ends_every_kernel() {
    let rows: Vec<Row> = (0..50).map(|i| (0, 0, 5 * i, 5 * i + 9)).collect();
    let table = Table::new(&rows);
    assert_stops(|| merge(&table.intervals(1, 1)));
    assert_stops(|| count_overlaps(&table.intervals(1, 1), &table.intervals(1, 1)));
}

proptest! {
    #[test]
    fn merging_keeps_every_base_once(rows in rows(3)) {
        let found = merged(&rows);
        let bases = (0..3).flat_map(|t| (0..2).flat_map(move |c| (0..90).map(move |b| (t, c, b))));
        for (tag, chrom, base) in bases {
            prop_assert_eq!(covers(&found, tag, chrom, base), covers(&rows, tag, chrom, base));
        }
        for (number, a) in found.iter().enumerate() {
            prop_assert!(a.2 < a.3);
            let apart = |b: &Row| (b.0, b.1) != (a.0, a.1) || b.2 > a.3 || b.3 < a.2;
            prop_assert!(found[number + 1..].iter().all(apart));
        }
        prop_assert!(found.is_sorted_by_key(|row| (row.1, row.2)));
    }

    #[test]
    fn the_size_of_places_changes_nothing(own in rows(3), other in rows(3)) {
        let near = [&own, &other].map(|rows| Table::new(rows));
        let away = [&own, &other].map(|rows| Table::new(&far(rows)));
        let count = |[own, other]: &[Table; 2]| {
            count_overlaps(&own.intervals(3, 2), &other.intervals(3, 2)).unwrap()
        };
        prop_assert_eq!(count(&near), count(&away));
        let shifted: Vec<Row> = merged(&far(&own));
        prop_assert!(shifted.iter().all(|row| row.2 >= FAR));
        prop_assert_eq!(shifted, far(&merged(&own)));
    }

    #[test]
    fn the_sweep_visits_every_overlap_once(own in rows(3), other in rows(3), from in 0_usize..30) {
        let (queries, targets) = (segments(&own), segments(&other));
        let queries = &queries[from.min(queries.len())..];
        let mut visited = Vec::new();
        sweep(queries, &targets, |number, query, target| visited.push((number, *query, *target)))
            .unwrap();
        let mut expected: Vec<_> = queries
            .iter()
            .enumerate()
            .flat_map(|(number, query)| targets.iter().map(move |t| (number, *query, *t)))
            .filter(|(_, query, target)| query.overlap(target) > 0)
            .collect();
        visited.sort();
        expected.sort();
        prop_assert_eq!(visited, expected);
    }

    #[test]
    fn what_is_left_of_space_lies_in_no_hole(space in rows(1), holes in rows(1)) {
        let [one, other] = [&space, &holes].map(|rows| Table::new(rows));
        let (one, other) = (one.intervals(1, 2), other.intervals(1, 2));
        let line = Line::of(&[&one, &other]).unwrap();
        let union = |table| line.union::<u32>(table).unwrap();
        let free = subtract(&union(&one), &union(&other)).unwrap();
        for (chrom, base) in (0..2).flat_map(|c| (0..90).map(move |b| (c, b))) {
            let expected = covers(&space, 0, chrom, base) && !covers(&holes, 0, chrom, base);
            let place = line.offset(chrom) + base as u64;
            let own = line.by_chromosome(&free)[chrom as usize];
            let found = own.iter().any(|s| (s.start.get()..s.end.get()).contains(&place));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn counts_equal_those_of_single_bases(own in rows(3), other in rows(3)) {
        let (intervals, annotation) = (Table::new(&own), Table::new(&other));
        let counts = on_threads(|| {
            count_overlaps(&intervals.intervals(3, 2), &annotation.intervals(3, 2))
        });
        for (feature, class) in (0..3).flat_map(|f| (0..3).map(move |c| (f, c))) {
            let bases: Vec<i64> = own
                .iter()
                .filter(|row| row.0 == feature)
                .map(|r| (r.2..r.3).filter(|&b| covers(&other, class, r.1, b)).count() as i64)
                .collect();
            let row = (feature * 3 + class) as usize;
            prop_assert_eq!(counts.bases[row], bases.iter().sum::<i64>());
            let touching = bases.iter().filter(|bases| **bases > 0).count();
            prop_assert_eq!(counts.n_intervals[row] as usize, touching);
        }
    }
}
