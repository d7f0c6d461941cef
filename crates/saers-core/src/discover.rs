//! De novo discovery of motifs: what many sequences share and their shuffles do not.
//!
//! The sequences are parted in two halves. Words that a half holds more often than dinucleotide
//! shuffles of it grow into matrices; a matrix found in one half is tested on the other, so its
//! p-value owes nothing to the search. The winner is fitted to all sequences, its sites are
//! blanked, and the search starts again.

use std::time::{Duration, Instant};

use crate::{Error, Result};

mod em;
mod enrichment;
mod halves;
mod kmers;
mod pool;
mod profile;
mod random;
mod refine;
mod scan;
mod search;
mod shuffle;

use em::Mixture;
use halves::{Half, Set};
use pool::{Background, Pool};
use refine::{Candidate, Sample, refine};

/// What to look for, and how hard.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Motifs reported at most.
    pub count: usize,
    /// A motif is reported when its E-value is below this.
    pub evalue: f64,
    /// Narrowest motif, at least 4.
    pub min_width: usize,
    /// Widest motif, at most 30.
    pub max_width: usize,
    /// Whether a site may lie on either strand.
    pub both_strands: bool,
    /// Seed of the shuffles and of the halves.
    pub seed: u64,
    /// Time after which the search gives up with [`Error::Timeout`].
    pub time_limit: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            count: 2,
            evalue: 0.05,
            min_width: 6,
            max_width: 20,
            both_strands: true,
            seed: 0,
            time_limit: None,
        }
    }
}

/// A motif and the evidence for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovery {
    /// Probabilities of A, C, G and T, one row a position.
    pub rows: Vec<[f64; 4]>,
    /// Sequences that hold a site.
    pub n_sites: usize,
    /// Log10 of the E-value, which itself may be too small for an `f64`.
    pub log10_evalue: f64,
}

struct Deadline(Option<(Instant, f64)>);

impl Deadline {
    fn new(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|d| Some((Instant::now().checked_add(d)?, d.as_secs_f64()))))
    }

    fn check(&self) -> Result<()> {
        match self.0 {
            Some((end, seconds)) if Instant::now() > end => Err(Error::Timeout { seconds }),
            _ => Ok(()),
        }
    }
}

/// Finds motifs, the most significant first.
///
/// Letters other than A, C, G and T (either case) belong to no site's information. Controls are
/// dinucleotide shuffles of the sequences unless `controls` are given. The result does not
/// depend on the order of the sequences, on the strand that they are given on (if both strands
/// count), or on the number of threads.
///
/// # Errors
/// [`Error::InvalidArgument`] for options out of range, [`Error::Timeout`] past the time limit.
///
/// ```
/// use saers_core::discover::{Options, discover};
/// // 60 sequences that share TGACTCAGCA in varying surroundings.
/// let sequences: Vec<Vec<u8>> = (0..60_u32)
///     .map(|i| {
///         let letter = |j: u32| b"ACGT"[((i * 37 + j * 101 + i * j * 13 + j * j * 7) >> 2) as usize % 4];
///         let flank = (0..10).map(letter);
///         flank.chain(*b"TGACTCAGCA").chain((20..30).map(letter)).collect()
///     })
///     .collect();
/// let motifs = discover(&sequences, None, &Options::default())?;
/// assert!(motifs[0].n_sites >= 50 && motifs[0].log10_evalue < -5.0);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn discover<S: AsRef<[u8]>>(
    sequences: &[S],
    controls: Option<&[S]>,
    options: &Options,
) -> Result<Vec<Discovery>> {
    check(options)?;
    let encode = |all: &[S]| all.iter().map(|s| pool::encode(s.as_ref())).collect();
    let mut set = Set::new(encode(sequences), options);
    let mut controls = controls.map(|all| Set::new(encode(all), options));
    let deadline = Deadline::new(options.time_limit);
    let mut found: Vec<Discovery> = Vec::new();
    let mut tests = 0;
    // A round may meet what is left of an earlier motif again; it costs a round, no more.
    for _ in 0..options.count + 2 {
        if found.len() == options.count || set.sequences.len() < 4 {
            break;
        }
        let background =
            Background::new(set.sequences.iter().map(Vec::as_slice), options.both_strands);
        let half = |second| Half::new(second, &set, controls.as_ref(), &background, options);
        let halves: (Half, Half) = rayon::join(|| half(false), || half(true));
        let Some((best, log10_p)) = winner(&halves, options, &deadline, &mut tests)? else { break };
        let log10_evalue = log10_p + (tests as f64).log10();
        let mixture = polish(best, &halves, &background, options);
        let n_sites = blank(&mut set, &mixture, &background, options);
        if let Some(controls) = &mut controls {
            blank(controls, &mixture, &background, options);
        }
        let rows = mixture.profile.rows;
        found.push(Discovery { rows, n_sites, log10_evalue });
    }
    found.sort_by(|a, b| a.log10_evalue.total_cmp(&b.log10_evalue));
    Ok(found)
}

