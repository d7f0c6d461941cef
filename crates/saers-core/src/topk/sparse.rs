//! The top activations of every feature over many windows of sparse codes.

use std::cmp::Ordering;
use std::collections::HashSet;

use rayon::prelude::*;

use super::{Pick, greedy};
use crate::{Error, Result};

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

/// Sum of positive floats that does not depend on their order: whole multiples of 32 powers
/// of two, exact until rounded once at the end.
#[derive(Clone, Copy, Debug, Default)]
struct ExactSum([u128; 8]);

impl ExactSum {
    fn add(&mut self, value: f32) {
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 23) & 0xff, bits & 0x7f_ffff);
        // A subnormal has no hidden bit and the exponent of the smallest normal number.
        let mantissa = if exponent == 0 { fraction } else { fraction | 0x80_0000 };
        let exponent = exponent.max(1);
        self.0[(exponent / 32) as usize] += u128::from(mantissa) << (exponent % 32);
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(here, there)| *here += there);
    }

    fn value(&self) -> f64 {
        let scaled = |(bin, &sum): (usize, &u128)| sum as f64 * 2_f64.powi(32 * bin as i32 - 150);
        self.0.iter().enumerate().map(scaled).sum()
    }
}

#[derive(Clone, Debug, Default)]
struct Feature {
    n_nonzero: u64,
    sum: ExactSum,
    max: f32,
    /// The best seqlets in no order, at most twice as many as are asked for.
    seqlets: Vec<Seqlet>,
    /// The last of the best when they were last counted: nothing behind it can enter.
    bar: Option<Seqlet>,
}

impl Feature {
    fn push(&mut self, seqlet: Seqlet, per_feature: usize) {
        if self.bar.is_some_and(|bar| bar.order(&seqlet).is_lt()) {
            return;
        }
        self.seqlets.push(seqlet);
        if self.seqlets.len() >= per_feature.saturating_mul(2) {
            self.cut(per_feature);
        }
    }

    fn cut(&mut self, per_feature: usize) {
        if self.seqlets.len() >= per_feature {
            let (_, bar, _) = self.seqlets.select_nth_unstable_by(per_feature - 1, Seqlet::order);
            self.bar = Some(*bar);
            self.seqlets.truncate(per_feature);
        }
    }
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
    features: Vec<Feature>,
    windows: HashSet<i64>,
    positions: u64,
}

/// An activation under its sort key: feature, then falling value.
type Keyed = (u64, u32);

fn keyed(feature: u32, value: f32, position: u32) -> Keyed {
    // The bits of positive floats rise with their value.
    ((u64::from(feature) << 32) | u64::from(!value.to_bits()), position)
}

fn feature_of(keyed: &Keyed) -> usize {
    (keyed.0 >> 32) as usize
}

fn pick_of(keyed: &Keyed) -> Pick {
    Pick { position: keyed.1, value: f32::from_bits(!(keyed.0 as u32)) }
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
            features: vec![Feature::default(); n_features],
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
        let taken: Vec<Vec<(u32, Seqlet)>> = chunks
            .map(|((indices, values), &window)| self.take(window, indices, values, k))
            .collect::<Result<_>>()?;
        for (feature, seqlet) in taken.into_iter().flatten() {
            self.features[feature as usize].push(seqlet, self.per_feature);
        }
        for (&index, &value) in indices.iter().zip(values) {
            if let (true, Ok(feature)) = (value > 0.0, index.try_into()) {
                let feature = &mut self.features[feature as usize];
                feature.n_nonzero += 1;
                feature.sum.add(value);
                feature.max = feature.max.max(value);
            }
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

    /// Takes the picks of one window, without those that the best so far rule out.
    fn take<I>(
        &self,
        window: i64,
        indices: &[I],
        values: &[f32],
        k: usize,
    ) -> Result<Vec<(u32, Seqlet)>>
    where
        I: Copy + TryInto<u32> + std::fmt::Display,
    {
        let mut candidates: Vec<Keyed> = Vec::new();
        for (entry, (&index, &activation)) in indices.iter().zip(values).enumerate() {
            if activation <= 0.0 {
                continue;
            }
            let seqlet = Seqlet { window, position: (entry / k) as u32, activation };
            let feature = self.feature(index, &seqlet)?;
            // What stands behind the bar can neither enter nor keep out what stands before it.
            let bar = self.features[feature as usize].bar;
            if bar.is_none_or(|bar| seqlet.order(&bar).is_lt()) {
                candidates.push(keyed(feature, activation, seqlet.position));
            }
        }
        candidates.par_sort_unstable();
        let groups = candidates.chunk_by(|a, b| feature_of(a) == feature_of(b));
        let of_feature = |group: &[Keyed]| {
            let feature = feature_of(&group[0]) as u32;
            let picks = greedy(group.iter().map(pick_of), self.per_window, self.min_distance);
            let seqlet = move |pick: Pick| {
                (feature, Seqlet { window, position: pick.position, activation: pick.value })
            };
            picks.into_iter().map(seqlet).collect::<Vec<_>>()
        };
        Ok(groups.flat_map(of_feature).collect())
    }

    /// Checks one active entry and returns its feature.
    fn feature<I>(&self, index: I, seqlet: &Seqlet) -> Result<u32>
    where
        I: Copy + TryInto<u32> + std::fmt::Display,
    {
        let Seqlet { window, position, activation } = seqlet;
        let count = self.features.len();
        match index.try_into() {
            Ok(feature) if (feature as usize) < count && activation.is_finite() => Ok(feature),
            Ok(feature) if (feature as usize) < count => Err(Error::invalid(format!(
                "window {window}, position {position}, feature {feature}: \
                 activation is {activation}"
            ))),
            _ => Err(Error::invalid(format!(
                "window {window}, position {position}: index {index} names none of {count} features"
            ))),
        }
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
            here.n_nonzero += there.n_nonzero;
            here.sum.merge(&there.sum);
            here.max = here.max.max(there.max);
            there.seqlets.iter().for_each(|seqlet| here.push(*seqlet, self.per_feature));
        }
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
        let total = |feature: &Feature| FeatureTotal {
            n_nonzero: feature.n_nonzero,
            sum: feature.sum.value(),
            max: feature.max,
        };
        self.features.iter().map(total).collect()
    }

    /// Returns the best seqlets of every feature, best first; all of them are there.
    ///
    /// ```
    /// let top = saers_core::topk::sparse::TopSeqlets::new(2, 1, 1, 1)?;
    /// assert_eq!(top.finish(), [vec![], vec![]]);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn finish(&self) -> Vec<Vec<Seqlet>> {
        let best = |feature: &Feature| {
            let mut seqlets = feature.seqlets.clone();
            seqlets.sort_unstable_by(Seqlet::order);
            seqlets.truncate(self.per_feature);
            seqlets
        };
        self.features.par_iter().map(best).collect()
    }
}

#[cfg(test)]
mod tests;
