//! The Mersenne Twister MT19937 with the seeding of 1998, which Tomtom's bootstrap uses.

const SIZE: usize = 624;
const SHIFT: usize = 397;

/// State of the generator.
pub(super) struct MersenneTwister {
    state: [u32; SIZE],
    next: usize,
}

impl MersenneTwister {
    /// Starts from a seed: s[i] = 69069 s[i - 1].
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; SIZE];
        for i in 1..SIZE {
            state[i] = state[i - 1].wrapping_mul(69_069);
        }
        Self { state, next: SIZE }
    }

    /// Draws a number in [0, 1) from two words, the first one the higher.
    pub fn uniform(&mut self) -> f64 {
        let high = u64::from(self.word());
        let low = u64::from(self.word());
        ((high << 32) | low) as f64 * 2.0_f64.powi(-64)
    }

    fn word(&mut self) -> u32 {
        if self.next == SIZE {
            self.regenerate();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn regenerate(&mut self) {
        for i in 0..SIZE {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % SIZE] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % SIZE] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::MersenneTwister;

    #[test]
    fn the_first_words_are_those_of_the_authors_1998_program() {
        let mut random = MersenneTwister::new(4357);
        let words: Vec<u32> = (0..3).map(|_| random.word()).collect();
        assert_eq!(words, [3_510_405_877, 4_290_933_890, 2_191_955_339]);
    }
}
