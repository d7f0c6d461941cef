//! Sequences as numbers, four letters at a time.

use super::Piece;

/// Letters that one look at a table scores together.
pub(super) const WORD: usize = 4;

/// What a letter that is none of A, C, G, T is coded as.
pub(super) const OTHER: u8 = 4;

/// A sequence as numbers.
pub(super) struct Coded {
    letters: Vec<u8>,
    /// Four letters from each position on, two bits each.
    words: Vec<u8>,
    /// Number of letters up to each position that are none of A, C, G, T.
    others: Vec<u32>,
    starts: usize,
}

impl Coded {
    pub fn new(piece: &Piece) -> Self {
        let letters: Vec<u8> = piece.letters.iter().map(|letter| code(*letter)).collect();
        let letter = |place: usize| letters.get(place).map_or(0, |letter| letter & 3);
        let words = (0..letters.len())
            .map(|start| (0..WORD).fold(0, |word, i| word << 2 | letter(start + i)))
            .collect();
        let mut others = Vec::with_capacity(letters.len() + 1);
        others.push(0);
        let mut count = 0;
        others.extend(letters.iter().map(|letter| {
            count += u32::from(*letter == OTHER);
            count
        }));
        Self { letters, words, others, starts: piece.starts }
    }

    /// Number of positions where a site of some width may start.
    pub fn places(&self, width: usize) -> usize {
        (self.letters.len() + 1).saturating_sub(width).min(self.starts)
    }

    /// The words from a position on, one behind the other.
    #[inline]
    pub fn words(&self, start: usize) -> impl Iterator<Item = u8> + '_ {
        self.words[start..].iter().step_by(WORD).copied()
    }

    /// Tells whether a stretch holds none but A, C, G and T.
    pub fn is_known(&self, start: usize, width: usize) -> bool {
        self.others[start] == self.others[start + width]
    }
}

/// Numbers a letter of either case.
pub(super) fn code(letter: u8) -> u8 {
    match letter {
        b'A' | b'a' => 0,
        b'C' | b'c' => 1,
        b'G' | b'g' => 2,
        b'T' | b't' | b'U' | b'u' => 3,
        _ => OTHER,
    }
}
