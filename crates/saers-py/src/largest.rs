//! Binding of `saers_core::largest`.

use numpy::{PyReadonlyArray2, PyReadwriteArray2, PyUntypedArrayMethods};
use pyo3::prelude::*;
use saers_core::threads::{Stop, install};

use crate::error::CoreResult;

/// Find the k largest values above 0 of each row, in the order of their columns.
#[pyfunction]
#[pyo3(signature = (matrix, columns, values, threads = 1))]
pub fn largest(
    py: Python<'_>,
    matrix: PyReadonlyArray2<'_, f32>,
    mut columns: PyReadwriteArray2<'_, i64>,
    mut values: PyReadwriteArray2<'_, f32>,
    threads: usize,
) -> PyResult<()> {
    let (width, k) = (matrix.shape()[1], values.shape()[1]);
    let (matrix, found) = (matrix.as_slice()?, columns.as_slice_mut()?);
    let values = values.as_slice_mut()?;
    let work = || saers_core::largest::largest(matrix, width, k, found, values);
    let done: CoreResult<()> =
        py.detach(|| install(Some(threads), &Stop::default(), work).flatten()).map_err(Into::into);
    Ok(done?)
}
