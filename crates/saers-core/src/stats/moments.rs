//! Sums over rows of activations, and the moments that come of them.

use multiversion::multiversion;

use crate::source::ROWS;

/// Rows whose sums are taken together; the rounding of a sum of squares grows with them.
const RUN: usize = ROWS;
/// Rows that are added at a time: as many as the L1 cache holds and as a core fetches ahead.
const TOGETHER: usize = 16;
/// Channels whose sums fill the registers of a core.
const LANES: usize = 16;
/// Squares over deviations beyond which their difference has lost too many digits.
const CANCELLED: f64 = 1e3;

/// Non-finite values of some rows: the first as (row of the call, channel, value).
pub(super) type Stray = (usize, usize, f32);

/// Maximum, minimum, mean, deviations and counts of some channels.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    pub(super) max: Vec<f32>,
    pub(super) min: Vec<f32>,
    pub(super) mean: Vec<f64>,
    /// Sum of squared deviations from the mean.
    pub(super) scatter: Vec<f64>,
    pub(super) nonzero: Vec<u64>,
    pub(super) count: Vec<u64>,
    pub(super) nan: Vec<u64>,
    pub(super) inf: Vec<u64>,
    sums: Sums,
}

/// Sums over a run of rows.
#[derive(Clone, Debug)]
struct Sums {
    max: Vec<f32>,
    min: Vec<f32>,
    sum: Vec<f64>,
    squares: Vec<f64>,
    nonzero: Vec<u32>,
}

impl Moments {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            max: vec![f32::NEG_INFINITY; channels],
            min: vec![f32::INFINITY; channels],
            mean: vec![0.0; channels],
            scatter: vec![0.0; channels],
            nonzero: vec![0; channels],
            count: vec![0; channels],
            nan: vec![0; channels],
            inf: vec![0; channels],
            sums: Sums::new(channels),
        }
    }

    /// Adds rows, row-major; returns the first value that is not finite, as (row, channel,
    /// value). Such values are counted and left out.
    pub(super) fn add(&mut self, values: &[f32]) -> Option<Stray> {
        let channels = self.mean.len();
        let mut first = None;
        for (index, run) in values.chunks(RUN * channels).enumerate() {
            add_up(&mut self.sums, run);
            // A sum of finite f32 values is finite in f64.
            if self.sums.sum.iter().all(|sum| sum.is_finite()) {
                self.join(run);
            } else {
                let stray = self.add_carefully(run);
                let place = |(row, channel, value)| (index * RUN + row, channel, value);
                first = first.or(stray.map(place));
            }
        }
        first
    }

    /// Adds the runs of rows that a mask keeps.
    pub(super) fn add_masked(&mut self, values: &[f32], mask: &[bool]) -> Option<Stray> {
        let channels = self.mean.len();
        let (mut row, mut first) = (0, None);
        for run in mask.chunk_by(|a, b| a == b) {
            if run[0] {
                let stray = self.add(&values[row * channels..(row + run.len()) * channels]);
                first = first.or(stray.map(|(at, channel, value)| (row + at, channel, value)));
            }
            row += run.len();
        }
        first
    }

    /// Takes in the sums of a run of finite rows.
    fn join(&mut self, run: &[f32]) {
        let channels = self.mean.len();
        let rows = run.len() / channels;
        if centre(&mut self.sums, rows) {
            self.sums.centre_again(run);
        }
        take_in(self, rows);
    }

    /// Adds rows value by value and leaves out what is not finite.
    fn add_carefully(&mut self, run: &[f32]) -> Option<Stray> {
        let channels = self.mean.len();
        let mut first = None;
        for (row, values) in run.chunks_exact(channels).enumerate() {
            for (j, &value) in values.iter().enumerate() {
                if !value.is_finite() {
                    self.nan[j] += u64::from(value.is_nan());
                    self.inf[j] += u64::from(value.is_infinite());
                    first = first.or(Some((row, j, value)));
                    continue;
                }
                self.count[j] += 1;
                let gap = f64::from(value) - self.mean[j];
                self.mean[j] += gap / self.count[j] as f64;
                self.scatter[j] += gap * (f64::from(value) - self.mean[j]);
                self.max[j] = self.max[j].max(value);
                self.min[j] = self.min[j].min(value);
                self.nonzero[j] += u64::from(value != 0.0);
            }
        }
        first
    }

    /// Adds what was seen of the channels from `first` on (Chan, Golub and LeVeque 1983).
    pub(super) fn merge(&mut self, first: usize, other: &Self) {
        for (j, from) in (first..).zip(0..other.mean.len()) {
            self.nan[j] += other.nan[from];
            self.inf[j] += other.inf[from];
            let (here, there) = (self.count[j] as f64, other.count[from] as f64);
            if there == 0.0 {
                continue;
            }
            let share = there / (here + there);
            let gap = other.mean[from] - self.mean[j];
            self.mean[j] += gap * share;
            self.scatter[j] += other.scatter[from] + gap * gap * here * share;
            self.max[j] = self.max[j].max(other.max[from]);
            self.min[j] = self.min[j].min(other.min[from]);
            self.nonzero[j] += other.nonzero[from];
            self.count[j] += other.count[from];
        }
    }
}

impl Sums {
    fn new(channels: usize) -> Self {
        Self {
            max: vec![f32::NEG_INFINITY; channels],
            min: vec![f32::INFINITY; channels],
            sum: vec![0.0; channels],
            squares: vec![0.0; channels],
            nonzero: vec![0; channels],
        }
    }

