//! How much more often something is seen in the sequences than in their controls.

/// Hits among the sequences and among the controls at one score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// Smallest score that counts as a hit.
    pub(super) score: f32,
    /// Twice the log likelihood ratio against equal shares, 0 where the controls have more.
    pub(super) enrichment: f64,
    /// Sequences that score at least this.
    pub(super) hits: usize,
    /// Controls that score at least this.
    pub(super) controls: usize,
}

/// Twice the log likelihood ratio of `hits` of `n` and `controls` of `m` against one share.
pub(super) fn likelihood_ratio(hits: usize, n: usize, controls: usize, m: usize) -> f64 {
    let (a, b, n, m) = (hits as f64, controls as f64 + 0.5, n as f64, m as f64 + 1.0);
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

/// Finds the score that parts sequences from controls best; scores need not be sorted.
pub(super) fn best_cut(scores: &[f32], controls: &[f32]) -> Cut {
    let (scores, controls) = (sorted(scores), sorted(controls));
    let (n, m) = (scores.len(), controls.len());
    let mut best = Cut { score: f32::INFINITY, enrichment: 0.0, hits: 0, controls: 0 };
    let mut passed = 0;
    for (i, &score) in scores.iter().enumerate().take_while(|(_, score)| **score > 0.0) {
        while passed < m && controls[passed] >= score {
            passed += 1;
        }
        let next = scores.get(i + 1).copied().unwrap_or(f32::NEG_INFINITY);
        // Among scores that no control parts, the last one is the best place.
        let parted = controls.get(passed).is_some_and(|&control| control >= next);
        if next == score || !(parted || next <= 0.0) {
            continue;
        }
        let enrichment = likelihood_ratio(i + 1, n, passed, m);
        if enrichment > best.enrichment {
            best = Cut { score, enrichment, hits: i + 1, controls: passed };
        }
    }
    best
}

fn sorted(scores: &[f32]) -> Vec<f32> {
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    sorted
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
    use super::{best_cut, likelihood_ratio, log_factorial, log10_fisher};
    use proptest::prelude::*;

    #[test]
    fn the_series_of_the_factorial_meets_the_sum() {
        let exact: f64 = (2..=40).map(|k| f64::from(k).ln()).sum();
        assert!((log_factorial(40) - exact).abs() < 1e-11);
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
            scores in prop::collection::vec(-2_i8..9, 1..40),
            controls in prop::collection::vec(-2_i8..9, 1..60),
        ) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let controls: Vec<f32> = controls.into_iter().map(f32::from).collect();
            let count = |of: &[f32], cut: f32| of.iter().filter(|&&s| s >= cut).count();
            let slow = scores
                .iter()
                .filter(|&&cut| cut > 0.0)
                .map(|&cut| {
                    let (a, b) = (count(&scores, cut), count(&controls, cut));
                    likelihood_ratio(a, scores.len(), b, controls.len())
                })
                .fold(0.0, f64::max);
            prop_assert!((best_cut(&scores, &controls).enrichment - slow).abs() < 1e-9);
        }
    }
}
