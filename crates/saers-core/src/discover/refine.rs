//! From a rough matrix to the one that parts sequences from controls best.

use super::Options;
use super::enrichment::{Cut, best_cut};
use super::pool::{Pool, UNIT};
use super::profile::{Profile, information};
use super::repeats;
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
    /// Whether its sites are alike farther away than any motif reaches.
    pub(super) in_repeat: bool,
}

impl Candidate {
    /// Whether it is a run, a short repeat, or part of a long one.
    pub(super) fn is_repetitive(&self) -> bool {
        self.in_repeat || self.profile.is_repetitive()
    }
}

/// How far a matrix may grow at once, and what keeps a row at its edge.
pub(super) struct Edge {
    /// Rows looked at on both sides.
    pub(super) reach: usize,
    /// Bits that a row at the edge must hold beyond what chance gives it.
    pub(super) bits: f64,
    /// Standard deviations of what chance gives it by which it must exceed that.
    pub(super) deviations: f64,
}

/// While the search goes on: rows that matter, close by.
pub(super) const SEARCH: Edge = Edge { reach: 3, bits: 0.25, deviations: 0.0 };
/// At its end: the other half of a motif, up to a turn of the helix away; many rows are looked at,
/// so that each must stand out from chance.
const WIDE: Edge = Edge { reach: 12, bits: 0.15, deviations: 3.0 };
/// In the report of narrow ones: two rows on either side, whatever they hold.
pub(super) const REPORT: Edge =
    Edge { reach: 2, bits: f64::NEG_INFINITY, deviations: f64::NEG_INFINITY };
/// Pseudo-counts of a row.
pub(super) const PSEUDO: f64 = 1.0;

/// The counts that a matrix was made of, and the site of each sequence that is among them.
pub(super) struct Origin {
    counts: Vec<[f64; 4]>,
    sites: Vec<(usize, Site)>,
}

/// A candidate, and where it lies in the sequences that it was measured on.
pub(super) struct Measured {
    pub(super) candidate: Candidate,
    scanner: Scanner,
    landscape: Landscape,
    /// Score of each sequence by the matrix made without it.
    scores: Vec<i16>,
}

impl Measured {
    /// Measures a matrix on a sample.
    pub(super) fn new(
        profile: Profile,
        origin: Option<&Origin>,
        sample: &Sample,
        options: &Options,
    ) -> Self {
        let scanner = Scanner::new(&profile, options.both_strands);
        let landscape = scanner.landscape(&sample.sequences);
        let mut scores = landscape.best.clone();
        if let Some(origin) = origin {
            for (sequence, site) in &origin.sites {
                if scanner.site(&sample.sequences, &landscape, *sequence) == Some(*site) {
                    scores[*sequence] -=
                        advantage(&origin.counts, site, *sequence, &sample.sequences);
                }
            }
        }
        let cut = best_cut(&scores, &scanner.best(&sample.controls));
        Self { candidate: Candidate { profile, cut, in_repeat: false }, scanner, landscape, scores }
    }

    /// Makes the matrix of the sites above the cut, wider or narrower as their flanks tell.
    fn realign(&self, pool: &Pool, options: &Options, edge: &Edge) -> Option<(Profile, Origin)> {
        let width = self.scanner.width();
        let mut counts = vec![[0.0; 4]; width + 2 * edge.reach];
        let mut sites = Vec::new();
        for (sequence, site) in self.sites(pool) {
            add_site(&mut counts, edge.reach, &site, sequence, pool, pool.weight(sequence));
            sites.push((sequence, site));
        }
        if sites.len() < 2 {
            return None;
        }
        let kept = trim(&counts, edge, options);
        for (_, site) in &mut sites {
            let ahead = if site.reverse { counts.len() - kept.end } else { kept.start };
            site.start = (site.start + ahead).wrapping_sub(edge.reach);
        }
        let counts = counts[kept].to_vec();
        Some((Profile::from_counts(&counts, PSEUDO), Origin { counts, sites }))
    }

    /// Tells whether the sites lie in copies of a long repeat.
    fn beside(self, pool: &Pool) -> Candidate {
        let width = self.scanner.width();
        let reach = repeats::reach(width);
        let mut counts = vec![[0.0; 4]; width + 2 * reach];
        for (sequence, site) in self.sites(pool) {
            add_site(&mut counts, reach, &site, sequence, pool, 1.0);
        }
        Candidate { in_repeat: repeats::surround(&counts), ..self.candidate }
    }

    /// Sites above the cut.
    fn sites<'a>(&'a self, pool: &'a Pool) -> impl Iterator<Item = (usize, Site)> + 'a {
        let cut = self.candidate.cut.score;
        sites_above(cut, &self.scores, &self.scanner, &self.landscape, pool)
    }

