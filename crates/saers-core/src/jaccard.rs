//! Base-pair Jaccard index of all pairs of features.

use rayon::prelude::*;

use crate::intervals::{Intervals, Line, Place, Segment};
use crate::{Result, threads};

/// Cells that are added up at a time, 8 bytes each: bounds the memory of a thread.
const CELLS: usize = 1 << 23;
/// Overlaps that are added up together, and segments between two looks at whether the caller
/// still waits.
const SPAN: usize = 1 << 12;

/// Pairs of features whose intervals overlap, column by column.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relations {
    /// The feature of the lower number.
    pub a: Vec<u32>,
    /// The feature of the higher number.
    pub b: Vec<u32>,
    /// Bases that both cover.
    pub intersection: Vec<i64>,
    /// Bases that at least one covers.
    pub union: Vec<i64>,
    /// Pairs of merged intervals that overlap.
    pub n_overlap: Vec<i64>,
}

/// Compares the bases that every two features cover; pairs without a common base are left out.
///
/// The intervals of each feature are merged first, those that touch included. The tag of an
/// interval is its feature. Pairs come in order of `a`, then `b`. One sweep along the genome
/// serves as many features as there is room for; threads share its length.
///
/// # Errors
/// [`crate::Error::InvalidArgument`] where coordinates are too large to be added up,
/// [`crate::Error::Stopped`] where the caller gives up.
///
/// ```
/// use saers_core::{intervals::{Columns, Intervals}, jaccard::jaccard};
/// let tag = [0, 1];
/// let columns = Columns { tag: Some(&tag), chrom: &[0, 0], start: &[0, 5], end: &[10, 20] };
/// let pairs = jaccard(&Intervals::new("intervals", columns, 2, 1)?)?;
/// assert_eq!((pairs.intersection, pairs.union), (vec![5], vec![20]));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn jaccard(intervals: &Intervals<'_>) -> Result<Relations> {
    let line = Line::of(&[intervals])?;
    if line.is_short() {
        relate(&line.union::<u32>(intervals)?, intervals.n_tags(), CELLS)
    } else {
        relate(&line.union::<u64>(intervals)?, intervals.n_tags(), CELLS)
    }
}

/// Relates features in blocks of as many rows as `cells` allows.
fn relate<P: Place>(merged: &[Segment<P>], n_features: usize, cells: usize) -> Result<Relations> {
    let mut covered = vec![0; n_features];
    for segment in merged {
        covered[segment.tag as usize] += segment.width() as i64;
    }
    let mut found = Relations::default();
    let mut first = 0;
    while first < n_features {
        let block = Block::from(first, n_features, cells);
        let part = merged.len().div_ceil(rayon::current_num_threads()).max(1);
        let cells = (0..merged.len())
            .into_par_iter()
            .step_by(part)
            .map(|from| block.sweep(merged, from..merged.len().min(from + part)))
            .try_reduce_with(|one, other| Ok(add(one, &other)));
        block.collect(&cells.transpose()?.unwrap_or_default(), &covered, &mut found);
        first = block.end;
    }
    Ok(found)
}

/// What two features share; both sums in one place, as they are always touched together.
/// No number is larger than that of the places on the line, so it fits into a place.
#[derive(Clone, Copy, Default)]
struct Cell<P> {
    bases: P,
    pairs: P,
}

fn add<P: Place>(mut one: Vec<Cell<P>>, other: &[Cell<P>]) -> Vec<Cell<P>> {
    for (one, other) in one.iter_mut().zip(other) {
        one.bases = P::new(one.bases.get() + other.bases.get());
        one.pairs = P::new(one.pairs.get() + other.pairs.get());
    }
    one
}

/// Relations whose lower feature lies in `first..end`; row `a` holds those to all `b > a`.
struct Block {
    first: usize,
    end: usize,
    n_features: usize,
}

impl Block {
    /// Takes as many rows as fit, and one at least.
    fn from(first: usize, n_features: usize, cells: usize) -> Self {
        let mut block = Self { first, end: first + 1, n_features };
        while block.end < n_features && block.row(block.end + 1) <= cells {
            block.end += 1;
        }
        block
    }

    /// Where the cells of row `a` begin.
    fn row(&self, a: usize) -> usize {
        // Row `a` holds n - 1 - a cells.
        let rows = a - self.first;
        rows * (self.n_features - 1) - (self.first + a).saturating_sub(1) * rows / 2
    }