    fn reset(&mut self) {
        self.max.fill(f32::NEG_INFINITY);
        self.min.fill(f32::INFINITY);
        self.sum.fill(0.0);
        self.squares.fill(0.0);
        self.nonzero.fill(0);
    }

    /// Computes deviations around the known mean where squares have cancelled.
    fn centre_again(&mut self, run: &[f32]) {
        let channels = self.sum.len();
        for j in 0..channels {
            if self.squares[j] >= 0.0 {
                continue;
            }
            let column = || run.iter().skip(j).step_by(channels).map(|&v| f64::from(v));
            let rows = (run.len() / channels) as f64;
            // The second sum takes the rounding out of the mean itself.
            let mean = self.sum[j] + column().map(|v| v - self.sum[j]).sum::<f64>() / rows;
            self.sum[j] = mean;
            self.squares[j] = column().map(|v| (v - mean) * (v - mean)).sum();
        }
    }
}

/// Turns sums into means and squares into squared deviations; returns whether some of them have
/// lost their digits, which become -1.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn centre(sums: &mut Sums, rows: usize) -> bool {
    let share = 1.0 / rows as f64;
    let mut lost = false;
    for (sum, squares) in sums.sum.iter_mut().zip(&mut sums.squares) {
        let mean = *sum * share;
        let scatter = *squares - *sum * mean;
        let cancelled = *squares > CANCELLED * scatter;
        lost |= cancelled;
        *sum = mean;
        *squares = if cancelled { -1.0 } else { scatter };
    }
    lost
}

/// Adds a run of rows, whose sums by now are means and squared deviations.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn take_in(all: &mut Moments, rows: usize) {
    let (part, there) = (&all.sums, rows as f64);
    for j in 0..part.sum.len() {
        all.max[j] = if part.max[j] > all.max[j] { part.max[j] } else { all.max[j] };
        all.min[j] = if part.min[j] < all.min[j] { part.min[j] } else { all.min[j] };
        all.nonzero[j] += u64::from(part.nonzero[j]);
    }
    let here = all.mean.iter_mut().zip(&mut all.scatter).zip(&mut all.count);
    for (((mean, scatter), count), (part, deviations)) in
        here.zip(part.sum.iter().zip(&part.squares))
    {
        let before = *count as f64;
        let share = there / (before + there);
        let gap = part - *mean;
        *mean += gap * share;
        *scatter += deviations + gap * gap * before * share;
        *count += rows as u64;
    }
}

/// Sums up rows, [`TOGETHER`] at a time: the sums of a channel stay in registers for all of them.
///
/// The square of an f32 is exact in f64, so a fused addition rounds as a separate one does, and
/// every channel is summed row by row: all machines get the same bits.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
fn add_up(sums: &mut Sums, run: &[f32]) {
    const FUSED: bool = multiversion::target::target_cfg_f!(target_feature = "fma");
    add_up_here::<FUSED>(sums, run);
}

#[inline(always)]
fn add_up_here<const FUSED: bool>(sums: &mut Sums, run: &[f32]) {
    let channels = sums.sum.len();
    let whole = channels - channels % LANES;
    sums.reset();
    for rows in run.chunks(TOGETHER * channels) {
        for first in (0..whole).step_by(LANES) {
            add_lanes::<FUSED, LANES>(sums, rows, first);
        }
        for first in whole..channels {
            add_lanes::<FUSED, 1>(sums, rows, first);
        }
    }
}

/// Adds some channels in arrays of their own, which become registers.
#[inline(always)]
fn add_lanes<const FUSED: bool, const L: usize>(sums: &mut Sums, rows: &[f32], first: usize) {
    let channels = sums.sum.len();
    let lanes = first..first + L;
    let (mut max, mut min, mut nonzero) = ([0.0; L], [0.0; L], [0; L]);
    let (mut sum, mut squares) = ([0.0; L], [0.0; L]);
    max.copy_from_slice(&sums.max[lanes.clone()]);
    min.copy_from_slice(&sums.min[lanes.clone()]);
    nonzero.copy_from_slice(&sums.nonzero[lanes.clone()]);
    sum.copy_from_slice(&sums.sum[lanes.clone()]);
    squares.copy_from_slice(&sums.squares[lanes.clone()]);
    for row in rows.chunks_exact(channels) {
        let values = &row[lanes.clone()];
        for lane in 0..L {
            let value = values[lane];
            max[lane] = if value > max[lane] { value } else { max[lane] };
            min[lane] = if value < min[lane] { value } else { min[lane] };
            nonzero[lane] += u32::from(value != 0.0);
        }
        for lane in 0..L {
            let wide = f64::from(values[lane]);
            sum[lane] += wide;
            squares[lane] =
                if FUSED { wide.mul_add(wide, squares[lane]) } else { wide * wide + squares[lane] };
        }
    }
    sums.max[lanes.clone()].copy_from_slice(&max);
    sums.min[lanes.clone()].copy_from_slice(&min);
    sums.nonzero[lanes.clone()].copy_from_slice(&nonzero);
    sums.sum[lanes.clone()].copy_from_slice(&sum);
    sums.squares[lanes].copy_from_slice(&squares);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_machine_without_vectors_gets_the_same_bits(
            values in prop::collection::vec(-1e3_f32..1e3, 1..4000),
            channels in 1_usize..70,
        ) {
            let run = &values[..values.len() - values.len() % channels];
            let (mut wide, mut plain) = (Sums::new(channels), Sums::new(channels));
            add_up(&mut wide, run);
            add_up_here::<false>(&mut plain, run);
            prop_assert_eq!(format!("{wide:?}"), format!("{plain:?}"));
        }
    }
}
