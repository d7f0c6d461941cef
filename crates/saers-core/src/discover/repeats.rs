//! Copies of interspersed repeats (Alu and its like), told from motifs by their length.
//!
//! A long word that several sequences hold is no chance; where such words cover a stretch longer
//! than any motif, the stretch is a copy of a repeat. Copies that differ too much for that are told
//! by what surrounds the sites of a matrix made of them.

use super::pool::OTHER;

/// Letters of a word.
const WORD: usize = 14;
/// Places at which a word must lie, on either strand, to be told from chance.
const COPIES: u8 = 4;
/// Places of the table for each letter; words that share a place are counted together.
const ROOM: usize = 8;
/// Letters between two shared words of one copy, where it differs from the others.
const GAP: usize = 10;
/// Letters in shared words that make a copy: more than the widest motif has, 30, and what stands
/// beside many sites of it alike by chance.
const COVERED: usize = 40;

/// Rows that a motif takes up at most.
const WIDEST: usize = 30;
/// Rows beyond these, on either side, in which sites of a repeat are alike.
const FAR: usize = 24;
/// Letters that a row must have to take part.
const FEWEST: f64 = 5.0;
/// Bits a row, and standard deviations of chance, by which the rows must differ. Of 44 planted sets
/// of human sequence, parts of Alu had 0.1 to 0.7 bits and 5 to 30 deviations, motifs at most 2.7.
const SURROUND_BITS: f64 = 0.05;
const SURROUND_DEVIATIONS: f64 = 4.0;

/// Finds stretches of sequences that are copies of one another: sequence, first place, end.
pub(super) fn copies(sequences: &[Vec<u8>]) -> Vec<(usize, usize, usize)> {
    let letters: usize = sequences.iter().map(Vec::len).sum();
    let bits = (letters * ROOM).next_power_of_two().trailing_zeros().clamp(10, 30);
    let mut counts = vec![0_u8; 1 << bits];
    for codes in sequences {
        words(codes, bits, |_, index| counts[index] = counts[index].saturating_add(1));
    }
    let mut found = Vec::new();
    for (sequence, codes) in sequences.iter().enumerate() {
        let mut stretch = Stretch::default();
        words(codes, bits, |start, index| {
            if counts[index] >= COPIES {
                found.extend(stretch.add(start).map(|(low, high)| (sequence, low, high)));
            }
        });
        found.extend(stretch.end().map(|(low, high)| (sequence, low, high)));
    }
    found
}

/// Rows on either side of a matrix that are looked at to tell whether it is part of a repeat.
pub(super) fn reach(width: usize) -> usize {
    WIDEST.saturating_sub(width) + FAR
}

/// Whether sites are alike farther away than a motif reaches, given the letters around them.
///
/// Beside the sites of a motif every row has the same frequencies, be they rich in A or in C, but
/// chance; rows of a repeat differ. A G-test of homogeneity over the outermost rows on both sides.
pub(super) fn surround(counts: &[[f64; 4]]) -> bool {
    let outer = counts[..FAR].iter().chain(&counts[counts.len() - FAR..]);
    let rows: Vec<(&[f64; 4], f64)> = outer
        .map(|row| (row, row.iter().sum::<f64>()))
        .filter(|(_, total)| *total >= FEWEST)
        .collect();
    let letters: [f64; 4] =
        std::array::from_fn(|letter| rows.iter().map(|(row, _)| row[letter]).sum());
    let all: f64 = letters.iter().sum();
    let term = |(row, total): &(&[f64; 4], f64)| {
        let pairs = row.iter().zip(&letters).filter(|(count, _)| **count > 0.0);
        pairs.map(|(count, of)| count * (count * all / (total * of)).ln()).sum::<f64>()
    };
    let freedom = 3.0 * rows.len().saturating_sub(1) as f64;
    let excess = 2.0 * rows.iter().map(term).sum::<f64>() - freedom;
    let bits = excess / (2.0 * std::f64::consts::LN_2 * all);
    freedom > 0.0 && bits > SURROUND_BITS && excess > SURROUND_DEVIATIONS * (2.0 * freedom).sqrt()
}

