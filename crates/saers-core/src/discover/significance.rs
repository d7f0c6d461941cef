//! How often a search finds something as strong where there is nothing.
//!
//! A search takes the best of very many matrices, so the p-value of its winner is far too small.
//! The strength of a winner, -log10 of that p-value, is therefore compared with the strength of
//! the winners of whole searches in shuffles. These follow a Gumbel law, whose scale hardly
//! depends on the input and whose mean falls slowly with the number of letters: in many sequences
//! chance does not reach the excess that the test asks for.

use rayon::prelude::*;

use super::trial::Round;
use super::winner::strongest;
use super::{Deadline, Options};
use crate::Result;

/// Decades of E-value for each decade of strength: a Gumbel law with a deviation of 0.84 decades.
///
/// Measured on 362 sets of shuffled human sequence, 200 to 2,000 of 24 to 150 bp: a mean strength of
/// 3.29 - 0.19 log10(letters / 31,600), a deviation of 0.80 around it, a slope of 0.67. With words of 8
/// and 9 letters among the seeds the mean of 106 such sets lies 0.4 higher, the deviation is 0.73. The
/// rule adds a fifth of a decade, to be on the safe side: of 600 sets apart 23 are called.
const SLOPE: f64 = 0.66;
/// Mean of a Gumbel law over its location, in units of 1 / ([`SLOPE`] ln 10).
const EULER: f64 = 0.577_215_664_901_532_9;
/// Decades of strength more against given controls: no second p-value against draws holds it down.
const GIVEN: f64 = 2.0;
/// Searches of shuffles where the E-value is near the limit: the first ones, and all of them where
/// these leave doubt; and the weight of the rule of thumb, in searches. Means differ by less between
/// sets of human sequence than five searches can tell; they are there for input that is unlike it.
const NULLS: [u64; 2] = [2, 5];
const RULE_WEIGHT: f64 = 5.0;
/// Decades of E-value from the limit within which searches leave doubt, and decades of strength
/// between their mean and the rule: three deviations of what the searches left out would change,
/// and of a mean of two.
const CLOSE: f64 = 0.3;
const UNLIKE: f64 = 1.7;

/// Strength of the winners of searches in shuffles of one input.
pub(super) struct Null {
    rule: f64,
    measured: Vec<f64>,
}

impl Null {
    /// Expects what the number of letters lets expect.
    pub(super) fn new(letters: usize) -> Self {
        let rule = 3.9 - 0.2 * ((letters.max(1) as f64).log10() - 4.5);
        Self { rule: rule.clamp(3.3, 4.3), measured: Vec::new() }
    }

    /// Log10 of the E-value of a winner; measures where the rule of thumb leaves doubt.
    pub(super) fn log10_evalue(
        &mut self,
        strength: f64,
        round: &Round,
        options: &Options,
        deadline: &Deadline,
    ) -> Result<f64> {
        let rough = evalue(strength, self.rule);
        let excess = rough - options.evalue.log10();
        if round.has_given_controls() {
            // Shuffles tell little of controls that are none; stay on the safe side.
            return Ok(evalue(strength, self.rule + GIVEN));
        }
        if self.measured.is_empty() && !(-2.0..0.6).contains(&excess) {
            return Ok(rough);
        }
        for count in NULLS {
            if !self.leaves_doubt(strength, options) {
                break;
            }
            let searches = (self.measured.len() as u64..count).into_par_iter().map(|index| {
                let trial = round.null_trial(index);
                let found = strongest(round, &trial, options, deadline)?;
                Ok(found.first().map_or(0.0, |(_, log10_p)| -log10_p))
            });
            self.measured.extend(searches.collect::<Result<Vec<f64>>>()?);
        }
        Ok(evalue(strength, self.mean()))
    }

    /// Mean strength in shuffles: what was measured, drawn towards the rule of thumb.
    fn mean(&self) -> f64 {
        let sum = self.measured.iter().sum::<f64>() + RULE_WEIGHT * self.rule;
        sum / (self.measured.len() as f64 + RULE_WEIGHT)
    }

    /// Whether further searches may tell whether a winner is significant.
    fn leaves_doubt(&self, strength: f64, options: &Options) -> bool {
        let excess = evalue(strength, self.mean()) - options.evalue.log10();
        let count = self.measured.len() as f64;
        let unlike = (self.measured.iter().sum::<f64>() - count * self.rule).abs() > count * UNLIKE;
        count == 0.0 || unlike || excess.abs() < CLOSE
    }
}

/// Log10 of the number of winners of at least this strength to expect by chance.
fn evalue(strength: f64, mean: f64) -> f64 {
    let location = mean - EULER / (SLOPE * std::f64::consts::LN_10);
    -SLOPE * (strength - location)
}

#[cfg(test)]
mod tests {
    use super::{Null, evalue};

    #[test]
    fn an_ordinary_winner_is_expected_about_once() {
        assert!((0.5..1.0).contains(&10_f64.powf(evalue(5.0, 5.0))));
        assert!(evalue(9.0, 5.0) < evalue(8.0, 5.0));
    }

    #[test]
    fn more_letters_give_weaker_winners_within_bounds() {
        let rules = [usize::MAX, 400_000, 34_000, 1_000, 0].map(|n| Null::new(n).rule);
        assert!(rules.is_sorted() && rules[0] == 3.3 && rules[4] == 4.3, "{rules:?}");
    }
}
