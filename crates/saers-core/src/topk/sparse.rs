//! The top activations of every feature over many windows of sparse codes.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use crate::{Error, Result};

mod best;
mod cutoff;
mod tally;
mod window;

use best::Best;
use tally::Tally;
use window::{Window, Worker};

pub use tally::{BINS, edges};

/// One kept activation of a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seqlet {
    /// Window as the caller numbers it.
    pub window: i64,
    /// Position within the window.
    pub position: u32,
    /// The activation, above 0.
    pub activation: f32,
}

impl Seqlet {
    /// Orders by activation, descending, then window, then position, both ascending.
    ///
    /// ```
    /// use saers_core::topk::sparse::Seqlet;
    /// let early = Seqlet { window: 1, position: 9, activation: 2.0 };
    /// let late = Seqlet { window: 2, position: 0, activation: 2.0 };
    /// assert!(early.order(&late).is_lt());
    /// ```
    pub fn order(&self, other: &Self) -> Ordering {
        let by_value = other.activation.total_cmp(&self.activation);
        by_value.then((self.window, self.position).cmp(&(other.window, other.position)))
    }
}

/// What is known of one feature over all positions, kept or not.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FeatureTotal {
    /// Positions with an activation above 0.
    pub n_nonzero: u64,
    /// Sum of these activations.
    pub sum: f64,
    /// Largest of them, 0 where there is none.
    pub max: f32,
}

/// Keeps the best seqlets of every feature while sparse codes stream by.
///
/// Within a window a feature's activations are taken greedily, at least `min_distance`
/// positions apart and at most `per_window`; of all these the `per_feature` best are kept.
/// Only activations above 0 count. The result depends neither on the order of the windows nor
/// on how accumulators are merged.
///
/// ```
/// use saers_core::topk::sparse::TopSeqlets;
/// let mut top = TopSeqlets::new(4, 8, 100, 2)?;
/// // Window 0: three positions, two active features at each.
/// top.update(&[0], &[3_u32, 1, 3, 1, 3, 1], &[0.5, 1.0, 0.7, 0.0, 0.2, 2.0], 2)?;
/// let seqlets = top.finish();
/// assert_eq!(seqlets[1].iter().map(|s| s.position).collect::<Vec<_>>(), [2, 0]);
/// assert_eq!(seqlets[3].len(), 1); // 0.7 at position 1 rules out both neighbours
/// # Ok::<(), saers_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct TopSeqlets {
    per_window: usize,
    per_feature: usize,
    min_distance: u32,
    features: Vec<Best>,
    /// One for each thread that has worked here; together they have counted every entry.
    workers: Vec<Worker>,
    windows: HashSet<i64>,
    positions: u64,
}

impl TopSeqlets {
    /// Starts with no window seen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when an argument is 0, or does not fit in 32 bits.
    ///
    /// ```
    /// assert!(saers_core::topk::sparse::TopSeqlets::new(10, 0, 1, 1).is_err());
    /// ```
    pub fn new(
        n_features: usize,
        per_window: usize,
        per_feature: usize,
        min_distance: usize,
    ) -> Result<Self> {
        let small = |name: &str, value: usize| match u32::try_from(value) {
            Ok(1..) => Ok(value as u32),
            _ => Err(Error::invalid(format!("{name} must lie in 1..{}, got {value}", u32::MAX))),
        };
        small("n_features", n_features)?;
        small("per_window", per_window)?;
        small("per_feature", per_feature)?;
        Ok(Self {
            per_window,
            per_feature,
            min_distance: small("min_distance", min_distance)?,
            features: vec![Best::default(); n_features],
            workers: Vec::new(),
            windows: HashSet::new(),
            positions: 0,
        })
    }

    /// Adds whole windows: indices and values, row-major (windows, positions, k).
    ///
    /// A feature stands at most once at a position. Entries with a value of 0 or less are
    /// padding, whatever their index. Either all windows are added or, on an error, none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the sizes do not fit, a window has come before, an index
    /// names no feature or a value is not finite.
    ///
    /// ```
    /// let mut top = saers_core::topk::sparse::TopSeqlets::new(4, 1, 1, 1)?;
    /// let error = top.update(&[5], &[0_i64, 4], &[1.0, 1.0], 1).unwrap_err();
    /// assert_eq!(error.to_string(), "window 5, position 1: index 4 names none of 4 features");
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn update<I>(
        &mut self,
        windows: &[i64],
        indices: &[I],
        values: &[f32],
        k: usize,
    ) -> Result<()>
    where
        I: Copy + Sync + TryInto<u32> + std::fmt::Display,
    {
        let size = self.check(windows, indices.len(), values.len(), k)?;
        if size == 0 {
            self.windows.extend(windows);
            return Ok(());
        }
        let chunks = indices.par_chunks(size).zip(values.par_chunks(size)).zip(windows);
        let codes: Vec<Window<I>> = chunks
            .map(|((indices, values), &number)| Window { number, indices, values, k })
            .collect();
        let workers = Mutex::new(std::mem::take(&mut self.workers));
        let taken = self.read(&codes, &workers);
        self.workers = workers.into_inner().unwrap_or_else(PoisonError::into_inner);
        for (feature, seqlet) in taken?.into_iter().flatten() {
            self.features[feature as usize].push(seqlet, self.per_feature);
        }
        self.windows.extend(windows);
        self.positions += (values.len() / k) as u64;
        Ok(())
    }

