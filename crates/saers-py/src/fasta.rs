//! Binding of `saers_core::fasta`.

use std::path::PathBuf;

use numpy::{Element, IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use saers_core::fasta::{Region, onehot};
use saers_core::{Error, fasta};

use crate::error::{CoreError, CoreResult};

/// An indexed FASTA file, mapped into memory.
#[pyclass(frozen, module = "saers._core")]
pub struct Fasta(fasta::Fasta);

/// Columns of the regions of one call: record, start, end, whether on the other strand.
type Columns<'py> = (
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, bool>,
);

fn regions((record, start, end, reverse): &Columns<'_>) -> CoreResult<Vec<Region>> {
    let not_contiguous = |_| CoreError::from(Error::invalid("regions must be contiguous"));
    let (record, start) =
        (record.as_slice().map_err(not_contiguous)?, start.as_slice().map_err(not_contiguous)?);
    let (end, reverse) =
        (end.as_slice().map_err(not_contiguous)?, reverse.as_slice().map_err(not_contiguous)?);
    let columns = record.iter().zip(start).zip(end).zip(reverse);
    Ok(columns
        .map(|(((&record, &start), &end), &reverse)| Region {
            record: record as usize,
            start,
            end,
            reverse,
        })
        .collect())
}

#[pymethods]
impl Fasta {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> CoreResult<Self> {
        Ok(Self(py.detach(|| fasta::Fasta::open(path))?))
    }

    /// Names and lengths of the records, in the order of the index.
    fn records(&self) -> Vec<(&str, u64)> {
        self.0.records().iter().map(|record| (record.name.as_str(), record.length)).collect()
    }

    /// Runs of N of one record: start, end, start, end …
    fn n_runs<'py>(&self, py: Python<'py>, record: usize) -> CoreResult<Bound<'py, PyArray1<i64>>> {
        let runs = py.detach(|| self.0.n_runs(record))?;
        let ends = runs.into_iter().flat_map(|(start, end)| [start as i64, end as i64]);
        Ok(ends.collect::<Vec<_>>().into_pyarray(py))
    }

    /// Letters of each region.
    fn slice<'py>(
        &self,
        py: Python<'py>,
        columns: Columns<'py>,
        pad: bool,
        soft_mask: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        let regions = regions(&columns)?;
        let slices =
            py.detach(|| self.0.slice(&regions, pad, soft_mask)).map_err(CoreError::from)?;
        PyList::new(py, slices.iter().map(|letters| PyString::new(py, letters)).collect::<Vec<_>>())
    }

    /// One-hot code of all letters, region after region: 4 numbers a letter in ACGT order.
    fn onehot_f32<'py>(
        &self,
        py: Python<'py>,
        columns: Columns<'py>,
        pad: bool,
    ) -> CoreResult<Bound<'py, PyArray1<f32>>> {
        self.onehot(py, &columns, pad)
    }

    /// The same in bytes.
    fn onehot_u8<'py>(
        &self,
        py: Python<'py>,
        columns: Columns<'py>,
        pad: bool,
    ) -> CoreResult<Bound<'py, PyArray1<u8>>> {
        self.onehot(py, &columns, pad)
    }
}

impl Fasta {
    /// The genome that other bindings read.
    pub fn core(&self) -> &fasta::Fasta {
        &self.0
    }

    fn onehot<'py, T: From<u8> + Copy + Send + Sync + Element>(
        &self,
        py: Python<'py>,
        columns: &Columns<'py>,
        pad: bool,
    ) -> CoreResult<Bound<'py, PyArray1<T>>> {
        let regions = regions(columns)?;
        let code = py.detach(|| {
            self.0.slice(&regions, pad, false).map(|slices| onehot::<T>(slices.letters()))
        })?;
        Ok(code.into_flattened().into_pyarray(py))
    }
}
