//! Binding of `saers_core::fasta`.

use std::path::PathBuf;

use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadwriteArray1};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use saers_core::fasta::{Layout, Region};
use saers_core::{Error, Result, fasta};

use crate::error::{CoreError, CoreResult};
use crate::wait;

/// Letters that are read at once, without threads: waking those takes longer.
const FEW: usize = 1 << 17;

/// The same where one thread is asked for: they take a hundredth of a second.
const FEW_FOR_ONE: usize = 1 << 22;

/// An indexed FASTA file.
#[pyclass(frozen, module = "saers._core")]
pub struct Fasta(fasta::Fasta);

/// Columns of the regions of one call: record, start, end, whether on the other strand.
type Columns<'py> = (
    PyReadonlyArray1<'py, u32>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, i64>,
    PyReadonlyArray1<'py, bool>,
);

/// Numbers of any type, as the bits that they are made of.
#[derive(FromPyObject)]
enum Numbers<'py> {
    Of1Byte(PyReadwriteArray1<'py, u8>),
    Of2Bytes(PyReadwriteArray1<'py, u16>),
    Of4Bytes(PyReadwriteArray1<'py, u32>),
    Of8Bytes(PyReadwriteArray1<'py, u64>),
}

fn regions((record, start, end, reverse): &Columns<'_>) -> CoreResult<Vec<Region>> {
    let not_contiguous = |_| CoreError::from(Error::invalid("regions must be contiguous"));
    let (record, start) =
        (record.as_slice().map_err(not_contiguous)?, start.as_slice().map_err(not_contiguous)?);
    let (end, reverse) =
        (end.as_slice().map_err(not_contiguous)?, reverse.as_slice().map_err(not_contiguous)?);
    let columns = record.iter().zip(start).zip(end).zip(reverse);
    Ok(columns
        .map(|(((&record, &start), &end), &reverse)| Region { record, start, end, reverse })
        .collect())
}

/// Number of letters of regions that may not yet have been checked.
fn letters(regions: &[Region]) -> usize {
    let width = |region: &Region| region.end.saturating_sub(region.start).max(0) as usize;
    regions.iter().map(width).fold(0, usize::saturating_add)
}

/// Runs work, on threads of its own where it is long.
fn run<T: Send>(
    py: Python<'_>,
    threads: Option<usize>,
    letters: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let few = if threads == Some(1) { FEW_FOR_ONE } else { FEW };
    if letters > few || threads == Some(0) {
        return wait::run(py, threads, work);
    }
    py.check_signals()?;
    Ok(py.detach(work).map_err(CoreError::from)?)
}

#[pymethods]
impl Fasta {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        Ok(Self(wait::run(py, Some(1), || fasta::Fasta::open(path))?))
    }

    /// Names and lengths of the records, in the order of the index.
    fn records(&self) -> Vec<(&str, u64)> {
        self.0.records().iter().map(|record| (record.name.as_str(), record.length)).collect()
    }

    /// Runs of N of one record: start, end, start, end …
    fn n_runs<'py>(&self, py: Python<'py>, record: usize) -> PyResult<Bound<'py, PyArray1<i64>>> {
        let runs = wait::run(py, Some(1), || self.0.n_runs(record))?;
        let ends = runs.into_iter().flat_map(|(start, end)| [start as i64, end as i64]);
        Ok(ends.collect::<Vec<_>>().into_pyarray(py))
    }

    /// Letters of one stretch as they stand in the file.
    fn fetch(&self, py: Python<'_>, record: u32, start: i64, end: i64) -> CoreResult<String> {
        let region = Region { record, start, end, reverse: false };
        Ok(py.detach(|| self.0.slice(&[region], false, true))?.concat())
    }

    /// Letters of each region.
    fn slice<'py>(
        &self,
        py: Python<'py>,
        columns: Columns<'py>,
        pad: bool,
        soft_mask: bool,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyList>> {
        let regions = regions(&columns)?;
        let list = PyList::empty(py);
        let open = || self.0.portions(&regions, pad, soft_mask).map_err(CoreError::from);
        let mut portions = py.detach(open)?;
        loop {
            let size = portions.next_size();
            let Some(portion) = run(py, threads, size, || portions.read())? else { break };
            let mut letters = portion.iter();
            letters.try_for_each(|letters| list.append(PyString::from_bytes(py, letters)?))?;
        }
        Ok(list)
    }

    /// Write the one-hot code of regions of one length into `out`, whose numbers are `one` or 0.
    #[allow(clippy::too_many_arguments)] // one call, spelled out in one place of genome.py
    fn onehot<'py>(
        &self,
        py: Python<'py>,
        columns: Columns<'py>,
        out: Numbers<'py>,
        one: u64,
        pad: bool,
        channels_first: bool,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let regions = regions(&columns)?;
        let layout = if channels_first { Layout::ChannelsFirst } else { Layout::ChannelsLast };
        macro_rules! write {
            ($out:ident, $number:ty) => {{
                let out = $out.as_slice_mut()?;
                let write = || self.0.onehot(&regions, pad, one as $number, layout, out);
                run(py, threads, letters(&regions), write)
            }};
        }
        match out {
            Numbers::Of1Byte(mut out) => write!(out, u8),
            Numbers::Of2Bytes(mut out) => write!(out, u16),
            Numbers::Of4Bytes(mut out) => write!(out, u32),
            Numbers::Of8Bytes(mut out) => write!(out, u64),
        }
    }
}

impl Fasta {
    /// The genome that other bindings read.
    pub fn core(&self) -> &fasta::Fasta {
        &self.0
    }
}