    fn improve(mut self, sample: &Sample, options: &Options, edge: &Edge, rounds: usize) -> Self {
        for _ in 0..rounds {
            let Some((profile, origin)) = self.realign(&sample.sequences, options, edge) else {
                break;
            };
            let next = Self::new(profile, Some(&origin), sample, options);
            if next.candidate.cut.enrichment <= self.candidate.cut.enrichment {
                break;
            }
            self = next;
        }
        self
    }
}

/// Improves a matrix until its enrichment stops growing, at most `rounds` times.
pub(super) fn refine(
    start: Profile,
    sample: &Sample,
    options: &Options,
    rounds: usize,
) -> Candidate {
    Measured::new(start, None, sample, options).improve(sample, options, &SEARCH, rounds).candidate
}

/// Does what [`refine`] does, looks for distant parts of the motif afterwards, and tells whether it
/// is part of a repeat.
pub(super) fn refine_wide(
    start: Profile,
    sample: &Sample,
    options: &Options,
    rounds: usize,
) -> Candidate {
    let fine =
        Measured::new(start, None, sample, options).improve(sample, options, &SEARCH, rounds);
    fine.improve(sample, options, &WIDE, 4).beside(&sample.sequences)
}

/// Lists the best site of each sequence that scores at least `cut`.
pub(super) fn sites_above<'a>(
    cut: i16,
    scores: &'a [i16],
    scanner: &'a Scanner,
    landscape: &'a Landscape,
    pool: &'a Pool,
) -> impl Iterator<Item = (usize, Site)> + 'a {
    let above = scores.iter().enumerate().filter(move |&(_, &score)| score >= cut);
    above.filter_map(|(sequence, _)| Some((sequence, scanner.site(pool, landscape, sequence)?)))
}

/// Adds the letters of a site and its flanks to the counts, read on the strand of the motif.
pub(super) fn add_site(
    counts: &mut [[f64; 4]],
    reach: usize,
    site: &Site,
    sequence: usize,
    pool: &Pool,
    weight: f64,
) {
    let places = pool.places(sequence);
    let width = counts.len();
    for (row, count) in counts.iter_mut().enumerate() {
        let offset = if site.reverse { width - 1 - row } else { row };
        let place = (site.start + offset).wrapping_sub(reach);
        if !places.contains(&place) || pool.codes[place] > 3 {
            continue;
        }
        let code = pool.codes[place];
        count[usize::from(if site.reverse { 3 - code } else { code })] += weight;
    }
}

/// Chooses the rows that stay: informative edges, within the widths allowed.
pub(super) fn trim(counts: &[[f64; 4]], edge: &Edge, options: &Options) -> std::ops::Range<usize> {
    let chance = |row: &[f64; 4]| {
        // A row of n letters drawn evenly seems to hold a chi-square of 3 / (2 n ln 2) bits.
        1.0 / (2.0 * row.iter().sum::<f64>().max(1.0) * std::f64::consts::LN_2)
    };
    let bits = |row: &[f64; 4]| {
        let total = row.iter().sum::<f64>().max(1.0);
        information(&row.map(|count| count / total)) - 3.0 * chance(row)
    };
    let informative = |row: usize| {
        let least = edge.deviations * 6.0_f64.sqrt() * chance(&counts[row]);
        bits(&counts[row]) >= least.max(edge.bits)
    };
    let (mut low, mut high) = (0, counts.len());
    while low + options.min_width < high && !informative(low) {
        low += 1;
    }
    while low + options.min_width < high && !informative(high - 1) {
        high -= 1;
    }
    if high - low == options.min_width && !informative(low) {
        // Nothing stands out: keep the middle of what was there.
        low = edge.reach.min(counts.len() - options.min_width);
        high = low + options.min_width;
    }
    while high - low > options.max_width {
        if bits(&counts[low]) < bits(&counts[high - 1]) { low += 1 } else { high -= 1 }
    }
    low..high
}

