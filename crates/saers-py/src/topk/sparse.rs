//! Binding of `saers_core::topk::sparse`.

use numpy::{
    PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray3, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use saers_core::topk::sparse;

use crate::error::CoreResult;
use crate::wait;

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

/// The same, borrowed for a kernel.
enum Slices<'a> {
    Long(&'a [i64]),
    Wide(&'a [u32]),
    Narrow(&'a [u16]),
}

impl Indices<'_> {
    fn slices(&self) -> PyResult<Slices<'_>> {
        Ok(match self {
            Self::Long(array) => Slices::Long(array.as_slice()?),
            Self::Wide(array) => Slices::Wide(array.as_slice()?),
            Self::Narrow(array) => Slices::Narrow(array.as_slice()?),
        })
    }
}

/// Entries that take a kernel longer than the start of its threads.
const WORTH_THREADS: usize = 1 << 18;

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
    #[pyo3(signature = (windows, indices, values, threads = None))]
    fn update(
        &mut self,
        py: Python<'_>,
        windows: PyReadonlyArray1<'_, i64>,
        indices: Indices<'_>,
        values: PyReadonlyArray3<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let k = values.shape()[2];
        let (windows, values) = (windows.as_slice()?, values.as_slice()?);
        let indices = indices.slices()?;
        let top = &mut self.0;
        let update = || match &indices {
            Slices::Long(indices) => top.update(windows, indices, values, k),
            Slices::Wide(indices) => top.update(windows, indices, values, k),
            Slices::Narrow(indices) => top.update(windows, indices, values, k),
        };
        if threads.is_none() && values.len() < WORTH_THREADS {
            let done: CoreResult<()> = py.detach(update).map_err(Into::into);
            return Ok(done?);
        }
        wait::run(py, threads, update)
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

    /// Return the edges of the bins, and each feature's activations by bin (features, bins).
    fn histogram<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Column<'py, f32>, Bound<'py, PyArray2<i64>>)> {
        let counts = PyArray1::from_iter(py, self.0.histogram().into_iter().map(|n| n as i64));
        let counts = counts.reshape([counts.len() / sparse::BINS, sparse::BINS])?;
        Ok((PyArray1::from_vec(py, sparse::edges()), counts))
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
