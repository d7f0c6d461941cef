//! Expectation maximisation: every window counts by how likely it is a site.

use super::Options;
use super::pool::Pool;
use super::profile::Profile;
use super::refine::{FLANK, add_site, trim};
use super::scan::{Scanner, Site};

/// Zero or one site a sequence: the matrix of a site and the share of sequences with one.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    pub(super) profile: Profile,
    pub(super) share: f64,
}

/// Windows less likely than this to be a site add nothing.
const NEGLIGIBLE: f64 = 1e-3;

impl Mixture {
    /// Calls `visit` for each window that may be a site: sequence, site and its probability.
    pub(super) fn sites(
        &self,
        pool: &Pool,
        options: &Options,
        mut visit: impl FnMut(usize, &Site, f64),
    ) {
        let scanner = Scanner::new(&self.profile, options.both_strands);
        let strands = if options.both_strands { 2.0 } else { 1.0 };
        let mut scores = Vec::new();
        let mut odds = Vec::new();
        for sequence in 0..pool.len() {
            let first = pool.windows(sequence, self.profile.width()).start;
            scanner.all_of(pool, sequence, &mut scores);
            let prior = self.share / (strands * scores.len() as f64);
            odds.clear();
            odds.extend(
                scores
                    .iter()
                    .flatten()
                    .map(|&s| if s > -4.0 { prior * f64::from(s).exp2() } else { 0.0 }),
            );
            let total = 1.0 - self.share + odds.iter().sum::<f64>();
            for (i, probability) in odds.iter().map(|odds| odds / total).enumerate() {
                if probability > NEGLIGIBLE {
                    let (start, reverse) = (first + i / 2, i % 2 == 1);
                    visit(
                        sequence,
                        &Site { score: scores[i / 2][i % 2], start, reverse },
                        probability,
                    );
                }
            }
        }
    }

    /// Fits the mixture to the sequences, at most `rounds` times.
    pub(super) fn fit(mut self, pool: &Pool, options: &Options, rounds: usize) -> Self {
        for _ in 0..rounds {
            let mut counts = vec![[0.0; 4]; self.profile.width() + 2 * FLANK];
            let mut sites = 0.0;
            self.sites(pool, options, |sequence, site, probability| {
                add_site(&mut counts, site, sequence, pool, probability);
                sites += probability;
            });
            let share = (sites / pool.len() as f64).clamp(1e-4, 0.999);
            let kept = trim(&counts, FLANK..counts.len() - FLANK, options);
            let profile = Profile::from_counts(kept, 1.0);
            let moved = (share - self.share).abs() + self.profile.distance(&profile);
            self = Self { profile, share };
            if moved < 1e-3 {
                break;
            }
        }
        self
    }
}
