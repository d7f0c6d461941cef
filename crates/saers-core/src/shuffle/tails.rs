//! Tails of the number of hits in independent trials, to the last digits however far out.

/// Mass below this share of the largest is dropped; the sum of all that is dropped stays far
/// below the rounding of what is kept.
const DROPPED: f64 = 1e-20;

/// Independent trials of one chance. Hit and miss come apart, since the smaller of the two
/// would lose its digits in the difference to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Trials {
    pub(super) count: u32,
    pub(super) hit: f64,
    pub(super) miss: f64,
}

impl Trials {
    pub(super) fn mean(&self) -> f64 {
        f64::from(self.count) * self.hit
    }

    pub(super) fn variance(&self) -> f64 {
        self.mean() * self.miss
    }

    /// Logarithm of `miss + hit * exp(tilt)`, for all trials together.
    fn log_weight(&self, tilt: f64) -> f64 {
        let growth = self.hit * tilt.exp_m1();
        let log = if growth.abs() < 0.5 {
            growth.ln_1p()
        } else {
            (self.miss + self.hit * tilt.exp()).ln()
        };
        f64::from(self.count) * log
    }

    /// The trials after hits have become `exp(tilt)` times as likely.
    fn tilted(&self, tilt: f64) -> Self {
        let (hit, miss) = if tilt > 0.0 {
            (self.hit, self.miss * (-tilt).exp())
        } else {
            (self.hit * tilt.exp(), self.miss)
        };
        Self { hit: hit / (hit + miss), miss: miss / (hit + miss), ..*self }
    }
}

/// Probabilities of at least and of at most `observed` hits.
pub(super) fn tails(trials: &[Trials], observed: u32, room: &mut Masses) -> [f64; 2] {
    let sum = |of: fn(&&Trials) -> bool| -> u32 { trials.iter().filter(of).map(|t| t.count).sum() };
    let (certain, possible) = (sum(|t| t.miss <= 0.0), sum(|t| t.hit > 0.0));
    if observed < certain {
        return [1.0, 0.0];
    }
    if observed > possible {
        return [0.0, 1.0];
    }
    let open: Vec<Trials> =
        trials.iter().filter(|t| t.count > 0 && t.hit > 0.0 && t.miss > 0.0).copied().collect();
    let (hits, most) = (observed - certain, possible - certain);
    let all = |chance: fn(&Trials) -> f64| -> f64 {
        open.iter().map(|t| chance(t).powf(f64::from(t.count))).product()
    };
    match hits {
        0 if most == 0 => [1.0, 1.0],
        0 => [1.0, all(|t| t.miss)],
        _ if hits == most => [all(|t| t.hit), 1.0],
        _ => inner_tails(&open, hits, room),
    }
}

/// Tails at a number of hits between none and all.
///
/// Hits are made likelier or rarer until `hits` of them are the mean. There the mass lies that
/// the near tail consists of, so nothing that counts is too small to be held, and what is far
/// away can be dropped. Each number of hits is then weighted back.
fn inner_tails(trials: &[Trials], hits: u32, room: &mut Masses) -> [f64; 2] {
    let tilt = tilt_to(trials, f64::from(hits));
    room.fill(trials.iter().map(|t| t.tilted(tilt)));
    let log_scale = trials.iter().map(|t| t.log_weight(tilt)).sum::<f64>() - tilt * f64::from(hits);
    let scale = log_scale.exp();
    // Outwards from `hits` weights fall: upwards where hits were made likelier.
    let (here, outwards) = room.outwards(hits as usize, tilt >= 0.0);
    let step = (-tilt.abs()).exp();
    let near = scale * outwards.rev().fold(0.0, |sum, mass| sum * step + mass);
    let far = 1.0 - near + scale * here;
    if tilt >= 0.0 { [near, far] } else { [far, near] }
}

/// The tilt at which the mean number of hits is `goal`, near enough to lay the mass there.
fn tilt_to(trials: &[Trials], goal: f64) -> f64 {
    let (mut low, mut high) = (-1e3, 1e3);
    let mut tilt = 0.0_f64;
    for _ in 0..100 {
        let (mean, variance) = trials.iter().fold((0.0, 0.0), |(mean, variance), trials| {
            let tilted = trials.tilted(tilt);
            (mean + tilted.mean(), variance + tilted.variance())
        });
        if (mean - goal).abs() <= 1e-3 * variance.sqrt() {
            break;
        }
        if mean < goal {
            low = tilt
        } else {
            high = tilt
        }
        let newton = tilt + (goal - mean) / variance;
        tilt = if low < newton && newton < high { newton } else { f64::midpoint(low, high) };
    }
    tilt
}

/// Probabilities of neighbouring numbers of hits, with room for the next step.
#[derive(Default)]
pub(super) struct Masses {
    first: usize,
    mass: Vec<f64>,
    one: Vec<f64>,
    next: Vec<f64>,
}

impl Masses {
    /// Adds up trials: the convolution of their binomial distributions.
    fn fill(&mut self, trials: impl Iterator<Item = Trials>) {
        self.first = 0;
        self.mass.clear();
        self.mass.push(1.0);
        for trials in trials {
            let first = binomial(trials, &mut self.one);
            convolve(&self.mass, &self.one, &mut self.next);
            std::mem::swap(&mut self.mass, &mut self.next);
            self.first += first + trim(&mut self.mass);
        }
    }

    /// The probability of `hits`, and those from there on upwards or downwards.
    fn outwards(&self, hits: usize, up: bool) -> (f64, impl DoubleEndedIterator<Item = f64>) {
        let place = hits.saturating_sub(self.first).min(self.mass.len() - 1);
        let (below, above) = (&self.mass[..=place], &self.mass[place..]);
        let chosen = if up { above } else { below };
        let n = chosen.len();
        (self.mass[place], (0..n).map(move |i| if up { chosen[i] } else { chosen[n - 1 - i] }))
    }
}

