//! Words that more sequences than controls hold, from which the search starts.

use super::enrichment::likelihood_ratio;
use super::pool::Pool;

/// Sequences in which a word must occur.
const FEWEST: u32 = 2;

/// A word and how strongly it is enriched.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seed {
    /// Codes of its letters.
    pub(super) word: Vec<u8>,
    /// Twice the log likelihood ratio of its presence.
    pub(super) enrichment: f64,
}

/// Lists the best words of length `k`, best first, at most `count`; ties in order of the word.
///
/// A sequence holds a word on either strand if `both_strands`. With a mismatch, the counts of the
/// words that differ in one letter are added: a sequence that holds several counts several times,
/// which costs far less than to tell, and meets sequences and controls alike. The word itself must
/// occur in [`FEWEST`] sequences.
pub(super) fn enriched_words(
    pools: [&Pool; 2],
    k: usize,
    mismatches: usize,
    both_strands: bool,
    count: usize,
) -> Vec<Seed> {
    let [hits, controls] = pools.map(|pool| presence(pool, k, both_strands));
    let (n, m) = (pools[0].len(), pools[1].len());
    let mut seeds: Vec<(f64, usize)> = (0..hits.len())
        .filter(|&word| hits[word][0] >= FEWEST)
        .filter_map(|word| {
            let near = |counts: &[Entry]| match mismatches {
                0 => counts[word][0],
                _ => with_neighbours(counts, word, k, both_strands),
            };
            let (hit, control) = (near(&hits), near(&controls));
            let expected = f64::from(control) * n as f64 / m as f64;
            let excess = f64::from(hit) - expected;
            let enriched = hit > 2 && excess * excess > 4.0 * (expected + 1.0) && excess > 0.0;
            let [hit, control] =
                [(hit, n), (control, m)].map(|(count, of)| (count as usize).min(of));
            enriched.then(|| (likelihood_ratio(hit, n, control, m), word))
        })
        .collect();
    seeds.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let letters = |word: usize| (0..k).rev().map(|place| (word >> (2 * place) & 3) as u8).collect();
    let best = seeds.into_iter().take(count);
    best.map(|(enrichment, word)| Seed { word: letters(word), enrichment }).collect()
}

/// Whether two words share all but one letter of an overlap of all but two places.
pub(super) fn are_shifts(a: &[u8], b: &[u8], both_strands: bool) -> bool {
    let alike = |a: &[u8], b: &[u8]| {
        (0..3.min(a.len())).any(|shift| {
            let overlap = (a.len() - shift).min(b.len());
            let same = a[shift..].iter().zip(b).filter(|(x, y)| x == y).count();
            overlap + 2 >= a.len().min(b.len()) && same + 1 >= overlap
        })
    };
    let turned = super::pool::reverse_complement(b);
    alike(a, b) || alike(b, a) || (both_strands && (alike(a, &turned) || alike(&turned, a)))
}

/// The word of length `k` that reads the same on the other strand.
fn turned(word: usize, k: usize) -> usize {
    let pairs = (!word as u32).reverse_bits();
    // Reversed were bits; the two of a letter are put in order again.
    let letters = (pairs & 0x5555_5555) << 1 | pairs >> 1 & 0x5555_5555;
    (letters >> (32 - 2 * k)) as usize
}

/// The word that stands for a word and its reverse complement.
fn canonical(word: usize, k: usize, both_strands: bool) -> usize {
    if both_strands { word.min(turned(word, k)) } else { word }
}

/// Sequences that hold a word, and one more than the index of the last of them.
type Entry = [u32; 2];

/// Counts the sequences that hold each canonical word where sites are likely.
fn presence(pool: &Pool, k: usize, both_strands: bool) -> Vec<Entry> {
    // Count and last sequence lie side by side: a long table is read from far memory.
    let mut table = vec![[0_u32; 2]; 1 << (2 * k)];
    for sequence in 0..pool.len() {
        let (mut word, mut known) = (0, 0);
        for &code in pool.likely_letters(sequence) {
            known = if code < 4 { known + 1 } else { 0 };
            word = (word << 2 | usize::from(code & 3)) & (table.len() - 1);
            if known < k {
                continue;
            }
            let [count, last] = &mut table[canonical(word, k, both_strands)];
            if *last != sequence as u32 + 1 {
                *last = sequence as u32 + 1;
                *count += 1;
            }
        }
    }
    table
}