/// Makes the letters of stretches unknown.
pub(super) fn mask(sequences: &mut [Vec<u8>], stretches: &[(usize, usize, usize)]) {
    for &(sequence, low, high) in stretches {
        sequences[sequence][low..high].fill(OTHER);
    }
}

/// Shared words that follow each other closely.
#[derive(Default)]
struct Stretch {
    low: usize,
    high: usize,
    covered: usize,
}

impl Stretch {
    /// Takes a word in; returns the stretch before it if it does not belong to that.
    fn add(&mut self, start: usize) -> Option<(usize, usize)> {
        let closed = if start > self.high + GAP { self.end() } else { None };
        if self.covered == 0 {
            (self.low, self.high) = (start, start);
        }
        self.covered += start + WORD - start.max(self.high);
        self.high = start + WORD;
        closed
    }

    fn end(&mut self) -> Option<(usize, usize)> {
        let whole = std::mem::take(self);
        (whole.covered >= COVERED).then_some((whole.low, whole.high))
    }
}

/// Calls `visit` with the start and the place in the table of each word without unknown letters.
fn words(codes: &[u8], bits: u32, mut visit: impl FnMut(usize, usize)) {
    let (mut word, mut turned, mut known) = (0_u64, 0_u64, 0);
    for (end, &code) in codes.iter().enumerate() {
        known = if code < 4 { known + 1 } else { 0 };
        word = (word << 2 | u64::from(code & 3)) & ((1 << (2 * WORD)) - 1);
        turned = turned >> 2 | u64::from(3 - (code & 3)) << (2 * (WORD - 1));
        if known >= WORD {
            let index = word.min(turned).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - bits);
            visit(end + 1 - WORD, index as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::reverse_complement;
    use super::super::random::Random;
    use super::{copies, mask, reach, surround};

    fn random(n: usize, length: usize) -> Vec<Vec<u8>> {
        let mut random = Random::new(9);
        (0..n).map(|_| (0..length).map(|_| random.below(4) as u8).collect()).collect()
    }

    #[test]
    fn random_sequences_hold_no_copies() {
        assert_eq!(copies(&random(1_000, 150)), []);
        assert_eq!(copies(&[]), []);
    }

    #[test]
    fn copies_are_found_on_both_strands_and_with_differences() {
        let mut sequences = random(300, 100);
        let repeat = random(301, 60).swap_remove(300);
        for (i, codes) in sequences.iter_mut().step_by(30).enumerate() {
            let mut copy = if i % 2 == 0 { repeat.clone() } else { reverse_complement(&repeat) };
            copy[i % 60] ^= 1;
            codes[20..80].copy_from_slice(&copy);
        }
        let found = copies(&sequences);
        let held: Vec<usize> = found.iter().map(|found| found.0).collect();
        assert_eq!(held, (0..300).step_by(30).collect::<Vec<_>>());
        assert!(
            found.iter().all(|&(_, low, high)| low.abs_diff(20) < 25 && high.abs_diff(80) < 25)
        );
        mask(&mut sequences, &found);
        assert!(sequences[0].iter().filter(|&&code| code == 4).count() > 35);
        assert_eq!(copies(&sequences), []);
    }

    #[test]
    fn rows_that_differ_far_away_make_a_repeat_and_even_ones_do_not() {
        let mut random = Random::new(3);
        for (alike, expected) in [(0, false), (10, true)] {
            // All letters are drawn with three quarters A and T; those of a repeat are alike.
            let mut counts = vec![[0.0; 4]; 8 + 2 * reach(8)];
            for (place, row) in counts.iter_mut().enumerate() {
                row[place * 7 % 4] += f64::from(alike);
                (0..40).for_each(|_| row[[0, 0, 0, 1, 2, 3, 3, 3][random.below(8)]] += 1.0);
            }
            assert_eq!(surround(&counts), expected);
        }
        assert!(!surround(&vec![[0.0; 4]; 60]));
    }

    #[test]
    fn the_widest_motif_is_hardly_ever_a_copy() {
        let mut sequences = random(300, 100);
        let motif = random(301, 30).swap_remove(300);
        sequences.iter_mut().step_by(3).for_each(|codes| codes[40..70].copy_from_slice(&motif));
        // Beside a few of the 100 a word lies that others share by chance.
        assert!(copies(&sequences).len() < 10);
    }
}
