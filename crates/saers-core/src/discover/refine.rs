//! From a rough matrix to the one that parts sequences from controls best.

use super::Options;
use super::enrichment::{Cut, best_cut};
use super::pool::Pool;
use super::profile::{Profile, information};
use super::scan::{Landscape, Scanner, Site};

/// Sequences and the controls that belong to them.
pub(super) struct Sample {
    pub(super) sequences: Pool,
    pub(super) controls: Pool,
}

/// A matrix, the score that makes a site, and how well it does on the sample it was made from.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) profile: Profile,
    pub(super) cut: Cut,
}

/// Rows looked at on both sides of the motif, and taken in where they hold enough information.
pub(super) const FLANK: usize = 3;
/// Bits that a row at the edge must hold beyond what chance gives it.
const EDGE_BITS: f64 = 0.25;
/// Pseudo-counts of a row.
pub(super) const PSEUDO: f64 = 1.0;

/// A candidate, and where it lies in the sequences that it was measured on.
pub(super) struct Measured {
    pub(super) candidate: Candidate,
    scanner: Scanner,
    landscape: Landscape,
}

impl Measured {
    /// Measures a matrix on a sample.
    pub(super) fn new(profile: Profile, sample: &Sample, options: &Options) -> Self {
        let scanner = Scanner::new(&profile, options.both_strands);
        let landscape = scanner.landscape(&sample.sequences);
        let cut = best_cut(&landscape.best, &scanner.best(&sample.controls));
        Self { candidate: Candidate { profile, cut }, scanner, landscape }
    }

    /// Makes the matrix of the sites above the cut, wider or narrower as their flanks tell.
    fn realign(&self, pool: &Pool, options: &Options) -> Option<Profile> {
        let width = self.scanner.width();
        let mut counts = vec![[0.0; 4]; width + 2 * FLANK];
        let mut chosen = 0;
        let above = sites_above(self.candidate.cut.score, &self.scanner, &self.landscape, pool);
        for (sequence, site) in above {
            chosen += 1;
            add_site(&mut counts, &site, sequence, pool, pool.weight(sequence));
        }
        if chosen < 2 {
            return None;
        }
        Some(Profile::from_counts(trim(&counts, FLANK..FLANK + width, options), PSEUDO))
    }
}

/// Improves a matrix until its enrichment stops growing, at most `rounds` times.
pub(super) fn refine(
    start: Profile,
    sample: &Sample,
    options: &Options,
    rounds: usize,
) -> Candidate {
    let mut best = Measured::new(start, sample, options);
    for _ in 0..rounds {
        let Some(profile) = best.realign(&sample.sequences, options) else { break };
        let next = Measured::new(profile, sample, options);
        if next.candidate.cut.enrichment <= best.candidate.cut.enrichment {
            break;
        }
        best = next;
    }
    best.candidate
}

/// Lists the best site of each sequence that scores at least `cut`.
pub(super) fn sites_above<'a>(
    cut: i16,
    scanner: &'a Scanner,
    landscape: &'a Landscape,
    pool: &'a Pool,
) -> impl Iterator<Item = (usize, Site)> + 'a {
    let above = landscape.best.iter().enumerate().filter(move |&(_, &score)| score >= cut);
    above.filter_map(|(sequence, _)| Some((sequence, scanner.site(pool, landscape, sequence)?)))
}

/// Adds the letters of a site and its flanks to the counts, read on the strand of the motif.
pub(super) fn add_site(
    counts: &mut [[f64; 4]],
    site: &Site,
    sequence: usize,
    pool: &Pool,
    weight: f64,
) {
    let places = pool.places(sequence);
    let width = counts.len();
    for (row, count) in counts.iter_mut().enumerate() {
        let offset = if site.reverse { width - 1 - row } else { row };
        let place = (site.start + offset).wrapping_sub(FLANK);
        if !places.contains(&place) || pool.codes[place] > 3 {
            continue;
        }
        let code = pool.codes[place];
        count[usize::from(if site.reverse { 3 - code } else { code })] += weight;
    }
}

/// Chooses the rows that stay: informative edges, within the widths allowed.
pub(super) fn trim<'a>(
    counts: &'a [[f64; 4]],
    core: std::ops::Range<usize>,
    options: &Options,
) -> &'a [[f64; 4]] {
    let bits: Vec<f64> = counts
        .iter()
        .map(|row| {
            let total = row.iter().sum::<f64>().max(1.0);
            // A row of n letters drawn evenly seems to hold 3 / (2 n ln 2) bits.
            information(&row.map(|count| count / total))
                - 3.0 / (2.0 * total * std::f64::consts::LN_2)
        })
        .collect();
    let informative = |row: usize| bits[row] >= EDGE_BITS;
    let (mut low, mut high) = (0, counts.len());
    while low + options.min_width < high && !informative(low) {
        low += 1;
    }
    while low + options.min_width < high && !informative(high - 1) {
        high -= 1;
    }
    if high - low == options.min_width && !informative(low) {
        // Nothing stands out: keep the middle of what was there.
        low = core.start.min(counts.len() - options.min_width);
        high = low + options.min_width;
    }
    while high - low > options.max_width {
        if bits[low] < bits[high - 1] { low += 1 } else { high -= 1 }
    }
    &counts[low..high]
}
