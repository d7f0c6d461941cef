//! q-values after Storey, with the share of true nulls by bootstrap or its limit.
//!
//! The bootstrap is that of Tomtom and FIMO 5.4.1, random numbers included.

mod random;
mod reservoir;

use multiversion::multiversion;
use random::{BLOCK, MersenneTwister, uniform};
pub use reservoir::Reservoir;
pub(crate) use reservoir::reached;

/// What bounds of p-values are raised by: more than rounding to single precision, which makes ties.
pub(crate) const SPARE: f64 = 1.0 + 1e-6;

/// Thresholds at which the share of nulls is estimated: 0.005, 0.010, … 0.5.
const LAMBDAS: usize = 100;
const ROUNDS: usize = 100;
const SAMPLE: usize = 1000;
/// With no more p-values than this no share is estimated: it is 1.
const FEW: usize = 100;
const SEED: u32 = 4357;

const fn lambda(index: usize) -> f64 {
    0.5 * (index + 1) as f64 / LAMBDAS as f64
}

/// What the number of p-values of a sample above each threshold is divided by.
const OF_SAMPLE: [f64; LAMBDAS] = {
    let mut sizes = [0.0; LAMBDAS];
    let mut index = 0;
    while index < LAMBDAS {
        sizes[index] = (1.0 - lambda(index)) * SAMPLE as f64;
        index += 1;
    }
    sizes
};

/// Counts the thresholds that a p-value reaches.
fn thresholds(p: f64) -> usize {
    /// What to reach for a number of thresholds, and one that is out of reach.
    const ENDS: [f64; LAMBDAS + 2] = {
        let mut ends = [f64::NEG_INFINITY; LAMBDAS + 2];
        let mut index = 0;
        while index < LAMBDAS {
            ends[index + 1] = lambda(index);
            index += 1;
        }
        ends[LAMBDAS + 1] = f64::INFINITY;
        ends
    };
    // Off by one at most, where rounding meets a threshold. No branch: half of the p-values of
    // nulls lie on either side of the last threshold.
    let near = ((p * (2 * LAMBDAS) as f64) as usize).min(LAMBDAS);
    near + usize::from(ENDS[near + 1] <= p) - usize::from(ENDS[near] > p)
}

/// P-values counted by the number of thresholds that they reach.
struct Tally {
    counts: [u32; LAMBDAS + 1],
    total: usize,
}

impl Tally {
    fn of(p_values: &[f64]) -> Self {
        let mut counts = [0; LAMBDAS + 1];
        p_values.iter().for_each(|&p| counts[thresholds(p)] += 1);
        Self { counts, total: p_values.len() }
    }

    /// Counts p-values at or above each threshold.
    fn above(&self) -> [u32; LAMBDAS] {
        let mut sum = 0;
        let mut above = [0; LAMBDAS];
        for k in (0..LAMBDAS).rev() {
            sum += self.counts[k + 1];
            above[k] = sum;
        }
        above
    }

    /// Estimates the share of nulls at each threshold from the p-values at or above it.
    fn shares(&self) -> [f64; LAMBDAS] {
        let above = self.above();
        std::array::from_fn(|k| match above[k] {
            0 => f64::INFINITY,
            count => f64::from(count) / ((1.0 - lambda(k)) * self.total as f64),
        })
    }
}

/// Chooses the estimate whose error is smallest, the first of equal ones.
fn choose(errors: &[f64; LAMBDAS], shares: &[f64; LAMBDAS]) -> f64 {
    let best = (1..LAMBDAS).fold(0, |best, k| if errors[k] < errors[best] { k } else { best });
    shares[best].clamp(0.0, 1.0)
}

/// The bootstrap of Tomtom: its random numbers run on from query to query.
#[derive(Clone)]
pub(crate) struct Bootstrap(MersenneTwister);

impl Bootstrap {
    /// Starts at the first query.
    pub fn new() -> Self {
        Self(MersenneTwister::new(SEED))
    }

    /// Takes the start of a query of so many p-values, and moves on over it.
    pub fn next(&mut self, count: usize) -> Self {
        let start = self.clone();
        if count > FEW {
            self.0.skip(ROUNDS * SAMPLE);
        }
        start
    }

    /// Estimates the share of nulls of the next query from its p-values.
    pub fn pi0(&mut self, p_values: &[f64]) -> f64 {
        self.share(&Tally::of(p_values))
    }

