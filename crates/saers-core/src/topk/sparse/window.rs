//! One window of codes: first what its picks must exceed, then the picks.

use super::cutoff::{Blocks, Cutoffs, Highest};
use super::tally::Tally;
use super::{Seqlet, TopSeqlets};
use crate::topk::{Pick, greedy};
use crate::{Error, Result, threads};

/// Bits of infinity: those of positive finite floats lie between 0 and these.
const INFINITE: u32 = 0x7f80_0000;

fn is_active(bits: u32) -> bool {
    bits.wrapping_sub(1) < INFINITE - 1
}

/// An index as a place in a slice; what does not fit names no feature.
fn place<I: TryInto<u32>>(index: I) -> usize {
    index.try_into().unwrap_or(u32::MAX) as usize
}

/// The codes of one window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a, I> {
    pub(super) number: i64,
    pub(super) indices: &'a [I],
    pub(super) values: &'a [f32],
    pub(super) k: usize,
}

/// An activation that may be a pick.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    feature: u32,
    position: u32,
    bits: u32,
}

impl Candidate {
    /// Orders those of a feature by falling value, then by position.
    fn key(&self) -> u64 {
        // The bits of positive floats rise with their value.
        u64::from(!self.bits) << 32 | u64::from(self.position)
    }
}

fn pick_of(key: u64) -> Pick {
    Pick { position: key as u32, value: f32::from_bits(!((key >> 32) as u32)) }
}

/// What a thread needs for a window, and what it has counted so far.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) tally: Tally,
    highest: Highest,
    candidates: Vec<Candidate>,
    keys: Vec<u64>,
}

impl Worker {
    pub(super) fn new(tally: Tally) -> Self {
        let (candidates, keys) = (Vec::new(), Vec::new());
        Self { tally, highest: Highest::default(), candidates, keys }
    }
}

impl<I> Window<'_, I>
where
    I: Copy + TryInto<u32> + std::fmt::Display,
{
    /// Checks every entry and finds what picks of the window must exceed; None where that is
    /// not more than what is known from other windows.
    pub(super) fn cutoffs(&self, top: &TopSeqlets, worker: &mut Worker) -> Result<Option<Cutoffs>> {
        threads::check()?;
        let (n_features, positions) = (top.features.len(), self.values.len() / self.k);
        let (per_window, min_distance) = (top.per_window, top.min_distance as usize);
        let highest = &mut worker.highest;
        let Some(blocks) = Blocks::new(positions, self.k, n_features, per_window, min_distance)
        else {
            highest.maxima.resize(n_features, 0);
            return self.raise(&mut highest.maxima, 0, self.values.len()).map(|()| None);
        };
        highest.clear(n_features, blocks);
        let mut cutoffs = self.known(top);
        for start in (0..positions).step_by(blocks.length) {
            let end = (start + blocks.length).min(positions);
            self.raise(&mut highest.maxima, start * self.k, end * self.k)?;
            highest.end_block(blocks, end as u32, &mut cutoffs);
        }
        highest.end_window(blocks, positions as u32, &mut cutoffs);
        Ok(Some(cutoffs))
    }

    /// What seqlets must exceed by all that earlier calls have seen.
    fn known(&self, top: &TopSeqlets) -> Cutoffs {
        Cutoffs::new(top.features.iter().map(|best| best.cutoff(self.number)))
    }

    /// Raises the maxima of the features of some entries.
    fn raise(&self, maxima: &mut [u32], start: usize, end: usize) -> Result<()> {
        let mut fine = true;
        for (&index, &value) in self.indices[start..end].iter().zip(&self.values[start..end]) {
            let bits = value.to_bits();
            match maxima.get_mut(place(index)) {
                Some(maximum) if is_active(bits) => *maximum = bits.max(*maximum),
                _ => fine &= value <= 0.0,
            }
        }
        if fine { Ok(()) } else { Err(self.complaint(maxima.len(), start)) }
    }

    /// Words what is wrong with the first bad entry from some place on.
    #[cold]
    fn complaint(&self, n_features: usize, start: usize) -> Error {
        let entries = self.indices.iter().zip(self.values).enumerate().skip(start);
        for (entry, (&index, &value)) in entries {
            let at = format!("window {}, position {}", self.number, entry / self.k);
            if value <= 0.0 {
                continue;
            }
            if place(index) >= n_features {
                let message = format!("{at}: index {index} names none of {n_features} features");
                return Error::invalid(message);
            }
            if !value.is_finite() {
                return Error::invalid(format!("{at}, feature {index}: activation is {value}"));
            }
        }
        Error::invalid(format!("window {}: an entry is out of range", self.number))
    }

    /// Counts all entries and takes the picks of every feature, without those that the best so
    /// far rule out. The entries were checked by [`Self::cutoffs`].
    pub(super) fn take(
        &self,
        cutoffs: Option<Cutoffs>,
        top: &TopSeqlets,
        worker: &mut Worker,
    ) -> Vec<(u32, Seqlet)> {
        let cutoffs = cutoffs.unwrap_or_else(|| self.known(top));
        self.sift(&cutoffs, worker);
        let ends = group(&worker.candidates, top.features.len(), &mut worker.keys);
        let mut start = 0;
        let mut taken = Vec::new();
        for (feature, end) in (0_u32..).zip(ends) {
            let keys = &mut worker.keys[start..end];
            start = end;
            if keys.is_empty() {
                continue;
            }
            keys.sort_unstable();
            let picks = greedy(keys.iter().copied().map(pick_of), top.per_window, top.min_distance);
            taken.extend(picks.into_iter().map(|Pick { position, value }| {
                (feature, Seqlet { window: self.number, position, activation: value })
            }));
        }
        taken
    }

    /// Counts all entries and keeps those that may be picks.
    fn sift(&self, cutoffs: &Cutoffs, worker: &mut Worker) {
        let Worker { tally, candidates, .. } = worker;
        candidates.clear();
        let rows = self.indices.chunks_exact(self.k).zip(self.values.chunks_exact(self.k));
        for (position, (indices, values)) in (0_u32..).zip(rows) {
            for (&index, &value) in indices.iter().zip(values) {
                let (feature, bits) = (place(index), value.to_bits());
                if !is_active(bits) {
                    continue;
                }
                tally.add(feature, bits);
                let Some(&cutoff) = cutoffs.bits.get(feature) else { continue };
                if bits > cutoff || (bits == cutoff && position < cutoffs.before[feature]) {
                    candidates.push(Candidate { feature: feature as u32, position, bits });
                }
            }
        }
    }
}

/// Sorts the keys of candidates by feature and returns where each feature's end.
fn group(candidates: &[Candidate], n_features: usize, keys: &mut Vec<u64>) -> Vec<usize> {
    let mut ends = vec![0; n_features];
    candidates.iter().for_each(|candidate| ends[candidate.feature as usize] += 1);
    let mut start = 0;
    for end in &mut ends {
        start += std::mem::replace(end, start);
    }
    keys.clear();
    keys.resize(candidates.len(), 0);
    for candidate in candidates {
        let next = &mut ends[candidate.feature as usize];
        keys[*next] = candidate.key();
        *next += 1;
    }
    ends
}
