//! Words that more sequences than controls hold, from which the search starts.

use super::enrichment::likelihood_ratio;
use super::pool::Pool;

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
/// which costs far less than to tell, and meets sequences and controls alike.
pub(super) fn enriched_words(
    pools: [&Pool; 2],
    k: usize,
    mismatches: usize,
    both_strands: bool,
    count: usize,
) -> Vec<Seed> {
    let canonical = canonical_words(k, both_strands);
    let [hits, controls] = pools.map(|pool| {
        let counts = presence(pool, k, &canonical);
        if mismatches > 0 { with_neighbours(&counts, k, &canonical, pool.len()) } else { counts }
    });
    let (n, m) = (pools[0].len(), pools[1].len());
    let mut seeds: Vec<(f64, usize)> = (0..hits.len())
        .filter(|&word| {
            let expected = f64::from(controls[word]) * n as f64 / m as f64;
            let excess = f64::from(hits[word]) - expected;
            hits[word] > 2 && excess * excess > 4.0 * (expected + 1.0) && excess > 0.0
        })
        .map(|word| (likelihood_ratio(hits[word] as usize, n, controls[word] as usize, m), word))
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

/// The word that stands for each word and its reverse complement.
fn canonical_words(k: usize, both_strands: bool) -> Vec<u32> {
    (0..1_u32 << (2 * k))
        .map(|word| {
            let turned = (0..k).fold(0, |turned, i| turned << 2 | (3 - (word >> (2 * i) & 3)));
            if both_strands { word.min(turned) } else { word }
        })
        .collect()
}

/// Counts the sequences that hold each canonical word where sites are likely.
fn presence(pool: &Pool, k: usize, canonical: &[u32]) -> Vec<u32> {
    let mut counts = vec![0; canonical.len()];
    let mut seen = vec![u32::MAX; canonical.len()];
    for sequence in 0..pool.len() {
        let (mut word, mut known) = (0, 0);
        for &code in pool.likely_letters(sequence) {
            known = if code < 4 { known + 1 } else { 0 };
            word = (word << 2 | usize::from(code & 3)) & (canonical.len() - 1);
            let index = canonical[word] as usize;
            if known >= k && seen[index] != sequence as u32 {
                seen[index] = sequence as u32;
                counts[index] += 1;
            }
        }
    }
    counts
}

/// Adds the counts of all words that differ in one letter, up to `most`.
fn with_neighbours(counts: &[u32], k: usize, canonical: &[u32], most: usize) -> Vec<u32> {
    let full: Vec<u32> = canonical.iter().map(|&word| counts[word as usize]).collect();
    let sum = |(word, &stands_for): (usize, &u32)| {
        if word != stands_for as usize {
            return 0;
        }
        let others = (0..k).flat_map(|place| (1..4).map(move |other| other << (2 * place)));
        (full[word] + others.map(|other| full[word ^ other]).sum::<u32>()).min(most as u32)
    };
    canonical.iter().enumerate().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pool::{Background, Pool, encode};
    use super::{are_shifts, canonical_words, enriched_words, presence, with_neighbours};

    fn pool(sequences: &[&[u8]]) -> Pool {
        let codes: Vec<Vec<u8>> = sequences.iter().map(|s| encode(s)).collect();
        let all = || codes.iter().map(Vec::as_slice);
        Pool::new(all(), &Background::new(all(), true))
    }

    #[test]
    fn a_word_counts_once_a_sequence_on_either_strand() {
        let pool = pool(&[b"AACAAC", b"GTTNA", b"CCCCC"]);
        let counts = presence(&pool, 3, &canonical_words(3, true));
        assert_eq!(counts[1], 2); // AAC, seen as GTT in the second
        assert_eq!(counts[0b101111], 0); // GTT is counted as AAC
        let one_strand = presence(&pool, 3, &canonical_words(3, false));
        assert_eq!((one_strand[1], one_strand[0b101111]), (1, 1));
    }

    #[test]
    fn one_mismatch_reaches_all_neighbours() {
        let words = canonical_words(3, false);
        let counts = presence(&pool(&[b"AAA", b"AAA", b"AAC"]), 3, &words);
        let near = with_neighbours(&counts, 3, &words, 3);
        assert_eq!((near[0], near[1], near[5], near[21]), (3, 3, 1, 0));
        assert_eq!(near.iter().filter(|&&count| count > 0).count(), 16);
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