    fn share(&mut self, tally: &Tally) -> f64 {
        if tally.total <= FEW {
            return 1.0;
        }
        let real = tally.shares();
        let least = real.iter().copied().fold(f64::INFINITY, f64::min);
        // Thresholds that each of the sorted p-values reaches.
        let sorted = (0..).zip(tally.counts).flat_map(|(k, n)| std::iter::repeat_n(k, n as usize));
        let reached: Vec<u8> = sorted.collect();
        let mut errors = [0.0; LAMBDAS];
        for _ in 0..ROUNDS {
            add_errors(&self.sample(&reached), least, &mut errors);
        }
        choose(&errors, &real)
    }

    /// Draws a sample with replacement.
    fn sample(&mut self, reached: &[u8]) -> Tables {
        let mut tables = [[0; 1 << u8::BITS]; TABLES];
        let mut room = [0; BLOCK];
        let mut left = SAMPLE;
        while left > 0 {
            let pairs = self.0.pairs(left);
            left -= pairs.len();
            let places = &mut room[..pairs.len()];
            place_all(pairs, reached.len(), places);
            let (parts, rest) = places.as_chunks::<TABLES>();
            for part in parts {
                for (table, &place) in tables.iter_mut().zip(part) {
                    table[usize::from(reached[place as usize])] += 1;
                }
            }
            for &place in rest {
                tables[0][usize::from(reached[place as usize])] += 1;
            }
        }
        tables
    }
}

/// Tables of a sample: one would wait for itself where draws in turn are equal.
const TABLES: usize = 4;

/// A sample by the number of thresholds reached, in parts.
type Tables = [[u16; 1 << u8::BITS]; TABLES];

/// Adds the squared error of each estimate from a sample.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn add_errors(tables: &Tables, least: f64, errors: &mut [f64; LAMBDAS]) {
    let mut above = [0_u32; LAMBDAS];
    for (k, above) in above.iter_mut().enumerate() {
        *above = tables.iter().map(|table| u32::from(table[k + 1])).sum();
    }
    for k in (1..LAMBDAS).rev() {
        above[k - 1] += above[k];
    }
    for k in 0..LAMBDAS {
        let share = f64::from(above[k]) / OF_SAMPLE[k];
        let share = if above[k] == 0 { f64::INFINITY } else { share };
        errors[k] += (share - least) * (share - least);
    }
}

/// Finds the places among `total` of which pairs of words say the fractions, rounded down.
fn place_all(pairs: &[[u32; 2]], total: usize, places: &mut [u32]) {
    if !near_places(pairs, total, places) {
        for (place, &pair) in places.iter_mut().zip(pairs) {
            *place = (uniform(pair) * total as f64) as u32;
        }
    }
}

/// Finds places from higher words alone; tells whether lower ones could change none of them.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn near_places(pairs: &[[u32; 2]], total: usize, places: &mut [u32]) -> bool {
    // More than the lower word and rounding to double precision can add.
    const SPARE: u64 = 64;
    let total = total as u64;
    let mut unsure = 0;
    for (place, pair) in places.iter_mut().zip(pairs) {
        let scaled = u64::from(pair[0]) * total;
        *place = (scaled >> 32) as u32;
        unsure |= ((scaled + total + SPARE) ^ scaled) >> 32;
    }
    unsure == 0
}

/// Estimates the share of nulls from p-values as infinitely many bootstrap rounds would.
///
/// A round draws 1,000 p-values; the number at or above a threshold is binomial, so the mean
/// squared error of each estimate is its variance plus its squared distance from the least one.
pub(crate) fn pi0(p_values: &[f64]) -> f64 {
    if p_values.len() <= FEW {
        return 1.0;
    }
    let tally = Tally::of(p_values);
    let (above, real) = (tally.above(), tally.shares());
    let least = real.iter().copied().fold(f64::INFINITY, f64::min);
    let errors = std::array::from_fn(|k| {
        let part = f64::from(above[k]) / p_values.len() as f64;
        let variance = part * (1.0 - part) / (SAMPLE as f64 * (1.0 - lambda(k)).powi(2));
        variance + (real[k] - least).powi(2)
    });
    choose(&errors, &real)
}

/// Finds a p-value above which none counts for the q-values of those that `ratio` bounds.
///
/// The q-value of rank i is the least p / j over ranks j >= i, times a constant. It is settled by
/// ranks of p <= `ratio` · j: their number bounds j, which bounds p, which bounds their number.
pub(crate) fn horizon(p_values: &[f64], ratio: f64) -> f64 {
    // Each round is a pass; what is not settled by then leaves a few p-values more than needed.
    const PASSES: usize = 20;
    let mut count = p_values.len();
    let mut bound = f64::INFINITY;
    if !ratio.is_finite() {
        return bound;
    }
    for _ in 0..PASSES {
        bound = ratio * count as f64 * SPARE;
        let below = p_values.iter().filter(|p| **p <= bound).count();
        if below == count {
            break;
        }
        count = below;
    }
    bound
}

