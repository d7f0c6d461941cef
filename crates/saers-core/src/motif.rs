//! Motifs by stage: [`Counts`] of sites become [`Frequencies`], a [`Motif`] names them.
//!
//! Rows are the positions of the motif, columns the letters A, C, G, T.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use crate::{Error, Result};

/// One position of a motif: values for A, C, G, T.
pub type Row = [f64; 4];

/// The background in which all letters are equally likely.
pub const UNIFORM: Row = [0.25; 4];

/// How far the sum of a row of probabilities may lie from 1 before it is refused.
pub const ROW_TOLERANCE: f64 = 0.05;

/// A row whose sum lies this near to 1 is taken as it is; others are divided by their sum.
const ROW_EXACT: f64 = 1e-5;

/// Counts of letters at each position, never empty, no row without a count.
#[derive(Clone, Debug, PartialEq)]
pub struct Counts(Vec<Row>);

/// Probabilities of letters at each position, never empty, every row sums to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies(Vec<Row>);

/// Frequencies with a name and what is known of their origin.
#[derive(Clone, Debug, PartialEq)]
pub struct Motif {
    /// What tables call it; unique where its file is sane.
    pub id: String,
    /// What people call it; may be empty.
    pub name: String,
    /// Its probabilities.
    pub frequencies: Frequencies,
    /// Number of sites that it was made from, where known.
    pub n_sites: Option<f64>,
    /// Letter frequencies of the sequences that it was found in.
    pub background: Row,
    /// Base-10 logarithm of its E-value, where known.
    pub log10_evalue: Option<f64>,
}

impl Counts {
    /// Checks counts: finite, not negative, at least one position, no empty position.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the first bad row, counted from 1.
    ///
    /// ```
    /// use saers_core::motif::Counts;
    /// let counts = Counts::new(vec![[2.0, 1.0, 1.0, 0.0]])?;
    /// assert_eq!(counts.to_frequencies().rows(), &[[0.5, 0.25, 0.25, 0.0]]);
    /// assert!(Counts::new(vec![[0.0; 4]]).is_err());
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn new(rows: Vec<Row>) -> Result<Self> {
        check_rows(&rows)?;
        match rows.iter().position(|row| sum(row) <= 0.0) {
            Some(row) => Err(Error::invalid(format!("row {} of the matrix is empty", row + 1))),
            None => Ok(Self(rows)),
        }
    }

    /// Divides every row by its sum.
    ///
    /// ```
    /// # use saers_core::motif::Counts;
    /// let counts = Counts::new(vec![[0.0, 3.0, 1.0, 0.0]])?;
    /// assert_eq!(counts.to_frequencies().rows()[0], [0.0, 0.75, 0.25, 0.0]);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn to_frequencies(&self) -> Frequencies {
        Frequencies(self.0.iter().map(|row| row.map(|count| count / sum(row))).collect())
    }

    /// Counts the sites: the sum of the first row, rounded.
    ///
    /// ```
    /// # use saers_core::motif::Counts;
    /// assert_eq!(Counts::new(vec![[0.0, 3.0, 1.2, 0.0]])?.n_sites(), 4.0);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn n_sites(&self) -> f64 {
        sum(&self.0[0]).round()
    }
}

impl Frequencies {
    /// Checks probabilities and divides rows that are a little off by their sum.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the first row, counted from 1, that holds a negative or
    /// infinite value or whose sum is further than [`ROW_TOLERANCE`] from 1.
    ///
    /// ```
    /// use saers_core::motif::Frequencies;
    /// assert_eq!(Frequencies::new(vec![[0.5, 0.5, 0.0, 0.0]])?.width(), 1);
    /// assert!(Frequencies::new(vec![[0.5, 0.1, 0.0, 0.0]]).is_err());
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn new(mut rows: Vec<Row>) -> Result<Self> {
        check_rows(&rows)?;
        for (index, row) in rows.iter_mut().enumerate() {
            let total = sum(row);
            if (total - 1.0).abs() > ROW_TOLERANCE {
                return Err(Error::invalid(format!(
                    "row {} of the matrix sums to {total}, expected 1 within {ROW_TOLERANCE}",
                    index + 1
                )));
            }
            // In exactly this form: |total - 1| would round differently at the edges.
            if !(1.0 - ROW_EXACT..=1.0 + ROW_EXACT).contains(&total) {
                row.iter_mut().for_each(|value| *value /= total);
            }
        }
        Ok(Self(rows))
    }