/// Adds the counts of all words that differ in one letter from a word.
fn with_neighbours(counts: &[Entry], word: usize, k: usize, both_strands: bool) -> u32 {
    let others = (0..k).flat_map(|place| (1..4).map(move |other| other << (2 * place)));
    let near = others.map(|other| counts[canonical(word ^ other, k, both_strands)][0]);
    counts[word][0] + near.sum::<u32>()
}

#[cfg(test)]
mod tests {
    use super::super::background::Background;
    use super::super::pool::{Pool, encode, reverse_complement};
    use super::{are_shifts, canonical, enriched_words, presence, with_neighbours};

    fn pool(sequences: &[&[u8]]) -> Pool {
        let codes: Vec<Vec<u8>> = sequences.iter().map(|s| encode(s)).collect();
        let all = || codes.iter().map(Vec::as_slice);
        Pool::new(all(), &Background::new(all(), true))
    }

    #[test]
    fn a_word_counts_once_a_sequence_on_either_strand() {
        let pool = pool(&[b"AACAAC", b"GTTNA", b"CCCCC"]);
        let counts = presence(&pool, 3, true);
        assert_eq!(counts[1][0], 2); // AAC, seen as GTT in the second
        assert_eq!(counts[0b101111][0], 0); // GTT is counted as AAC
        let one_strand = presence(&pool, 3, false);
        assert_eq!((one_strand[1][0], one_strand[0b101111][0]), (1, 1));
    }

    #[test]
    fn the_first_word_of_a_pair_of_strands_stands_for_both() {
        for k in [3, 9] {
            for word in (0..1 << (2 * k)).step_by(7) {
                let letters: Vec<u8> =
                    (0..k).rev().map(|place| (word >> (2 * place) & 3) as u8).collect();
                let turned = reverse_complement(&letters);
                let turned = turned.iter().fold(0, |sum, &code| sum << 2 | usize::from(code));
                assert_eq!(canonical(word, k, true), word.min(turned));
                assert_eq!(canonical(word, k, false), word);
            }
        }
    }

    #[test]
    fn one_mismatch_reaches_all_neighbours() {
        let counts = presence(&pool(&[b"AAA", b"AAA", b"AAC"]), 3, false);
        let near = |word| with_neighbours(&counts, word, 3, false);
        assert_eq!((near(0), near(1), near(5), near(21)), (3, 3, 1, 0));
        assert_eq!((0..64).filter(|&word| near(word) > 0).count(), 16);
        let counts = presence(&pool(&[b"AAC", b"GTT", b"TTT"]), 3, true);
        // AAA is one letter away, whichever strand it is seen on.
        assert_eq!(with_neighbours(&counts, 1, 3, true), 3);
    }

    #[test]
    fn the_planted_word_comes_first() {
        let sequences: Vec<&[u8]> =
            vec![b"CATGACTCATG", b"TTTGACTCAAC", b"GGTGACTCACC", b"ACTGAGTCAGG"];
        let controls: Vec<&[u8]> =
            vec![b"CAGTCTACATG", b"TTCTTGACAAC", b"GGTCGAATCCC", b"ACGTGTAACGG"];
        let seeds = enriched_words([&pool(&sequences), &pool(&controls)], 7, 0, true, 5);
        assert_eq!(seeds[0].word, encode(b"TGACTCA"));
    }

    #[test]
    fn shifted_words_are_known_as_one() {
        let word = |s: &[u8]| encode(s);
        assert!(are_shifts(&word(b"TGACTCA"), &word(b"GACTCAT"), true));
        assert!(are_shifts(&word(b"TGGCTC"), &word(b"AGAGCCAG"), true));
        assert!(!are_shifts(&word(b"TGGCTC"), &word(b"AGAGCCAG"), false));
        assert!(!are_shifts(&word(b"TGACTCA"), &word(b"CCCGCCC"), true));
    }
}
