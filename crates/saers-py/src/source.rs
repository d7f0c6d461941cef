//! Binding of `saers_core::source`.

use std::path::PathBuf;

use numpy::{PyReadonlyArray1, PyReadonlyArray2, PyReadwriteArray3};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use saers_core::source as core;
use saers_core::source::filters::{Filter, Pipeline, Scratch};
use saers_core::source::{Chunk, Element, Storage};

use crate::error::{CoreError, FormatError};
use crate::wait;

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

/// First window, position and channel (n, 3); offset, size and filter mask of every chunk.
type Table<'py> = (
    PyReadonlyArray2<'py, u64>,
    PyReadonlyArray1<'py, u64>,
    PyReadonlyArray1<'py, u64>,
    PyReadonlyArray1<'py, u32>,
);

/// Chunk shape, filters and chunks of a dataset.
type Chunked<'py> = ([usize; 3], Vec<(u32, Vec<u32>)>, Table<'py>);

fn chunks((first, offset, size, mask): &Table<'_>) -> PyResult<Vec<Chunk>> {
    let (first, offset) = (first.as_slice()?.as_chunks().0, offset.as_slice()?);
    let (size, mask) = (size.as_slice()?, mask.as_slice()?);
    let rows = first.iter().zip(offset).zip(size).zip(mask);
    let chunk = |(((first, &offset), &size), &mask): (((&[u64; 3], _), _), _)| Chunk {
        // A coordinate that does not fit lies outside every dataset, and is refused as such.
        first: first.map(|place| usize::try_from(place).unwrap_or(usize::MAX)),
        offset,
        size,
        mask,
    };
    Ok(rows.map(chunk).collect())
}

/// A dataset of activations (windows, positions, channels) whose place in its file is known.
#[pyclass(frozen, module = "saers._core")]
pub struct Dataset(pub(crate) core::Dataset);

#[pymethods]
impl Dataset {
    /// Numbers lie at `offset`, or in the chunks of `chunked`.
    #[new]
    #[pyo3(signature = (path, shape, element, *, fill = 0.0, offset = None, chunked = None))]
    fn new(
        path: PathBuf,
        shape: [usize; 3],
        element: &str,
        fill: f32,
        offset: Option<u64>,
        chunked: Option<Chunked<'_>>,
    ) -> PyResult<Self> {
        let storage = match (offset, chunked) {
            (Some(offset), None) => Storage::Contiguous { offset },
            (None, Some((shape, filters, table))) => {
                let filters = filters.into_iter().map(|(id, values)| Filter { id, values });
                Storage::Chunked { shape, filters: filters.collect(), chunks: chunks(&table)? }
            }
            _ => return Err(PyValueError::new_err("either offset or chunked must be given")),
        };
        let unknown = || PyValueError::new_err(format!("element must be a float, got {element}"));
        let element = Element::parse(element).ok_or_else(unknown)?;
        let dataset = core::Dataset::open(path, shape, element, fill, storage);
        Ok(Self(dataset.map_err(CoreError::from)?))
    }

    /// Windows, positions and channels.
    #[getter]
    fn shape(&self) -> (usize, usize, usize) {
        self.0.shape().into()
    }

    /// Fill `out` (windows, positions, channels) from a part of the dataset.
    #[pyo3(signature = (windows, positions, out, threads = None))]
    fn read(
        &self,
        py: Python<'_>,
        windows: (usize, usize),
        positions: (usize, usize),
        mut out: PyReadwriteArray3<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let out = out.as_slice_mut()?;
        let (windows, positions) = (windows.0..windows.1, positions.0..positions.1);
        wait::run(py, threads, || self.0.read(windows, positions, out))
    }
}