    /// Returns the rows.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// assert_eq!(Frequencies::new(vec![[1.0, 0.0, 0.0, 0.0]])?.rows().len(), 1);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// Counts the positions.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// assert_eq!(Frequencies::new(vec![[0.25; 4]; 7])?.width(), 7);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn width(&self) -> usize {
        self.0.len()
    }

    /// Reads the motif off the other strand.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// let motif = Frequencies::new(vec![[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])?;
    /// assert_eq!(motif.reverse_complement().consensus(), "CT");
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn reverse_complement(&self) -> Self {
        Self(self.0.iter().rev().map(|&[a, c, g, t]| [t, g, c, a]).collect())
    }

    /// Measures the information of each position in bits, 2 at most, against equal letters.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// let motif = Frequencies::new(vec![[1.0, 0.0, 0.0, 0.0], [0.25; 4]])?;
    /// assert_eq!(motif.information(), [2.0, 0.0]);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn information(&self) -> Vec<f64> {
        let bits = |p: f64| if p > 0.0 { p * p.log2() } else { 0.0 };
        self.0
            .iter()
            .map(|row| (2.0 + row.iter().map(|&p| bits(p)).sum::<f64>()).max(0.0))
            .collect()
    }

    /// Finds what is left when flanks below `min_information` bits are cut off.
    ///
    /// Of a motif that has no such position the most informative one stays.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// let a = [1.0, 0.0, 0.0, 0.0];
    /// let motif = Frequencies::new(vec![[0.25; 4], a, [0.25; 4], a, [0.25; 4]])?;
    /// assert_eq!(motif.core(0.25), 1..4);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn core(&self, min_information: f64) -> std::ops::Range<usize> {
        let bits = self.information();
        let keeps = |value: &f64| *value >= min_information;
        match (bits.iter().position(keeps), bits.iter().rposition(keeps)) {
            (Some(first), Some(last)) => first..last + 1,
            _ => {
                let best =
                    (1..bits.len()).fold(0, |best, i| if bits[i] > bits[best] { i } else { best });
                best..best + 1
            }
        }
    }

    /// Cuts off flanks below `min_information` bits (see [`Frequencies::core`]).
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// let motif = Frequencies::new(vec![[0.25; 4], [0.0, 0.0, 0.0, 1.0]])?;
    /// assert_eq!(motif.trim(0.25).consensus(), "T");
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn trim(&self, min_information: f64) -> Self {
        Self(self.0[self.core(min_information)].to_vec())
    }

    /// Spells the likeliest letter of each position; of equal ones the first in the alphabet.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// let motif = Frequencies::new(vec![[0.1, 0.2, 0.7, 0.0], [0.0, 0.5, 0.0, 0.5]])?;
    /// assert_eq!(motif.consensus(), "GC");
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn consensus(&self) -> String {
        self.0.iter().map(|row| char::from(b"ACGT"[argmax(row)])).collect()
    }

    /// Puts the positions in a random order: a control with the same composition.
    ///
    /// ```
    /// # use saers_core::motif::Frequencies;
    /// let motif = Frequencies::new((0..9).map(|i| [0.1 * f64::from(i), 1.0 - 0.1 * f64::from(i), 0.0, 0.0]).collect())?;
    /// assert_eq!(motif.shuffle(1), motif.shuffle(1));
    /// assert_ne!(motif.shuffle(1), motif);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn shuffle(&self, seed: u64) -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut rows = self.0.clone();
        for last in (1..rows.len()).rev() {
            let draw = u128::from(random.next_u64()) * (last as u128 + 1);
            rows.swap(last, (draw >> 64) as usize);
        }
        Self(rows)
    }

    /// Adds `pseudocount` letters of the background to `n_sites` sites.
    ///
    /// ```
    /// # use saers_core::motif::{Frequencies, UNIFORM};
    /// let motif = Frequencies::new(vec![[1.0, 0.0, 0.0, 0.0]])?;
    /// assert_eq!(motif.with_pseudocount(3.0, &UNIFORM, 1.0).rows()[0][1], 0.0625);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_pseudocount(&self, n_sites: f64, background: &Row, pseudocount: f64) -> Self {
        let mix = |row: &Row| {
            std::array::from_fn(|letter| {
                (row[letter] * n_sites + pseudocount * background[letter]) / (n_sites + pseudocount)
            })
        };
        Self(self.0.iter().map(mix).collect())
    }
}

