//! The largest values of each row of a dense matrix: what a TopK autoencoder keeps.
//!
//! A row is looked at twice. First it is taken apart into groups, and the largest of each group is
//! found: the k-th largest of these is met or exceeded by at least k values of the row. So only the
//! few values that reach it are compared further.

use multiversion::multiversion;
use rayon::prelude::*;

use crate::{Error, Result};

/// Values that are compared at once.
const LANES: usize = 16;
/// Values that make a group for each lane.
const BLOCK: usize = 16 * LANES;
/// Rows that a thread takes at a time.
const ROWS: usize = 64;

/// Finds the `k` largest values above 0 of each row, in the order of their columns.
///
/// Of equal values those of the lower columns are kept. Where fewer than `k` are above 0, the
/// lowest of the other columns follow with a value of 0. A row with a NaN has it as its first
/// value, so that it is not lost.
///
/// # Errors
/// [`Error::InvalidArgument`] when `k` is not in 1..=`columns`, or the lengths do not fit.
///
/// ```
/// use saers_core::largest::largest;
/// let (mut columns, mut values) = ([0; 4], [0.0; 4]);
/// largest(&[0.5, -1.0, 3.0, 2.0, -1.0, -2.0, -3.0, 4.0], 4, 2, &mut columns, &mut values)?;
/// assert_eq!((columns, values), ([2, 3, 3, 0], [3.0, 2.0, 4.0, 0.0]));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn largest(
    matrix: &[f32],
    columns: usize,
    k: usize,
    found: &mut [i64],
    values: &mut [f32],
) -> Result<()> {
    if k == 0 || k > columns {
        return Err(Error::invalid(format!("k must lie in 1..{columns}, got {k}")));
    }
    let rows = matrix.len() / columns;
    if rows * columns != matrix.len() || found.len() != rows * k || values.len() != rows * k {
        return Err(Error::invalid(format!(
            "{rows} rows of {columns} must give {} places, got {} and {}",
            rows * k,
            found.len(),
            values.len()
        )));
    }
    let parts = matrix
        .par_chunks(ROWS * columns)
        .zip(found.par_chunks_mut(ROWS * k))
        .zip(values.par_chunks_mut(ROWS * k));
    parts.for_each_init(Scratch::default, |scratch, ((matrix, found), values)| {
        let places = found.chunks_exact_mut(k).zip(values.chunks_exact_mut(k));
        for (row, (found, values)) in matrix.chunks_exact(columns).zip(places) {
            scratch.pick(row, found, values);
        }
    });
    Ok(())
}

/// What one thread needs beside its row.
#[derive(Default)]
struct Scratch {
    maxima: Vec<f32>,
    ordered: Vec<f32>,
    near: Vec<(f32, u32)>,
}

impl Scratch {
    fn pick(&mut self, row: &[f32], found: &mut [i64], values: &mut [f32]) {
        values.fill(0.0);
        if lane_maxima(row, &mut self.maxima) {
            pad(found, 0);
            values[0] = f32::NAN;
            return;
        }
        let k = found.len();
        let border = self.border(k);
        reaching(row, border, &mut self.near);
        if self.near.len() > k {
            // Descending by value, then ascending by column: what is kept does not depend on luck.
            let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
            self.near.select_nth_unstable_by(k - 1, order);
            self.near.truncate(k);
            self.near.sort_unstable_by_key(|&(_, column)| column);
        }
        for (&(value, column), place) in self.near.iter().zip(0..) {
            found[place] = i64::from(column);
            values[place] = value;
        }
        pad(found, self.near.len());
    }

    /// A value that at least `k` of the row reach, or the least there is.
    fn border(&mut self, k: usize) -> f32 {
        if self.maxima.len() < k {
            return f32::NEG_INFINITY;
        }
        self.ordered.clone_from(&self.maxima);
        *self.ordered.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1
    }
}

/// Fills what is left of the columns with the lowest that are not among the first `count`.
fn pad(found: &mut [i64], count: usize) {
    let (kept, rest) = found.split_at_mut(count);
    let mut others = (0..).filter(|column| kept.binary_search(column).is_err());
    rest.fill_with(|| others.next().unwrap_or_default());
}

