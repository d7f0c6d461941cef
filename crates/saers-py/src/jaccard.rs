//! Binding of `saers_core::jaccard`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use saers_core::intervals::Intervals;
use saers_core::jaccard as core;

use crate::intervals::{Columns, borrow};
use crate::wait;

/// Columns of relations: a, b, intersection, union, pairs of intervals.
type Relations<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

/// Shared and joint bases of all pairs of features that overlap; `shape` has the numbers of
/// features and chromosomes.
#[pyfunction]
pub fn jaccard<'py>(
    py: Python<'py>,
    intervals: Columns<'py>,
    shape: [usize; 2],
    threads: Option<usize>,
) -> PyResult<Relations<'py>> {
    let columns = borrow(&intervals)?;
    let pairs = wait::run(py, threads, || {
        core::jaccard(&Intervals::new("intervals", columns, shape[0], shape[1])?)
    })?;
    Ok((
        pairs.a.into_pyarray(py),
        pairs.b.into_pyarray(py),
        pairs.intersection.into_pyarray(py),
        pairs.union.into_pyarray(py),
        pairs.n_overlap.into_pyarray(py),
    ))
}