/// Makes letter frequencies free of zeros and, for `both_strands`, equal on both of them.
///
/// The programs of the MEME Suite do so wherever they take frequencies up, once or several
/// times over; the difference shows in the digits that they print.
///
/// ```
/// use saers_core::motif::smooth;
/// let [a, c, g, t] = smooth(&[0.6, 0.4, 0.0, 0.0], true);
/// assert!((a, c) == (t, g) && c > 0.2);
/// assert!(smooth(&[0.6, 0.4, 0.0, 0.0], false)[2] < 1e-6);
/// ```
#[must_use]
pub fn smooth(background: &Row, both_strands: bool) -> Row {
    const FLOOR: f64 = 5e-7;
    let [a, c, g, t] = *background;
    let row = match both_strands {
        true => [(a + t) / 2.0, (c + g) / 2.0, (g + c) / 2.0, (t + a) / 2.0],
        false => *background,
    };
    let total = sum(&row) + 4.0 * FLOOR;
    let row = row.map(|value| (value + FLOOR) / total);
    row.map(|value| value / sum(&row))
}

fn sum(row: &Row) -> f64 {
    row.iter().sum()
}

fn argmax(row: &Row) -> usize {
    (1..4).fold(0, |best, letter| if row[letter] > row[best] { letter } else { best })
}

fn check_rows(rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Err(Error::invalid("a motif needs at least one row"));
    }
    let bad = |value: &f64| !value.is_finite() || *value < 0.0;
    match rows.iter().enumerate().find_map(|(i, row)| Some((i, *row.iter().find(|v| bad(v))?))) {
        None => Ok(()),
        Some((index, value)) => Err(Error::invalid(format!(
            "row {} of the matrix holds {value}, expected a finite value of at least 0",
            index + 1
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Frequencies, Row};
    use proptest::prelude::*;

    fn motifs() -> impl Strategy<Value = Frequencies> {
        let row = prop::array::uniform4(0.0..50.0_f64).prop_map(|row| row.map(|x| x + 1e-3));
        prop::collection::vec(row, 1..20)
            .prop_map(|rows| Counts::new(rows).unwrap().to_frequencies())
    }

    fn sorted(motif: &Frequencies) -> Vec<Row> {
        let mut rows = motif.rows().to_vec();
        rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        rows
    }

    proptest! {
        #[test]
        fn two_reverse_complements_change_nothing(motif in motifs()) {
            prop_assert_eq!(motif.reverse_complement().reverse_complement(), motif);
        }

        #[test]
        fn a_shuffle_keeps_every_position(motif in motifs(), seed: u64) {
            prop_assert_eq!(sorted(&motif.shuffle(seed)), sorted(&motif));
        }

        #[test]
        fn the_flanks_of_a_trimmed_motif_are_informative(motif in motifs(), bits in 0.0..2.0_f64) {
            let kept = motif.trim(bits).information();
            let strong = motif.information().into_iter().any(|x| x >= bits);
            prop_assert!(!strong || (kept[0] >= bits && kept[kept.len() - 1] >= bits));
            prop_assert!(strong || kept.len() == 1);
        }
    }

    #[test]
    fn a_flat_motif_is_trimmed_to_its_first_position() {
        assert_eq!(Frequencies::new(vec![[0.25; 4]; 5]).unwrap().core(0.1), 0..1);
    }

    #[test]
    fn rows_a_little_off_are_divided_by_their_sum_and_exact_ones_left_alone() {
        let near = [0.333333, 0.333333, 0.333333, 0.0];
        let far = [0.33, 0.33, 0.33, 0.0];
        let motif = Frequencies::new(vec![near, far]).unwrap();
        assert_eq!(motif.rows()[0], near);
        assert_eq!(motif.rows()[1][0], 0.33 / 0.99);
    }

    #[test]
    fn bad_rows_are_named() {
        let message = |rows| Frequencies::new(rows).unwrap_err().to_string();
        assert!(message(vec![]).contains("at least one row"));
        assert!(message(vec![[0.25; 4], [1.5, -0.5, 0.0, 0.0]]).starts_with("row 2"));
        assert!(message(vec![[f64::NAN, 0.5, 0.5, 0.0]]).contains("NaN"));
        assert!(message(vec![[2.0, 1.0, 1.0, 0.0]]).contains("sums to 4"));
    }
}
