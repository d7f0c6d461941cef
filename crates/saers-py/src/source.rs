//! Binding of `saers_core::source`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use saers_core::source::filters::{Filter, Pipeline, Scratch};

use crate::error::FormatError;

/// Undo the filters of one HDF5 chunk.
#[pyfunction]
pub fn decode_chunk<'py>(
    py: Python<'py>,
    packed: &[u8],
    filters: Vec<(u32, Vec<u32>)>,
    mask: u32,
    raw_size: usize,
    item_size: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let filters: Vec<Filter> =
        filters.into_iter().map(|(id, values)| Filter { id, values }).collect();
    let Some(pipeline) = Pipeline::new(&filters, item_size) else {
        return Err(PyValueError::new_err(format!("filters are not known here: {filters:?}")));
    };
    let mut scratch = Scratch::default();
    let bytes = py.detach(|| pipeline.decode(packed, mask, raw_size, &mut scratch));
    bytes.map(|bytes| PyBytes::new(py, bytes)).map_err(FormatError::new_err)
}
