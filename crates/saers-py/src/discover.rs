//! Binding of `saers_core::discover`.

use std::time::Duration;

use numpy::{PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use saers_core::Error;
use saers_core::discover::{self as core, Discovery, Options, discover};

use crate::error::CoreError;
use crate::wait;

/// A matrix (width, 4), the number of sites, log10 of the E-value.
type Found<'py> = (Bound<'py, PyArray2<f64>>, usize, f64);

/// Finds motifs in sequences; releases the GIL.
#[pyfunction]
#[pyo3(signature = (sequences, weights, controls, *, count, evalue, min_width, max_width, both_strands,
                    aligned, seed, threads, time_limit))]
#[expect(clippy::too_many_arguments, reason = "options come as keywords")]
pub fn discover_motifs<'py>(
    py: Python<'py>,
    sequences: Vec<String>,
    weights: Option<Vec<f64>>,
    controls: Option<Vec<String>>,
    count: usize,
    evalue: f64,
    min_width: usize,
    max_width: usize,
    both_strands: bool,
    aligned: bool,
    seed: u64,
    threads: Option<usize>,
    time_limit: Option<f64>,
) -> PyResult<Vec<Found<'py>>> {
    let time_limit = time_limit
        .map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .map_err(|_| Error::invalid(format!("time_limit must be positive, got {seconds}")))
        })
        .transpose()
        .map_err(CoreError::from)?;
    let options =
        Options { count, evalue, min_width, max_width, both_strands, aligned, seed, time_limit };
    let search = || discover(&sequences, weights.as_deref(), controls.as_deref(), &options);
    let found = wait::run(py, threads, search)?;
    Ok(found.into_iter().map(|motif| pack(py, motif)).collect())
}

/// Mean and standard deviation of the sites' distance from the middle; `None` without a site.
#[pyfunction]
pub fn motif_offsets(
    sequences: Vec<String>,
    matrix: PyReadonlyArray2<'_, f64>,
    n_sites: usize,
    both_strands: bool,
) -> Option<(f64, f64)> {
    let row = |row: numpy::ndarray::ArrayView1<'_, f64>| [row[0], row[1], row[2], row[3]];
    let rows: Vec<[f64; 4]> = matrix.as_array().rows().into_iter().map(row).collect();
    let found = core::offsets(&sequences, &rows, n_sites, both_strands)?;
    Some((found.mean, found.deviation))
}

/// Shuffles a sequence and keeps its dinucleotide counts.
#[pyfunction]
pub fn shuffle_dinucleotides(sequence: &str, seed: u64) -> String {
    let shuffled = core::shuffle_dinucleotides(sequence.as_bytes(), seed);
    shuffled.into_iter().map(char::from).collect()
}

fn pack(py: Python<'_>, motif: Discovery) -> Found<'_> {
    let matrix = PyArray2::from_owned_array(py, numpy::ndarray::Array2::from(motif.rows));
    (matrix, motif.n_sites, motif.log10_evalue)
}
