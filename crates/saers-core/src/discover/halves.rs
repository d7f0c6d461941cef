//! The two halves of the input: what is found in one is tested on the other.

use super::Options;
use super::enrichment::log10_fisher;
use super::pool::{Background, OTHER, Pool, reverse_complement};
use super::random::{Random, hash};
use super::refine::{Candidate, Sample};
use super::scan::Site;
use super::shuffle::shuffle;

/// Letters of a half that take part in the search; the test uses more.
const SEARCH_LETTERS: usize = 200_000;
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

    /// The first or the second half.
    fn half(&self, second: bool) -> &[Vec<u8>] {
        let middle = self.sequences.len() / 2;
        if second { &self.sequences[middle..] } else { &self.sequences[..middle] }
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

/// One half, packed: a sample to search, and the sequences and controls of a test.
pub(super) struct Half {
    pub(super) sample: Sample,
    test: Sample,
}

impl Half {
    /// Packs a half; `controls` are shuffles of it where none are given.
    pub(super) fn new(
        second: bool,
        set: &Set,
        controls: Option<&Set>,
        background: &Background,
        options: &Options,
    ) -> Self {
        let sequences = set.half(second);
        let searched = &sequences[..fitting(sequences, SEARCH_LETTERS)];
        let tested = &sequences[..fitting(sequences, TEST_LETTERS)];
        let letters: usize = tested.iter().map(Vec::len).sum();
        let shuffles = (TEST_LETTERS / letters.max(1)).clamp(1, TEST_SHUFFLES);
        let pack = |codes: &[Vec<u8>]| Pool::new(codes.iter().map(Vec::as_slice), background);
        let sample = |codes: &[Vec<u8>], shuffles: usize, stream: u64, most: usize| Sample {
            sequences: pack(codes),
            controls: match controls {
                Some(given) => {
                    let given = given.half(second);
                    pack(&given[..fitting(given, most)])
                }
                None => pack(&shuffled(codes, shuffles, options.seed ^ stream)),
            },
        };
        Self {
            sample: sample(searched, SEARCH_SHUFFLES, 0x5EA6_C400, 2 * SEARCH_LETTERS),
            test: sample(tested, shuffles, 0x7E57_0000, TEST_LETTERS),
        }
    }

    /// Log10 p-value of a matrix that was found without this half.
    pub(super) fn log10_p(&self, candidate: &Candidate, options: &Options) -> f64 {
        let [hits, controls] =
            [&self.test.sequences, &self.test.controls].map(|pool| candidate.hits(pool, options));
        log10_fisher(hits, self.test.sequences.len(), controls, self.test.controls.len())
    }
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
