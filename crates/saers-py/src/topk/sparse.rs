//! Binding of `saers_core::topk::sparse`.

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::prelude::*;
use saers_core::topk::sparse;

use crate::error::CoreResult;

type Column<'py, T> = Bound<'py, PyArray1<T>>;
type Kept<'py> =
    (Column<'py, u32>, Column<'py, u32>, Column<'py, i64>, Column<'py, i64>, Column<'py, f32>);

/// Indices as PyTorch (int64) or a file of codes (uint16, uint32) has them.
#[derive(FromPyObject)]
pub enum Indices<'py> {
    #[pyo3(transparent)]
    Long(PyReadonlyArray3<'py, i64>),
    #[pyo3(transparent)]
    Wide(PyReadonlyArray3<'py, u32>),
    #[pyo3(transparent)]
    Narrow(PyReadonlyArray3<'py, u16>),
}

/// The best seqlets of every feature.
#[pyclass(module = "saers._core")]
pub struct TopSeqlets(sparse::TopSeqlets);

#[pymethods]
impl TopSeqlets {
    #[new]
    fn new(
        n_features: usize,
        per_window: usize,
        per_feature: usize,
        min_distance: usize,
    ) -> CoreResult<Self> {
        Ok(Self(sparse::TopSeqlets::new(n_features, per_window, per_feature, min_distance)?))
    }

    /// Add whole windows: indices and values (windows, positions, k).
    fn update(
        &mut self,
        py: Python<'_>,
        windows: PyReadonlyArray1<'_, i64>,
        indices: Indices<'_>,
        values: PyReadonlyArray3<'_, f32>,
    ) -> PyResult<()> {
        let k = values.shape()[2];
        let (windows, values) = (windows.as_slice()?, values.as_slice()?);
        let top = &mut self.0;
        let done = match &indices {
            Indices::Long(array) => {
                let indices = array.as_slice()?;
                py.detach(|| top.update(windows, indices, values, k))
            }
            Indices::Wide(array) => {
                let indices = array.as_slice()?;
                py.detach(|| top.update(windows, indices, values, k))
            }
            Indices::Narrow(array) => {
                let indices = array.as_slice()?;
                py.detach(|| top.update(windows, indices, values, k))
            }
        };
        let done: CoreResult<()> = done.map_err(Into::into);
        Ok(done?)
    }

    /// Add what another accumulator has seen of other windows.
    fn merge(&mut self, other: PyRef<'_, Self>) -> CoreResult<()> {
        Ok(self.0.merge(&other.0)?)
    }

    /// Positions seen, active or not.
    #[getter]
    fn n_tokens(&self) -> u64 {
        self.0.positions()
    }

    /// Return n_nonzero, sum and max of every feature.
    fn totals<'py>(
        &self,
        py: Python<'py>,
    ) -> (Column<'py, i64>, Column<'py, f64>, Column<'py, f32>) {
        let totals = self.0.totals();
        (
            PyArray1::from_iter(py, totals.iter().map(|total| total.n_nonzero as i64)),
            PyArray1::from_iter(py, totals.iter().map(|total| total.sum)),
            PyArray1::from_iter(py, totals.iter().map(|total| total.max)),
        )
    }

    /// Return the columns feature, rank, window, position, activation.
    fn finish<'py>(&self, py: Python<'py>) -> Kept<'py> {
        let features = py.detach(|| self.0.finish());
        let rows = || {
            let ranked = |(feature, seqlets): (usize, &'_ Vec<sparse::Seqlet>)| {
                let seqlets = seqlets.clone().into_iter().zip(1_u32..);
                seqlets.map(move |(seqlet, rank)| (feature as u32, rank, seqlet))
            };
            features.iter().enumerate().flat_map(ranked)
        };
        (
            PyArray1::from_iter(py, rows().map(|row| row.0)),
            PyArray1::from_iter(py, rows().map(|row| row.1)),
            PyArray1::from_iter(py, rows().map(|row| row.2.window)),
            PyArray1::from_iter(py, rows().map(|row| i64::from(row.2.position))),
            PyArray1::from_iter(py, rows().map(|row| row.2.activation)),
        )
    }
}
