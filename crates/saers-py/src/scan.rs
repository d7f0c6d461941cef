//! Binding of `saers_core::scan`.

use numpy::{PyArray1, ToPyArray};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyDict;
use saers_core::motif::Row;
use saers_core::scan::{Options, Piece, Scanner, Site, scan};

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
        let motifs = motifs(&parts)?;
        let scanners = motifs.iter().map(|motif| Scanner::new(motif, &options));
        let scanners = scanners.collect::<Result<Vec<_>, _>>().map_err(CoreError::from)?;
        Ok(Self { scanners, strands: if reverse_complement { 2 } else { 1 } })
    }

    /// Sites in some sequences, and how many places of each motif were scored.
    #[pyo3(signature = (sequences, starts, *, threads))]
    fn scan<'py>(
        &self,
        py: Python<'py>,
        sequences: Vec<PyBackedBytes>,
        starts: Vec<usize>,
        threads: Option<usize>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let pieces: Vec<Piece> = sequences
            .iter()
            .zip(starts)
            .map(|(letters, starts)| Piece { letters, starts })
            .collect();
        let sites = wait::run(py, threads, || scan(&self.scanners, &pieces))?;
        let count = |scanner: &Scanner| {
            let of = |piece: &Piece| self.strands * piece.places(scanner.width());
            pieces.iter().map(of).sum::<usize>() as u64
        };
        let columns = PyDict::new(py);
        columns.set_item("motif", column(py, &sites, |s| s.motif as u32))?;
        columns.set_item("sequence", column(py, &sites, |s| s.sequence as u32))?;
        columns.set_item("start", column(py, &sites, |s| s.start as i64))?;
        columns.set_item("reverse", column(py, &sites, |s| s.reverse))?;
        columns.set_item("score", column(py, &sites, |s| s.score))?;
        columns.set_item("p_value", column(py, &sites, |s| s.p_value))?;
        let places: Vec<u64> = self.scanners.iter().map(count).collect();
        columns.set_item("places", places.to_pyarray(py))?;
        Ok(columns)
    }
}

fn column<'py, T: numpy::Element>(
    py: Python<'py>,
    sites: &[Site],
    value: impl Fn(&Site) -> T,
) -> Bound<'py, PyArray1<T>> {
    sites.iter().map(value).collect::<Vec<T>>().to_pyarray(py)
}
