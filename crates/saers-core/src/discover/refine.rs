//! From a rough matrix to the one that parts sequences from controls best.

use super::Options;
use super::enrichment::{Cut, best_cut};
use super::pool::Pool;
use super::profile::{Profile, information};
use super::scan::{Scanner, Site};

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

impl Candidate {
    /// Measures a matrix on a sample.
    pub(super) fn measure(
        profile: Profile,
        sample: &Sample,
        options: &Options,
    ) -> (Self, Vec<Site>) {
        let scanner = Scanner::new(&profile, options.both_strands);
        let sites = scanner.best(&sample.sequences);
        let controls = scanner.best(&sample.controls);
        let cut = best_cut(&scores(&sites), &scores(&controls));
        (Self { profile, cut }, sites)
    }
}

/// Improves a matrix until its enrichment stops growing, at most `rounds` times.
pub(super) fn refine(
    start: Profile,
    sample: &Sample,
    options: &Options,
    rounds: usize,
) -> Candidate {
    let (mut best, mut sites) = Candidate::measure(start, sample, options);
    for _ in 0..rounds {
        let Some(profile) = realign(&best, &sites, &sample.sequences, options) else { break };
        let (candidate, new_sites) = Candidate::measure(profile, sample, options);
        if candidate.cut.enrichment <= best.cut.enrichment {
            break;
        }
        (best, sites) = (candidate, new_sites);
    }
    best
}

/// Makes the matrix of the sites above the cut, wider or narrower as their flanks tell.
pub(super) fn realign(
    candidate: &Candidate,
    sites: &[Site],
    pool: &Pool,
    options: &Options,
) -> Option<Profile> {
    let width = candidate.profile.width();
    let mut counts = vec![[0.0; 4]; width + 2 * FLANK];
    let mut chosen = 0;
    for (sequence, site) in sites.iter().enumerate().filter(|(_, s)| s.score >= candidate.cut.score)
    {
        chosen += 1;
        add_site(&mut counts, site, sequence, pool, 1.0);
    }
    if chosen < 2 {
        return None;
    }
    Some(Profile::from_counts(trim(&counts, FLANK..FLANK + width, options), PSEUDO))
}

/// Counts the letters of the sites above the cut, without their flanks.
pub(super) fn count_sites(candidate: &Candidate, sites: &[Site], pool: &Pool) -> Vec<[f64; 4]> {
    let mut counts = vec![[0.0; 4]; candidate.profile.width() + 2 * FLANK];
    for (sequence, site) in sites.iter().enumerate().filter(|(_, s)| s.score >= candidate.cut.score)
    {
        add_site(&mut counts, site, sequence, pool, 1.0);
    }
    counts[FLANK..FLANK + candidate.profile.width()].to_vec()
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

/// Scores of sites.
pub(super) fn scores(sites: &[Site]) -> Vec<f32> {
    sites.iter().map(|site| site.score).collect()
}