    /// Checks the sizes and returns the number of entries per window.
    fn check(&self, windows: &[i64], indices: usize, values: usize, k: usize) -> Result<usize> {
        if indices != values {
            return Err(Error::invalid(format!("{indices} indices for {values} values")));
        }
        let mut seen = HashSet::new();
        for window in windows {
            if self.windows.contains(window) || !seen.insert(window) {
                return Err(Error::invalid(format!("window {window} has come before")));
            }
        }
        if values == 0 {
            return Ok(0);
        }
        if k == 0 || windows.is_empty() || !values.is_multiple_of(k * windows.len()) {
            let message =
                format!("{values} values are not {} windows × positions × {k}", windows.len());
            return Err(Error::invalid(message));
        }
        let size = values / windows.len();
        match u32::try_from(size / k) {
            Ok(_) => Ok(size),
            Err(_) => Err(Error::invalid(format!("{} positions are too many", size / k))),
        }
    }

    /// Checks all windows, then counts their entries and takes their picks.
    fn read<I>(
        &self,
        codes: &[Window<I>],
        workers: &Mutex<Vec<Worker>>,
    ) -> Result<Vec<Vec<(u32, Seqlet)>>>
    where
        I: Copy + Sync + TryInto<u32> + std::fmt::Display,
    {
        let hire = || locked(workers).pop().unwrap_or_else(|| Worker::new(self.blank()));
        let check = |window: &Window<I>| {
            let mut worker = hire();
            let cutoffs = window.cutoffs(self, &mut worker);
            locked(workers).push(worker);
            cutoffs
        };
        let checked: Vec<Result<_>> = codes.par_iter().map(check).collect();
        let cutoffs = checked.into_iter().collect::<Result<Vec<_>>>()?;
        let take = |(window, cutoffs): (&Window<I>, _)| {
            let mut worker = hire();
            let taken = window.take(cutoffs, self, &mut worker);
            locked(workers).push(worker);
            taken
        };
        Ok(codes.par_iter().zip(cutoffs).map(take).collect())
    }

    /// Adds what another accumulator has seen of other windows.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the two were made with different arguments, or have a
    /// window in common.
    ///
    /// ```
    /// use saers_core::topk::sparse::TopSeqlets;
    /// let mut one = TopSeqlets::new(1, 1, 1, 1)?;
    /// let mut two = one.clone();
    /// one.update(&[0], &[0_u32], &[1.0], 1)?;
    /// two.update(&[1], &[0_u32], &[2.0], 1)?;
    /// one.merge(&two)?;
    /// assert_eq!(one.finish()[0][0].window, 1);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let made =
            |top: &Self| (top.features.len(), top.per_window, top.per_feature, top.min_distance);
        if made(self) != made(other) {
            return Err(Error::invalid(format!(
                "(n_features, per_window, per_feature, min_distance) differ: {:?} and {:?}",
                made(self),
                made(other)
            )));
        }
        if let Some(window) = self.windows.intersection(&other.windows).min() {
            return Err(Error::invalid(format!("window {window} is in both")));
        }
        for (here, there) in self.features.iter_mut().zip(&other.features) {
            there.seqlets.iter().for_each(|seqlet| here.push(*seqlet, self.per_feature));
        }
        let mut tally = self.tally();
        other.workers.iter().for_each(|worker| tally.merge(&worker.tally));
        self.workers = vec![Worker::new(tally)];
        self.windows.extend(&other.windows);
        self.positions += other.positions;
        Ok(())
    }

    /// Counts the positions seen, active or not.
    ///
    /// ```
    /// let mut top = saers_core::topk::sparse::TopSeqlets::new(1, 1, 1, 1)?;
    /// top.update(&[0], &[0_u32, 0], &[1.0, 0.0], 1)?;
    /// assert_eq!(top.positions(), 2);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn positions(&self) -> u64 {
        self.positions
    }

    /// Reports the totals of every feature.
    ///
    /// ```
    /// let mut top = saers_core::topk::sparse::TopSeqlets::new(1, 1, 1, 1)?;
    /// top.update(&[0], &[0_u32, 0], &[1.0, 0.5], 1)?;
    /// let total = top.totals()[0];
    /// assert_eq!((total.n_nonzero, total.sum, total.max), (2, 1.5, 1.0));
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn totals(&self) -> Vec<FeatureTotal> {
        let mut totals = self.tally().totals();
        let best = totals.iter_mut().zip(&self.features);
        best.for_each(|(total, best)| total.max = best.max());
        totals
    }

    /// Counts the activations above 0 of every feature by size, row-major (features, [`BINS`]);
    /// [`edges`] lists the edges of the bins.
    ///
    /// ```
    /// use saers_core::topk::sparse::{TopSeqlets, edges};
    /// let mut top = TopSeqlets::new(1, 1, 1, 1)?;
    /// top.update(&[0], &[0_u32, 0, 0], &[1.0, 1.2, 0.0], 1)?;
    /// let bin = edges().iter().position(|&edge| edge == 1.0).unwrap_or(0);
    /// assert_eq!(top.histogram()[bin], 2);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn histogram(&self) -> Vec<u64> {
        self.tally().histogram()
    }

    fn blank(&self) -> Tally {
        Tally::new(self.features.len())
    }

    fn tally(&self) -> Tally {
        let mut whole = self.blank();
        self.workers.iter().for_each(|worker| whole.merge(&worker.tally));
        whole
    }

    /// Returns the best seqlets of every feature, best first; all of them are there.
    ///
    /// ```
    /// let top = saers_core::topk::sparse::TopSeqlets::new(2, 1, 1, 1)?;
    /// assert_eq!(top.finish(), [vec![], vec![]]);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn finish(&self) -> Vec<Vec<Seqlet>> {
        self.features.par_iter().map(|best| best.sorted(self.per_feature)).collect()
    }
}

fn locked(workers: &Mutex<Vec<Worker>>) -> MutexGuard<'_, Vec<Worker>> {
    workers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
