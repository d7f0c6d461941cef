//! Binding of `saers_core::intervals`.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use saers_core::Error;
use saers_core::intervals::{self, Interval};

use crate::error::{CoreError, CoreResult};
use crate::wait;

/// Columns of intervals: tag (feature or class), chromosome, start, end.
pub type Columns<'py> = (
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
);

/// Gathers columns into the rows that the kernels read.
pub fn rows((tag, chrom, start, end): &Columns<'_>) -> CoreResult<Vec<Interval>> {
    let odd = |_| CoreError::from(Error::invalid("columns of intervals must be contiguous"));
    let (tag, chrom) = (tag.as_slice().map_err(odd)?, chrom.as_slice().map_err(odd)?);
    let (start, end) = (start.as_slice().map_err(odd)?, end.as_slice().map_err(odd)?);
    let columns = tag.iter().zip(chrom).zip(start).zip(end);
    let row = |(((&tag, &chrom), &start), &end)| Interval { chrom, start, end, tag };
    Ok(columns.map(row).collect())
}

type Counts<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

/// Intervals that touch and bases covered, for every feature and class.
#[pyfunction]
pub fn count_overlaps<'py>(
    py: Python<'py>,
    intervals: Columns<'py>,
    annotation: Columns<'py>,
    shape: (usize, usize),
    threads: Option<usize>,
) -> PyResult<Counts<'py>> {
    let (queries, annotation) = (rows(&intervals)?, rows(&annotation)?);
    let count = || intervals::count_overlaps(&queries, annotation, shape.0, shape.1);
    let counts = wait::run(py, threads, count)?;
    Ok((counts.n_intervals.into_pyarray(py), counts.bases.into_pyarray(py)))
}

type Merged<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

fn columns(py: Python<'_>, intervals: Vec<Interval>) -> Merged<'_> {
    let numbers = |of: fn(&Interval) -> u32| -> Vec<u32> { intervals.iter().map(of).collect() };
    let places = |of: fn(&Interval) -> i64| -> Vec<i64> { intervals.iter().map(of).collect() };
    (
        numbers(|i| i.tag).into_pyarray(py),
        numbers(|i| i.chrom).into_pyarray(py),
        places(|i| i.start).into_pyarray(py),
        places(|i| i.end).into_pyarray(py),
    )
}

/// Union of the intervals of each tag.
#[pyfunction]
pub fn merge<'py>(py: Python<'py>, intervals: Columns<'py>) -> PyResult<Merged<'py>> {
    let rows = rows(&intervals)?;
    let merged = wait::run(py, None, || {
        intervals::check("intervals", &rows, usize::MAX)?;
        Ok(intervals::merge(rows))
    })?;
    Ok(columns(py, merged))
}
