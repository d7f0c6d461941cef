//! Binding of `saers_core::shuffle`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use saers_core::shuffle;

use crate::intervals::{Columns, rows};
use crate::wait;

/// Intervals, an annotation, and the room in which the intervals may be put elsewhere.
#[pyclass(frozen, module = "saers._core")]
pub struct Placement {
    placement: shuffle::Placement,
    threads: Option<usize>,
}

/// Sum, sum of squares, controls that count at least and at most as many.
type Controls<'py> = (
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
);
/// Mean, variance, upper and lower tail.
type Expected<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
);

#[pymethods]
impl Placement {
    #[new]
    fn new<'py>(
        py: Python<'py>,
        intervals: Columns<'py>,
        annotation: Columns<'py>,
        room: (Columns<'py>, Columns<'py>),
        shape: [usize; 2],
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let (intervals, annotation) = (rows(&intervals)?, rows(&annotation)?);
        let (space, holes) = (rows(&room.0)?, rows(&room.1)?);
        let build = || shuffle::Placement::new(intervals, annotation, space, holes, shape);
        let placement = wait::run(py, threads, build)?;
        Ok(Self { placement, threads })
    }

    fn observed<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        py.detach(|| self.placement.observed()).into_pyarray(py)
    }

    fn controls<'py>(
        &self,
        py: Python<'py>,
        n_controls: u32,
        seed: u64,
    ) -> PyResult<Controls<'py>> {
        let work = || Ok(self.placement.controls(n_controls, seed));
        let found = wait::run(py, self.threads, work)?;
        Ok((
            found.sum.into_pyarray(py),
            found.squares.into_pyarray(py),
            found.at_least.into_pyarray(py),
            found.at_most.into_pyarray(py),
        ))
    }

    fn expected<'py>(&self, py: Python<'py>) -> PyResult<Expected<'py>> {
        let found = wait::run(py, self.threads, || Ok(self.placement.expected()))?;
        Ok((
            found.mean.into_pyarray(py),
            found.variance.into_pyarray(py),
            found.at_least.into_pyarray(py),
            found.at_most.into_pyarray(py),
        ))
    }
}
