//! Scores of a pair of columns: the higher, the more alike.

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

/// Scores one query column against all distinct target columns.
pub(super) fn score(distance: Distance, query: &QueryColumn, columns: &Columns, out: &mut [f64]) {
    let q = query.row;
    match distance {
        Distance::Euclidean => each(columns, out, |t| -squared_distance(q, &t).sqrt()),
        Distance::Pearson => each(columns, out, |t| correlation(q, &t)),
        Distance::Sandelin => each(columns, out, |t| 2.0 - squared_distance(q, &t)),
        Distance::Kullback => each(columns, out, |t| -0.5 * divergences(q, &t)),
        Distance::Allr => {
            for (index, score) in out.iter_mut().enumerate() {
                let t = std::array::from_fn(|letter| columns.letters()[letter][index]);
                *score = log_likelihood_ratio(query, &t, columns.sites()[index]);
            }
        }
    }
}

/// Calls `score` for every distinct column.
fn each(columns: &Columns, out: &mut [f64], score: impl Fn(Row) -> f64) {
    let [a, c, g, t] = columns.letters();
    let letters = a.iter().zip(c).zip(g).zip(t);
    for ((((&a, &c), &g), &t), out) in letters.zip(out) {
        *out = score([a, c, g, t]);
    }
}

fn squared_distance(q: &Row, t: &Row) -> f64 {
    let square = |letter: usize| (q[letter] - t[letter]) * (q[letter] - t[letter]);
    square(0) + square(1) + square(2) + square(3)
}

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
