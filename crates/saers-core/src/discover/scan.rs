//! Log-odds scores of a matrix along packed sequences, three letters at a time.

use super::pool::Pool;
use super::profile::Profile;

/// The best site of one sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Site {
    /// Log2 odds against the background; -inf where no window fits.
    pub(super) score: f32,
    /// Place of its leftmost letter in the pool.
    pub(super) start: usize,
    /// Whether the motif lies on the other strand.
    pub(super) reverse: bool,
}

/// A matrix made ready for scanning.
pub(super) struct Scanner {
    /// For each three rows: sum of log2 probabilities of a triple, on both strands.
    blocks: Vec<[[f32; 2]; 128]>,
    width: usize,
    both_strands: bool,
}

impl Scanner {
    /// Prepares the tables; an unknown letter scores 0.
    pub(super) fn new(profile: &Profile, both_strands: bool) -> Self {
        let strands = [profile.clone(), profile.reverse_complement()].map(|turned| {
            let logs = turned.rows.iter().map(|row| {
                let [a, c, g, t] = row.map(|p| p.log2() as f32);
                [a, c, g, t, 0.0]
            });
            logs.collect::<Vec<[f32; 5]>>()
        });
        let width = profile.width();
        let blocks = (0..width.div_ceil(3)).map(|block| {
            let mut table = [[0.0; 2]; 128];
            for (triple, sums) in table.iter_mut().enumerate().take(125) {
                for (offset, code) in
                    [triple / 25, triple / 5 % 5, triple % 5].into_iter().enumerate()
                {
                    for (sum, logs) in sums.iter_mut().zip(&strands) {
                        *sum += logs.get(3 * block + offset).map_or(0.0, |row| row[code]);
                    }
                }
            }
            table
        });
        Self { blocks: blocks.collect(), width, both_strands }
    }

    /// Finds the best site of every sequence; ties go to the lower place, then to the given strand.
    pub(super) fn best(&self, pool: &Pool) -> Vec<Site> {
        // A loop of known length is unrolled, which halves the time of the whole search.
        match self.blocks.len() {
            2 => self.best_unrolled::<2>(pool),
            3 => self.best_unrolled::<3>(pool),
            4 => self.best_unrolled::<4>(pool),
            5 => self.best_unrolled::<5>(pool),
            6 => self.best_unrolled::<6>(pool),
            7 => self.best_unrolled::<7>(pool),
            _ => (0..pool.len())
                .map(|i| self.best_of(pool, i, |start| self.at(pool, start)))
                .collect(),
        }
    }

    fn best_unrolled<const BLOCKS: usize>(&self, pool: &Pool) -> Vec<Site> {
        let Some(blocks) = self.blocks.first_chunk::<BLOCKS>() else { return Vec::new() };
        let at = |start: usize| {
            let [mut forward, mut reverse] = self.background(pool, start);
            let triples = &pool.triples[start..start + 3 * BLOCKS];
            for (block, table) in blocks.iter().enumerate() {
                let scores = table[usize::from(triples[3 * block] & 127)];
                forward += scores[0];
                reverse += scores[1];
            }
            [forward, reverse]
        };
        (0..pool.len()).map(|sequence| self.best_of(pool, sequence, at)).collect()
    }

    fn best_of(&self, pool: &Pool, sequence: usize, at: impl Fn(usize) -> [f32; 2]) -> Site {
        let mut best = Site { score: f32::NEG_INFINITY, start: 0, reverse: false };
        for start in pool.windows(sequence, self.width) {
            let [forward, reverse] = at(start);
            if forward > best.score {
                best = Site { score: forward, start, reverse: false };
            }
            if self.both_strands && reverse > best.score {
                best = Site { score: reverse, start, reverse: true };
            }
        }
        best
    }

    /// Scores of the window at a place: as it stands, and on the other strand.
    fn at(&self, pool: &Pool, start: usize) -> [f32; 2] {
        let mut sums = self.background(pool, start);
        for (block, &triple) in self.blocks.iter().zip(pool.triples[start..].iter().step_by(3)) {
            let scores = block[usize::from(triple & 127)];
            sums[0] += scores[0];
            sums[1] += scores[1];
        }
        sums
    }

    fn background(&self, pool: &Pool, start: usize) -> [f32; 2] {
        [pool.background[start] - pool.background[start + self.width]; 2]
    }

    /// Lists the scores of all windows of a sequence, one row a window.
    pub(super) fn all_of(&self, pool: &Pool, sequence: usize, scores: &mut Vec<[f32; 2]>) {
        scores.clear();
        scores.extend(pool.windows(sequence, self.width).map(|start| {
            let [forward, reverse] = self.at(pool, start);
            [forward, if self.both_strands { reverse } else { f32::NEG_INFINITY }]
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Background, Pool, encode, reverse_complement};
    use super::{Profile, Scanner};
    use proptest::prelude::*;

    fn pool(codes: &[u8]) -> Pool {
        Pool::new([codes].into_iter(), &Background::new([codes].into_iter(), false))
    }

    /// The score of a window letter by letter.
    fn slow(profile: &Profile, pool: &Pool, start: usize) -> f32 {
        let window = &pool.codes[start..start + profile.width()];
        let odds: f64 = window
            .iter()
            .zip(&profile.rows)
            .filter(|&(&code, _)| code < 4)
            .map(|(&code, row)| row[usize::from(code)].log2())
            .sum();
        odds as f32 - (pool.background[start + profile.width()] - pool.background[start])
    }

    proptest! {
        #[test]
        fn the_tables_give_the_scores_of_single_letters(
            codes in prop::collection::vec(0_u8..5, 30..60),
            word in prop::collection::vec(0_u8..4, 4..31),
        ) {
            let (pool, profile) = (pool(&codes), Profile::from_word(&word));
            let scanner = Scanner::new(&profile, true);
            let mut scores = Vec::new();
            scanner.all_of(&pool, 0, &mut scores);
            let best = scores.iter().flatten().copied().fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(scanner.best(&pool)[0].score, best);
            for (start, [forward, reverse]) in scores.iter().enumerate() {
                prop_assert!((forward - slow(&profile, &pool, start)).abs() < 1e-3);
                let turned = profile.reverse_complement();
                prop_assert!((reverse - slow(&turned, &pool, start)).abs() < 1e-3);
            }
        }
    }

    #[test]
    fn the_site_is_found_on_either_strand() {
        let word = encode(b"TGACTCA");
        let scanner = Scanner::new(&Profile::from_word(&word), true);
        let here = encode(b"GGGGGTGACTCATTTTT");
        let site = scanner.best(&pool(&here))[0];
        assert_eq!((site.start, site.reverse), (8, false));
        let there = scanner.best(&pool(&reverse_complement(&here)))[0];
        assert_eq!((there.start, there.reverse), (8, true));
    }

    #[test]
    fn a_sequence_shorter_than_the_motif_has_no_site() {
        let scanner = Scanner::new(&Profile::from_word(&[0; 20]), true);
        assert_eq!(scanner.best(&pool(&[0, 1, 2]))[0].score, f32::NEG_INFINITY);
    }
}
