//! P-values sampled as they are met, as FIMO 5.4.1 does for one motif after another.
//!
//! Found from what the program prints: the first 10,000 p-values are kept, and the k-th takes the
//! place of a kept one with chance 10,000 / k. Sampling and the bootstrap draw from one stream of
//! random numbers, which runs on from motif to motif.

use super::{Bootstrap, LAMBDAS, Tally, thresholds, uniform};

/// P-values that are kept.
const ROOM: usize = 10_000;

/// What a bootstrap needs to know of each p-value: the number of thresholds that it reaches.
pub(crate) fn reached(p_values: &[f64]) -> Vec<u8> {
    p_values.iter().map(|&p| thresholds(p) as u8).collect()
}

/// The p-values of one motif.
#[derive(Clone)]
pub struct Reservoir {
    random: Bootstrap,
    kept: Vec<u8>,
    /// All that were met, by the number of thresholds that they reach.
    met: [u32; LAMBDAS + 1],
    count: usize,
}

impl Reservoir {
    /// Makes one for each motif, from the numbers of its p-values.
    ///
    /// ```
    /// assert_eq!(saers_core::scan::Reservoir::of_each(&[3, 20_000]).len(), 2);
    /// ```
    #[must_use]
    pub fn of_each(counts: &[usize]) -> Vec<Self> {
        let mut random = Bootstrap::new();
        let of = |&count: &usize| {
            let new = Self {
                random: random.clone(),
                kept: Vec::with_capacity(count.min(ROOM)),
                met: [0; LAMBDAS + 1],
                count: 0,
            };
            random.0.skip(count.saturating_sub(ROOM));
            random.next(count);
            new
        };
        counts.iter().map(of).collect()
    }

    /// Shows it the next p-value.
    pub(crate) fn add(&mut self, reached: u8) {
        let met = &mut self.met[usize::from(reached)];
        // So many are never asked for.
        *met = met.saturating_add(1);
        self.count += 1;
        if self.kept.len() < ROOM {
            self.kept.push(reached);
            return;
        }
        let place = (uniform(self.random.0.pairs(1)[0]) * self.count as f64) as usize;
        if let Some(kept) = self.kept.get_mut(place) {
            *kept = reached;
        }
    }

    /// Estimates the share of nulls, from all p-values or from the sample.
    ///
    /// ```
    /// assert_eq!(saers_core::scan::Reservoir::of_each(&[0])[0].clone().null_share(true), 1.0);
    /// ```
    #[must_use]
    pub fn null_share(mut self, all: bool) -> f64 {
        let mut tally = Tally { counts: self.met, total: self.count };
        if !all {
            tally = Tally { counts: [0; LAMBDAS + 1], total: self.kept.len() };
            self.kept.iter().for_each(|&reached| tally.counts[usize::from(reached)] += 1);
        }
        self.random.share(&tally)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Bootstrap;
    use super::{ROOM, Reservoir, reached};

    fn p_values(count: usize) -> Vec<f64> {
        (0..count).map(|i| (0.618_034 * i as f64).fract().powf(1.3)).collect()
    }

    fn filled(mut reservoir: Reservoir, p_values: &[f64]) -> Reservoir {
        reached(p_values).into_iter().for_each(|reached| reservoir.add(reached));
        reservoir
    }

    #[test]
    fn few_p_values_are_all_kept() {
        let p = p_values(ROOM);
        let [one, two] = [true, false]
            .map(|all| filled(Reservoir::of_each(&[ROOM]).remove(0), &p).null_share(all));
        assert_eq!((one, two), (Bootstrap::new().pi0(&p), one));
    }

    #[test]
    fn random_numbers_run_on_from_motif_to_motif() {
        let counts = [ROOM + 7, 50, 3000];
        let mut reservoirs = Reservoir::of_each(&counts);
        let mut running = Bootstrap::new();
        for (reservoir, count) in reservoirs.drain(..).zip(counts) {
            let p = p_values(count);
            (ROOM..count).for_each(|_| drop(running.0.pairs(1).to_vec()));
            assert_eq!(filled(reservoir, &p).null_share(true), running.pi0(&p));
        }
    }

    #[test]
    fn each_p_value_is_kept_with_the_same_chance() {
        let late = [vec![0.0; 3 * ROOM], vec![1.0; ROOM]].concat();
        let reservoir = filled(Reservoir::of_each(&[4 * ROOM]).remove(0), &late);
        let kept = reservoir.kept.iter().filter(|reached| **reached > 0).count() as f64;
        assert!((kept / ROOM as f64 - 0.25).abs() < 0.02, "{kept}");
    }
}
