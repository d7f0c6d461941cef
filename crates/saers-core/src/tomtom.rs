//! Motif comparison as Tomtom 5.4.1 does it, digit for digit.
//!
//! A query is slid along every target on both strands. The score of an alignment is the sum of
//! its column scores, scaled to integers, where query columns without a partner count as the
//! median target column. The p-value of a target's best score comes from the distribution of
//! such sums over random target columns, for all alignments that the target's width allows.

mod aligned;
mod alignment;
mod below;
mod columns;
mod distance;
mod histogram;
mod incomplete;
mod matches;
mod null;
mod ranking;
mod ranks;
mod scaled;
mod scores;
mod tails;
mod ties;
mod underflow;

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use crate::motif::{Motif, Row};
use crate::storey::Bootstrap;
use crate::{Error, Result, threads};
use columns::Columns;
pub use distance::Distance;
pub use matches::{Consensus, Matches};
use ranking::Ranking;
use scaled::{Scaled, Scratch};

/// Queries may not be wider than this.
pub const MAX_QUERY_WIDTH: usize = 100;

/// Queries that are compared before their matches are gathered. Threads wait for each other then.
const CHUNK: usize = 512;

/// How q-values estimate the share of targets that do not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QValues {
    /// The bootstrap of Tomtom, whose random numbers run on from query to query.
    Compat,
    /// The limit of that bootstrap for infinitely many samples: each query stands alone.
    Independent,
}

/// The number on which matches are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// Matches with a q-value of at most the threshold.
    QValue,
    /// Matches with an E-value of at most the threshold.
    EValue,
    /// Matches with a p-value of at most the threshold.
    PValue,
}

/// How motifs are compared; the default is that of Tomtom.
#[derive(Clone, Debug)]
pub struct Options {
    /// Score of a pair of columns.
    pub distance: Distance,
    /// Least number of aligned columns, capped at the width of either motif.
    pub min_overlap: usize,
    /// Whether the narrower motif must lie wholly inside the wider one.
    pub internal: bool,
    /// Whether targets are also compared on their other strand.
    pub reverse_complement: bool,
    /// Letters of the background that are added to the sites of every column.
    pub pseudocount: f64,
    /// Largest q-value, E-value or p-value that is reported.
    pub threshold: f64,
    /// Which of them the threshold bounds.
    pub criterion: Criterion,
    /// Whether query columns without a partner count, as the median target column would.
    pub complete: bool,
    /// How q-values are estimated.
    pub q_values: QValues,
    /// Letter frequencies; `None` takes those of each query.
    pub background: Option<Row>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            distance: Distance::Euclidean,
            min_overlap: 1,
            internal: false,
            reverse_complement: true,
            pseudocount: 0.1,
            threshold: 0.5,
            criterion: Criterion::QValue,
            complete: true,
            q_values: QValues::Independent,
            background: None,
        }
    }
}

