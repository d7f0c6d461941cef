//! Binding of `saers_core::scan`.

use numpy::{PyArray1, ToPyArray};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use saers_core::motif::Row;
use saers_core::scan::{Options, Piece, Reservoir, Scanner, Site, sample, scan};

use crate::error::CoreError;
use crate::formats::{Parts, motifs};
use crate::wait;

/// Motifs made ready for scanning.
#[pyclass(frozen)]
pub struct MotifScanner {
    scanners: Vec<Scanner>,
    strands: usize,
}

#[pymethods]
impl MotifScanner {
    #[new]
    #[pyo3(signature = (parts, *, thresh, pseudocount, background, reverse_complement))]
    fn new(
        parts: Vec<Parts<'_>>,
        thresh: f64,
        pseudocount: f64,
        background: Row,
        reverse_complement: bool,
    ) -> PyResult<Self> {
        let options = Options { threshold: thresh, pseudocount, background, reverse_complement };
        let motifs = motifs(parts)?;
        let scanners = motifs.iter().map(|motif| Scanner::new(motif, &options));
        let scanners = scanners.collect::<Result<Vec<_>, _>>().map_err(CoreError::from)?;
        Ok(Self { scanners, strands: if reverse_complement { 2 } else { 1 } })
    }

    /// How many places of each motif are scored in some sequences.
    fn places<'py>(
        &self,
        py: Python<'py>,
        sequences: Vec<PyBackedBytes>,
        starts: Vec<usize>,
    ) -> Bound<'py, PyArray1<u64>> {
        let pieces = pieces(&sequences, &starts);
        let count = |scanner: &Scanner| {
            let of = |piece: &Piece| self.strands * piece.places(scanner.width());
            pieces.iter().map(of).sum::<usize>() as u64
        };
        self.scanners.iter().map(count).collect::<Vec<u64>>().to_pyarray(py)
    }

    /// Sites in some sequences.
    #[pyo3(signature = (sequences, starts, *, threads))]
    fn scan<'py>(
        &self,
        py: Python<'py>,
        sequences: Vec<PyBackedBytes>,
        starts: Vec<usize>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let pieces = pieces(&sequences, &starts);
        let sites = wait::run(py, threads, || scan(&self.scanners, &pieces))?;
        let columns = PyDict::new(py);
        columns.set_item("motif", column(py, &sites, |s| s.motif as u32))?;
        columns.set_item("sequence", column(py, &sites, |s| s.sequence as u32))?;
        columns.set_item("start", column(py, &sites, |s| s.start as i64))?;
        columns.set_item("reverse", column(py, &sites, |s| s.reverse))?;
        columns.set_item("score", column(py, &sites, |s| s.score))?;
        columns.set_item("p_value", column(py, &sites, |s| s.p_value))?;
        Ok(columns)
    }
}

/// A sample of the p-values of every motif, which FIMO estimates shares of nulls from.
#[pyclass]
pub struct NullShares {
    reservoirs: Vec<Reservoir>,
}

#[pymethods]
impl NullShares {
    #[new]
    fn new(places: Vec<usize>) -> Self {
        Self { reservoirs: Reservoir::of_each(&places) }
    }

    /// Takes the p-values of some sequences.
    #[pyo3(signature = (scanner, sequences, starts, *, threads))]
    fn add(
        &mut self,
        py: Python<'_>,
        scanner: &MotifScanner,
        sequences: Vec<PyBackedBytes>,
        starts: Vec<usize>,
        threads: Option<usize>,
    ) -> PyResult<()> {
        let pieces = pieces(&sequences, &starts);
        let reservoirs = &mut self.reservoirs[..];
        wait::run(py, threads, || sample(&scanner.scanners, &pieces, reservoirs))
    }

    /// Share of nulls of each motif; `all` says of which ones no p-value is left out.
    fn estimate(&self, all: Vec<bool>) -> Vec<f64> {
        let of = |(reservoir, all): (&Reservoir, bool)| reservoir.clone().null_share(all);
        self.reservoirs.iter().zip(all).map(of).collect()
    }
}

fn pieces<'a>(sequences: &'a [PyBackedBytes], starts: &[usize]) -> Vec<Piece<'a>> {
    let pairs = sequences.iter().zip(starts);
    pairs.map(|(letters, &starts)| Piece { letters, starts }).collect()
}

fn column<'py, T: numpy::Element>(
    py: Python<'py>,
    sites: &[Site],
    value: impl Fn(&Site) -> T,
) -> Bound<'py, PyArray1<T>> {
    sites.iter().map(value).collect::<Vec<T>>().to_pyarray(py)
}
