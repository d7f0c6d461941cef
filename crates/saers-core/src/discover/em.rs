//! Expectation maximisation: every window counts by how likely it is a site.

use super::Options;
use super::pool::{Pool, UNIT};
use super::profile::Profile;
use super::refine::{Edge, add_site, trim};
use super::scan::{Scanner, Site};

/// Zero or one site a sequence: the matrix of a site and the share of sequences with one.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    pub(super) profile: Profile,
    pub(super) share: f64,
}

/// Windows less likely than this to be a site add nothing.
const NEGLIGIBLE: f64 = 1e-3;
/// Windows that score less, four bits below even odds, are not looked at.
const FAINT: i16 = -32;

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
        let mut likely = Vec::new();
        for sequence in 0..pool.len() {
            let windows = pool.windows(sequence, scanner.width());
            let prior = self.share / (strands * windows.len()) as f64;
            likely.clear();
            for start in windows.filter(|&start| landscape.places[start] > FAINT) {
                for (turn, score) in
                    scanner.strands(pool, start).into_iter().take(strands).enumerate()
                {
                    let odds = prior * (f64::from(score) / UNIT).exp2();
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
            let mut counts = vec![[0.0; 4]; self.profile.width() + 2 * edge.reach];
            let mut sites = 0.0;
            self.sites(pool, options, |sequence, site, probability| {
                add_site(
                    &mut counts,
                    edge.reach,
                    site,
                    sequence,
                    pool,
                    probability * pool.weight(sequence),
                );
                sites += probability;
            });
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
}