fn check(options: &Options) -> Result<()> {
    let (low, high) = (options.min_width, options.max_width);
    if low < 4 || high > 30 || low > high {
        return Err(Error::invalid(format!(
            "widths must satisfy 4 <= min_width <= max_width <= 30, got {low} and {high}"
        )));
    }
    if options.evalue.is_nan() || options.evalue <= 0.0 {
        return Err(Error::invalid(format!("evalue must be positive, got {}", options.evalue)));
    }
    Ok(())
}

/// The candidate of either half that the other half confirms best, if significant.
fn winner(
    halves: &(Half, Half),
    options: &Options,
    deadline: &Deadline,
    tests: &mut usize,
) -> Result<Option<(Candidate, f64)>> {
    let (first, second) = rayon::join(
        || search::candidates(&halves.0.sample, options, deadline),
        || search::candidates(&halves.1.sample, options, deadline),
    );
    let mut tested: Vec<(Candidate, f64)> = Vec::new();
    for (found, other) in [(first?, &halves.1), (second?, &halves.0)] {
        for candidate in found {
            deadline.check()?;
            let log10_p = other.log10_p(&candidate, options);
            tested.push((candidate, log10_p));
        }
    }
    *tests += tested.len();
    let limit = options.evalue.log10() - (*tests as f64).log10();
    // A repeat wins only where nothing else is significant.
    let significant = tested.into_iter().filter(|(_, log10_p)| *log10_p < limit);
    Ok(significant.min_by(|(a, p), (b, q)| {
        a.profile.is_repetitive().cmp(&b.profile.is_repetitive()).then(p.total_cmp(q))
    }))
}

/// Fits the winner to both halves.
fn polish(
    winner: Candidate,
    halves: &(Half, Half),
    background: &Background,
    options: &Options,
) -> Mixture {
    let join = |of: fn(&Sample) -> &Pool| {
        let pools = [of(&halves.0.sample), of(&halves.1.sample)];
        let letters = pools.into_iter().flat_map(|pool| (0..pool.len()).map(|i| pool.letters(i)));
        Pool::new(letters, background)
    };
    let whole = Sample { sequences: join(|s| &s.sequences), controls: join(|s| &s.controls) };
    let best = refine(winner.profile, &whole, options, 12);
    let hits = best.hits(&whole.sequences, options);
    let share = (hits as f64 / whole.sequences.len() as f64).clamp(1e-3, 0.99);
    Mixture { profile: best.profile, share }.fit(&whole.sequences, options, 20)
}

/// Blanks what is likely a site, and counts the sequences (with their copies) that hold one.
fn blank(set: &mut Set, mixture: &Mixture, background: &Background, options: &Options) -> usize {
    let pool = Pool::new(set.sequences.iter().map(Vec::as_slice), background);
    let mut held = vec![0.0; set.sequences.len()];
    let mut sites = Vec::new();
    mixture.sites(&pool, options, |sequence, site, probability| {
        held[sequence] += probability;
        if probability > 0.2 {
            sites.push((sequence, *site));
        }
    });
    for (sequence, site) in sites {
        set.blank(sequence, &pool, &site, mixture.profile.width());
    }
    let copies = held.iter().zip(&set.copies).filter(|(held, _)| **held > 0.5);
    copies.map(|(_, copies)| copies).sum()
}
