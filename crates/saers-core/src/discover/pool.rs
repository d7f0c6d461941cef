//! Sequences packed for scanning: letters, and what they cost under the background.

use std::ops::Range;

use super::background::Background;

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

/// Share of the sites of aligned sequences that may lie anywhere.
const ANYWHERE: f64 = 0.1;
/// Standard deviations on either side of the middle in which words are counted.
const REACH: f64 = 3.5;

/// Letters of unknown kind after the last sequence, so that vectors may be read past it.
const TAIL: usize = 64;

/// Steps of a score in a bit.
pub(super) const UNIT: f64 = 8.0;

/// Sequences one after the other, each with [`OVERHANG`] unknown letters on both sides.
pub(super) struct Pool {
    /// Code of each place.
    pub(super) codes: Vec<u8>,
    /// What precedes the place costs under the background, in steps; it wraps around.
    pub(super) costs: Vec<i16>,
    starts: Vec<usize>,
    /// Steps that a site gains by lying around a place.
    pub(super) bonus: Vec<i16>,
    /// Letters on either side of the middle where sites are likely.
    reach: usize,
    /// How much each sequence counts; 1 where nothing is said.
    weights: Vec<f64>,
}

impl Pool {
    /// Packs the sequences.
    pub(super) fn new<'a>(
        sequences: impl Iterator<Item = &'a [u8]>,
        background: &Background,
    ) -> Self {
        let (mut codes, mut costs, mut starts) = (Vec::new(), Vec::new(), vec![0]);
        for sequence in sequences {
            let from = codes.len();
            let bits = background.of(sequence);
            codes.extend([OTHER; OVERHANG]);
            codes.extend_from_slice(sequence);
            codes.extend([OTHER; OVERHANG + 1]);
            let (mut sum, mut previous) = (0.0, OTHER);
            for &code in &codes[from..] {
                // Differences of these are right as long as they fit, which 30 letters do.
                costs.push((sum * UNIT + 0.5) as i64 as i16);
                sum += bits[usize::from(previous)][usize::from(code)];
                previous = code;
            }
            starts.push(codes.len());
        }
        codes.extend([OTHER; TAIL]);
        costs.extend([0; TAIL]);
        let bonus = vec![0; codes.len()];
        Self { codes, costs, starts, bonus, reach: usize::MAX, weights: Vec::new() }
    }

    /// Favours sites around the middle of their sequence: one in ten is expected anywhere, the others
    /// at a normal distance from the middle, in letters, of this standard deviation.
    pub(super) fn aligned(mut self, deviation: f64) -> Self {
        for sequence in 0..self.len() {
            let places = self.places(sequence);
            let middle = (places.start + places.end) as f64 / 2.0;
            let bells = places.clone().map(|place| {
                let distance = (place as f64 - middle) / deviation;
                (-0.5 * distance * distance).exp()
            });
            let bells: Vec<f64> = bells.collect();
            let mean = bells.iter().sum::<f64>() / bells.len() as f64;
            for (place, bell) in places.zip(bells) {
                let likelier = ANYWHERE + (1.0 - ANYWHERE) * bell / mean;
                self.bonus[place] = (likelier.log2() * UNIT).round() as i16;
            }
        }
        self.reach = (REACH * deviation).ceil() as usize;
        self
    }

    /// Letters of a sequence where sites are likely: all of them, or those around the middle.
    pub(super) fn likely_letters(&self, sequence: usize) -> &[u8] {
        let letters = self.letters(sequence);
        let middle = letters.len() / 2;
        let high = middle.saturating_add(self.reach).min(letters.len());
        &letters[middle.saturating_sub(self.reach)..high]
    }

    /// Lets the sequences count by their weights.
    pub(super) fn weighted(self, weights: &[f64]) -> Self {
        Self { weights: weights.to_vec(), ..self }
    }

    /// Number of sequences.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// Place after the last sequence.
    pub(super) fn end(&self) -> usize {
        self.starts[self.len()]
    }

    /// How much a site in this sequence counts.
    pub(super) fn weight(&self, sequence: usize) -> f64 {
        self.weights.get(sequence).copied().unwrap_or(1.0)
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
    use super::super::background::Background;
    use super::{Pool, UNIT, encode, reverse_complement};

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
    fn the_middle_is_favoured_alike_on_both_sides() {
        let codes = [0; 61];
        let background = Background::new([codes.as_slice()].into_iter(), true);
        let pool = Pool::new([codes.as_slice(), &codes].into_iter(), &background).aligned(5.0);
        let bonus = &pool.bonus[pool.places(1)];
        let reverse: Vec<i16> = bonus.iter().rev().copied().collect();
        assert_eq!(bonus[1..], reverse[..reverse.len() - 1]);
        // At the edges one site in ten is as likely as anywhere: log2 of that in eighths of a bit.
        assert_eq!((bonus[0], bonus.iter().max()), (-27, bonus.get(33)));
        let mean =
            bonus.iter().map(|&b| (f64::from(b) / UNIT).exp2()).sum::<f64>() / bonus.len() as f64;
        assert!((mean - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn words_are_counted_around_the_middle_of_aligned_sequences() {
        let codes: Vec<Vec<u8>> = [61, 20, 0].map(|length| vec![0; length]).to_vec();
        let all = || codes.iter().map(Vec::as_slice);
        let pool = || Pool::new(all(), &Background::new(all(), true));
        let lengths = |pool: &Pool| [0, 1, 2].map(|i| pool.likely_letters(i).len());
        assert_eq!(lengths(&pool()), [61, 20, 0]);
        assert_eq!(lengths(&pool().aligned(5.0)), [36, 20, 0]);
    }

    #[test]
    fn the_background_of_a_window_is_a_difference_of_sums() {
        let codes = encode(b"AAAA");
        let background = Background::new([codes.as_slice()].into_iter(), false);
        let pool = Pool::new([codes.as_slice()].into_iter(), &background);
        let expected = 2.0 * background.of(&codes)[0][0] * UNIT;
        assert!((f64::from(pool.costs[6] - pool.costs[4]) - expected).abs() <= 1.0);
    }
}
