//! Expectation maximisation: every window counts by how likely it is a site.

use super::Options;
use super::pool::{Pool, UNIT};
use super::profile::Profile;
use super::refine::{Edge, Sample, add_site, trim};
use super::scan::{Scanner, Site};

/// Zero or one site a sequence: the matrix of a site and the share of sequences with one.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    pub(super) profile: Profile,
    pub(super) share: f64,
}

/// Windows less likely than this to be a site add nothing.
const NEGLIGIBLE: f64 = 1e-3;
/// Windows that alone would be sites with less than this part of [`NEGLIGIBLE`] are not looked at.
const FAINT: f64 = 0.25;
/// Nor are windows that score less, four bits below even odds.
const LOWEST: i16 = -32;

/// Least part of the sites that must be left when those of controls are taken out.
const REMAINDER: f64 = 0.25;

impl Mixture {
    /// Calls `visit` for each window that may be a site: sequence, site and its probability.
    pub(super) fn sites(
        &self,
        pool: &Pool,
        options: &Options,
        mut visit: impl FnMut(usize, &Site, f64),
    ) {
        let scanner = Scanner::new(&self.profile, options.both_strands);
        let strands = if options.both_strands { 2 } else { 1 };
        let landscape = scanner.landscape(pool);
        // Scores are whole steps: their powers of two are looked up.
        let highest = landscape.best.iter().copied().fold(0, i16::max);
        let powers: Vec<f64> =
            (LOWEST..=highest).map(|score| (f64::from(score) / UNIT).exp2()).collect();
        let least = FAINT * NEGLIGIBLE * (1.0 - self.share);
        let mut likely = Vec::new();
        for sequence in 0..pool.len() {
            let windows = pool.windows(sequence, scanner.width());
            let prior = self.share / (strands * windows.len()) as f64;
            let faint = powers.partition_point(|power| prior * power < least) as i16 + LOWEST;
            likely.clear();
            for start in windows.filter(|&start| landscape.places[start] >= faint) {
                let scores = scanner.strands(pool, start).into_iter().take(strands);
                for (turn, score) in scores.enumerate().filter(|&(_, score)| score >= faint) {
                    let odds = prior * powers[usize::from(score.abs_diff(LOWEST))];
                    likely.push((Site { start, reverse: turn == 1 }, odds));
                }
            }
            let total = 1.0 - self.share + likely.iter().map(|(_, odds)| odds).sum::<f64>();
            for (site, odds) in &likely {
                if odds / total > NEGLIGIBLE {
                    visit(sequence, site, odds / total);
                }
            }
        }
    }

    /// Fits the mixture to the sequences, at most `rounds` times.
    pub(super) fn fit(
        mut self,
        pool: &Pool,
        options: &Options,
        edge: &Edge,
        rounds: usize,
    ) -> Self {
        for _ in 0..rounds {
            let (counts, sites) = self.counted(pool, options, edge.reach);
            let share = (sites / pool.len() as f64).clamp(1e-4, 0.999);
            let kept = trim(&counts, edge, options);
            let profile = Profile::from_counts(&counts[kept], 1.0);
            let moved = (share - self.share).abs() + self.profile.distance(&profile);
            self = Self { profile, share };
            if moved < 1e-3 {
                break;
            }
        }
        self
    }

    /// Takes out what the mixture finds in controls as well, at most `rounds` times.
    ///
    /// The fit counts every window that looks like a site, among them many that the background does
    /// not explain and that are none: the matrix becomes too even, and the share too large. Controls
    /// show how many of them there are, and what their letters are. A mixture of which little would
    /// be left stays as it is.
    pub(super) fn purify(mut self, sample: &Sample, options: &Options, rounds: usize) -> Self {
        let [n, m] = [&sample.sequences, &sample.controls].map(|pool| pool.len() as f64);
        for _ in 0..rounds {
            let [(counts, sites), (others, chance)] =
                [&sample.sequences, &sample.controls].map(|pool| self.counted(pool, options, 0));
            let scale = (1.0 - self.share) * n / m;
            let left = sites - scale * chance;
            if left <= REMAINDER * sites {
                break;
            }
            let pairs = counts.iter().zip(&others);
            let excess: Vec<[f64; 4]> = pairs
                .map(|(row, other)| {
                    std::array::from_fn(|letter| (row[letter] - scale * other[letter]).max(0.0))
                })
                .collect();
            let share = (left / n).clamp(1e-4, 0.999);
            self = Self { profile: Profile::from_counts(&excess, 1.0), share };
        }
        self
    }

