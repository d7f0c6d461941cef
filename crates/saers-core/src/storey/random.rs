//! The Mersenne Twister MT19937 with the seeding of 1998, which Tomtom's bootstrap uses.

use multiversion::multiversion;

const SIZE: usize = 624;
const SHIFT: usize = 397;
/// Most pairs of words that are yielded at once.
pub(super) const BLOCK: usize = SIZE / 2;

/// The generator: its state, and the words that it yields until the next state.
#[derive(Clone)]
pub(super) struct MersenneTwister {
    state: [u32; SIZE],
    words: [u32; SIZE],
    next: usize,
}

impl MersenneTwister {
    /// Starts from a seed: s[i] = 69069 s[i - 1].
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for i in 1..SIZE {
            state[i] = state[i - 1].wrapping_mul(69_069);
        }
        Self { state, words: [0; SIZE], next: SIZE }
    }

    /// Yields at most `count` pairs of words, and at least one; no more than [`BLOCK`].
    pub fn pairs(&mut self, count: usize) -> &[[u32; 2]] {
        if self.next == SIZE {
            advance(&mut self.state);
            temper_all(&self.state, &mut self.words);
            self.next = 0;
        }
        let first = self.next;
        self.next = SIZE.min(first + 2 * count);
        self.words[first..self.next].as_chunks().0
    }

    /// Moves on as if `count` pairs had been drawn.
    pub fn skip(&mut self, count: usize) {
        let mut left = 2 * count;
        while left > SIZE - self.next {
            left -= SIZE - self.next;
            advance(&mut self.state);
            self.next = 0;
        }
        temper_all(&self.state, &mut self.words);
        self.next += left;
    }
}

/// A number in [0, 1) of two words, the first one the higher.
pub(super) fn uniform([high, low]: [u32; 2]) -> f64 {
    (u64::from(high) << 32 | u64::from(low)) as f64 * 2.0_f64.powi(-64)
}

/// Puts the next state in the place of a state. Word `i` takes part of the words after it and of
/// word `i + SHIFT`, counted around: in three stretches, none of which reads what it has written.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn advance(state: &mut [u32; SIZE]) {
    const FIRST: usize = SIZE - SHIFT;
    for i in 0..FIRST {
        state[i] = state[i + SHIFT] ^ twist(state[i], state[i + 1]);
    }
    for i in FIRST..2 * FIRST {
        state[i] = state[i - FIRST] ^ twist(state[i], state[i + 1]);
    }
    for i in 2 * FIRST..SIZE - 1 {
        state[i] = state[i - FIRST] ^ twist(state[i], state[i + 1]);
    }
    state[SIZE - 1] = state[SHIFT - 1] ^ twist(state[SIZE - 1], state[0]);
}

/// Makes the words that a state yields.
#[multiversion(targets("x86_64+avx512f", "x86_64+avx2"))]
fn temper_all(state: &[u32; SIZE], words: &mut [u32; SIZE]) {
    for (word, &of) in words.iter_mut().zip(state) {
        *word = temper(of);
    }
}

#[inline(always)]
fn twist(word: u32, after: u32) -> u32 {
    let mixed = (word & 0x8000_0000) | (after & 0x7fff_ffff);
    (mixed >> 1) ^ (0x9908_b0df & (mixed & 1).wrapping_neg())
}

#[inline(always)]
fn temper(word: u32) -> u32 {
    let word = word ^ (word >> 11);
    let word = word ^ ((word << 7) & 0x9d2c_5680);
    let word = word ^ ((word << 15) & 0xefc6_0000);
    word ^ (word >> 18)
}

#[cfg(test)]
mod tests {
    use super::{MersenneTwister, SHIFT, SIZE, temper, twist};

    #[test]
    fn the_first_words_are_those_of_the_authors_1998_program() {
        let mut random = MersenneTwister::new(4357);
        assert_eq!(random.pairs(2), [[3_510_405_877, 4_290_933_890], [2_191_955_339, 564_929_546]]);
    }

    /// Words as the definition has them, one after another in one array.
    fn naive(count: usize) -> Vec<u32> {
        let mut state = MersenneTwister::new(4357).state;
        let mut words = Vec::new();
        while words.len() < count {
            for i in 0..SIZE {
                state[i] = state[(i + SHIFT) % SIZE] ^ twist(state[i], state[(i + 1) % SIZE]);
            }
            words.extend(state.map(temper));
        }
        words.truncate(count);
        words
    }

    #[test]
    fn words_are_those_of_the_definition_however_many_are_asked_for() {
        let mut random = MersenneTwister::new(4357);
        let mut words = Vec::new();
        for count in [1, 700, 311, 1, 3, 2000].repeat(4) {
            words.extend_from_slice(random.pairs(count).as_flattened());
        }
        assert_eq!(words, naive(words.len()));
    }

    #[test]
    fn what_is_skipped_is_what_would_have_been_drawn() {
        for count in [0, 1, 311, 312, 313, 624, 100_000] {
            let mut random = MersenneTwister::new(4357);
            random.pairs(5);
            random.skip(count);
            assert_eq!(random.pairs(1)[0], naive(2 * count + 12)[2 * count + 10..]);
        }
    }
}
