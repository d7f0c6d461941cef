//! Binding of `saers_core::stats`.

use numpy::{PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use saers_core::stats::Summary;

use crate::error::CoreResult;
use crate::source::Dataset;
use crate::wait;

/// Running statistics per channel.
#[pyclass(module = "saers._core")]
pub struct ChannelStats(saers_core::stats::ChannelStats);

type Column<'py, T> = Bound<'py, PyArray1<T>>;
type Columns<'py> = (
    Column<'py, f64>,
    Column<'py, f64>,
    Column<'py, f64>,
    Column<'py, f64>,
    Column<'py, u64>,
    Column<'py, u64>,
    Column<'py, u64>,
);

#[pymethods]
impl ChannelStats {
    #[new]
    #[pyo3(signature = (channels, *, allow_nan = false))]
    fn new(channels: usize, allow_nan: bool) -> CoreResult<Self> {
        Ok(Self(saers_core::stats::ChannelStats::new(channels, allow_nan)?))
    }

    /// Add rows (n, channels) that belong in equal shares to the windows.
    #[pyo3(signature = (values, windows, first_position = 0, mask = None, threads = None))]
    fn update(
        &mut self,
        py: Python<'_>,
        values: PyReadonlyArray2<'_, f32>,
        windows: PyReadonlyArray1<'_, i64>,
        first_position: i64,
        mask: Option<PyReadonlyArray1<'_, bool>>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let (values, windows) = (values.as_slice()?, windows.as_slice()?);
        let mask = mask.as_ref().map(|mask| mask.as_slice()).transpose()?;
        wait::run(py, threads, || self.0.update(values, windows, first_position, mask))
    }

    /// Add windows of a dataset; `first_window` is the caller's number of its first window.
    #[pyo3(signature = (dataset, windows, first_window = 0, mask = None, threads = None))]
    fn update_from(
        &mut self,
        py: Python<'_>,
        dataset: &Dataset,
        windows: (usize, usize),
        first_window: i64,
        mask: Option<PyReadonlyArray1<'_, bool>>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let mask = mask.as_ref().map(|mask| mask.as_slice()).transpose()?;
        let windows = windows.0..windows.1;
        wait::run(py, threads, || self.0.update_from(&dataset.0, windows, first_window, mask))
    }

    /// Add what another accumulator has seen.
    fn merge(&mut self, other: PyRef<'_, Self>) -> CoreResult<()> {
        Ok(self.0.merge(&other.0)?)
    }

    /// Return max, min, mean, std, nonzero, count and NaN count of every channel.
    fn summary<'py>(&self, py: Python<'py>) -> Columns<'py> {
        let rows = self.0.summary();
        let float = |get: fn(&Summary) -> f64| PyArray1::from_iter(py, rows.iter().map(get));
        let count = |get: fn(&Summary) -> u64| PyArray1::from_iter(py, rows.iter().map(get));
        (
            float(|row| row.max),
            float(|row| row.min),
            float(|row| row.mean),
            float(|row| row.std),
            count(|row| row.nonzero),
            count(|row| row.count),
            count(|row| row.nan),
        )
    }

    /// Count the values left out: (NaN, infinite).
    fn left_out(&self) -> (u64, u64) {
        self.0.left_out()
    }

    /// Name the place of the first value left out.
    fn first_left_out(&self) -> Option<String> {
        self.0.first_left_out().map(|place| place.to_string())
    }
}
