//! De novo discovery of motifs: what many sequences share and their shuffles do not.
//!
//! Words that more sequences hold than dinucleotide shuffles of them grow into matrices. A matrix
//! is tested against shuffles that the search has not seen, each sequence scored by the matrix
//! made without it, and its E-value corrected by what whole searches find in shuffles. The search
//! itself scores in that way as well: a matrix of few sites fits these sites, noise included, and
//! would else stand before a truer one. A narrow winner is reported with two rows on either side,
//! which say what is beside its sites and make it far easier to name. What controls show of a winner
//! as well is taken out of its report. Its sites are blanked, and the search starts again.

use std::time::{Duration, Instant};

use crate::{Error, Result, threads};

mod background;
mod em;
mod enrichment;
mod kmers;
mod markov;
mod pool;
mod profile;
mod random;
mod refine;
mod repeats;
mod scan;
mod search;
mod shuffle;
mod significance;
mod trial;
mod winner;

use background::Background;
use em::Mixture;
use profile::Profile;
use significance::Null;
use trial::{Round, Set};
use winner::winner;

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
    /// Whether sites are likelier around the middle of their sequence, as they are where sequences
    /// were cut around what made a feature fire.
    pub aligned: bool,
    /// Seed of the shuffles and draws.
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
            aligned: false,
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
    /// Sequences that hold a site, those of motifs found before blanked.
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
        threads::check()?;
        match self.0 {
            Some((end, seconds)) if Instant::now() > end => Err(Error::Timeout { seconds }),
            _ => Ok(()),
        }
    }
}

/// Finds motifs, the most significant first.
///
/// Letters other than A, C, G and T (either case) belong to no site's information. A site counts
/// by the weight of its sequence, 1 if no `weights` are given. Controls are dinucleotide shuffles
/// of the sequences unless `controls` are given. The result does not
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
/// let motifs = discover(&sequences, None, None, &Options::default())?;
/// assert!(motifs[0].n_sites >= 50 && motifs[0].log10_evalue < -5.0);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn discover<S: AsRef<[u8]>>(
    sequences: &[S],
    weights: Option<&[f64]>,
    controls: Option<&[S]>,
    options: &Options,
) -> Result<Vec<Discovery>> {
    check(options)?;
    check_weights(weights, sequences.len())?;
    if controls.is_some_and(<[S]>::is_empty) {
        return Err(Error::invalid("controls must hold sequences, got none"));
    }
    let encode = |all: &[S]| all.iter().map(|s| pool::encode(s.as_ref())).collect();
    let mut set = Set::new(encode(sequences), weights, options);
    let mut controls = controls.map(|all| Set::new(encode(all), None, options));
    let deadline = Deadline::new(options.time_limit);
    let mut null = Null::new(set.sequences.iter().map(Vec::len).sum());
    let mut found: Vec<Discovery> = Vec::new();
    let mut copies = set.hide_copies();
    // A round may meet what is left of an earlier motif again; it costs a round, no more.
    for _ in 0..options.count.saturating_add(2) {
        if found.len() == options.count || set.sequences.len() < 4 {
            break;
        }
        let mut round = Round::new(&set, controls.as_ref(), options);
        let mut won = winner(&round, &mut null, options, &deadline)?;
        if won.is_none() && !copies.is_empty() {
            // Nothing else is there: copies of repeats may be what these sequences share.
            set.show(std::mem::take(&mut copies));
            round = Round::new(&set, controls.as_ref(), options);
            won = winner(&round, &mut null, options, &deadline)?;
        }
        let Some((motif, log10_evalue)) = won else { break };
        let background = round.into_background();
        let n_sites = blank(&mut set, &motif, &background, options);
        if let Some(controls) = &mut controls {
            blank(controls, &motif, &background, options);
        }
        let both = options.both_strands;
        let known = |old: &Discovery| {
            Profile { rows: old.rows.clone() }.similarity(&motif.profile, both) > search::SAME
        };
        if !found.iter().any(known) {
            found.push(Discovery { rows: motif.profile.rows, n_sites, log10_evalue });
        }
    }
    found.sort_by(|a, b| a.log10_evalue.total_cmp(&b.log10_evalue));
    Ok(found)
}