/// Fills in the binomial distribution around its mode and returns the number it begins at.
fn binomial(trials: Trials, mass: &mut Vec<f64>) -> usize {
    let Trials { count, hit, miss } = trials;
    let count = f64::from(count);
    let mode = ((count + 1.0) * hit).floor().min(count);
    let falling = |ratio: &dyn Fn(f64) -> f64, steps: f64, mass: &mut Vec<f64>| {
        let (mut last, mut at) = (1.0, 0.0);
        while at < steps && last > DROPPED {
            last *= ratio(at);
            mass.push(last);
            at += 1.0;
        }
    };
    mass.clear();
    falling(&|i| (mode - i) * miss / ((count - mode + i + 1.0) * hit), mode, mass);
    let first = mode as usize - mass.len();
    mass.reverse();
    mass.push(1.0);
    falling(&|i| (count - mode - i) * hit / ((mode + i + 1.0) * miss), count - mode, mass);
    let sum: f64 = mass.iter().sum();
    mass.iter_mut().for_each(|mass| *mass /= sum);
    first
}

fn convolve(one: &[f64], other: &[f64], sum: &mut Vec<f64>) {
    sum.clear();
    sum.resize(one.len() + other.len() - 1, 0.0);
    let (short, long) = if one.len() < other.len() { (one, other) } else { (other, one) };
    for (shift, weight) in short.iter().enumerate() {
        sum[shift..].iter_mut().zip(long).for_each(|(sum, mass)| *sum += weight * mass);
    }
}

/// Drops negligible mass at both ends and returns how much of it at the lower one.
fn trim(mass: &mut Vec<f64>) -> usize {
    let least = DROPPED * mass.iter().fold(0.0, |most: f64, mass| most.max(*mass));
    let kept = |mass: &f64| *mass > least;
    let first = mass.iter().position(kept).unwrap_or(0);
    let end = mass.iter().rposition(kept).map_or(mass.len(), |last| last + 1);
    mass.truncate(end);
    mass.drain(..first);
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trials(count: u32, hit: f64) -> Trials {
        Trials { count, hit, miss: 1.0 - hit }
    }

    /// Adds up one trial after the other, nothing dropped.
    fn twin(trials: &[Trials], observed: u32) -> [f64; 2] {
        let mut mass = vec![1.0];
        for one in trials.iter().flat_map(|t| std::iter::repeat_n(*t, t.count as usize)) {
            let hits = mass.iter().map(|mass| mass * one.hit);
            let mut next: Vec<f64> = std::iter::once(0.0).chain(hits).collect();
            next.iter_mut().zip(&mass).for_each(|(next, mass)| *next += mass * one.miss);
            mass = next;
        }
        let observed = observed as usize;
        [mass.iter().skip(observed).rev().sum(), mass.iter().take(observed + 1).sum()]
    }

    fn assert_near(found: [f64; 2], expected: [f64; 2]) {
        for (found, expected) in found.into_iter().zip(expected) {
            let error = (found / expected - 1.0).abs();
            assert!(expected < 1e-280 || error < 1e-12, "{found:e} is not {expected:e}");
        }
    }

    #[test]
    fn the_corners_are_exact() {
        let room = &mut Masses::default();
        assert_eq!(tails(&[], 0, room), [1.0, 1.0]);
        assert_eq!(tails(&[], 1, room), [0.0, 1.0]);
        assert_eq!(tails(&[trials(3, 1.0)], 3, room), [1.0, 1.0]);
        assert_eq!(tails(&[trials(3, 1.0)], 2, room), [1.0, 0.0]);
        assert_eq!(tails(&[trials(3, 0.0), trials(1, 0.5)], 2, room), [0.0, 1.0]);
        assert_eq!(tails(&[trials(3, 1.0), trials(2, 0.5)], 3, room), [1.0, 0.25]);
        assert_eq!(tails(&[trials(2, 0.5)], 2, room), [0.25, 1.0]);
    }

    #[test]
    fn far_tails_keep_their_digits() {
        let chances = [trials(400, 0.03), trials(300, 0.11), trials(300, 0.4)];
        let room = &mut Masses::default();
        let mut farthest = [1.0_f64; 2];
        for observed in (0..=1000).step_by(7) {
            let (found, expected) = (tails(&chances, observed, room), twin(&chances, observed));
            assert_near(found, expected);
            if expected[0] > 1e-280 {
                farthest = [farthest[0].min(expected[0]), farthest[1].min(expected[1])];
            }
        }
        assert!(farthest[0] < 1e-200 && farthest[1] < 1e-60, "{farthest:?}");
    }

    #[test]
    fn the_lower_tail_of_likely_hits_is_as_far() {
        let chances = [trials(500, 0.9), trials(500, 0.7)];
        let expected = twin(&chances, 190);
        assert!(expected[1] < 1e-200);
        assert_near(tails(&chances, 190, &mut Masses::default()), expected);
    }

    proptest! {
        #[test]
        fn tails_equal_those_of_adding_trials_one_by_one(
            chances in prop::collection::vec((0_u32..60, 0.0_f64..1.0, 0_i32..12), 1..25),
            share in 0.0_f64..1.0,
        ) {
            let chances: Vec<Trials> = chances
                .into_iter()
                .map(|(count, hit, shrink)| trials(count, hit * 0.3_f64.powi(shrink)))
                .collect();
            let n: u32 = chances.iter().map(|t| t.count).sum();
            let observed = (f64::from(n) * share) as u32;
            assert_near(tails(&chances, observed, &mut Masses::default()), twin(&chances, observed));
        }
    }
}
