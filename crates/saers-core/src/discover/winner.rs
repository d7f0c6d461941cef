//! The strongest motif of a round, and the matrix that is reported of it.

use rayon::prelude::*;

use super::em::Mixture;
use super::refine::{Candidate, Measured, REPORT, SEARCH, refine};
use super::significance::Null;
use super::trial::{Round, Trial};
use super::{Deadline, Options, search};
use crate::Result;

/// A motif narrower than this can hardly be told from others of a database by its rows alone.
const NARROW: usize = 9;
/// A repeat wins over a motif that has less than one in this many of its decades.
const REPEAT_HANDICAP: f64 = 4.0;
/// Candidates that are fitted by expectation maximisation as well.
const REFITTED: usize = 8;
/// Rounds of that.
const REFIT_ROUNDS: usize = 6;
/// Rounds in which what controls show as well is taken out of the report.
const PURE_ROUNDS: usize = 4;
/// Decades of p-value that the fit of the report may cost.
const FIT_LOSS: f64 = 1.0;

/// The strongest motif of a round, fitted to all sequences of the search, if significant.
pub(super) fn winner(
    round: &Round,
    null: &mut Null,
    options: &Options,
    deadline: &Deadline,
) -> Result<Option<(Mixture, f64)>> {
    let trial = round.trial();
    for (candidate, log10_p) in strongest(round, &trial, options, deadline)? {
        let log10_evalue = null.log10_evalue(-log10_p, round, options, deadline)?;
        if log10_evalue < options.evalue.log10() {
            return Ok(Some((report(&candidate, log10_p, round, &trial, options), log10_evalue)));
        }
    }
    Ok(None)
}

/// The strongest candidate of a trial with its log10 p-value, and the strongest repetitive one if
/// that is another.
pub(super) fn strongest(
    round: &Round,
    trial: &Trial,
    options: &Options,
    deadline: &Deadline,
) -> Result<Vec<(Candidate, f64)>> {
    let candidates = search::candidates(&trial.searched, options, deadline)?;
    let test = |candidate: Candidate| {
        let log10_p = round.log10_p(&candidate, trial);
        (candidate, log10_p)
    };
    let mut tested: Vec<(Candidate, f64)> = candidates.into_par_iter().map(test).collect();
    tested.sort_by(|a, b| handicapped(a).total_cmp(&handicapped(b)));
    let most = REFITTED.min(tested.len());
    tested[..most].par_iter_mut().try_for_each(|one| {
        deadline.check()?;
        let again = test(refit(&one.0, trial, options));
        if handicapped(&again) < handicapped(one) {
            *one = again;
        }
        Ok(())
    })?;
    tested.sort_by(|a, b| handicapped(a).total_cmp(&handicapped(b)));
    let repeat = tested.iter().position(|(candidate, _)| candidate.is_repetitive());
    let places = [Some(0), repeat.filter(|&place| place > 0)].into_iter().flatten();
    Ok(places.filter_map(|place| tested.get(place).cloned()).collect())
}

/// Runs and repeats abound in genomes; one must be far stronger than a motif to win.
fn handicapped((candidate, log10_p): &(Candidate, f64)) -> f64 {
    if candidate.is_repetitive() { log10_p / REPEAT_HANDICAP } else { *log10_p }
}

/// The mixture that a candidate starts from.
fn mixture(candidate: &Candidate, trial: &Trial) -> Mixture {
    let share = candidate.cut.hits as f64 / trial.searched.sequences.len() as f64;
    Mixture { profile: candidate.profile.clone(), share: share.clamp(1e-3, 0.99) }
}

/// Fits a candidate to all sequences: a few sites above a cut may show less than many windows that
/// are sites perhaps. What lies beside its sites is taken to be the same.
fn refit(candidate: &Candidate, trial: &Trial, options: &Options) -> Candidate {
    let pool = &trial.searched.sequences;
    let fitted = mixture(candidate, trial).fit(pool, options, &SEARCH, REFIT_ROUNDS);
    let measured = Measured::new(fitted.profile, None, &trial.searched, options).candidate;
    Candidate { in_repeat: candidate.in_repeat, ..measured }
}

/// Fits a winner to all sequences, or leaves it as it was found where the fit drifts away.
///
/// The fit knows the sequences only, and follows what genomes are full of if that is near. Of what
/// is chosen, the part that controls show as well is taken out.
fn report(
    candidate: &Candidate,
    log10_p: f64,
    round: &Round,
    trial: &Trial,
    options: &Options,
) -> Mixture {
    let pool = &trial.searched.sequences;
    let best = refine(candidate.profile.clone(), &trial.searched, options, 12);
    let fitted = mixture(&best, trial).fit(pool, options, &SEARCH, 20);
    let measured = Measured::new(fitted.profile.clone(), None, &trial.searched, options).candidate;
    let drifted = round.log10_p(&measured, trial) > log10_p + FIT_LOSS;
    let chosen = if drifted { mixture(candidate, trial) } else { fitted };
    let wide = chosen.profile.width() >= NARROW;
    let chosen = if wide { chosen } else { chosen.fit(pool, options, &REPORT, 1) };
    // Given controls may hold the motif, only less often.
    let rounds = if round.has_given_controls() { 0 } else { PURE_ROUNDS };
    chosen.purify(&trial.searched, options, rounds)
}