/// Compares every query with every target, best matches first within a query.
///
/// Of each target the better strand is reported.
///
/// # Errors
/// [`Error::InvalidArgument`] for no targets or too many, a query wider than [`MAX_QUERY_WIDTH`], a
/// negative pseudo-count, or scores that are not finite.
///
/// ```
/// use saers_core::motif::{Frequencies, Motif, UNIFORM};
/// use saers_core::tomtom::{Options, compare};
/// let a = |id: &str, rows| {
///     let frequencies = Frequencies::new(rows).unwrap();
///     Motif { id: id.into(), name: String::new(), frequencies, n_sites: Some(20.0),
///             background: UNIFORM, log10_evalue: None }
/// };
/// let [x, y] = [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];
/// let targets = [a("ag", vec![x, y, y, x]), a("ga", vec![y, x, x, x])];
/// let matches = compare(&[a("q", vec![y, y, x])], &targets, &Options::default())?;
/// assert_eq!((matches.target[0], matches.offset[0], matches.overlap[0]), (0, 1, 3));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn compare(queries: &[Motif], targets: &[Motif], options: &Options) -> Result<Matches> {
    check(queries, targets, options)?;
    let mut bootstrap = Bootstrap::new();
    let mut matches = Matches::default();
    let mut prepared: Option<Columns> = None;
    let scratches = Mutex::default();
    let background = |query: &Motif| options.background.unwrap_or(query.background);
    for (first, chunk) in runs(queries, |a, b| background(a) == background(b)) {
        let background = background(&chunk[0]);
        let columns = match prepared.take() {
            Some(columns) if columns.background() == background => columns,
            _ => Columns::prepare(targets, &background, options),
        };
        // Random numbers run on from query to query: each starts where the one before will end.
        let starts: Vec<Bootstrap> = match options.q_values {
            QValues::Compat => {
                chunk.iter().map(|_| bootstrap.next(columns.strands().len())).collect()
            }
            QValues::Independent => Vec::new(),
        };
        let found = chunk.par_iter().enumerate().map(|(i, query)| {
            let mut scratch = taken(&scratches);
            let found = rank(query, &columns, options, &mut scratch)?.hits(
                &columns,
                options,
                starts.get(i),
            );
            scratches.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
            Ok(found)
        });
        matches.extend(first, &found.collect::<Result<Vec<_>>>()?, &columns);
        prepared = Some(columns);
    }
    Ok(matches)
}

/// Takes memory that a query before has left, or new one.
fn taken(scratches: &Mutex<Vec<Scratch>>) -> Scratch {
    scratches.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
}

fn check(queries: &[Motif], targets: &[Motif], options: &Options) -> Result<()> {
    if targets.is_empty() {
        return Err(Error::invalid("targets must hold at least one motif, got none"));
    }
    if targets.len() >= 1 << (ranking::PLACE_BITS - 1) {
        let got = targets.len();
        return Err(Error::invalid(format!("targets must be fewer than 2^24, got {got}")));
    }
    if !(options.pseudocount.is_finite() && options.pseudocount >= 0.0) {
        let got = options.pseudocount;
        return Err(Error::invalid(format!(
            "pseudocount must be finite and at least 0, got {got}"
        )));
    }
    if options.min_overlap == 0 {
        return Err(Error::invalid("min_overlap must be positive, got 0"));
    }
    match queries.iter().find(|query| query.frequencies.width() > MAX_QUERY_WIDTH) {
        None => Ok(()),
        Some(query) => Err(Error::invalid(format!(
            "queries may be at most {MAX_QUERY_WIDTH} wide, {} has {}",
            query.id,
            query.frequencies.width()
        ))),
    }
}

/// Cuts queries into runs of at most [`CHUNK`] that `same` holds together.
fn runs(
    queries: &[Motif],
    same: impl Fn(&Motif, &Motif) -> bool,
) -> impl Iterator<Item = (usize, &[Motif])> {
    let mut first = 0;
    queries.chunk_by(same).flat_map(|run| run.chunks(CHUNK)).map(move |chunk| {
        let start = first;
        first += chunk.len();
        (start, chunk)
    })
}

/// Aligns a query with every strand.
fn rank(
    query: &Motif,
    columns: &Columns,
    options: &Options,
    scratch: &mut Scratch,
) -> Result<Ranking> {
    threads::check()?;
    let mut scaled = Scaled::new(query, columns, options, scratch)?;
    let (aligned, p_values) = if options.complete {
        let aligned = alignment::best_alignments(&scaled, columns, options);
        let p_values = null::p_values(&scaled, columns, &aligned, &mut scratch.memory);
        (aligned, p_values)
    } else {
        incomplete::best_alignments(&scaled, columns, options, &mut scratch.memory)?
    };
    let small = underflow::ln_p_values(&scaled, columns, options, &aligned, &p_values);
    let consensus = std::mem::take(&mut scaled.consensus);
    scratch.recycle(scaled);
    Ok(Ranking { consensus, aligned, p_values, small })
}
