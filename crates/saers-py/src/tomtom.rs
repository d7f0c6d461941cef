//! Binding of `saers_core::tomtom`.

use numpy::IntoPyArray;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use saers_core::motif::Row;
use saers_core::tomtom::{Consensus, Criterion, Distance, Matches, Options, QValues, compare};

use crate::error::CoreError;
use crate::formats::{Parts, motifs};
use crate::wait;

/// Compares queries with targets; returns one array for each column of the table. Strings are
/// places in a list of their own, under the name of the column with `_of`.
#[pyfunction]
#[pyo3(signature = (queries, targets, *, dist, min_overlap, internal, complete,
                    reverse_complement, pseudocount, thresh, criterion, compat, background, threads))]
#[expect(clippy::too_many_arguments, reason = "every one is an option with a name")]
pub fn tomtom<'py>(
    py: Python<'py>,
    queries: Vec<Parts<'py>>,
    targets: Vec<Parts<'py>>,
    dist: &str,
    min_overlap: usize,
    internal: bool,
    complete: bool,
    reverse_complement: bool,
    pseudocount: f64,
    thresh: f64,
    criterion: &str,
    compat: bool,
    background: Option<Row>,
    threads: Option<usize>,
) -> PyResult<Bound<'py, PyDict>> {
    let distance = Distance::parse(dist).map_err(CoreError::from)?;
    let options = Options {
        distance,
        min_overlap,
        internal,
        complete,
        reverse_complement,
        pseudocount,
        threshold: thresh,
        criterion: match criterion {
            "p" => Criterion::PValue,
            "e" => Criterion::EValue,
            _ => Criterion::QValue,
        },
        q_values: if compat { QValues::Compat } else { QValues::Independent },
        background,
    };
    let (queries, targets) = (motifs(queries)?, motifs(targets)?);
    table(py, wait::run(py, threads, || compare(&queries, &targets, &options))?)
}

fn table(py: Python<'_>, matches: Matches) -> PyResult<Bound<'_, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item("query", matches.query.into_pyarray(py))?;
    columns.set_item("target", matches.target.into_pyarray(py))?;
    columns.set_item("reverse", matches.reverse.into_pyarray(py))?;
    columns.set_item("optimal_offset", matches.offset.into_pyarray(py))?;
    columns.set_item("overlap", matches.overlap.into_pyarray(py))?;
    columns.set_item("p_value", matches.p_value.into_pyarray(py))?;
    columns.set_item("log10_p", matches.log10_p.into_pyarray(py))?;
    columns.set_item("e_value", matches.e_value.into_pyarray(py))?;
    columns.set_item("q_value", matches.q_value.into_pyarray(py))?;
    let texts = [
        ("query_consensus", matches.query_consensus),
        ("target_consensus", matches.target_consensus),
    ];
    for (name, Consensus { strings, places }) in texts {
        columns.set_item(name, places.into_pyarray(py))?;
        columns.set_item(format!("{name}_of"), strings.iter().map(|s| &**s).collect::<Vec<_>>())?;
    }
    Ok(columns)
}