/// Turns the sorted p-values of the first ranks, of `total`, into q-values.
pub(crate) fn q_values(sorted: &[f64], total: usize, pi0: f64) -> Vec<f64> {
    let total = total as f64;
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
    use super::{
        BLOCK, Bootstrap, LAMBDAS, SAMPLE, Tally, add_errors, horizon, lambda, pi0, place_all,
        q_values, thresholds, uniform,
    };
    use proptest::prelude::*;

    fn p_values() -> impl Strategy<Value = Vec<f64>> {
        let powers = prop::collection::vec((0.0..=1.0_f64, 1..12_i32), 101..400);
        powers.prop_map(|values| {
            let mut values: Vec<f64> = values.into_iter().map(|(p, k)| p.powi(k)).collect();
            values.sort_by(f64::total_cmp);
            values
        })
    }

    proptest! {
        #[test]
        fn q_values_rise_with_p_values_and_never_exceed_one(sorted in p_values()) {
            let q = q_values(&sorted, sorted.len(), pi0(&sorted));
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
            let q = q_values(&sorted, sorted.len(), 1.0);
            prop_assert!((0..q.len()).all(|i| (q[i] - naive(i)).abs() < 1e-12));
        }

        #[test]
        fn what_lies_past_the_horizon_bears_on_no_q_value_within(
            sorted in p_values(),
            threshold in 0.0..=1.0_f64,
            pi0 in 0.01..=1.0_f64,
        ) {
            let bound = horizon(&sorted, threshold / (pi0 * sorted.len() as f64));
            let near = sorted.partition_point(|p| *p <= bound);
            let (all, some) =
                [sorted.len(), near].map(|end| q_values(&sorted[..end], sorted.len(), pi0)).into();
            let reported = all.partition_point(|q| *q <= threshold);
            prop_assert!(reported <= near);
            prop_assert_eq!(&all[..reported], &some[..reported]);
        }

        #[test]
        fn p_values_are_counted_by_the_thresholds_they_reach(sorted in p_values()) {
            let exact = (0..=LAMBDAS).map(|k| 0.5 * k as f64 / LAMBDAS as f64);
            let values: Vec<f64> = sorted.into_iter().chain(exact).collect();
            let above = Tally::of(&values).above();
            for (k, count) in above.into_iter().enumerate() {
                let naive = values.iter().filter(|p| **p >= lambda(k)).count();
                prop_assert_eq!(count as usize, naive);
            }
        }

        #[test]
        fn places_are_the_rounded_products(
            pairs in prop::collection::vec(any::<[u32; 2]>(), 1..=BLOCK),
            total in 1..(1_usize << 25),
            edge in any::<bool>(),
        ) {
            let mut pairs = pairs;
            if edge {
                // The least higher word of a place, and the one before.
                let [high, low] = pairs[0];
                let product = (u64::from(high) % total as u64) << 32;
                let high = product.div_ceil(total as u64) as u32;
                pairs.extend([[high.wrapping_sub(1), low], [high, 0], [high, low]]);
                pairs.drain(..pairs.len().saturating_sub(BLOCK));
            }
            let mut places = vec![0; pairs.len()];
            place_all(&pairs, total, &mut places);
            for (place, pair) in places.into_iter().zip(pairs) {
                prop_assert_eq!(place as usize, (uniform(pair) * total as f64) as usize);
            }
        }

        #[test]
        fn samples_have_the_errors_of_their_shares(sorted in p_values(), rounds in 1..4) {
            let reached: Vec<u8> = sorted.iter().map(|&p| thresholds(p) as u8).collect();
            let (mut random, mut twin) = (Bootstrap::new(), Bootstrap::new());
            let mut errors = [0.0; LAMBDAS];
            let mut naive = errors;
            for _ in 0..rounds {
                add_errors(&random.sample(&reached), 0.3, &mut errors);
                let draw = |_| sorted[(uniform(twin.0.pairs(1)[0]) * sorted.len() as f64) as usize];
                let shares = Tally::of(&(0..SAMPLE).map(draw).collect::<Vec<_>>()).shares();
                (0..LAMBDAS).for_each(|k| naive[k] += (shares[k] - 0.3) * (shares[k] - 0.3));
            }
            prop_assert_eq!(errors, naive);
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
