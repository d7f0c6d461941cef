//! What is searched and tested: the sequences, their controls, and shuffles in their place.

use super::Options;
use super::enrichment::{best_cut, log10_fisher};
use super::pool::{Background, OTHER, Pool, reverse_complement};
use super::profile::Profile;
use super::random::{Random, hash};
use super::refine::{Candidate, PSEUDO, Sample, count_sites, scores};
use super::scan::{Scanner, Site};
use super::shuffle::shuffle;

/// Letters that take part in the search; the test uses more.
const SEARCH_LETTERS: usize = 400_000;
/// Letters of shuffled controls that a test makes at most, if one shuffle each is less.
const TEST_LETTERS: usize = 2_000_000;
/// Shuffles of each sequence in the search, and at most in the test.
const SEARCH_SHUFFLES: usize = 2;
const TEST_SHUFFLES: usize = 10;

/// Distinct sequences in an order that depends on nothing but the sequences and the seed.
pub(super) struct Set {
    pub(super) sequences: Vec<Vec<u8>>,
    /// How often each occurs in the input.
    pub(super) copies: Vec<usize>,
}

impl Set {
    /// Turns sequences to the strand that sorts first (if both count), and merges equal ones.
    pub(super) fn new(sequences: Vec<Vec<u8>>, options: &Options) -> Self {
        let turn = |codes: Vec<u8>| {
            if options.both_strands { reverse_complement(&codes).min(codes) } else { codes }
        };
        let mut keyed: Vec<(u64, Vec<u8>)> = sequences
            .into_iter()
            .map(turn)
            .map(|codes| (hash(options.seed, &codes), codes))
            .collect();
        keyed.sort_unstable();
        let mut set = Self { sequences: Vec::new(), copies: Vec::new() };
        for (_, codes) in keyed {
            match (set.sequences.last(), set.copies.last_mut()) {
                (Some(last), Some(copies)) if *last == codes => *copies += 1,
                _ => {
                    set.sequences.push(codes);
                    set.copies.push(1);
                }
            }
        }
        set
    }

    /// Blanks a site of the pool that holds all sequences of this set.
    pub(super) fn blank(&mut self, sequence: usize, pool: &Pool, site: &Site, width: usize) {
        let first = pool.places(sequence).start + pool.overhang();
        let low = site.start.saturating_sub(first);
        let high = (site.start + width).saturating_sub(first);
        let codes = &mut self.sequences[sequence];
        let high = high.min(codes.len());
        codes[low.min(high)..high].fill(OTHER);
    }
}

/// The sequences as the search and the test see them, with the controls of both.
///
/// The controls of the test have no part in the search.
pub(super) struct Trial {
    /// As many sequences as the search takes, and its controls.
    pub(super) searched: Sample,
    /// As many sequences as the test takes.
    tested: Pool,
}

/// What all trials of a round share.
pub(super) struct Round<'a> {
    sequences: &'a [Vec<u8>],
    controls: Option<&'a [Vec<u8>]>,
    background: Background,
    test_controls: Pool,
    options: &'a Options,
}

impl<'a> Round<'a> {
    /// Makes the controls of the test: shuffles, where no controls are given.
    pub(super) fn new(set: &'a Set, controls: Option<&'a Set>, options: &'a Options) -> Self {
        let all = set.sequences.as_slice();
        let background = Background::new(all.iter().map(Vec::as_slice), options.both_strands);
        let sequences = &all[..fitting(all, TEST_LETTERS)];
        let controls = controls.map(|set| set.sequences.as_slice());
        let test_controls = match controls {
            Some(given) => pack(&given[..fitting(given, TEST_LETTERS)], &background),
            None => {
                let letters: usize = sequences.iter().map(Vec::len).sum();
                let copies = (TEST_LETTERS / letters.max(1)).clamp(1, TEST_SHUFFLES);
                pack(&shuffled(sequences, copies, options.seed ^ 0x7E57_0000), &background)
            }
        };
        Self { sequences, controls, background, test_controls, options }
    }

    /// Hands on the background that all trials used.
    pub(super) fn into_background(self) -> Background {
        self.background
    }

    /// Whether the controls are not shuffles.
    pub(super) fn has_given_controls(&self) -> bool {
        self.controls.is_some()
    }

