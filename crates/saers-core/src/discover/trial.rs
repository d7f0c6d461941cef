//! What is searched and tested: the sequences, their controls, and shuffles in their place.

use super::Options;
use super::background::Background;
use super::enrichment::{best_cut, doubted, log10_fisher};
use super::markov::Chains;
use super::pool::{OTHER, Pool, reverse_complement};
use super::profile::Profile;
use super::random::{Random, hash};
use super::refine::{Candidate, PSEUDO, Sample, add_site, advantage, sites_above};
use super::repeats;
use super::scan::{Scanner, Site};
use super::shuffle::shuffle;

/// Letters that take part in the search; the test uses more.
const SEARCH_LETTERS: usize = 400_000;
/// Letters of shuffled controls that a test makes at most, if one shuffle each is less.
const TEST_LETTERS: usize = 2_000_000;
/// Distance from the middle, in letters, of sites of aligned sequences.
const MIDDLE_DEVIATION: f64 = 6.0;
/// Shuffles of each sequence, and draws from a Markov chain, at most in the test.
const TEST_COPIES: usize = 5;

/// Distinct sequences in an order that depends on nothing but the sequences and the seed.
pub(super) struct Set {
    pub(super) sequences: Vec<Vec<u8>>,
    /// How often each occurs in the input.
    pub(super) copies: Vec<usize>,
    /// How much each counts, 1 on average; the mean over its copies.
    pub(super) weights: Vec<f64>,
}

impl Set {
    /// Turns sequences to the strand that sorts first (if both count), and merges equal ones.
    pub(super) fn new(sequences: Vec<Vec<u8>>, weights: Option<&[f64]>, options: &Options) -> Self {
        let turn = |codes: Vec<u8>| {
            if options.both_strands { reverse_complement(&codes).min(codes) } else { codes }
        };
        let mut keyed: Vec<(u64, Vec<u8>, f64)> = sequences
            .into_iter()
            .map(turn)
            .enumerate()
            .map(|(i, codes)| {
                (hash(options.seed, &codes), codes, weights.map_or(1.0, |all| all[i]))
            })
            .collect();
        keyed.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| a.1.cmp(&b.1)).then(a.2.total_cmp(&b.2))
        });
        let mut set = Self { sequences: Vec::new(), copies: Vec::new(), weights: Vec::new() };
        for (_, codes, weight) in keyed {
            match (set.sequences.last(), set.copies.last_mut(), set.weights.last_mut()) {
                (Some(last), Some(copies), Some(sum)) if *last == codes => {
                    *copies += 1;
                    *sum += weight;
                }
                _ => {
                    set.sequences.push(codes);
                    set.copies.push(1);
                    set.weights.push(weight);
                }
            }
        }
        set.level_weights();
        set
    }

    /// Turns sums of weights into means over copies, and those into parts of their own mean.
    fn level_weights(&mut self) {
        for (weight, &copies) in self.weights.iter_mut().zip(&self.copies) {
            *weight /= copies as f64;
        }
        let mean = self.weights.iter().sum::<f64>() / self.weights.len().max(1) as f64;
        self.weights.iter_mut().for_each(|weight| *weight /= mean);
    }

    /// Makes copies of repeats unknown, and returns what stood there: sequence, place, letters.
    pub(super) fn hide_copies(&mut self) -> Vec<(usize, usize, Vec<u8>)> {
        let stretches = repeats::copies(&self.sequences);
        let hidden = stretches
            .iter()
            .map(|&(sequence, low, high)| {
                (sequence, low, self.sequences[sequence][low..high].to_vec())
            })
            .collect();
        repeats::mask(&mut self.sequences, &stretches);
        hidden
    }

    /// Puts back what was hidden.
    pub(super) fn show(&mut self, hidden: Vec<(usize, usize, Vec<u8>)>) {
        for (sequence, low, codes) in hidden {
            self.sequences[sequence][low..low + codes.len()].copy_from_slice(&codes);
        }
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
    /// Draws from a Markov chain of the sequences, which the test takes beside shuffles.
    drawn: Option<Pool>,
}

