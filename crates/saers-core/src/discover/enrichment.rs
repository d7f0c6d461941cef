//! How much more often something is seen in the sequences than in their controls.

/// Hits among the sequences and among the controls at one score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// Smallest score that counts as a hit.
    pub(super) score: i16,
    /// Twice the log likelihood ratio against equal shares, 0 where the controls have more.
    pub(super) enrichment: f64,
    /// Sequences that score at least this.
    pub(super) hits: usize,
    /// Controls that score at least this.
    pub(super) controls: usize,
}

/// By how much more often than in controls a word may occur for no reason but what genomes prefer:
/// controls know short words only. Hits of controls count for this share more, so that a word of
/// many sites and little excess does not stand before a motif of few sites and much.
const DOUBT: f64 = 0.5;

/// What hits among controls count for, with the [`DOUBT`] about how well these are chosen.
pub(super) fn doubted(controls: usize, m: usize) -> usize {
    ((controls as f64 * (1.0 + DOUBT)).round() as usize).min(m)
}

/// Twice the log likelihood ratio of `hits` of `n` and `controls` of `m` against one share, with the
/// [`DOUBT`] about controls.
pub(super) fn likelihood_ratio(hits: usize, n: usize, controls: usize, m: usize) -> f64 {
    let expected = (controls as f64 * (1.0 + DOUBT)).min(m as f64);
    let (a, b, n, m) = (hits as f64, expected + 0.5, n as f64, m as f64 + 1.0);
    if a * m <= b * n {
        return 0.0;
    }
    let term = |count: f64, of: f64, share: f64| {
        if count > 0.0 { count * (count / (of * share)).ln() } else { 0.0 }
    };
    let share = (a + b) / (n + m);
    2.0 * (term(a, n, share)
        + term(n - a, n, 1.0 - share)
        + term(b, m, share)
        + term(m - b, m, 1.0 - share))
}

/// Finds the score above 0 that parts sequences from controls best; scores need not be sorted.
pub(super) fn best_cut(scores: &[i16], controls: &[i16]) -> Cut {
    let [hits, others] = [scores, controls].map(Histogram::new);
    let (n, m) = (scores.len(), controls.len());
    let mut best = Cut { score: i16::MAX, enrichment: 0.0, hits: 0, controls: 0 };
    let (mut hit, mut passed) = (0, 0);
    let mut parted = false;
    for score in (1..=hits.highest().max(others.highest())).rev() {
        // Among scores that no control parts, the last one is the best place.
        if others.at(score) > 0 && parted {
            best = best.or_better(score + 1, [hit, passed], n, m);
            parted = false;
        }
        hit += hits.at(score);
        passed += others.at(score);
        parted |= hits.at(score) > 0;
    }
    if parted { best.or_better(1, [hit, passed], n, m) } else { best }
}

impl Cut {
    fn or_better(self, score: i16, [hits, controls]: [usize; 2], n: usize, m: usize) -> Self {
        let enrichment = likelihood_ratio(hits, n, controls, m);
        if enrichment > self.enrichment { Self { score, enrichment, hits, controls } } else { self }
    }
}

/// How often each score above 0 occurs.
struct Histogram(Vec<usize>);

impl Histogram {
    fn new(scores: &[i16]) -> Self {
        let highest = scores.iter().copied().fold(0, i16::max);
        let mut counts = vec![0; usize::from(highest.unsigned_abs()) + 1];
        for &score in scores.iter().filter(|&&score| score > 0) {
            counts[usize::from(score.unsigned_abs())] += 1;
        }
        Self(counts)
    }

    fn highest(&self) -> i16 {
        (self.0.len() - 1) as i16
    }

    fn at(&self, score: i16) -> usize {
        self.0.get(usize::from(score.unsigned_abs())).copied().unwrap_or(0)
    }
}

/// Log10 of the hypergeometric tail: at least `hits` of the `hits + controls` hits lie among
/// the `n` sequences rather than among the `m` controls (one-sided Fisher exact test).
pub(super) fn log10_fisher(hits: usize, n: usize, controls: usize, m: usize) -> f64 {
    let (drawn, total) = (hits + controls, n + m);
    if hits + m <= drawn {
        return 0.0;
    }
    let log_choose =
        |n: usize, k: usize| log_factorial(n) - log_factorial(k) - log_factorial(n - k);
    let first = log_choose(n, hits) + log_choose(m, controls) - log_choose(total, drawn);
    let (mut term, mut sum) = (1.0, 1.0);
    for k in hits..n.min(drawn) {
        let ratio =
            ((n - k) as f64 / (k + 1) as f64) * ((drawn - k) as f64 / (m + k + 1 - drawn) as f64);
        term *= ratio;
        sum += term;
        if ratio < 1.0 && term < 1e-16 * sum {
            break;
        }
    }
    ((first + f64::ln(sum)) / std::f64::consts::LN_10).min(0.0)
}

/// Natural logarithm of `n!`: summed where small, else Stirling's series (error below 1e-12).
fn log_factorial(n: usize) -> f64 {
    if n < 32 {
        return (2..=n).map(|k| (k as f64).ln()).sum();
    }
    let x = n as f64;
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1260.0 * x.powi(5));
    x * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI * x).ln() + series
}

#[cfg(test)]
mod tests {
    use super::{best_cut, doubted, likelihood_ratio, log_factorial, log10_fisher};
    use proptest::prelude::*;

    #[test]
    fn the_series_of_the_factorial_meets_the_sum() {
        let exact: f64 = (2..=40).map(|k| f64::from(k).ln()).sum();
        assert!((log_factorial(40) - exact).abs() < 1e-11);
    }

    #[test]
    fn a_share_half_as_large_again_as_in_controls_is_no_enrichment() {
        assert_eq!(likelihood_ratio(149, 1_000, 100, 1_000), 0.0);
        assert!(likelihood_ratio(200, 1_000, 100, 1_000) > 5.0);
        assert_eq!([doubted(0, 9), doubted(2, 9), doubted(8, 9)], [0, 3, 9]);
    }

    #[test]
    fn fisher_agrees_with_the_tea_tasting() {
        // The classic table 3 1 / 1 3 has the one-sided p-value 17/70.
        assert!((log10_fisher(3, 4, 1, 4) - (17.0_f64 / 70.0).log10()).abs() < 1e-12);
    }

    #[test]
    fn fisher_does_not_underflow() {
        // 1 / C(1100, 100), far below the smallest f64 for larger tables.
        assert!(log10_fisher(5_000, 5_000, 0, 50_000) < -7_000.0);
        assert_eq!(log10_fisher(0, 10, 0, 10), 0.0);
        assert_eq!(log10_fisher(0, 10, 4, 10), 0.0);
    }

    proptest! {
        #[test]
        fn the_cut_is_the_best_of_all_scores(
            scores in prop::collection::vec(-2_i16..9, 1..40),
            controls in prop::collection::vec(-2_i16..9, 1..60),
        ) {
            let count = |of: &[i16], cut: i16| of.iter().filter(|&&s| s >= cut).count();
            let slow = scores
                .iter()
                .filter(|&&cut| cut > 0)
                .map(|&cut| {
                    let (a, b) = (count(&scores, cut), count(&controls, cut));
                    likelihood_ratio(a, scores.len(), b, controls.len())
                })
                .fold(0.0, f64::max);
            prop_assert!((best_cut(&scores, &controls).enrichment - slow).abs() < 1e-9);
        }
    }
}
