//! Binding of `saers_core::intervals`.

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use saers_core::intervals::{self, Intervals};
use saers_core::{Error, Result};

use crate::error::{CoreError, CoreResult};
use crate::wait;

/// Columns of intervals: tag (feature or class; None: all 0), chromosome, start, end.
pub type Columns<'py> = (
    Option<PyReadonlyArray1<'py, u32>>,
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
);

/// Borrows columns for the kernels.
pub fn borrow<'a>((tag, chrom, start, end): &'a Columns<'_>) -> CoreResult<intervals::Columns<'a>> {
    let odd = |_| CoreError::from(Error::invalid("columns of intervals must be contiguous"));
    Ok(intervals::Columns {
        tag: tag.as_ref().map(PyReadonlyArray1::as_slice).transpose().map_err(odd)?,
        chrom: chrom.as_slice().map_err(odd)?,
        start: start.as_slice().map_err(odd)?,
        end: end.as_slice().map_err(odd)?,
    })
}

type Counts<'py> = (Bound<'py, PyArray1<u32>>, Bound<'py, PyArray1<i64>>);

/// Intervals that touch and bases covered, for every feature and class; `shape` has the
/// numbers of features, classes and chromosomes.
#[pyfunction]
pub fn count_overlaps<'py>(
    py: Python<'py>,
    intervals: Columns<'py>,
    annotation: Columns<'py>,
    shape: [usize; 3],
    threads: Option<usize>,
) -> PyResult<Counts<'py>> {
    let (own, other) = (borrow(&intervals)?, borrow(&annotation)?);
    let [n_features, n_classes, n_chroms] = shape;
    let counts = wait::run(py, threads, || {
        intervals::count_overlaps(
            &Intervals::new("intervals", own, n_features, n_chroms)?,
            &Intervals::new("annotation", other, n_classes, n_chroms)?,
        )
    })?;
    Ok((counts.n_intervals.into_pyarray(py), counts.bases.into_pyarray(py)))
}

type Merged<'py> = (
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<i64>>,
    Bound<'py, PyArray1<i64>>,
);

/// Union of the intervals of each tag; `shape` has the numbers of tags and chromosomes.
#[pyfunction]
pub fn merge<'py>(
    py: Python<'py>,
    intervals: Columns<'py>,
    shape: [usize; 2],
) -> PyResult<Merged<'py>> {
    let columns = borrow(&intervals)?;
    let work = || -> Result<_> {
        intervals::merge(&Intervals::new("intervals", columns, shape[0], shape[1])?)
    };
    let union = wait::run(py, None, work)?;
    Ok((
        union.tag.into_pyarray(py),
        union.chrom.into_pyarray(py),
        union.start.into_pyarray(py),
        union.end.into_pyarray(py),
    ))
}
