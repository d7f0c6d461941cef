//! q-values of one query after Storey, with the share of true nulls by bootstrap or its limit.

use super::random::MersenneTwister;

/// Thresholds at which the share of nulls is estimated: 0.005, 0.010, … 0.5.
const LAMBDAS: usize = 100;
const ROUNDS: usize = 100;
const SAMPLE: usize = 1000;
/// With no more p-values than this no share is estimated: it is 1.
const FEW: usize = 100;
const SEED: u32 = 4357;

fn lambda(index: usize) -> f64 {
    0.5 * (index + 1) as f64 / LAMBDAS as f64
}

/// Estimates the share of nulls at each threshold from the p-values at or above it.
fn shares(above: &[usize; LAMBDAS], total: usize) -> [f64; LAMBDAS] {
    std::array::from_fn(|k| match above[k] {
        0 => f64::INFINITY,
        count => count as f64 / ((1.0 - lambda(k)) * total as f64),
    })
}

/// Turns counts of p-values by the number of thresholds they reach into counts at or above each.
fn above(reached: &[usize; LAMBDAS + 1]) -> [usize; LAMBDAS] {
    let mut counts = [0; LAMBDAS];
    let mut sum = 0;
    for k in (0..LAMBDAS).rev() {
        sum += reached[k + 1];
        counts[k] = sum;
    }
    counts
}

/// Counts the thresholds that each p-value reaches.
fn reached(sorted: &[f64]) -> Vec<u8> {
    let mut count = 0;
    let step = |&p: &f64| {
        while count < LAMBDAS && lambda(count) <= p {
            count += 1;
        }
        count as u8
    };
    sorted.iter().map(step).collect()
}

fn tally(reached: impl Iterator<Item = u8>) -> [usize; LAMBDAS + 1] {
    let mut counts = [0; LAMBDAS + 1];
    reached.for_each(|k| counts[usize::from(k)] += 1);
    counts
}

/// Chooses the estimate whose error is smallest, the first of equal ones.
fn choose(errors: &[f64; LAMBDAS], shares: &[f64; LAMBDAS]) -> f64 {
    let best = (1..LAMBDAS).fold(0, |best, k| if errors[k] < errors[best] { k } else { best });
    shares[best].clamp(0.0, 1.0)
}

/// The bootstrap of Tomtom: its random numbers run on from query to query.
pub(super) struct Bootstrap(MersenneTwister);

impl Bootstrap {
    /// Starts at the first query.
    pub fn new() -> Self {
        Self(MersenneTwister::new(SEED))
    }

    /// Estimates the share of nulls of the next query from its sorted p-values.
    pub fn pi0(&mut self, sorted: &[f64]) -> f64 {
        if sorted.len() <= FEW {
            return 1.0;
        }
        let reached = reached(sorted);
        let real = shares(&above(&tally(reached.iter().copied())), sorted.len());
        let least = real.iter().copied().fold(f64::INFINITY, f64::min);
        let mut errors = [0.0; LAMBDAS];
        for _ in 0..ROUNDS {
            let draw = |_| reached[(self.0.uniform() * sorted.len() as f64) as usize];
            let sampled = shares(&above(&tally((0..SAMPLE).map(draw))), SAMPLE);
            for (error, share) in errors.iter_mut().zip(sampled) {
                *error += (share - least) * (share - least);
            }
        }
        choose(&errors, &real)
    }
}

/// Estimates the share of nulls from sorted p-values as infinitely many bootstrap rounds would.
///
/// A round draws 1,000 p-values; the number at or above a threshold is binomial, so the mean
/// squared error of each estimate is its variance plus its squared distance from the least one.
pub(super) fn pi0(sorted: &[f64]) -> f64 {
    if sorted.len() <= FEW {
        return 1.0;
    }
    let counts = above(&tally(reached(sorted).into_iter()));
    let real = shares(&counts, sorted.len());
    let least = real.iter().copied().fold(f64::INFINITY, f64::min);
    let errors = std::array::from_fn(|k| {
        let part = counts[k] as f64 / sorted.len() as f64;
        let variance = part * (1.0 - part) / (SAMPLE as f64 * (1.0 - lambda(k)).powi(2));
        variance + (real[k] - least).powi(2)
    });
    choose(&errors, &real)
}

/// Turns sorted p-values into q-values.
pub(super) fn q_values(sorted: &[f64], pi0: f64) -> Vec<f64> {
    let total = sorted.len() as f64;
    let mut least = 1.0_f64;
    let mut q_values = vec![0.0; sorted.len()];
    for (index, (q, &p)) in q_values.iter_mut().zip(sorted).enumerate().rev() {
        least = least.min(pi0 * p * total / (index + 1) as f64);
        *q = least;
    }
    q_values
}

#[cfg(test)]
mod tests {
    use super::{Bootstrap, pi0, q_values};
    use proptest::prelude::*;

    fn p_values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0.0..=1.0_f64, 101..400).prop_map(|mut values| {
            values.sort_by(f64::total_cmp);
            values
        })
    }

    proptest! {
        #[test]
        fn q_values_rise_with_p_values_and_never_exceed_one(sorted in p_values()) {
            let q = q_values(&sorted, pi0(&sorted));
            prop_assert!(q.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(q.iter().all(|q| (0.0..=1.0).contains(q)));
        }

        #[test]
        fn a_share_of_one_gives_benjamini_and_hochberg(sorted in p_values()) {
            let n = sorted.len() as f64;
            let naive = |i: usize| {
                let later = sorted[i..].iter().enumerate();
                later.map(|(k, p)| p * n / (i + k + 1) as f64).fold(1.0, f64::min)
            };
            let q = q_values(&sorted, 1.0);
            prop_assert!((0..q.len()).all(|i| (q[i] - naive(i)).abs() < 1e-12));
        }
    }

    #[test]
    fn few_p_values_are_all_taken_for_nulls() {
        assert_eq!(pi0(&[0.0; 100]), 1.0);
        assert_eq!(Bootstrap::new().pi0(&[0.0; 100]), 1.0);
    }

    #[test]
    fn the_limit_lies_near_the_bootstrap_where_half_are_nulls() {
        let nulls = (0..600).map(|i| (f64::from(i) + 0.5) / 600.0);
        let mut sorted: Vec<f64> = (0..600).map(|i| f64::from(i) * 1e-6).chain(nulls).collect();
        sorted.sort_by(f64::total_cmp);
        assert!((pi0(&sorted) - 0.5).abs() < 0.02);
        assert!((Bootstrap::new().pi0(&sorted) - 0.5).abs() < 0.02);
    }

    #[test]
    fn the_bootstrap_runs_on_and_the_limit_does_not() {
        let sorted: Vec<f64> = (0..500).map(|i| (f64::from(i) / 500.0).powi(2)).collect();
        let mut bootstrap = Bootstrap::new();
        let first: Vec<f64> = (0..20).map(|_| bootstrap.pi0(&sorted)).collect();
        assert!(first.iter().any(|share| *share != first[0]));
        assert_eq!(pi0(&sorted), pi0(&sorted));
    }
}
