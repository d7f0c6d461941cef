//! Binding of `saers_core::shuffle`.

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use saers_core::intervals::Intervals;
use saers_core::shuffle;

use crate::error::CoreError;
use crate::fasta::Fasta;
use crate::intervals::{Columns, borrow};
use crate::wait;

/// Intervals, an annotation, and the room in which the intervals may be put elsewhere.
#[pyclass(frozen, module = "saers._core")]
pub struct Placement {
    placement: shuffle::Placement,
    threads: Option<usize>,
}

/// Sum, sum of squares, controls that count at least and at most as many; then the placements
/// without a like share of G and C.
type Controls<'py> = (
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray1<u32>>,
    u64,
);
/// Mean, variance, upper and lower tail; then the intervals without a like share of G and C.
type Expected<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    u64,
);
/// Compositions of chromosomes, and how far the share of G and C may be off.
#[pyclass(frozen, module = "saers._core")]
pub struct GcMatch(shuffle::GcMatch);

#[pymethods]
impl GcMatch {
    /// `records` has the record of each chromosome in the genome.
    #[new]
    fn new(
        py: Python<'_>,
        genome: PyRef<'_, Fasta>,
        records: Vec<usize>,
        tolerance: f64,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let genome = genome.core();
        let read = || genome.compositions(&records);
        let compositions = wait::run(py, threads, read)?;
        Ok(Self(shuffle::GcMatch::new(compositions, tolerance).map_err(CoreError::from)?))
    }
}

#[pymethods]
impl Placement {
    /// `room` has the space and its holes, `shape` the numbers of features, classes and
    /// chromosomes.
    #[new]
    fn new<'py>(
        py: Python<'py>,
        intervals: Columns<'py>,
        annotation: Columns<'py>,
        room: (Columns<'py>, Columns<'py>),
        shape: [usize; 3],
        gc: Option<PyRef<'py, GcMatch>>,
        threads: Option<usize>,
    ) -> PyResult<Self> {
        let (own, other) = (borrow(&intervals)?, borrow(&annotation)?);
        let (space, holes) = (borrow(&room.0)?, borrow(&room.1)?);
        let [n_features, n_classes, n_chroms] = shape;
        let gc = gc.map(|gc| gc.0.clone());
        let build = || {
            shuffle::Placement::new(
                &Intervals::new("intervals", own, n_features, n_chroms)?,
                &Intervals::new("annotation", other, n_classes, n_chroms)?,
                &Intervals::new("within", space, 1, n_chroms)?,
                &Intervals::new("holes", holes, 1, n_chroms)?,
                gc,
            )
        };
        let placement = wait::run(py, threads, build)?;
        Ok(Self { placement, threads })
    }

    fn observed<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u32>> {
        PyArray1::from_slice(py, self.placement.observed())
    }

    fn controls<'py>(
        &self,
        py: Python<'py>,
        n_controls: u32,
        seed: u64,
    ) -> PyResult<Controls<'py>> {
        let work = || self.placement.controls(n_controls, seed);
        let found = wait::run(py, self.threads, work)?;
        Ok((
            found.sum.into_pyarray(py),
            found.squares.into_pyarray(py),
            found.at_least.into_pyarray(py),
            found.at_most.into_pyarray(py),
            found.unmatched,
        ))
    }

    fn expected<'py>(&self, py: Python<'py>) -> PyResult<Expected<'py>> {
        let found = wait::run(py, self.threads, || self.placement.expected())?;
        Ok((
            found.mean.into_pyarray(py),
            found.variance.into_pyarray(py),
            found.at_least.into_pyarray(py),
            found.at_most.into_pyarray(py),
            found.unmatched,
        ))
    }
}
