//! Binding of `saers_core::motif`.

use numpy::{PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray2, ToPyArray};
use pyo3::prelude::*;
use saers_core::Error;
use saers_core::motif::{Frequencies, Row};

use crate::error::CoreResult;

/// Copies the rows of an array of shape (width, 4).
pub fn rows(matrix: &PyReadonlyArray2<'_, f64>) -> CoreResult<Vec<Row>> {
    let view = matrix.as_array();
    if view.ncols() != 4 {
        let message = format!("matrix must have 4 columns (A C G T), got {}", view.ncols());
        return Err(Error::invalid(message).into());
    }
    Ok(match view.as_slice() {
        Some(values) => values.as_chunks().0.to_vec(),
        None => view.outer_iter().map(|row| [row[0], row[1], row[2], row[3]]).collect(),
    })
}

/// Makes an array of shape (width, 4).
pub fn array<'py>(py: Python<'py>, rows: &[Row]) -> PyResult<Bound<'py, PyArray2<f64>>> {
    rows.concat().to_pyarray(py).reshape([rows.len(), 4])
}

fn frequencies(matrix: &PyReadonlyArray2<'_, f64>) -> CoreResult<Frequencies> {
    Ok(Frequencies::new(rows(matrix)?)?)
}

/// Checks probabilities; rows a little off are divided by their sum.
#[pyfunction]
pub fn motif_frequencies<'py>(
    py: Python<'py>,
    matrix: PyReadonlyArray2<'py, f64>,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    array(py, frequencies(&matrix)?.rows())
}

/// Bits of each position.
#[pyfunction]
pub fn motif_information<'py>(
    py: Python<'py>,
    matrix: PyReadonlyArray2<'py, f64>,
) -> CoreResult<Bound<'py, PyArray1<f64>>> {
    Ok(frequencies(&matrix)?.information().to_pyarray(py))
}

/// First position and end of what is left after trimming.
#[pyfunction]
pub fn motif_core(
    matrix: PyReadonlyArray2<'_, f64>,
    min_information: f64,
) -> CoreResult<(usize, usize)> {
    let core = frequencies(&matrix)?.core(min_information);
    Ok((core.start, core.end))
}

/// The likeliest letter of each position.
#[pyfunction]
pub fn motif_consensus(matrix: PyReadonlyArray2<'_, f64>) -> CoreResult<String> {
    Ok(frequencies(&matrix)?.consensus())
}

/// The positions in a random order.
#[pyfunction]
pub fn motif_shuffle<'py>(
    py: Python<'py>,
    matrix: PyReadonlyArray2<'py, f64>,
    seed: u64,
) -> PyResult<Bound<'py, PyArray2<f64>>> {
    array(py, frequencies(&matrix)?.shuffle(seed).rows())
}
