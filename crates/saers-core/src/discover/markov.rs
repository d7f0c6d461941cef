//! Sequences drawn from a Markov chain: controls that hold the short words of the sequences.
//!
//! A shuffle keeps pairs of letters, but genomes prefer and avoid longer words as well (runs of A,
//! CACACA, AGAAA), and such words would crowd out rare motifs. A chain of order 2 keeps words of
//! three; one for each of four ranks of G and C content keeps what differs between sequences. (Of
//! order 3 it would learn a rare motif with CG inside, and find nothing in it.)

use super::background::Ranks;
use super::random::{Random, hash};

/// Letters that the next one depends on.
const ORDER: usize = 2;
/// Ranks of G and C content, each with a chain of its own.
const RANKS: usize = 4;
/// Letters of the chain of one letter less that each context counts as seen beforehand.
const PRIOR: f64 = 8.0;

/// For contexts of 0 to [`ORDER`] letters: cumulative probabilities, in parts of 2^16.
struct Chain {
    steps: [Vec<[u32; 3]>; ORDER + 1],
}

/// Chains of sequences of like G and C content.
pub(super) struct Chains {
    chains: Vec<Chain>,
    ranks: Ranks,
}

impl Chains {
    /// Counts the words of the sequences.
    pub(super) fn new(sequences: &[Vec<u8>]) -> Self {
        let slices: Vec<&[u8]> = sequences.iter().map(Vec::as_slice).collect();
        let ranks = Ranks::new(&slices, RANKS);
        let mut groups = vec![Vec::new(); RANKS];
        for codes in slices {
            groups[ranks.of(codes)].push(codes);
        }
        let all = Counts::new(sequences.iter().map(Vec::as_slice)).probabilities(None);
        let chain = |group: &Vec<&[u8]>| {
            Chain::new(&Counts::new(group.iter().copied()).probabilities(Some(&all)))
        };
        Self { chains: groups.iter().map(chain).collect(), ranks }
    }

    /// Draws sequences like the given ones; unknown letters stay where they are.
    pub(super) fn draw(&self, sequences: &[Vec<u8>], copies: usize, seed: u64) -> Vec<Vec<u8>> {
        let mut made = Vec::with_capacity(sequences.len() * copies);
        for codes in sequences {
            let mut random = Random::new(hash(seed, codes));
            let chain = &self.chains[self.ranks.of(codes)];
            made.extend((0..copies).map(|_| chain.draw(codes, &mut random)));
        }
        made
    }
}

impl Chain {
    fn new(probabilities: &[Vec<[f64; 4]>; ORDER + 1]) -> Self {
        let cumulative = |row: &[f64; 4]| {
            let mut sum = 0.0;
            [0, 1, 2].map(|letter| {
                sum += row[letter];
                (sum * 65_536.0) as u32
            })
        };
        Self { steps: probabilities.each_ref().map(|rows| rows.iter().map(cumulative).collect()) }
    }

    fn draw(&self, like: &[u8], random: &mut Random) -> Vec<u8> {
        let (mut context, mut known) = (0, 0);
        let letter = |&code: &u8| {
            if code > 3 {
                known = 0;
                return code;
            }
            let order = known.min(ORDER);
            let steps = &self.steps[order][context & ((1 << (2 * order)) - 1)];
            let at = random.below(65_536) as u32;
            let drawn = steps.iter().map(|&step| u8::from(at >= step)).sum::<u8>();
            context = context << 2 | usize::from(drawn);
            known += 1;
            drawn
        };
        like.iter().map(letter).collect()
    }
}

/// How often each letter follows each context of up to [`ORDER`] letters.
struct Counts([Vec<[f64; 4]>; ORDER + 1]);

impl Counts {
    fn new<'a>(sequences: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut longest = vec![[0.0; 4]; 1 << (2 * ORDER)];
        for codes in sequences {
            for word in codes.windows(ORDER + 1).filter(|word| word.iter().all(|&code| code < 4)) {
                let context =
                    word[..ORDER].iter().fold(0, |sum, &code| sum << 2 | usize::from(code));
                longest[context][usize::from(word[ORDER])] += 1.0;
            }
        }
        let mut counts: [Vec<[f64; 4]>; ORDER + 1] =
            std::array::from_fn(|order| vec![[0.0; 4]; 1 << (2 * order)]);
        for order in 0..=ORDER {
            for (context, row) in longest.iter().enumerate() {
                let shorter = &mut counts[order][context & ((1 << (2 * order)) - 1)];
                shorter.iter_mut().zip(row).for_each(|(sum, count)| *sum += count);
            }
        }
        Self(counts)
    }

    /// Leans on other probabilities of the same contexts, or else on those of shorter ones.
    fn probabilities(
        &self,
        lean: Option<&[Vec<[f64; 4]>; ORDER + 1]>,
    ) -> [Vec<[f64; 4]>; ORDER + 1] {
        let mut made: [Vec<[f64; 4]>; ORDER + 1] = std::array::from_fn(|_| Vec::new());
        for order in 0..=ORDER {
            let prior = |context: usize| match (lean, order) {
                (Some(rows), _) => rows[order][context],
                (None, 0) => [0.25; 4],
                _ => made[order - 1][context & ((1 << (2 * (order - 1))) - 1)],
            };
            let rows = self.0[order].iter().enumerate().map(|(context, row)| {
                let (total, prior) = (row.iter().sum::<f64>() + PRIOR, prior(context));
                std::array::from_fn(|letter| (row[letter] + PRIOR * prior[letter]) / total)
            });
            made[order] = rows.collect();
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::Chains;

    fn random(n: usize, length: usize) -> Vec<Vec<u8>> {
        let mut random = Random::new(5);
        (0..n).map(|_| (0..length).map(|_| random.below(4) as u8).collect()).collect()
    }

    fn holding(word: &[u8], sequences: &[Vec<u8>]) -> usize {
        sequences.iter().filter(|codes| codes.windows(word.len()).any(|w| w == word)).count()
    }

    #[test]
    fn words_of_three_stay_as_frequent_and_longer_ones_do_not() {
        let mut sequences = random(2_000, 30);
        for codes in sequences.iter_mut().step_by(4) {
            codes[10..18].copy_from_slice(&[0, 1, 3, 2, 2, 0, 1, 3]);
        }
        let drawn = Chains::new(&sequences).draw(&sequences, 1, 1);
        let [before, after] = [&sequences, &drawn].map(|all| holding(&[0, 1, 3], all));
        assert!(after.abs_diff(before) < before / 4, "{before} {after}");
        let [before, after] =
            [&sequences, &drawn].map(|all| holding(&[0, 1, 3, 2, 2, 0, 1, 3], all));
        assert!(before >= 500 && after < 60, "{before} {after}");
    }

    #[test]
    fn each_sequence_keeps_its_length_its_unknown_letters_and_about_its_strong_ones() {
        let mut sequences = random(400, 50);
        for codes in sequences.iter_mut().skip(200) {
            codes.iter_mut().for_each(|code| *code = 1 + *code % 2);
        }
        sequences[7][20] = 4;
        let drawn = Chains::new(&sequences).draw(&sequences, 2, 3);
        assert_eq!(drawn.len(), 800);
        assert_eq!((drawn[14].len(), drawn[14][20], drawn[15][20]), (50, 4, 4));
        let strong = |codes: &[u8]| codes.iter().filter(|code| (1..3).contains(*code)).count();
        assert!(drawn[500..].iter().all(|codes| strong(codes) > 35));
        assert!(drawn[..400].iter().map(|codes| strong(codes)).sum::<usize>() < 400 * 32);
    }
}
