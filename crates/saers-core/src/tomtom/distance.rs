//! Scores of a pair of columns: the higher, the more alike.

use multiversion::multiversion;

use super::columns::Columns;
use crate::motif::Row;

/// How a query column is scored against a target column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Minus the Euclidean distance.
    Euclidean,
    /// Correlation of the probabilities around one quarter.
    Pearson,
    /// Two minus the sum of squared differences (Sandelin-Wasserman).
    Sandelin,
    /// Minus the mean of the two Kullback-Leibler divergences, in decimal logarithms.
    Kullback,
    /// Average log-likelihood ratio, weighted by the sites of both motifs.
    Allr,
}

impl Distance {
    /// All distances under the names that Tomtom gives them.
    pub const NAMES: [(&str, Self); 5] = [
        ("ed", Self::Euclidean),
        ("pearson", Self::Pearson),
        ("sandelin", Self::Sandelin),
        ("kullback", Self::Kullback),
        ("allr", Self::Allr),
    ];

    /// Looks a distance up by its name.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] names the known ones.
    ///
    /// ```
    /// use saers_core::tomtom::Distance;
    /// assert_eq!(Distance::parse("pearson")?, Distance::Pearson);
    /// assert!(Distance::parse("blosum").is_err());
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn parse(name: &str) -> crate::Result<Self> {
        let known = Self::NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, distance)| *distance).ok_or_else(|| {
            let names = Self::NAMES.map(|(name, _)| name).join(", ");
            crate::Error::invalid(format!("dist must be one of {names}, got '{name}'"))
        })
    }
}

/// A query column with what its scores depend on.
pub(super) struct QueryColumn<'a> {
    pub row: &'a Row,
    pub sites: f64,
    pub background: &'a Row,
}

/// Scores one query column against one target column.
pub(super) fn score(distance: Distance, query: &QueryColumn, t: &Row, sites: f64) -> f64 {
    let q = query.row;
    match distance {
        Distance::Euclidean => -squared_distance(q, t).sqrt(),
        Distance::Pearson => correlation(q, t),
        Distance::Sandelin => 2.0 - squared_distance(q, t),
        Distance::Kullback => -0.5 * divergences(q, t),
        Distance::Allr => log_likelihood_ratio(query, t, sites),
    }
}

/// Scores one query column against all target columns, in double precision.
#[multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
pub(super) fn score_all(
    distance: Distance,
    query: &QueryColumn,
    columns: &Columns,
    out: &mut Vec<f64>,
) {
    out.clear();
    out.resize(columns.total(), 0.0);
    let q = query.row;
    match distance {
        Distance::Euclidean => each(columns, out, |t| -squared_distance(q, t).sqrt()),
        Distance::Pearson => each(columns, out, |t| correlation(q, t)),
        Distance::Sandelin => each(columns, out, |t| 2.0 - squared_distance(q, t)),
        Distance::Kullback => each(columns, out, |t| -0.5 * divergences(q, t)),
        Distance::Allr => {
            for (index, score) in out.iter_mut().enumerate() {
                let t = columns.row(index);
                *score = log_likelihood_ratio(query, t, columns.sites()[index]);
            }
        }
    }
}

/// How far a distance in single precision may lie from the one in double precision.
///
/// Rounding the eight probabilities and taking four differences moves the distance by at most
/// 2 · 4 · 2⁻²⁵, squares, sums and root by a few parts in 2²⁴ of at most √2.
pub(super) const SINGLE_ERROR: f64 = 1e-6;

/// Above all Euclidean distances of two columns, √2.
pub(super) const MOST_EUCLIDEAN: f64 = 1.4143;

