//! Binding of `saers_core::jaccard`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use saers_core::jaccard as core;

use crate::intervals::{Columns, rows};
use crate::wait;

/// Columns of relations: a, b, intersection, union, pairs of intervals.
type Relations<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<u32>>,
);

/// Shared and joint bases of all pairs of features that overlap.
#[pyfunction]
pub fn jaccard<'py>(
    py: Python<'py>,
    intervals: Columns<'py>,
    n_features: usize,
    threads: Option<usize>,
) -> PyResult<Relations<'py>> {
    let rows = rows(&intervals)?;
    let pairs = wait::run(py, threads, || core::jaccard(rows, n_features))?;
    let numbers = |of: fn(&core::Relation) -> u32| -> Vec<u32> { pairs.iter().map(of).collect() };
    let bases = |of: fn(&core::Relation) -> i64| -> Vec<i64> { pairs.iter().map(of).collect() };
    Ok((
        numbers(|pair| pair.a).into_pyarray(py),
        numbers(|pair| pair.b).into_pyarray(py),
        bases(|pair| pair.intersection).into_pyarray(py),
        bases(|pair| pair.union).into_pyarray(py),
        numbers(|pair| pair.n_overlap).into_pyarray(py),
    ))
}
