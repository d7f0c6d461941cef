//! Statistics of every channel over a stream of activations.

use rayon::prelude::*;

use crate::source::MOST_CHANNELS;
use crate::{Error, Result};

mod moments;
mod streamed;

use moments::{Moments, Stray};

/// Rows that one thread takes at a time. The grid is fixed, so the result does not depend on
/// the number of threads.
const SPAN: usize = 1024;

/// Where a value that is not a number, or not finite, was first met.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonFinite {
    /// Window as the caller numbers it.
    pub window: i64,
    /// Position within the window.
    pub position: i64,
    /// Channel.
    pub channel: usize,
    /// The value: NaN, inf or -inf.
    pub value: f32,
}

impl std::fmt::Display for NonFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { window, position, channel, value } = self;
        write!(f, "{value} at window {window}, position {position}, channel {channel}")
    }
}

/// Maximum, minimum, mean, deviation and counts of one channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Largest finite value; NaN where there is none.
    pub max: f64,
    /// Smallest finite value; NaN where there is none.
    pub min: f64,
    /// Mean; NaN where there is no value.
    pub mean: f64,
    /// Population standard deviation (ddof = 0); NaN where there is no value.
    pub std: f64,
    /// Finite values other than 0.
    pub nonzero: u64,
    /// Finite values.
    pub count: u64,
    /// Values that are NaN, which are left out.
    pub nan: u64,
}

/// Running statistics per channel, fed tile by tile and merged by the rule of Chan et al.
///
/// ```
/// use saers_core::stats::ChannelStats;
/// let mut stats = ChannelStats::new(2, false)?;
/// stats.update(&[1.0, 0.0, 3.0, -2.0], &[0], 0, None)?; // two positions of window 0
/// let first = stats.summary()[0];
/// assert_eq!((first.max, first.mean, first.std, first.nonzero), (3.0, 2.0, 1.0, 2));
/// # Ok::<(), saers_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ChannelStats {
    allow_nan: bool,
    total: Moments,
    first: Option<NonFinite>,
}

impl ChannelStats {
    /// Starts with no value seen. With `allow_nan`, values that are not finite are counted and
    /// left out; without it they are an error.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when `channels` is 0.
    ///
    /// ```
    /// assert!(saers_core::stats::ChannelStats::new(0, false).is_err());
    /// ```
    pub fn new(channels: usize, allow_nan: bool) -> Result<Self> {
        if !(1..=MOST_CHANNELS).contains(&channels) {
            let message = format!("channels must lie in 1..{MOST_CHANNELS}, got {channels}");
            return Err(Error::invalid(message));
        }
        Ok(Self { allow_nan, total: Moments::new(channels), first: None })
    }

    /// Adds rows of activations, row-major (rows, channels).
    ///
    /// The rows belong in equal shares to `windows`, and those of each window start at
    /// `first_position`; both only serve to name the place of a bad value. Rows whose `mask` is
    /// false are skipped. Either all rows are added or, on an error, none.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the sizes do not fit, or when a value is not finite and
    /// that is not allowed.
    ///
    /// ```
    /// let mut stats = saers_core::stats::ChannelStats::new(1, false)?;
    /// let error = stats.update(&[1.0, f32::NAN], &[7], 100, None).unwrap_err();
    /// assert_eq!(error.to_string(), "NaN at window 7, position 101, channel 0");
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn update(
        &mut self,
        values: &[f32],
        windows: &[i64],
        first_position: i64,
        mask: Option<&[bool]>,
    ) -> Result<()> {
        let channels = self.total.mean.len();
        let rows = self.check(values, windows, mask)?;
        let parts: Vec<(Moments, Option<Stray>)> = values
            .par_chunks(SPAN * channels)
            .enumerate()
            .map(|(index, values)| {
                let (before, mut part) = (index * SPAN, Moments::new(channels));
                let mask = mask.map(|mask| &mask[before..before + values.len() / channels]);
                let stray = match mask {
                    Some(mask) => part.add_masked(values, mask),
                    None => part.add(values),
                };
                (part, stray.map(|(row, channel, value)| (before + row, channel, value)))
            })
            .collect();
        let share = rows.checked_div(windows.len()).unwrap_or(0).max(1);
        let stray = parts.iter().find_map(|(_, stray)| *stray);
        self.meet(stray.map(|(row, channel, value)| NonFinite {
            window: windows[row / share],
            position: first_position + (row % share) as i64,
            channel,
            value,
        }))?;
        parts.iter().for_each(|(part, _)| self.total.merge(0, part));
        Ok(())
    }