    /// The trial of the sequences themselves.
    pub(super) fn trial(&self) -> Trial {
        let searched = &self.sequences[..fitting(self.sequences, SEARCH_LETTERS)];
        let controls = match self.controls {
            Some(given) => pack(&given[..fitting(given, 2 * SEARCH_LETTERS)], &self.background),
            None => self.shuffles(searched, SEARCH_SHUFFLES, 0),
        };
        Trial {
            searched: Sample { sequences: pack(searched, &self.background), controls },
            tested: pack(self.sequences, &self.background),
        }
    }

    /// The trial of a shuffle in place of the sequences, in which nothing is to be found.
    pub(super) fn null_trial(&self, index: u64) -> Trial {
        let nulls = shuffled(self.sequences, 1, self.options.seed ^ (0xBAD_0000 + index));
        let searched = &nulls[..fitting(&nulls, SEARCH_LETTERS)];
        Trial {
            searched: Sample {
                sequences: pack(searched, &self.background),
                controls: self.shuffles(searched, SEARCH_SHUFFLES, index + 1),
            },
            tested: pack(&nulls, &self.background),
        }
    }

    /// Log10 p-value of a candidate at its best cut, before any correction for the search.
    ///
    /// A sequence from which the matrix was made is scored by a matrix made without it.
    pub(super) fn log10_p(&self, candidate: &Candidate, trial: &Trial) -> f64 {
        let both = self.options.both_strands;
        let found = Scanner::new(&candidate.profile, both).best(&trial.tested);
        let counts = count_sites(candidate, &found, &trial.tested);
        let whole = Scanner::new(&Profile::from_counts(&counts, PSEUDO), both);
        let sites = whole.best(&trial.tested);
        let hits: Vec<f32> = sites
            .iter()
            .enumerate()
            .map(|(i, site)| {
                let own = found[i].score >= candidate.cut.score
                    && (found[i].start, found[i].reverse) == (site.start, site.reverse);
                if own { site.score - advantage(&counts, site, &trial.tested) } else { site.score }
            })
            .collect();
        let controls = scores(&whole.best(&self.test_controls));
        let cut = best_cut(&hits, &controls);
        log10_fisher(cut.hits, hits.len(), cut.controls, controls.len())
    }

    fn shuffles(&self, sequences: &[Vec<u8>], copies: usize, stream: u64) -> Pool {
        let seed = self.options.seed ^ (0x5EA6_C400 + stream);
        pack(&shuffled(sequences, copies, seed), &self.background)
    }
}

/// Bits that a site gains because it is one of those that were counted.
fn advantage(counts: &[[f64; 4]], site: &Site, pool: &Pool) -> f32 {
    let width = counts.len();
    let gain = |(row, count): (usize, &[f64; 4])| {
        let place = site.start + if site.reverse { width - 1 - row } else { row };
        let code = pool.codes[place];
        if code > 3 {
            return 0.0;
        }
        let own = count[usize::from(if site.reverse { 3 - code } else { code })];
        let total = count.iter().sum::<f64>() + PSEUDO;
        let with = (own + PSEUDO / 4.0) / total;
        let without = (own - 1.0 + PSEUDO / 4.0) / (total - 1.0);
        (with / without).log2()
    };
    counts.iter().enumerate().map(gain).sum::<f64>() as f32
}

fn pack(sequences: &[Vec<u8>], background: &Background) -> Pool {
    Pool::new(sequences.iter().map(Vec::as_slice), background)
}

/// Number of leading sequences that hold at most `letters`, at least one.
fn fitting(sequences: &[Vec<u8>], letters: usize) -> usize {
    let mut sum = 0;
    let fits = sequences.iter().take_while(|codes| {
        sum += codes.len();
        sum <= letters
    });
    fits.count().max(1).min(sequences.len())
}

fn shuffled(sequences: &[Vec<u8>], copies: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut made = Vec::with_capacity(sequences.len() * copies);
    for codes in sequences {
        let mut random = Random::new(hash(seed, codes));
        for _ in 0..copies {
            let mut copy = codes.clone();
            shuffle(&mut copy, &mut random);
            made.push(copy);
        }
    }
    made
}
