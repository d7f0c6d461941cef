//! Position probability matrices as the search handles them.

/// Rows of probabilities in the order A, C, G, T.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile {
    pub(super) rows: Vec<[f64; 4]>,
}

impl Profile {
    /// Turns counts into probabilities; `pseudo` counts are shared by the four letters.
    pub(super) fn from_counts(counts: &[[f64; 4]], pseudo: f64) -> Self {
        let rows = counts
            .iter()
            .map(|row| {
                let total = row.iter().sum::<f64>() + pseudo;
                row.map(|count| (count + pseudo / 4.0) / total)
            })
            .collect();
        Self { rows }
    }

    /// Makes a matrix that prefers the letters of a word.
    pub(super) fn from_word(word: &[u8]) -> Self {
        let rows = word
            .iter()
            .map(|&code| {
                std::array::from_fn(|letter| if letter == usize::from(code) { 0.85 } else { 0.05 })
            })
            .collect();
        Self { rows }
    }

    /// Number of rows.
    pub(super) fn width(&self) -> usize {
        self.rows.len()
    }

    /// The matrix of the other strand.
    pub(super) fn reverse_complement(&self) -> Self {
        Self { rows: self.rows.iter().rev().map(|&[a, c, g, t]| [t, g, c, a]).collect() }
    }

    /// Largest cosine between two matrices over shifts (and strands); uniform rows count 0.
    ///
    /// Norms are those of the whole matrices, so a small overlap cannot look alike.
    pub(super) fn similarity(&self, other: &Self, both_strands: bool) -> f64 {
        let forward = self.best_shift(other);
        if both_strands {
            forward.max(self.best_shift(&other.reverse_complement()))
        } else {
            forward
        }
    }

    /// Largest change of a probability; infinite between matrices of different widths.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        if self.width() != other.width() {
            return f64::INFINITY;
        }
        let pairs = self.rows.iter().flatten().zip(other.rows.iter().flatten());
        pairs.map(|(p, q)| (p - q).abs()).fold(0.0, f64::max)
    }

    /// Whether the matrix looks like itself a few positions further: a run or a short repeat.
    pub(super) fn is_repetitive(&self) -> bool {
        let norm = dot(&self.rows, &self.rows);
        (1..=4.min(self.width() / 2)).any(|shift| {
            let kept = (self.width() - shift) as f64 / self.width() as f64;
            dot(&self.rows[shift..], &self.rows) > 0.75 * kept * norm
        })
    }

    fn best_shift(&self, other: &Self) -> f64 {
        let norm = (dot(&self.rows, &self.rows) * dot(&other.rows, &other.rows)).sqrt();
        let (w, v) = (self.width(), other.width());
        let ahead = (0..w).map(|shift| dot(&self.rows[shift..], &other.rows));
        let behind = (1..v).map(|shift| dot(&self.rows, &other.rows[shift..]));
        ahead.chain(behind).fold(0.0, f64::max) / norm.max(f64::MIN_POSITIVE)
    }
}

/// Information content of a row in bits.
pub(super) fn information(row: &[f64; 4]) -> f64 {
    2.0 + row.iter().filter(|&&p| p > 0.0).map(|p| p * p.log2()).sum::<f64>()
}

fn dot(a: &[[f64; 4]], b: &[[f64; 4]]) -> f64 {
    a.iter().zip(b).map(|(p, q)| (0..4).map(|i| (p[i] - 0.25) * (q[i] - 0.25)).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::{Profile, information};

    #[test]
    fn information_runs_from_0_to_2_bits() {
        assert!((information(&[0.25; 4])).abs() < 1e-12);
        assert!((information(&[1.0, 0.0, 0.0, 0.0]) - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_matrix_is_most_like_itself_shifted_or_turned() {
        let word = Profile::from_word(&[0, 1, 1, 2, 3, 0, 3]);
        let longer = Profile::from_word(&[2, 0, 1, 1, 2, 3, 0, 3]);
        assert!((word.similarity(&word.reverse_complement(), true) - 1.0).abs() < 1e-9);
        assert!(word.similarity(&longer, false) > 0.9);
        assert!(word.similarity(&Profile::from_word(&[3, 3, 3, 3, 3]), true) < 0.5);
    }

    #[test]
    fn runs_and_short_repeats_are_repetitive() {
        for word in [&[0_u8; 8] as &[u8], &[0, 1, 0, 1, 0, 1, 0, 1], &[2, 2, 0, 2, 2, 0, 2, 2, 0]] {
            assert!(Profile::from_word(word).is_repetitive(), "{word:?}");
        }
        assert!(!Profile::from_word(&[3, 2, 0, 1, 2, 3, 1, 0]).is_repetitive());
    }

    #[test]
    fn pseudo_counts_are_shared_by_the_letters() {
        let profile = Profile::from_counts(&[[3.0, 0.0, 0.0, 0.0]], 1.0);
        assert_eq!(profile.rows, [[3.25 / 4.0, 0.0625, 0.0625, 0.0625]]);
    }
}