/// Codes minus the Euclidean distance of all target columns in steps of 1/65,535 of the most.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+fma", "x86_64+avx2+fma"))]
pub(super) fn euclidean_codes(row: &Row, letters: &[&[f32]; 4], codes: &mut [u16]) {
    const FUSED: bool = multiversion::target::target_cfg_f!(target_feature = "fma");
    const MOST: f32 = u16::MAX as f32;
    let q = row.map(|value| value as f32);
    let [a, c, g, t] = letters;
    let letters = a.iter().zip(*c).zip(*g).zip(*t);
    // A loop, not `extend`, whose body the compiler moves out of the reach of wide vectors.
    for (code_of, (((&a, &c), &g), &t)) in codes.iter_mut().zip(letters) {
        let [a, c, g, t] = [a - q[0], c - q[1], g - q[2], t - q[3]];
        let square = fused::<FUSED>(t, t, fused::<FUSED>(g, g, fused::<FUSED>(c, c, a * a)));
        let code = fused::<FUSED>(square.sqrt(), -MOST / MOST_EUCLIDEAN as f32, ROUNDS + MOST);
        *code_of = code.to_bits() as u16;
    }
}

/// Computes `a · b + c`, rounded once where the processor does.
#[inline(always)]
fn fused<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// A number of this size has no bits left for fractions: adding it rounds, and the low bits of
/// the sum are the integer. As conversions of floating-point numbers check for what cannot be
/// converted, they cost several times as much.
pub(super) const ROUNDS: f32 = 8_388_608.0;

/// Calls `score` for every column.
#[inline(always)]
fn each(columns: &Columns, out: &mut [f64], score: impl Fn(&Row) -> f64) {
    let [a, c, g, t] = columns.letters();
    let letters = a.iter().zip(c).zip(g).zip(t);
    for ((((&a, &c), &g), &t), out) in letters.zip(out) {
        *out = score(&[a, c, g, t]);
    }
}

#[inline(always)]
fn squared_distance(q: &Row, t: &Row) -> f64 {
    let square = |letter: usize| (q[letter] - t[letter]) * (q[letter] - t[letter]);
    square(0) + square(1) + square(2) + square(3)
}

#[inline(always)]
fn correlation(q: &Row, t: &Row) -> f64 {
    let centred = |row: &Row| row.map(|value| value - 0.25);
    let dot = |a: &Row, b: &Row| a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
    let (q, t) = (centred(q), centred(t));
    let norm = (dot(&q, &q) * dot(&t, &t)).sqrt();
    if norm == 0.0 { 0.0 } else { dot(&q, &t) / norm }
}

fn divergences(q: &Row, t: &Row) -> f64 {
    (0..4).map(|l| q[l] * (q[l] / t[l]).log10() + t[l] * (t[l] / q[l]).log10()).sum()
}

fn log_likelihood_ratio(query: &QueryColumn, t: &Row, sites: f64) -> f64 {
    let (mut top, mut bottom) = (0.0, 0.0);
    for letter in 0..4 {
        let (q, t, b) = (query.row[letter], t[letter], query.background[letter]);
        top += sites * t * (q / b).ln() + query.sites * q * (t / b).ln();
        bottom += query.sites * q + sites * t;
    }
    top / bottom
}

#[cfg(test)]
mod tests {
    use super::{MOST_EUCLIDEAN, SINGLE_ERROR, euclidean_codes};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_code_is_that_of_the_distance(
            counts in prop::collection::vec([0..50_u32, 0..50_u32, 0..50_u32, 1..50_u32], 1..70),
            same in 0..70_usize,
        ) {
            let shares = |c: &[u32; 4]| c.map(|n| f64::from(n) / f64::from(c.iter().sum::<u32>()));
            let rows: Vec<_> = counts.iter().map(shares).collect();
            let query = rows[same % rows.len()];
            let letters: [Vec<f32>; 4] =
                std::array::from_fn(|l| rows.iter().map(|row| row[l] as f32).collect());
            let mut codes = vec![0; rows.len()];
            euclidean_codes(&query, &letters.each_ref().map(|letter| &letter[..]), &mut codes);
            let unit = MOST_EUCLIDEAN / f64::from(u16::MAX);
            for (row, code) in rows.iter().zip(codes) {
                let square: f64 = (0..4).map(|l| (row[l] - query[l]).powi(2)).sum();
                let found = f64::from(!code) * unit;
                prop_assert!((found - square.sqrt()).abs() <= 0.5 * unit + SINGLE_ERROR);
            }
        }
    }
}
