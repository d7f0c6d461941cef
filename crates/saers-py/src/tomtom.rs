//! Binding of `saers_core::tomtom`.

use std::collections::HashMap;
use std::sync::Arc;

use numpy::{PyArray1, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use saers_core::motif::Row;
use saers_core::tomtom::{Criterion, Distance, Match, Options, QValues, compare};

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
    let (queries, targets) = (motifs(&queries)?, motifs(&targets)?);
    table(py, &wait::run(py, threads, || compare(&queries, &targets, &options))?)
}

fn table<'py>(py: Python<'py>, matches: &[Match]) -> PyResult<Bound<'py, PyDict>> {
    let columns = PyDict::new(py);
    columns.set_item("query", column(py, matches, |m| m.query as u32))?;
    columns.set_item("target", column(py, matches, |m| m.target as u32))?;
    columns.set_item("reverse", column(py, matches, |m| m.reverse))?;
    columns.set_item("optimal_offset", column(py, matches, |m| m.offset))?;
    columns.set_item("overlap", column(py, matches, |m| m.overlap as i64))?;
    columns.set_item("p_value", column(py, matches, |m| m.p_value))?;
    columns.set_item("log10_p", column(py, matches, |m| m.log10_p))?;
    columns.set_item("e_value", column(py, matches, |m| m.e_value))?;
    columns.set_item("q_value", column(py, matches, |m| m.q_value))?;
    for (name, value) in CONSENSUS {
        let (distinct, places) = strings(matches, value);
        columns.set_item(name, places.to_pyarray(py))?;
        columns.set_item(format!("{name}_of"), distinct)?;
    }
    Ok(columns)
}

type Text = fn(&Match) -> &Arc<str>;

const CONSENSUS: [(&str, Text); 2] =
    [("query_consensus", |m| &m.query_consensus), ("target_consensus", |m| &m.target_consensus)];

/// Lists each string once, as rows share them, and where each row finds its own.
fn strings(matches: &[Match], value: Text) -> (Vec<&str>, Vec<u32>) {
    let (mut distinct, mut known) = (Vec::new(), HashMap::new());
    let place = |m| {
        let text: &Arc<str> = value(m);
        *known.entry(Arc::as_ptr(text).cast::<u8>()).or_insert_with(|| {
            distinct.push(&**text);
            distinct.len() as u32 - 1
        })
    };
    let places = matches.iter().map(place).collect();
    (distinct, places)
}

fn column<'py, T: numpy::Element>(
    py: Python<'py>,
    matches: &[Match],
    value: impl Fn(&Match) -> T,
) -> Bound<'py, PyArray1<T>> {
    matches.iter().map(value).collect::<Vec<T>>().to_pyarray(py)
}