/// Where the sites of a motif lie: their middle's distance from that of their sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offsets {
    /// Mean distance in letters; positive on the side towards which the motif reads.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Sequences with a site.
    pub sites: usize,
}

/// Finds where the sites of a motif lie in sequences of which about `n_sites` hold one.
///
/// A sequence counts where a site is likelier than not, under the mixture that the search fits.
/// `None` if none does.
///
/// ```
/// let sequences = ["CCCCCCACGTGAACCC", "GGGTTCACGTGGGGGG", "TTTTTACACACAC"];
/// let rows: Vec<[f64; 4]> = b"CACGTGAA"
///     .iter()
///     .map(|letter| b"ACGT".map(|other| if *letter == other { 0.97 } else { 0.01 }))
///     .collect();
/// let offsets = saers_core::discover::offsets(&sequences, &rows, 2, true).unwrap();
/// assert_eq!((offsets.mean, offsets.deviation, offsets.sites), (1.0, 0.0, 2));
/// ```
pub fn offsets<S: AsRef<[u8]>>(
    sequences: &[S],
    rows: &[[f64; 4]],
    n_sites: usize,
    both_strands: bool,
) -> Option<Offsets> {
    let codes: Vec<Vec<u8>> = sequences.iter().map(|s| pool::encode(s.as_ref())).collect();
    let options = Options { both_strands, ..Options::default() };
    let background = Background::new(codes.iter().map(Vec::as_slice), both_strands);
    let pool = trial::pack(&codes, &background, &options);
    let share = (n_sites as f64 / codes.len().max(1) as f64).clamp(1e-3, 0.99);
    // A probability of 0 would forbid what a few sites more might show.
    let counts: Vec<[f64; 4]> = rows.iter().map(|row| row.map(|p| p * n_sites as f64)).collect();
    let mixture = Mixture { profile: Profile::from_counts(&counts, refine::PSEUDO), share };
    let mut distances = Vec::new();
    mixture.sites(&pool, &options, |sequence, site, probability| {
        if probability > 0.5 {
            let places = pool.places(sequence);
            let site_middle = site.start as f64 + rows.len() as f64 / 2.0;
            let distance = site_middle - (places.start + places.end) as f64 / 2.0;
            distances.push(if site.reverse { -distance } else { distance });
        }
    });
    let count = distances.len() as f64;
    let mean = distances.iter().sum::<f64>() / count;
    let variance = distances.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / count;
    (!distances.is_empty()).then(|| Offsets {
        mean,
        deviation: variance.sqrt(),
        sites: distances.len(),
    })
}

/// Shuffles a sequence such that all its dinucleotide counts stay, all results equally likely.
///
/// Letters come out in upper case; all but A, C, G and T become N, stay in place, and part the
/// sequence into pieces that are shuffled on their own.
///
/// ```
/// let shuffled = saers_core::discover::shuffle_dinucleotides(b"ACGNTTGATTACATG", 1);
/// assert_eq!(&shuffled[..5], b"ACGNT");
/// assert_eq!(shuffled.len(), 15);
/// ```
pub fn shuffle_dinucleotides(sequence: &[u8], seed: u64) -> Vec<u8> {
    let mut codes = pool::encode(sequence);
    shuffle::shuffle(&mut codes, &mut random::Random::new(seed));
    codes.into_iter().map(|code| b"ACGTN"[usize::from(code)]).collect()
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

fn check_weights(weights: Option<&[f64]>, sequences: usize) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != sequences {
        return Err(Error::invalid(format!(
            "weights must be as many as the {sequences} sequences, got {}",
            weights.len()
        )));
    }
    match weights.iter().find(|weight| !(weight.is_finite() && **weight > 0.0)) {
        Some(weight) => Err(Error::invalid(format!("weights must be positive, got {weight}"))),
        None => Ok(()),
    }
}

/// Blanks what is likely a site, and counts the sequences (with their copies) that hold one.
fn blank(set: &mut Set, mixture: &Mixture, background: &Background, options: &Options) -> usize {
    let pool = trial::pack(&set.sequences, background, options);
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

#[cfg(test)]
mod tests;