    /// Adds up what each segment of a range shares with those that begin after it.
    fn sweep<P: Place>(
        &self,
        sorted: &[Segment<P>],
        range: std::ops::Range<usize>,
    ) -> Result<Vec<Cell<P>>> {
        let rows: Vec<usize> = (self.first..self.end).map(|a| self.row(a)).collect();
        let mut cells = vec![Cell::default(); self.row(self.end)];
        let mut waiting = Vec::with_capacity(2 * SPAN);
        for number in range {
            if waiting.len() >= SPAN || number % SPAN == 0 {
                threads::check()?;
                add_up(&mut waiting, &mut cells);
            }
            let (segment, later) = (sorted[number], &sorted[number + 1..]);
            for other in later.iter().take_while(|other| other.start < segment.end) {
                let a = segment.tag.min(other.tag) as usize;
                let b = segment.tag.max(other.tag) as usize;
                if (self.first..self.end).contains(&a) {
                    waiting.push((rows[a - self.first] + b - a - 1, segment.overlap(other)));
                }
            }
        }
        add_up(&mut waiting, &mut cells);
        Ok(cells)
    }

    /// Lists the pairs that share a base.
    fn collect<P: Place>(&self, cells: &[Cell<P>], covered: &[i64], found: &mut Relations) {
        let mut cells = cells.iter();
        for a in self.first..self.end {
            for (b, cell) in (a + 1..self.n_features).zip(&mut cells) {
                if cell.pairs.get() > 0 {
                    let intersection = cell.bases.get() as i64;
                    found.a.push(a as u32);
                    found.b.push(b as u32);
                    found.intersection.push(intersection);
                    found.union.push(covered[a] + covered[b] - intersection);
                    found.n_overlap.push(cell.pairs.get() as i64);
                }
            }
        }
    }
}

/// Adds overlaps to their cells. They come in batches, because the cells lie far apart: one
/// after the other the processor would wait for each.
fn add_up<P: Place>(waiting: &mut Vec<(usize, u64)>, cells: &mut [Cell<P>]) {
    for (place, bases) in waiting.drain(..) {
        let cell = &mut cells[place];
        cell.bases = P::new(cell.bases.get() + bases);
        cell.pairs = P::new(cell.pairs.get() + 1);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::intervals::testing::{Row, Table, assert_stops, far, on_threads, rows};

    /// Bases as a set, feature by feature.
    fn twin(rows: &[Row]) -> BTreeMap<(u32, u32), (i64, i64)> {
        let bases = |tag| -> HashSet<(u32, i64)> {
            let own = rows.iter().filter(|row| row.0 == tag);
            own.flat_map(|row| (row.2..row.3).map(|base| (row.1, base))).collect()
        };
        let mut found = BTreeMap::new();
        for (a, b) in (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))) {
            let (of_a, of_b) = (bases(a), bases(b));
            let both = of_a.intersection(&of_b).count() as i64;
            if both > 0 {
                found.insert((a, b), (both, of_a.union(&of_b).count() as i64));
            }
        }
        found
    }

    #[test]
    fn no_features_have_no_relations() {
        assert_eq!(jaccard(&Table::default().intervals(0, 0)).unwrap(), Relations::default());
    }

    #[test]
    fn blocks_of_few_rows_change_nothing() {
        let rows: Vec<Row> = (0..20).map(|i| (i as u32 % 7, 0, i * 3, i * 3 + 9)).collect();
        let table = Table::new(&rows);
        let table = table.intervals(7, 1);
        let merged = Line::of(&[&table]).unwrap().union::<u32>(&table).unwrap();
        let whole = relate(&merged, 7, CELLS).unwrap();
        assert!(!whole.a.is_empty());
        for cells in [0, 1, 6, 11, 20] {
            assert_eq!(relate(&merged, 7, cells).unwrap(), whole);
        }
    }

    #[test]
    fn an_interrupt_ends_it() {
        let table = Table::new(&[(0, 0, 0, 9), (1, 0, 3, 12)]);
        assert_stops(|| jaccard(&table.intervals(2, 1)));
    }

    proptest! {
        #[test]
        fn relations_equal_those_of_sets_of_bases(rows in rows(5)) {
            let table = Table::new(&rows);
            let found = on_threads(|| jaccard(&table.intervals(5, 2)));
            let pairs = found.a.iter().copied().zip(found.b.iter().copied());
            let bases = found.intersection.iter().copied().zip(found.union.iter().copied());
            prop_assert!(pairs.clone().is_sorted());
            prop_assert_eq!(pairs.zip(bases).collect::<BTreeMap<_, _>>(), twin(&rows));
            let away = Table::new(&far(&rows));
            prop_assert_eq!(jaccard(&away.intervals(5, 2)).unwrap(), found);
        }
    }
}
