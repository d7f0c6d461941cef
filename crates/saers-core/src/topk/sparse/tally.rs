//! Counts, exact sums and histograms of many features, at one addition an entry.

use std::collections::HashMap;

use super::FeatureTotal;

/// Bits of a float below the four bins of its octave.
const LOW: u32 = 21;
/// The bins lie between 2^-30 and 2^20, four to an octave; slots count them from the float 0.
const FIRST: usize = (127 - 30) << 2;
/// Number of these bins: the rows of the table are an odd number of cache lines apart, so that
/// the same bin of different features meets different lines of the cache.
const CELLS: usize = 50 * 4;
/// Bits of a cell that hold the sum of what the bins leave of a value; above them is the count.
const SUM: u32 = 43;

/// Number of bins of a histogram: the finite ones, what lies below and what lies above.
pub const BINS: usize = CELLS + 2;

/// Lists the edges of the bins of a histogram: bin i holds `edges[i] <= value < edges[i + 1]`.
///
/// An octave has four bins, between 2^e × 1, 1.25, 1.5, 1.75 and 2; the first bin reaches from 0
/// to 2^-30, the last from 2^20 to infinity.
///
/// ```
/// let edges = saers_core::topk::sparse::edges();
/// assert_eq!(edges.len(), saers_core::topk::sparse::BINS + 1);
/// assert_eq!(edges[121..=125], [1.0, 1.25, 1.5, 1.75, 2.0]);
/// ```
pub fn edges() -> Vec<f32> {
    let inner = (FIRST..=FIRST + CELLS).map(|slot| f32::from_bits((slot as u32) << LOW));
    std::iter::once(0.0).chain(inner).chain([f32::INFINITY]).collect()
}

/// Sum of positive floats that does not depend on their order: whole multiples of 32 powers
/// of two, exact until rounded once at the end.
#[derive(Clone, Copy, Debug, Default)]
struct ExactSum([u128; 8]);

impl ExactSum {
    /// Adds all values of one slot.
    fn add(&mut self, slot: usize, part: Part) {
        // A subnormal has no hidden bit and the exponent of the smallest normal number.
        let (exponent, quarter) = (slot >> 2, slot as u128 & 3);
        let hidden = if exponent == 0 { 0 } else { 1 << 23 };
        let mantissas = u128::from(part.count) * (hidden | quarter << LOW) + u128::from(part.low);
        let exponent = exponent.max(1);
        self.0[exponent / 32] += mantissas << (exponent % 32);
    }

    fn value(&self) -> f64 {
        let scaled = |(bin, &sum): (usize, &u128)| sum as f64 * 2_f64.powi(32 * bin as i32 - 150);
        self.0.iter().enumerate().map(scaled).sum()
    }
}

/// Values of one slot: how many, and the sum of their bits below it.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    count: u64,
    low: u64,
}

impl Part {
    fn of_cell(cell: u64) -> Self {
        Self { count: cell >> SUM, low: cell & ((1 << SUM) - 1) }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.low += other.low;
    }
}

/// Counts positive values by feature and bin, and keeps what their sum needs.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// (features, bins); a cell is emptied into `rest` before its fields can overflow.
    cells: Vec<u64>,
    /// By feature and slot: values outside the bins, and what cells held.
    rest: HashMap<(usize, usize), Part>,
}

impl Tally {
    pub(super) fn new(n_features: usize) -> Self {
        Self { cells: vec![0; n_features * CELLS], rest: HashMap::new() }
    }

    /// Adds a positive finite value, given by its bits.
    #[inline]
    pub(super) fn add(&mut self, feature: usize, bits: u32) {
        let (slot, low) = ((bits >> LOW) as usize, u64::from(bits & ((1 << LOW) - 1)));
        let bin = slot.wrapping_sub(FIRST);
        if bin >= CELLS {
            return self.add_outside(feature, slot, low);
        }
        let cell = &mut self.cells[feature * CELLS + bin];
        *cell += 1 << SUM | low;
        if (*cell).cast_signed() < 0 {
            self.spill(feature, bin);
        }
    }

    #[cold]
    fn add_outside(&mut self, feature: usize, slot: usize, low: u64) {
        self.rest.entry((feature, slot)).or_default().merge(Part { count: 1, low });
    }

    #[cold]
    fn spill(&mut self, feature: usize, bin: usize) {
        let cell = std::mem::take(&mut self.cells[feature * CELLS + bin]);
        self.rest.entry((feature, bin + FIRST)).or_default().merge(Part::of_cell(cell));
    }