    /// Counts the letters of sites and of `reach` places on either side, and the sites.
    fn counted(&self, pool: &Pool, options: &Options, reach: usize) -> (Vec<[f64; 4]>, f64) {
        let mut counts = vec![[0.0; 4]; self.profile.width() + 2 * reach];
        let mut sites = 0.0;
        self.sites(pool, options, |sequence, site, probability| {
            let weight = probability * pool.weight(sequence);
            add_site(&mut counts, reach, site, sequence, pool, weight);
            sites += probability;
        });
        (counts, sites)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::background::Background;
    use super::super::pool::{Pool, UNIT};
    use super::super::profile::Profile;
    use super::super::random::Random;
    use super::super::refine::{SEARCH, Sample};
    use super::super::scan::Scanner;
    use super::{Mixture, NEGLIGIBLE};
    use proptest::prelude::*;

    const WORD: [u8; 8] = [3, 2, 0, 1, 3, 1, 0, 2];

    /// Random sequences, of which the first ones hold the word.
    fn planted(count: usize, length: usize, with: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut draws = Random::new(seed);
        let mut sequences: Vec<Vec<u8>> =
            (0..count).map(|_| (0..length).map(|_| draws.below(4) as u8).collect()).collect();
        for codes in sequences.iter_mut().take(with) {
            let first = draws.below(length - WORD.len());
            codes[first..first + WORD.len()].copy_from_slice(&WORD);
        }
        sequences
    }

    fn pool(sequences: &[Vec<u8>]) -> Pool {
        let all = || sequences.iter().map(Vec::as_slice);
        Pool::new(all(), &Background::new(all(), true))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn windows_that_are_left_out_change_little(
            length in 20_usize..80, with in 0_usize..20, share in 0.01_f64..0.5, seed: u64,
        ) {
            let pool = pool(&planted(20, length, with, seed));
            let mixture = Mixture { profile: Profile::from_word(&WORD), share };
            let mut fast = Vec::new();
            mixture.sites(&pool, &Options::default(), |sequence, site, probability| {
                fast.push((sequence, site.start, site.reverse, probability));
            });
            let scanner = Scanner::new(&mixture.profile, true);
            let mut slow = Vec::new();
            for sequence in 0..pool.len() {
                let windows = pool.windows(sequence, WORD.len());
                let prior = share / (2 * windows.len()) as f64;
                let odds: Vec<[f64; 2]> = windows
                    .clone()
                    .map(|start| scanner.strands(&pool, start).map(|s| prior * (f64::from(s) / UNIT).exp2()))
                    .collect();
                let total = 1.0 - share + odds.iter().flatten().sum::<f64>();
                for (start, odds) in windows.zip(&odds) {
                    slow.extend((0..2).map(|turn| (sequence, start, turn == 1, odds[turn] / total)));
                }
            }
            for (sequence, start, reverse, expected) in slow {
                let same = |one: &&(usize, usize, bool, f64)| (one.0, one.1, one.2) == (sequence, start, reverse);
                let seen = fast.iter().find(same).map_or(0.0, |one| one.3);
                prop_assert!((seen - expected).abs() < 0.1 * expected + 1.1 * NEGLIGIBLE, "{seen} {expected}");
            }
        }
    }

    #[test]
    fn what_controls_hold_as_well_is_taken_out() {
        let options = Options::default();
        let sample = |with| Sample {
            sequences: pool(&planted(500, 40, 200, 1)),
            controls: pool(&planted(1_000, 40, with, 2)),
        };
        let start = Mixture { profile: Profile::from_word(&WORD), share: 0.3 };
        let (without, with) = (sample(0), sample(200));
        let fitted = start.fit(&without.sequences, &options, &SEARCH, 10);
        assert!((fitted.share - 0.4).abs() < 0.02, "{}", fitted.share);
        let alone = fitted.clone().purify(&without, &options, 4);
        assert!((alone.share - 0.4).abs() < 0.02, "{}", alone.share);
        assert!(alone.profile.distance(&fitted.profile) < 0.02);
        // One in five controls holds the word, and so would one in five of the other sequences.
        let once = fitted.purify(&with, &options, 1);
        assert!((once.share - (0.4 - 0.6 * 0.2)).abs() < 0.03, "{}", once.share);
        let same = once.clone().purify(&sample(900), &options, 4);
        assert_eq!((same.share, &same.profile), (once.share, &once.profile));
        // Nor is anything left of a mixture without a site.
        let nothing = Sample { sequences: pool(&[vec![0; 40]]), controls: pool(&[vec![0; 40]]) };
        let kept = same.clone().purify(&nothing, &options, 4);
        assert_eq!((kept.share, &kept.profile), (same.share, &same.profile));
    }
}