    /// Notes the first value that is not finite, or refuses it.
    fn meet(&mut self, stray: Option<NonFinite>) -> Result<()> {
        match stray {
            Some(place) if !self.allow_nan => Err(Error::invalid(place.to_string())),
            _ => {
                self.first = self.first.or(stray);
                Ok(())
            }
        }
    }

    fn check(&self, values: &[f32], windows: &[i64], mask: Option<&[bool]>) -> Result<usize> {
        let channels = self.total.mean.len();
        let rows = values.len() / channels;
        if !values.len().is_multiple_of(channels) {
            let message = format!("{} values are not rows of {channels} channels", values.len());
            return Err(Error::invalid(message));
        }
        if rows > 0 && (windows.is_empty() || !rows.is_multiple_of(windows.len())) {
            let message = format!("{rows} rows do not divide among {} windows", windows.len());
            return Err(Error::invalid(message));
        }
        match mask {
            Some(mask) if mask.len() != rows => {
                let message = format!("mask has {} entries for {rows} rows", mask.len());
                Err(Error::invalid(message))
            }
            _ => Ok(rows),
        }
    }

    /// Adds what another accumulator has seen.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the numbers of channels differ.
    ///
    /// ```
    /// use saers_core::stats::ChannelStats;
    /// let mut one = ChannelStats::new(1, false)?;
    /// let mut two = one.clone();
    /// one.update(&[1.0], &[0], 0, None)?;
    /// two.update(&[3.0], &[1], 0, None)?;
    /// one.merge(&two)?;
    /// assert_eq!(one.summary()[0].mean, 2.0);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let (here, there) = (self.total.mean.len(), other.total.mean.len());
        if here != there {
            return Err(Error::invalid(format!("cannot merge {there} channels into {here}")));
        }
        self.total.merge(0, &other.total);
        self.first = self.first.or(other.first);
        Ok(())
    }

    /// Reports what has been seen so far, one summary a channel.
    ///
    /// ```
    /// let stats = saers_core::stats::ChannelStats::new(3, false)?;
    /// assert_eq!(stats.summary().len(), 3);
    /// assert!(stats.summary()[0].max.is_nan());
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn summary(&self) -> Vec<Summary> {
        let total = &self.total;
        let or_nan = |count: u64, value: f64| if count == 0 { f64::NAN } else { value };
        (0..total.mean.len())
            .map(|j| Summary {
                max: or_nan(total.count[j], f64::from(total.max[j])),
                min: or_nan(total.count[j], f64::from(total.min[j])),
                mean: or_nan(total.count[j], total.mean[j]),
                std: or_nan(total.count[j], (total.scatter[j] / total.count[j] as f64).sqrt()),
                nonzero: total.nonzero[j],
                count: total.count[j],
                nan: total.nan[j],
            })
            .collect()
    }

    /// Counts the values left out: (NaN, infinite).
    ///
    /// ```
    /// let mut stats = saers_core::stats::ChannelStats::new(1, true)?;
    /// stats.update(&[f32::NAN, f32::INFINITY, 1.0], &[0], 0, None)?;
    /// assert_eq!(stats.left_out(), (1, 1));
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn left_out(&self) -> (u64, u64) {
        (self.total.nan.iter().sum(), self.total.inf.iter().sum())
    }

    /// Names the first value that was not finite.
    ///
    /// ```
    /// let mut stats = saers_core::stats::ChannelStats::new(1, true)?;
    /// stats.update(&[1.0, f32::INFINITY], &[4], 0, None)?;
    /// assert_eq!(stats.first_left_out().map(|place| place.position), Some(1));
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn first_left_out(&self) -> Option<NonFinite> {
        self.first
    }
}

#[cfg(test)]
mod tests;