/// Steps of score that a site gains because it is one of those that were counted.
pub(super) fn advantage(counts: &[[f64; 4]], site: &Site, sequence: usize, pool: &Pool) -> i16 {
    let width = counts.len();
    let weight = pool.weight(sequence);
    let gain = |(row, count): (usize, &[f64; 4])| {
        let place = site.start + if site.reverse { width - 1 - row } else { row };
        let code = pool.codes[place];
        if code > 3 {
            return 0.0;
        }
        let own = count[usize::from(if site.reverse { 3 - code } else { code })];
        let total = count.iter().sum::<f64>() + PSEUDO;
        let with = (own + PSEUDO / 4.0) / total;
        let without = (own - weight + PSEUDO / 4.0) / (total - weight);
        (with / without).log2()
    };
    (counts.iter().enumerate().map(gain).sum::<f64>() * UNIT).round() as i16
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::background::Background;
    use super::super::pool::{Pool, UNIT};
    use super::super::profile::Profile;
    use super::super::random::Random;
    use super::{Measured, PSEUDO, REPORT, SEARCH, Sample, WIDE, refine, refine_wide, trim};
    use proptest::prelude::*;

    fn random(n: usize, length: usize, random: &mut Random) -> Vec<Vec<u8>> {
        (0..n).map(|_| (0..length).map(|_| random.below(4) as u8).collect()).collect()
    }

    /// Random sequences, every third with the words so many letters apart, and random controls.
    fn sample(n: usize, words: [&[u8]; 2], gap: usize, seed: u64) -> Sample {
        let mut draws = Random::new(seed);
        let mut sequences = random(n, 40, &mut draws);
        for codes in sequences.iter_mut().step_by(3) {
            let first = draws.below(40 - gap - words[0].len() - words[1].len());
            let second = first + words[0].len() + gap;
            codes[first..first + words[0].len()].copy_from_slice(words[0]);
            codes[second..second + words[1].len()].copy_from_slice(words[1]);
        }
        let controls = random(n, 40, &mut draws);
        let pool = |all: &[Vec<u8>]| {
            let all = || all.iter().map(Vec::as_slice);
            Pool::new(all(), &Background::new(all(), true))
        };
        Sample { sequences: pool(&sequences), controls: pool(&controls) }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_sequence_is_scored_by_the_matrix_made_without_it(
            n in 12_usize..60, word in prop::collection::vec(0_u8..4, 6..9), seed: u64,
        ) {
            let (sample, options) = (sample(n, [&word, &[]], 0, seed), Options::default());
            let pool = &sample.sequences;
            let first = Measured::new(Profile::from_word(&word), None, &sample, &options);
            let Some((profile, origin)) = first.realign(pool, &options, &SEARCH) else { return Ok(()) };
            let next = Measured::new(profile, Some(&origin), &sample, &options);
            for (sequence, site) in &origin.sites {
                if next.scanner.site(pool, &next.landscape, *sequence) != Some(*site) {
                    prop_assert_eq!(next.scores[*sequence], next.landscape.best[*sequence]);
                    continue;
                }
                // The same counts without the letters of this sequence, and their score of its site.
                let mut counts = origin.counts.clone();
                let width = counts.len();
                let mut letters = Vec::new();
                for (row, count) in counts.iter_mut().enumerate() {
                    let offset = if site.reverse { width - 1 - row } else { row };
                    let code = pool.codes[site.start + offset];
                    if code < 4 {
                        let read = usize::from(if site.reverse { 3 - code } else { code });
                        count[read] -= 1.0;
                        letters.push((row, read));
                    }
                }
                let without = Profile::from_counts(&counts, PSEUDO);
                let cost = pool.costs[site.start + width].wrapping_sub(pool.costs[site.start]);
                let odds: f64 = letters.iter().map(|&(row, read)| without.rows[row][read].log2()).sum();
                let slow = odds * UNIT + f64::from(cost);
                let room = 0.5 * width as f64 + 1.0;
                // A letter that nothing else holds costs the scanner 63 steps at most.
                prop_assert!((f64::from(next.scores[*sequence]) - slow).abs() < room,
                    "{} {slow}", next.scores[*sequence]);
            }
        }

        #[test]
        fn what_is_kept_lies_within_the_widths_and_begins_with_information(
            counts in prop::collection::vec(prop::array::uniform4(0_u32..30), 10..40),
            min_width in 4_usize..9, more in 0_usize..12, which in 0_usize..3,
        ) {
            let counts: Vec<[f64; 4]> = counts.iter().map(|row| row.map(f64::from)).collect();
            let options = Options { min_width, max_width: min_width + more, ..Options::default() };
            let edge = [&SEARCH, &WIDE, &REPORT][which];
            let kept = trim(&counts, edge, &options);
            prop_assert!(kept.end <= counts.len());
            prop_assert!((min_width..=min_width + more).contains(&kept.len()));
        }
    }

    #[test]
    fn few_sites_must_show_more_than_many() {
        let options = Options { min_width: 4, ..Options::default() };
        let mut counts = vec![[0.0, 10.0, 0.0, 0.0]; 6];
        counts[0] = [5.0, 3.0, 1.0, 1.0];
        assert_eq!(trim(&counts, &WIDE, &options), 1..6);
        counts.iter_mut().flatten().for_each(|count| *count *= 40.0);
        assert_eq!(trim(&counts, &WIDE, &options), 0..6);
        assert_eq!(trim(&vec![[5.0; 4]; 9], &REPORT, &options), 0..9);
    }

    #[test]
    fn the_other_half_of_a_motif_is_found_across_a_gap() {
        let words: [&[u8]; 2] = [&[0, 2, 0, 3, 0, 0, 2], &[1, 3, 2, 1]];
        let (sample, options) = (sample(300, words, 8, 7), Options::default());
        let start = Profile::from_word(words[0]);
        let near = refine(start.clone(), &sample, &options, 12);
        let far = refine_wide(start, &sample, &options, 12);
        assert!(near.profile.width() < 12, "{}", near.profile.width());
        assert!(far.profile.width() >= 19 && far.cut.enrichment > near.cut.enrichment);
    }
}
