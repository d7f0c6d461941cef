//! Binding of `saers_core::topk`.

use numpy::{
    PyArray1, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use saers_core::topk::{self, Found, Pick};

use crate::error::CoreResult;
use crate::source::Dataset;
use crate::wait;

pub mod sparse;

type Column<'py, T> = Bound<'py, PyArray1<T>>;
type Columns<'py> = (Column<'py, u32>, Column<'py, u32>, Column<'py, i64>, Column<'py, f32>);

/// Picks per channel, as columns channel, rank, position, value.
fn columns<'py>(py: Python<'py>, picks: &[Vec<Pick>], channels: usize) -> Columns<'py> {
    let rows = || {
        let channel = |(index, picks): (usize, &'_ Vec<Pick>)| {
            let channel = (index % channels) as u32;
            let picks = picks.clone().into_iter().zip(1_u32..);
            picks.map(move |(pick, rank)| (channel, rank, pick))
        };
        picks.iter().enumerate().flat_map(channel)
    };
    (
        PyArray1::from_iter(py, rows().map(|row| row.0)),
        PyArray1::from_iter(py, rows().map(|row| row.1)),
        PyArray1::from_iter(py, rows().map(|row| i64::from(row.2.position))),
        PyArray1::from_iter(py, rows().map(|row| row.2.value)),
    )
}

/// Picks of every channel of one window that comes in portions.
#[pyclass(module = "saers._core")]
pub struct DenseTop {
    top: topk::DenseTop,
    channels: usize,
}

#[pymethods]
impl DenseTop {
    #[new]
    fn new(channels: usize, k: usize, min_distance: usize) -> CoreResult<Self> {
        Ok(Self { top: topk::DenseTop::new(channels, k, min_distance)?, channels })
    }

    /// Add the next rows (n, channels) of the window.
    #[pyo3(signature = (values, threads = None))]
    fn update(
        &mut self,
        py: Python<'_>,
        values: PyReadonlyArray2<'_, f32>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let values = values.as_slice()?;
        wait::run(py, threads, || self.top.update(values))
    }

    /// Return the columns channel, rank, position, value.
    fn finish<'py>(&self, py: Python<'py>) -> Columns<'py> {
        let picks = py.detach(|| self.top.clone().finish());
        columns(py, &picks, self.channels)
    }
}

/// Return the picks of whole windows (windows, positions, channels), and how many each has.
#[pyfunction]
#[pyo3(signature = (values, k, min_distance, threads = None))]
pub fn top_positions<'py>(
    py: Python<'py>,
    values: PyReadonlyArray3<'py, f32>,
    k: usize,
    min_distance: usize,
    threads: Option<usize>,
) -> PyResult<(Column<'py, i64>, Columns<'py>)> {
    let channels = values.shape()[2];
    let positions = values.shape()[1];
    let values = values.as_slice()?;
    let search = || topk::top_positions(values, positions, channels, k, min_distance);
    let picks = wait::run(py, threads, search)?;
    let counts = picks.chunks(channels).map(|window| window.iter().map(Vec::len).sum::<usize>());
    let counts = PyArray1::from_iter(py, counts.map(|count| count as i64));
    Ok((counts, columns(py, &picks, channels)))
}

type Places<'py> =
    (Column<'py, i64>, Column<'py, u32>, Column<'py, u32>, Column<'py, i64>, Column<'py, f32>);

/// Return the picks of some windows of a dataset: window, channel, rank, position, value.
#[pyfunction]
#[pyo3(signature = (dataset, windows, k, min_distance, mask = None, threads = None))]
pub fn top_positions_from<'py>(
    py: Python<'py>,
    dataset: &Dataset,
    windows: (usize, usize),
    k: usize,
    min_distance: usize,
    mask: Option<PyReadonlyArray1<'py, bool>>,
    threads: Option<usize>,
) -> PyResult<Places<'py>> {
    let mask = mask.as_ref().map(|mask| mask.as_slice()).transpose()?;
    let windows = windows.0..windows.1;
    let search = || topk::top_positions_from(&dataset.0, windows, k, min_distance, mask);
    let found = wait::run(py, threads, search)?;
    let place = |of: fn(&Found) -> i64| PyArray1::from_iter(py, found.iter().map(of));
    let number = |of: fn(&Found) -> u32| PyArray1::from_iter(py, found.iter().map(of));
    Ok((
        place(|f| f.window as i64),
        number(|f| f.channel),
        number(|f| f.rank),
        place(|f| i64::from(f.pick.position)),
        PyArray1::from_iter(py, found.iter().map(|f| f.pick.value)),
    ))
}
