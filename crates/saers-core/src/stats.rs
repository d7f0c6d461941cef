//! Statistics of every channel over a stream of activations.

use rayon::prelude::*;

use crate::{Error, Result};

/// Rows whose sums and deviations are taken together; at 608 channels they stay in the L2 cache.
const TILE: usize = 128;
/// Rows that one thread takes at a time. The grid is fixed, so the result does not depend on
/// the number of threads.
const SPAN: usize = 8 * TILE;

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
    nan: u64,
    inf: u64,
    first: Option<NonFinite>,
}

/// Rows of a call that are looked at together, and how many rows of the call come before them.
struct Rows<'a> {
    values: &'a [f32],
    mask: Option<&'a [bool]>,
    channels: usize,
    before: usize,
}

/// Non-finite values of some rows: how many, and the first as (row of the call, channel, value).
#[derive(Clone, Copy, Default)]
struct Strays {
    nan: u64,
    inf: u64,
    first: Option<(usize, usize, f32)>,
}

#[derive(Clone, Debug)]
struct Moments {
    max: Vec<f32>,
    min: Vec<f32>,
    mean: Vec<f64>,
    /// Sum of squared deviations from the mean.
    scatter: Vec<f64>,
    nonzero: Vec<u64>,
    count: Vec<u64>,
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
        if channels == 0 {
            return Err(Error::invalid("channels must be positive, got 0"));
        }
        Ok(Self { allow_nan, total: Moments::new(channels), nan: 0, inf: 0, first: None })
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
        let parts: Vec<(Moments, Strays)> = values
            .par_chunks(SPAN * channels)
            .enumerate()
            .map(|(index, values)| {
                let before = index * SPAN;
                let mask = mask.map(|mask| &mask[before..before + values.len() / channels]);
                summarise(&Rows { values, mask, channels, before })
            })
            .collect();
        let mut strays = Strays::default();
        parts.iter().for_each(|(_, part)| strays.add(*part));
        let share = rows.checked_div(windows.len()).unwrap_or(0).max(1);
        let first = strays.first.map(|(row, channel, value)| NonFinite {
            window: windows[row / share],
            position: first_position + (row % share) as i64,
            channel,
            value,
        });
        if let (Some(place), false) = (first, self.allow_nan) {
            return Err(Error::invalid(place.to_string()));
        }
        parts.iter().for_each(|(moments, _)| self.total.merge(moments));
        self.nan += strays.nan;
        self.inf += strays.inf;
        self.first = self.first.or(first);
        Ok(())
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
        self.total.merge(&other.total);
        self.nan += other.nan;
        self.inf += other.inf;
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
        (self.nan, self.inf)
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

impl Strays {
    fn add(&mut self, other: Self) {
        self.nan += other.nan;
        self.inf += other.inf;
        self.first = self.first.or(other.first);
    }

    fn see(&mut self, row: usize, channel: usize, value: f32) {
        self.nan += u64::from(value.is_nan());
        self.inf += u64::from(value.is_infinite());
        self.first = self.first.or(Some((row, channel, value)));
    }
}

impl Moments {
    fn new(channels: usize) -> Self {
        Self {
            max: vec![f32::NEG_INFINITY; channels],
            min: vec![f32::INFINITY; channels],
            mean: vec![0.0; channels],
            scatter: vec![0.0; channels],
            nonzero: vec![0; channels],
            count: vec![0; channels],
        }
    }

    fn merge(&mut self, other: &Self) {
        for j in 0..self.mean.len() {
            let (here, there) = (self.count[j] as f64, other.count[j] as f64);
            if there == 0.0 {
                continue;
            }
            let share = there / (here + there);
            let gap = other.mean[j] - self.mean[j];
            self.mean[j] += gap * share;
            self.scatter[j] += other.scatter[j] + gap * gap * here * share;
            self.max[j] = self.max[j].max(other.max[j]);
            self.min[j] = self.min[j].min(other.min[j]);
            self.nonzero[j] += other.nonzero[j];
            self.count[j] += other.count[j];
        }
    }
}

fn summarise(span: &Rows<'_>) -> (Moments, Strays) {
    let mut total = Moments::new(span.channels);
    let mut strays = Strays::default();
    for (index, values) in span.values.chunks(TILE * span.channels).enumerate() {
        let start = index * TILE;
        let end = start + values.len() / span.channels;
        let rows = Rows {
            values,
            mask: span.mask.map(|mask| &mask[start..end]),
            channels: span.channels,
            before: span.before + start,
        };
        // A sum of finite f32 values is finite in f64, so a plain pass also tells whether a
        // value has to be left out.
        let mut tile = add_up::<false>(&rows, &mut strays);
        if !tile.mean.iter().all(|sum| sum.is_finite()) {
            tile = add_up::<true>(&rows, &mut strays);
        }
        total.merge(&tile);
    }
    (total, strays)
}

/// Summarises one tile in two passes. `CAREFUL` leaves non-finite values out and records them;
/// without it they show up as a mean that is not finite.
fn add_up<const CAREFUL: bool>(rows: &Rows<'_>, strays: &mut Strays) -> Moments {
    let mut tile = Moments::new(rows.channels);
    let Moments { max, min, mean, scatter, nonzero, count } = &mut tile;
    for (index, row) in rows.kept() {
        for (j, &value) in row.iter().enumerate() {
            if CAREFUL && !value.is_finite() {
                strays.see(rows.before + index, j, value);
                continue;
            }
            mean[j] += f64::from(value);
            max[j] = if value > max[j] { value } else { max[j] };
            min[j] = if value < min[j] { value } else { min[j] };
            nonzero[j] += u64::from(value != 0.0);
            count[j] += 1;
        }
    }
    for (mean, &count) in mean.iter_mut().zip(&*count) {
        *mean /= count.max(1) as f64;
    }
    for (_, row) in rows.kept() {
        for (j, &value) in row.iter().enumerate() {
            let gap = f64::from(value) - mean[j];
            scatter[j] += if CAREFUL && !value.is_finite() { 0.0 } else { gap * gap };
        }
    }
    tile
}

impl<'a> Rows<'a> {
    fn kept(&self) -> impl Iterator<Item = (usize, &'a [f32])> {
        let mask = self.mask;
        self.values
            .chunks_exact(self.channels)
            .enumerate()
            .filter(move |(row, _)| mask.is_none_or(|mask| mask[*row]))
    }
}

#[cfg(test)]
mod tests;
