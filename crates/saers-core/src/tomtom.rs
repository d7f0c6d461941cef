//! Motif comparison as Tomtom 5.4.1 does it, digit for digit.
//!
//! A query is slid along every target on both strands. The score of an alignment is the sum of
//! its column scores, scaled to integers, where query columns without a partner count as the
//! median target column. The p-value of a target's best score comes from the distribution of
//! such sums over random target columns, for all alignments that the target's width allows.

mod alignment;
mod below;
mod columns;
mod distance;
mod incomplete;
mod null;
mod qvalue;
mod random;
mod scaled;
mod scores;
mod tails;

use rayon::prelude::*;

use crate::motif::{Motif, Row};
use crate::{Error, Result, threads};
use columns::Columns;
pub use distance::Distance;
use qvalue::Bootstrap;
use scaled::{Scaled, Scratch};

/// Queries may not be wider than this.
pub const MAX_QUERY_WIDTH: usize = 100;

/// Queries whose rows are compared before their matches are ranked, to bound memory.
const CHUNK: usize = 64;

/// Bits that say which of equally good strands goes first.
const PLACE_BITS: u32 = 25;

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

/// The best alignment of a query with a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Index of the query.
    pub query: usize,
    /// Index of the target.
    pub target: usize,
    /// Whether the target was read off its other strand.
    pub reverse: bool,
    /// Position of the first query column in the target.
    pub offset: i64,
    /// Number of aligned columns.
    pub overlap: usize,
    /// Chance of so good a best score on one target.
    pub p_value: f64,
    /// Base-10 logarithm of the p-value.
    pub log10_p: f64,
    /// Expected number of targets with so good a score.
    pub e_value: f64,
    /// Expected share of false matches among those at least as good.
    pub q_value: f64,
    /// Likeliest letters of the query, after pseudo-counts.
    pub query_consensus: String,
    /// Likeliest letters of the target on the strand that matched.
    pub target_consensus: String,
}

/// All strands for one query, best first.
struct Ranking {
    consensus: String,
    entries: Vec<Entry>,
}

impl Ranking {
    fn p_values(&self) -> Vec<f64> {
        self.entries.iter().map(|entry| entry.p_value).collect()
    }
}

/// One strand of one target, aligned at its best.
struct Entry {
    strand: u32,
    offset: i64,
    overlap: usize,
    p_value: f64,
    /// The p-value before any rounding.
    full: f64,
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
/// assert_eq!((matches[0].target, matches[0].offset, matches[0].overlap), (0, 1, 3));
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn compare(queries: &[Motif], targets: &[Motif], options: &Options) -> Result<Vec<Match>> {
    check(queries, targets, options)?;
    let mut bootstrap = Bootstrap::new();
    let mut matches = Vec::new();
    let mut prepared: Option<Columns> = None;
    let background = |query: &Motif| options.background.unwrap_or(query.background);
    for (first, chunk) in runs(queries, |a, b| background(a) == background(b)) {
        let background = background(&chunk[0]);
        let columns = match prepared.take() {
            Some(columns) if columns.background() == background => columns,
            _ => Columns::prepare(targets, &background, options),
        };
        let report = Report { targets: targets.len(), columns: &columns, options };
        let ranked =
            chunk.par_iter().enumerate().map_init(Scratch::default, |scratch, (i, query)| {
                let ranking = rank(query, &columns, options, scratch)?;
                Ok(match options.q_values {
                    QValues::Compat => Outcome::Ranked(ranking),
                    QValues::Independent => {
                        let pi0 = qvalue::pi0(&ranking.p_values());
                        Outcome::Reported(report.matches(first + i, &ranking, pi0))
                    }
                })
            });
        for (i, outcome) in ranked.collect::<Result<Vec<_>>>()?.into_iter().enumerate() {
            matches.extend(match outcome {
                Outcome::Reported(matches) => matches,
                // One query after another: the random numbers run on.
                Outcome::Ranked(ranking) => {
                    let pi0 = bootstrap.pi0(&ranking.p_values());
                    report.matches(first + i, &ranking, pi0)
                }
            });
        }
        prepared = Some(columns);
    }
    Ok(matches)
}

/// What a thread hands back for a query.
enum Outcome {
    Ranked(Ranking),
    Reported(Vec<Match>),
}

fn check(queries: &[Motif], targets: &[Motif], options: &Options) -> Result<()> {
    if targets.is_empty() {
        return Err(Error::invalid("targets must hold at least one motif, got none"));
    }
    if targets.len() >= 1 << (PLACE_BITS - 1) {
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

/// Aligns a query with every strand and sorts the strands, best first.
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
        let p_values = null::p_values(&scaled, columns, &aligned);
        (aligned, p_values)
    } else {
        incomplete::best_alignments(&scaled, columns, options)
    };
    let entry = |strand: u32| {
        let (best, full) = (aligned[strand as usize], p_values[strand as usize]);
        let p_value = match options.q_values {
            QValues::Compat => f64::from(full as f32),
            QValues::Independent => full,
        };
        Entry { strand, offset: best.offset, overlap: best.overlap, p_value, full }
    };
    let strands = 0..p_values.len() as u32;
    let key = |strand| key(&entry(strand), columns.places()[strand as usize]);
    let mut keys: Vec<u64> = strands.map(key).collect();
    keys.sort_unstable();
    let strand = |key: u64| columns.by_place()[(key & ((1 << PLACE_BITS) - 1)) as usize];
    let mut entries: Vec<Entry> = keys.into_iter().map(|key| entry(strand(key))).collect();
    // What underflows in single precision still has order.
    let zeros = entries.partition_point(|entry| entry.p_value as f32 == 0.0);
    entries[..zeros].sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
    let consensus = std::mem::take(&mut scaled.consensus);
    scratch.recycle(scaled);
    Ok(Ranking { consensus, entries })
}

/// Orders entries as Tomtom does, in one number: p-value, larger overlap, strand and id.
///
/// Single precision decides on ties. The bits of positive floating-point numbers are ordered as
/// they are themselves.
fn key(entry: &Entry, place: u32) -> u64 {
    let single = (entry.p_value as f32).to_bits();
    let gap = (MAX_QUERY_WIDTH - entry.overlap) as u64;
    u64::from(single) << 32 | gap << PLACE_BITS | u64::from(place)
}

/// What is needed to word the matches of a query.
struct Report<'a> {
    targets: usize,
    columns: &'a Columns,
    options: &'a Options,
}

impl Report<'_> {
    /// Keeps the best strand of every target down to the threshold.
    fn matches(&self, query: usize, ranking: &Ranking, pi0: f64) -> Vec<Match> {
        let q_values = qvalue::q_values(&ranking.p_values(), pi0);
        let mut seen = vec![false; self.targets];
        let mut matches = Vec::new();
        for (entry, q_value) in ranking.entries.iter().zip(q_values) {
            let strand = &self.columns.strands()[entry.strand as usize];
            let e_value = entry.p_value * self.targets as f64;
            let value = match self.options.criterion {
                Criterion::QValue => q_value,
                Criterion::EValue => e_value,
                Criterion::PValue => entry.p_value,
            };
            if value > self.options.threshold {
                break;
            }
            if std::mem::replace(&mut seen[strand.target], true) {
                continue;
            }
            matches.push(Match {
                query,
                target: strand.target,
                reverse: strand.reverse,
                offset: entry.offset,
                overlap: entry.overlap,
                p_value: entry.p_value,
                log10_p: entry.full.log10(),
                e_value,
                q_value,
                query_consensus: ranking.consensus.clone(),
                target_consensus: strand.consensus.clone(),
            });
        }
        matches
    }
}
