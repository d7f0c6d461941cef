//! A small generator of random numbers that is the same on every machine and in every release.

/// SplitMix64: one 64-bit word of state, good enough to shuffle sequences.
pub(super) struct Random(u64);

impl Random {
    /// Starts a stream; different seeds give unrelated streams.
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// Draws a number in `0..bound`; the bias is below `bound` / 2^32.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (((mix(self.0) >> 32) * bound as u64) >> 32) as usize
    }
}

/// Hashes a sequence of codes, so that what is drawn for it does not depend on its place.
pub(super) fn hash(seed: u64, codes: &[u8]) -> u64 {
    codes.iter().fold(mix(seed ^ codes.len() as u64), |state, &code| {
        mix(state ^ (u64::from(code) + 1)).wrapping_add(0x9E37_79B9_7F4A_7C15)
    })
}

fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Random, hash};

    #[test]
    fn every_value_below_the_bound_is_drawn_about_equally_often() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 6];
        for _ in 0..60_000 {
            counts[random.below(6)] += 1;
        }
        assert!(counts.iter().all(|&n| (9_500..10_500).contains(&n)), "{counts:?}");
    }

    #[test]
    fn the_hash_depends_on_seed_order_and_length() {
        let base = hash(0, &[0, 1, 2]);
        assert!(
            [hash(1, &[0, 1, 2]), hash(0, &[2, 1, 0]), hash(0, &[0, 1])].iter().all(|&h| h != base)
        );
    }
}