/// Takes the maximum of each lane of each block; tells whether any value is NaN.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn lane_maxima(row: &[f32], maxima: &mut Vec<f32>) -> bool {
    maxima.clear();
    let mut odd = [false; LANES];
    for block in row.chunks(BLOCK) {
        let mut most = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = block.as_chunks::<LANES>();
        for part in whole {
            for ((most, odd), &value) in most.iter_mut().zip(&mut odd).zip(part) {
                *most = if value > *most { value } else { *most };
                *odd |= value.is_nan();
            }
        }
        for ((most, odd), &value) in most.iter_mut().zip(&mut odd).zip(rest) {
            *most = if value > *most { value } else { *most };
            *odd |= value.is_nan();
        }
        maxima.extend(most);
    }
    odd.contains(&true)
}

/// Gathers the values that reach the border and lie above 0, with their columns.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2"))]
fn reaching(row: &[f32], border: f32, near: &mut Vec<(f32, u32)>) {
    near.clear();
    let mut column = 0;
    for part in row.chunks(LANES) {
        if part.iter().fold(false, |any, &value| any | (value >= border)) {
            let reach = |&(value, _): &(f32, u32)| value >= border && value > 0.0;
            near.extend(part.iter().copied().zip(column..).filter(reach));
        }
        column += LANES as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sorts the whole row.
    fn by_sorting(row: &[f32], k: usize) -> Vec<(i64, f32)> {
        let mut all: Vec<(i64, f32)> = (0..).zip(row.iter().copied()).collect();
        all.retain(|&(_, value)| value > 0.0);
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        all.truncate(k);
        all.sort_by_key(|&(column, _)| column);
        let others = (0..).filter(|column| all.iter().all(|&(kept, _)| kept != *column));
        let rest: Vec<_> = others.take(k - all.len()).map(|column| (column, 0.0)).collect();
        all.extend(rest);
        all
    }

    fn run(matrix: &[f32], columns: usize, k: usize) -> Vec<(i64, f32)> {
        let count = matrix.len() / columns * k;
        let (mut found, mut values) = (vec![7; count], vec![7.0; count]);
        largest(matrix, columns, k, &mut found, &mut values).unwrap();
        found.into_iter().zip(values).collect()
    }

    proptest! {
        #[test]
        fn rows_are_picked_as_sorting_picks_them(
            columns in 1_usize..600,
            share in 0.0..1.0_f64,
            seed in prop::collection::vec(-3_i8..4, 0..2000),
        ) {
            let k = 1 + (share * columns as f64) as usize % columns;
            let rows = seed.len() / columns;
            let matrix: Vec<f32> =
                seed[..rows * columns].iter().map(|&v| f32::from(v) / 2.0).collect();
            let expected: Vec<_> =
                matrix.chunks_exact(columns).flat_map(|row| by_sorting(row, k)).collect();
            prop_assert_eq!(run(&matrix, columns, k), expected);
        }
    }

    #[test]
    fn infinite_values_are_the_largest() {
        let row = [1.0, f32::INFINITY, f32::NEG_INFINITY, 2.0];
        assert_eq!(run(&row, 4, 2), [(1, f32::INFINITY), (3, 2.0)]);
    }

    #[test]
    fn nan_is_not_lost() {
        for place in [0, 17, 32] {
            let mut row = [1.0; 33];
            row[place] = f32::NAN;
            assert!(run(&row, 33, 3)[0].1.is_nan());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(largest(&[1.0; 4], 2, 3, &mut [0; 6], &mut [0.0; 6]).is_err());
        assert!(largest(&[1.0; 4], 2, 0, &mut [], &mut []).is_err());
        assert!(largest(&[1.0; 4], 2, 1, &mut [0; 1], &mut [0.0; 2]).is_err());
        assert!(largest(&[1.0; 5], 2, 1, &mut [0; 2], &mut [0.0; 2]).is_err());
    }
}
