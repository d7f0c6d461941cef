//! Binding of `saers_core::formats`.

use std::path::PathBuf;

use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use saers_core::formats;
use saers_core::motif::{Frequencies, Motif, Row};

use crate::error::CoreResult;
use crate::motif::{array, rows};

/// A motif as Python hands it over: id, name, matrix, sites, background, log10 of the E-value.
pub type Parts<'py> = (String, String, PyReadonlyArray2<'py, f64>, Option<f64>, Row, Option<f64>);

type Read<'py> = (String, String, Bound<'py, PyArray2<f64>>, Option<f64>, Row, Option<f64>);

/// Makes core motifs, which checks the matrices.
pub fn motifs(parts: Vec<Parts<'_>>) -> CoreResult<Vec<Motif>> {
    let of = |(id, name, matrix, n_sites, background, log10_evalue): Parts<'_>| {
        Ok(Motif {
            id,
            name,
            frequencies: Frequencies::new(rows(&matrix)?)?,
            n_sites,
            background,
            log10_evalue,
        })
    };
    parts.into_iter().map(of).collect()
}

/// Reads all motifs of a file.
#[pyfunction]
pub fn read_motifs(py: Python<'_>, path: PathBuf) -> PyResult<Vec<Read<'_>>> {
    let motifs = py.detach(|| Ok::<_, crate::error::CoreError>(formats::read(&path)?))?;
    let of = |m: Motif| {
        let matrix = array(py, m.frequencies.rows())?;
        Ok((m.id, m.name, matrix, m.n_sites, m.background, m.log10_evalue))
    };
    motifs.into_iter().map(of).collect()
}

/// Writes motifs as text, in JASPAR's format or in MEME's.
#[pyfunction]
#[pyo3(signature = (parts, *, jaspar))]
pub fn motifs_text(parts: Vec<Parts<'_>>, jaspar: bool) -> CoreResult<String> {
    let motifs = motifs(parts)?;
    Ok(if jaspar { formats::jaspar_text(&motifs) } else { formats::meme_text(&motifs) })
}
