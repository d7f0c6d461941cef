//! The search of one sample: seeds, rough matrices, the best of them refined.

use rayon::prelude::*;

use super::kmers::{Seed, are_shifts, enriched_words};
use super::profile::Profile;
use super::refine::{Candidate, Sample, refine, refine_wide};
use super::{Deadline, Options};
use crate::Result;

/// Lengths of seed words and the mismatches that each may have.
const WORDS: [(usize, usize); 5] = [(6, 0), (7, 1), (8, 0), (8, 1), (9, 1)];
/// Seeds that are turned into matrices.
const SEEDS: usize = 96;
/// Matrices refined to the end.
const FINALISTS: usize = 20;
/// Matrices handed on that are not repetitive.
const CANDIDATES: usize = 16;
/// Repetitive ones handed on; a motif may be one, while runs of A abound in genomes.
const REPETITIVE: usize = 3;
/// Two matrices above this similarity are one motif.
pub(super) const SAME: f64 = 0.7;

/// Finds the matrices that part sequences from controls best, best first.
pub(super) fn candidates(
    sample: &Sample,
    options: &Options,
    deadline: &Deadline,
) -> Result<Vec<Candidate>> {
    let rough = seeds(sample, options)
        .par_iter()
        .map(|seed| {
            deadline.check()?;
            Ok(refine(widen(&seed.word, options.min_width), sample, options, 1))
        })
        .collect::<Result<Vec<_>>>()?;
    let fine = distinct(rough, options, FINALISTS)
        .into_par_iter()
        .map(|candidate| {
            deadline.check()?;
            Ok(refine_wide(candidate.profile, sample, options, 12))
        })
        .collect::<Result<Vec<_>>>()?;
    let (repetitive, plain): (Vec<_>, Vec<_>) =
        fine.into_iter().partition(|candidate| candidate.is_repetitive());
    let mut chosen = distinct(plain, options, CANDIDATES);
    chosen.extend(distinct(repetitive, options, REPETITIVE));
    Ok(chosen)
}

/// Chooses enriched words that are no shifts of one another.
fn seeds(sample: &Sample, options: &Options) -> Vec<Seed> {
    let longest = options.max_width.min(WORDS[WORDS.len() - 1].0);
    let mut lengths: Vec<_> = WORDS.into_iter().filter(|(k, _)| *k <= longest).collect();
    if lengths.is_empty() {
        lengths.push((longest, 0));
    }
    let pools = [&sample.sequences, &sample.controls];
    let lists: Vec<Vec<Seed>> = lengths
        .into_par_iter()
        .map(|(k, mismatches)| enriched_words(pools, k, mismatches, options.both_strands, 100))
        .collect();
    let mut all: Vec<Seed> = lists.into_iter().flatten().collect();
    all.sort_by(|a, b| b.enrichment.total_cmp(&a.enrichment).then(a.word.cmp(&b.word)));
    let mut chosen: Vec<Seed> = Vec::new();
    for seed in all {
        if chosen.len() == SEEDS {
            break;
        }
        if !chosen.iter().any(|old| are_shifts(&old.word, &seed.word, options.both_strands)) {
            chosen.push(seed);
        }
    }
    chosen
}

/// Makes a matrix of a word, with even rows around it where it is narrower than allowed.
fn widen(word: &[u8], min_width: usize) -> Profile {
    let mut rows = Profile::from_word(word).rows;
    let missing = min_width.saturating_sub(rows.len());
    let mut padded = vec![[0.25; 4]; missing / 2];
    padded.append(&mut rows);
    padded.resize(padded.len() + missing - missing / 2, [0.25; 4]);
    Profile { rows: padded }
}

/// Keeps the best of each group of similar matrices, best first, at most `count`.
fn distinct(mut candidates: Vec<Candidate>, options: &Options, count: usize) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.cut.enrichment.total_cmp(&a.cut.enrichment));
    let mut chosen: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if chosen.len() == count || candidate.cut.enrichment <= 0.0 {
            break;
        }
        let similar = |old: &Candidate| {
            old.profile.similarity(&candidate.profile, options.both_strands) > SAME
        };
        if !chosen.iter().any(similar) {
            chosen.push(candidate);
        }
    }
    chosen
}
