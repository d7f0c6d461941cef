//! How often a search finds something as strong where there is nothing.
//!
//! A search takes the best of very many matrices, so the p-value of its winner is far too small.
//! The strength of a winner, -log10 of that p-value, is therefore compared with the strength of
//! the winners of whole searches in shuffles. These follow a Gumbel law, whose scale hardly
//! depends on the input and whose mean grows slowly with the number of letters.

use rayon::prelude::*;

use super::trial::Round;
use super::{Deadline, Options, search};
use crate::Result;

/// Decades of E-value for each decade of strength; a standard deviation of 1.01 decades.
///
/// Measured on 78 sets of shuffled sequences, 200 to 2,000 of 24 to 150 bp, at most 60,000 letters:
/// a mean strength of 4.30 + 0.59 log10(letters / 1,600) and a deviation of 0.75 around it, so that
/// this is on the safe side.
const SLOPE: f64 = 0.55;
/// Mean of a Gumbel law over its location, in units of 1 / ([`SLOPE`] ln 10).
const EULER: f64 = 0.577_215_664_901_532_9;
/// Decades of strength more against given controls: no second p-value against draws holds it down.
const GIVEN: f64 = 2.0;
/// Searches of shuffles where the E-value is near the limit, and the weight of the rule of thumb.
const NULLS: u64 = 5;
const RULE_WEIGHT: f64 = 2.0;

/// Strength of the winners of searches in shuffles of one input.
pub(super) struct Null {
    rule: f64,
    measured: Option<f64>,
}

impl Null {
    /// Expects what the number of letters lets expect.
    pub(super) fn new(letters: usize) -> Self {
        let rule = 4.3 + 0.6 * ((letters.max(1) as f64).log10() - 3.2);
        Self { rule: rule.clamp(3.0, 7.0), measured: None }
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
        if let Some(mean) = self.measured {
            return Ok(evalue(strength, mean));
        }
        if !(-2.0..0.6).contains(&excess) {
            return Ok(rough);
        }
        let strengths = (0..NULLS)
            .into_par_iter()
            .map(|index| {
                let trial = round.null_trial(index);
                let found = search::candidates(&trial.searched, options, deadline)?;
                Ok(found.iter().map(|c| -round.log10_p(c, &trial)).fold(0.0, f64::max))
            })
            .collect::<Result<Vec<f64>>>()?;
        let sum = strengths.iter().sum::<f64>() + RULE_WEIGHT * self.rule;
        let mean = sum / (NULLS as f64 + RULE_WEIGHT);
        self.measured = Some(mean);
        Ok(evalue(strength, mean))
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
    fn more_letters_give_stronger_winners_within_bounds() {
        let rules = [0, 1_000, 34_000, 400_000, usize::MAX].map(|n| Null::new(n).rule);
        assert!(rules.is_sorted() && rules[0] == 3.0 && rules[4] == 7.0, "{rules:?}");
    }
}
