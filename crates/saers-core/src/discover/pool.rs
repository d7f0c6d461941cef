//! Sequences packed for scanning: letters, three-letter codes, background likelihood.

use std::ops::Range;

/// Code of everything that is not A, C, G or T.
pub(super) const OTHER: u8 = 4;

/// Unknown letters put before and after each sequence, so that a site may hang over an edge.
const OVERHANG: usize = 3;

/// Turns letters of either case into codes 0..=3, and all else into [`OTHER`].
pub(super) fn encode(sequence: &[u8]) -> Vec<u8> {
    sequence
        .iter()
        .map(|letter| match letter.to_ascii_uppercase() {
            b'A' => 0,
            b'C' => 1,
            b'G' => 2,
            b'T' => 3,
            _ => OTHER,
        })
        .collect()
}

/// Reverses and complements codes.
pub(super) fn reverse_complement(codes: &[u8]) -> Vec<u8> {
    codes.iter().rev().map(|&code| if code < 4 { 3 - code } else { code }).collect()
}

/// An order-1 Markov chain: log2 of the probability of a letter after another.
pub(super) struct Background {
    log: [[f32; 5]; 5],
}

impl Background {
    /// Counts the dinucleotides of the sequences, and of their other strand if asked to.
    pub(super) fn new<'a>(sequences: impl Iterator<Item = &'a [u8]>, both_strands: bool) -> Self {
        let mut counts = [[1.0_f64; 4]; 4];
        for pair in sequences.flat_map(|codes| codes.windows(2)).filter(|p| p[0] < 4 && p[1] < 4) {
            let (a, b) = (usize::from(pair[0]), usize::from(pair[1]));
            counts[a][b] += 1.0;
            if both_strands {
                counts[3 - b][3 - a] += 1.0;
            }
        }
        let total: f64 = counts.iter().flatten().sum();
        let mut log = [[0.0; 5]; 5];
        for a in 0..4 {
            let row: f64 = counts[a].iter().sum();
            for b in 0..4 {
                log[a][b] = (counts[a][b] / row).log2() as f32;
            }
            log[4][a] = (row / total).log2() as f32;
        }
        Self { log }
    }
}

/// Sequences one after the other, each with [`OVERHANG`] unknown letters on both sides.
pub(super) struct Pool {
    /// Code of each place.
    pub(super) codes: Vec<u8>,
    /// `25 a + 5 b + c` of the place and the two after it.
    pub(super) triples: Vec<u8>,
    /// Log2 likelihood under the background of what precedes the place in its sequence.
    pub(super) background: Vec<f32>,
    starts: Vec<usize>,
}

impl Pool {
    /// Packs the sequences.
    pub(super) fn new<'a>(
        sequences: impl Iterator<Item = &'a [u8]>,
        background: &Background,
    ) -> Self {
        let (mut codes, mut prefix, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for sequence in sequences {
            let from = codes.len();
            codes.extend([OTHER; OVERHANG]);
            codes.extend_from_slice(sequence);
            codes.extend([OTHER; OVERHANG + 1]);
            let mut sum = 0.0;
            let mut previous = OTHER;
            for &code in &codes[from..] {
                prefix.push(sum);
                sum += background.log[usize::from(previous)][usize::from(code)];
                previous = code;
            }
            starts.push(codes.len());
        }
        let at = |i: usize| codes.get(i).copied().unwrap_or(OTHER);
        let triples =
            (0..codes.len() + 2).map(|i| 25 * at(i) + 5 * at(i + 1) + at(i + 2)).collect();
        Self { codes, triples, background: prefix, starts }
    }

    /// Number of sequences.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Places of a sequence, overhang included.
    pub(super) fn places(&self, sequence: usize) -> Range<usize> {
        self.starts[sequence]..self.starts[sequence + 1] - 1
    }

    /// Starts of the windows of `width` in a sequence.
    pub(super) fn windows(&self, sequence: usize, width: usize) -> Range<usize> {
        let places = self.places(sequence);
        places.start..(places.end + 1).saturating_sub(width).max(places.start)
    }

    /// Unknown letters before and after each sequence.
    pub(super) fn overhang(&self) -> usize {
        OVERHANG
    }

    /// Letters of a sequence without the overhang.
    pub(super) fn letters(&self, sequence: usize) -> &[u8] {
        let places = self.places(sequence);
        &self.codes[places.start + OVERHANG..places.end - OVERHANG]
    }
}

#[cfg(test)]
mod tests {
    use super::{Background, Pool, encode, reverse_complement};

    #[test]
    fn letters_of_either_case_are_known_and_others_are_not() {
        assert_eq!(encode(b"acGTnR-"), [0, 1, 2, 3, 4, 4, 4]);
    }

    #[test]
    fn the_other_strand_of_the_other_strand_is_the_first() {
        let codes = encode(b"ACGGTN");
        assert_eq!(reverse_complement(&codes), encode(b"NACCGT"));
        assert_eq!(reverse_complement(&reverse_complement(&codes)), codes);
    }

    #[test]
    fn windows_hang_over_both_edges() {
        let codes = encode(b"ACGTACGT");
        let background = Background::new([codes.as_slice()].into_iter(), true);
        let pool = Pool::new([codes.as_slice(), &codes].into_iter(), &background);
        assert_eq!(pool.len(), 2);
        assert_eq!(pool.windows(0, 6), 0..9);
        assert_eq!(pool.windows(1, 6).start, 15);
        assert!(pool.windows(1, 20).is_empty());
        assert_eq!(pool.letters(1), codes);
    }

    #[test]
    fn the_background_of_a_window_is_a_difference_of_sums() {
        let codes = encode(b"AAAA");
        let background = Background::new([codes.as_slice()].into_iter(), false);
        let pool = Pool::new([codes.as_slice()].into_iter(), &background);
        let after_the_first = pool.background[5] - pool.background[4];
        assert!((after_the_first - (4.0_f32 / 7.0).log2()).abs() < 1e-6);
    }
}
