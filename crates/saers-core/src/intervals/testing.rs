//! Tables of intervals for the tests of this crate.

use proptest::prelude::*;

use super::{Columns, Intervals};
use crate::Result;
use crate::threads::{Stop, install};

/// A row: tag, chromosome, start, end.
pub(crate) type Row = (u32, u32, i64, i64);

/// Rows that own their columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    tag: Vec<u32>,
    chrom: Vec<u32>,
    start: Vec<i64>,
    end: Vec<i64>,
}

impl Table {
    pub(crate) fn new(rows: &[Row]) -> Self {
        Self {
            tag: rows.iter().map(|row| row.0).collect(),
            chrom: rows.iter().map(|row| row.1).collect(),
            start: rows.iter().map(|row| row.2).collect(),
            end: rows.iter().map(|row| row.3).collect(),
        }
    }

    /// The rows, with tags and chromosomes below these numbers.
    pub(crate) fn intervals(&self, n_tags: usize, n_chroms: usize) -> Intervals<'_> {
        let (tag, chrom) = (Some(&self.tag[..]), &self.chrom[..]);
        let columns = Columns { tag, chrom, start: &self.start, end: &self.end };
        Intervals::new("x", columns, n_tags, n_chroms).unwrap()
    }
}

/// Rows on two chromosomes with tags below `n_tags`; some empty, some long.
pub(crate) fn rows(n_tags: u32) -> impl Strategy<Value = Vec<Row>> {
    let one = (0..n_tags, 0_u32..2, 0_i64..60, 0_i64..25);
    let row = one.prop_map(|(tag, chrom, start, width)| (tag, chrom, start, start + width));
    prop::collection::vec(row, 0..60)
}

/// The same rows beyond what 32 bits hold.
pub(crate) fn far(rows: &[Row]) -> Vec<Row> {
    rows.iter().map(|&(tag, chrom, start, end)| (tag, chrom, start + FAR, end + FAR)).collect()
}

pub(crate) const FAR: i64 = 1 << 33;

/// Whether a base lies in an interval of the tag.
pub(crate) fn covers(rows: &[Row], tag: u32, chrom: u32, base: i64) -> bool {
    rows.iter().any(|row| (row.0, row.1) == (tag, chrom) && row.2 <= base && base < row.3)
}

/// Does the same on 1, 2 and 8 threads, and requires one answer.
pub(crate) fn on_threads<T>(work: impl Fn() -> Result<T> + Sync) -> T
where
    T: PartialEq + std::fmt::Debug + Send,
{
    let on = |threads| install(Some(threads), &Stop::default(), &work).unwrap().unwrap();
    let one = on(1);
    assert_eq!(one, on(2));
    assert_eq!(one, on(8));
    one
}

/// Requires that work gives up when asked to.
pub(crate) fn assert_stops<T: Send + std::fmt::Debug>(work: impl Fn() -> Result<T> + Sync) {
    let stop = Stop::default();
    stop.request();
    for threads in [1, 2] {
        let done = install(Some(threads), &stop, &work).unwrap();
        assert!(matches!(done, Err(crate::Error::Stopped)), "{done:?}");
    }
}