    /// Adds what another tally of as many features has counted.
    pub(super) fn merge(&mut self, other: &Self) {
        for (place, &cell) in other.cells.iter().enumerate() {
            // Counts stay below 2^20 in either, so the fields hold the sum of two.
            self.cells[place] += cell;
            if self.cells[place].cast_signed() < 0 {
                self.spill(place / CELLS, place % CELLS);
            }
        }
        for (&place, &part) in &other.rest {
            self.rest.entry(place).or_default().merge(part);
        }
    }

    /// Reports number and sum of each feature's values; the largest is not known here.
    pub(super) fn totals(&self) -> Vec<FeatureTotal> {
        let mut sums = vec![(0, ExactSum::default()); self.cells.len() / CELLS];
        self.each_part(|feature, slot, part| {
            sums[feature].0 += part.count;
            sums[feature].1.add(slot, part);
        });
        let total = |(n_nonzero, sum): (u64, ExactSum)| FeatureTotal {
            n_nonzero,
            sum: sum.value(),
            max: 0.0,
        };
        sums.into_iter().map(total).collect()
    }

    /// Counts the values of each feature by bin, row-major (features, [`BINS`]).
    pub(super) fn histogram(&self) -> Vec<u64> {
        let mut counts = vec![0; self.cells.len() / CELLS * BINS];
        self.each_part(|feature, slot, part| {
            let bin = (slot + 1).saturating_sub(FIRST).min(BINS - 1);
            counts[feature * BINS + bin] += part.count;
        });
        counts
    }

    fn each_part(&self, mut visit: impl FnMut(usize, usize, Part)) {
        for (place, &cell) in self.cells.iter().enumerate().filter(|(_, cell)| **cell > 0) {
            visit(place / CELLS, place % CELLS + FIRST, Part::of_cell(cell));
        }
        for (&(feature, slot), &part) in &self.rest {
            visit(feature, slot, part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(values: &[f32]) -> Tally {
        let mut tally = Tally::new(2);
        values.iter().for_each(|value| tally.add(1, value.to_bits()));
        tally
    }

    proptest! {
        #[test]
        fn the_sum_is_exact_in_any_order_and_merge(
            mut values in proptest::collection::vec(
                prop_oneof![1e-45_f32..1e-37, 1e-3_f32..1e3, 1e30_f32..3e38], 1..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let forward = tally(&values).totals();
            prop_assert_eq!(forward[0], FeatureTotal::default());
            let (front, back) = values.split_at(cut.index(values.len()));
            let mut merged = tally(back);
            merged.merge(&tally(front));
            prop_assert_eq!(&merged.totals(), &forward);
            values.sort_by(f32::total_cmp);
            prop_assert_eq!(&tally(&values).totals(), &forward);
            prop_assert_eq!(forward[1].n_nonzero, values.len() as u64);
            let plain: f64 = values.iter().map(|&v| f64::from(v)).sum();
            prop_assert!((forward[1].sum - plain).abs() <= 1e-12 * plain);
        }

        #[test]
        fn every_value_lies_between_the_edges_of_its_bin(
            value in prop_oneof![1e-45_f32..1e-37, 1e-10_f32..1e7, 1e30_f32..3e38],
        ) {
            let counts = tally(&[value]).histogram();
            let bin = counts.iter().position(|&count| count == 1).unwrap();
            prop_assert_eq!(counts.iter().sum::<u64>(), 1);
            let bin = bin - BINS;
            prop_assert!(edges()[bin] <= value && value < edges()[bin + 1]);
        }
    }

    #[test]
    fn the_sum_of_one_value_is_that_value() {
        for value in [1e-45, f32::MIN_POSITIVE, 0.1, 1.0, 65_504.0, f32::MAX] {
            assert_eq!(tally(&[value]).totals()[1].sum, f64::from(value));
        }
    }

    #[test]
    fn cells_are_emptied_before_they_overflow() {
        let (value, times) = (f32::from_bits((FIRST as u32 + 5) << LOW | 0x1f_ffff), 3_000_000);
        let mut one = Tally::new(1);
        (0..times).for_each(|_| one.add(0, value.to_bits()));
        let mut two = one.clone();
        for _ in 0..3 {
            two.merge(&one);
        }
        for (tally, times) in [(one, u64::from(times as u32)), (two, 4 * times as u64)] {
            let total = tally.totals()[0];
            assert_eq!(total.n_nonzero, times);
            assert_eq!(total.sum, f64::from(value) * times as f64);
            assert_eq!(tally.histogram().iter().sum::<u64>(), times);
        }
    }

    #[test]
    fn edges_rise_from_zero_to_infinity() {
        let edges = edges();
        assert!(edges.is_sorted() && edges[0] == 0.0 && edges[BINS] == f32::INFINITY);
        assert_eq!(edges[1], 2_f32.powi(-30));
        assert_eq!(edges[BINS - 1], 2_f32.powi(20));
    }
}