/// What all trials of a round share.
pub(super) struct Round<'a> {
    sequences: &'a [Vec<u8>],
    weights: &'a [f64],
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
            Some(given) => pack(&given[..fitting(given, TEST_LETTERS)], &background, options),
            None => {
                let letters: usize = sequences.iter().map(Vec::len).sum();
                let copies = (TEST_LETTERS / letters.max(1)).clamp(1, TEST_COPIES);
                pack(&shuffled(sequences, copies, options.seed ^ 0x7E57_0000), &background, options)
            }
        };
        Self { sequences, weights: &set.weights, controls, background, test_controls, options }
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
        match self.controls {
            Some(given) => {
                let searched = &self.sequences[..fitting(self.sequences, SEARCH_LETTERS)];
                let controls = &given[..fitting(given, 2 * SEARCH_LETTERS)];
                Trial {
                    searched: Sample {
                        sequences: self.pack(searched),
                        controls: self.pack_controls(controls),
                    },
                    tested: self.pack(self.sequences),
                    drawn: None,
                }
            }
            None => self.trial_of(self.sequences, 0),
        }
    }

    /// The trial of a shuffle in place of the sequences, in which nothing is to be found.
    pub(super) fn null_trial(&self, index: u64) -> Trial {
        let nulls = shuffled(self.sequences, 1, self.options.seed ^ (0xBAD_0000 + index));
        self.trial_of(&nulls, index + 1)
    }

    /// Sets sequences against one shuffle and one draw of each.
    fn trial_of(&self, sequences: &[Vec<u8>], stream: u64) -> Trial {
        let searched = &sequences[..fitting(sequences, SEARCH_LETTERS)];
        let seed = self.options.seed ^ (0x5EA6_C400 + stream);
        let chains = Chains::new(sequences);
        let mut controls = shuffled(searched, 1, seed);
        controls.extend(chains.draw(searched, 1, seed ^ 0xD4A3_0000));
        let letters: usize = sequences.iter().map(Vec::len).sum();
        let copies = (TEST_LETTERS / letters.max(1)).clamp(1, TEST_COPIES);
        let drawn = chains.draw(sequences, copies, seed ^ 0x7E57_D4A3);
        Trial {
            searched: Sample {
                sequences: self.pack(searched),
                controls: self.pack_controls(&controls),
            },
            tested: self.pack(sequences),
            drawn: Some(self.pack_controls(&drawn)),
        }
    }

    /// Log10 p-value of a candidate at its best cut, before any correction for the search.
    ///
    /// A sequence from which the matrix was made is scored by a matrix made without it. Of the
    /// p-values against shuffles and against draws the larger one counts.
    pub(super) fn log10_p(&self, candidate: &Candidate, trial: &Trial) -> f64 {
        let scored = self.score(candidate, trial);
        let drawn = trial.drawn.as_ref().map_or(f64::NEG_INFINITY, |pool| scored.against(pool));
        scored.against(&self.test_controls).max(drawn)
    }

    /// Scores the tested sequences.
    fn score(&self, candidate: &Candidate, trial: &Trial) -> Scored {
        let both = self.options.both_strands;
        let pool = &trial.tested;
        let scanner = Scanner::new(&candidate.profile, both);
        let found = scanner.landscape(pool);
        let mut counts = vec![[0.0; 4]; scanner.width()];
        let mut counted = vec![None; pool.len()];
        for (sequence, site) in
            sites_above(candidate.cut.score, &found.best, &scanner, &found, pool)
        {
            add_site(&mut counts, 0, &site, sequence, pool, pool.weight(sequence));
            counted[sequence] = Some(site);
        }
        let whole = Scanner::new(&Profile::from_counts(&counts, PSEUDO), both);
        let sites = whole.landscape(pool);
        let score = |(sequence, own): (usize, &Option<Site>)| {
            let best = sites.best[sequence];
            match own {
                Some(own) if whole.site(pool, &sites, sequence) == Some(*own) => {
                    best - advantage(&counts, own, sequence, pool)
                }
                _ => best,
            }
        };
        let hits: Vec<i16> = counted.iter().enumerate().map(score).collect();
        Scored { scanner: whole, hits }
    }

    /// Packs the first sequences, or what stands in their place, with their weights.
    fn pack(&self, sequences: &[Vec<u8>]) -> Pool {
        self.pack_controls(sequences).weighted(&self.weights[..sequences.len()])
    }

    fn pack_controls(&self, sequences: &[Vec<u8>]) -> Pool {
        pack(sequences, &self.background, self.options)
    }
}

/// The matrix that is tested, and what the sequences score by it.
struct Scored {
    scanner: Scanner,
    hits: Vec<i16>,
}

impl Scored {
    /// Log10 p-value of the best cut between sequences and controls.
    fn against(&self, controls: &Pool) -> f64 {
        let controls = self.scanner.best(controls);
        let cut = best_cut(&self.hits, &controls);
        let passed = doubted(cut.controls, controls.len());
        log10_fisher(cut.hits, self.hits.len(), passed, controls.len())
    }
}

/// Packs sequences, the middle of each favoured if they are aligned.
pub(super) fn pack(sequences: &[Vec<u8>], background: &Background, options: &Options) -> Pool {
    let pool = Pool::new(sequences.iter().map(Vec::as_slice), background);
    if options.aligned { pool.aligned(MIDDLE_DEVIATION) } else { pool }
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
