//! Shuffles of a sequence that keep every dinucleotide count.

use super::random::Random;

/// Shuffles codes in place; a code above 3 stays where it is and parts the sequence.
///
/// Between such places the dinucleotide counts, the first and the last letter are kept exactly,
/// and all sequences with these counts are equally likely (Altschul and Erickson 1985).
pub(super) fn shuffle(codes: &mut [u8], random: &mut Random) {
    codes.chunk_by_mut(|&a, &b| (a < 4) == (b < 4)).filter(|run| run[0] < 4).for_each(|run| {
        shuffle_run(run, random);
    });
}

fn shuffle_run(run: &mut [u8], random: &mut Random) {
    let (Some(&first), Some(&last)) = (run.first(), run.last()) else { return };
    let mut starts = [0_usize; 5];
    for &letter in &run[..run.len() - 1] {
        starts[usize::from(letter) + 1] += 1;
    }
    for letter in 0..4 {
        starts[letter + 1] += starts[letter];
    }
    let mut successors = vec![0_u8; run.len() - 1];
    let mut next = starts;
    for pair in run.windows(2) {
        let place = &mut next[usize::from(pair[0])];
        successors[*place] = pair[1];
        *place += 1;
    }
    choose_last_exits(&mut successors, &starts, last, random);
    for letter in 0..4_u8 {
        let (low, high) = (starts[usize::from(letter)], starts[usize::from(letter) + 1]);
        let free = if letter == last { high } else { high.max(low + 1) - 1 };
        for end in (low + 1..free).rev() {
            successors.swap(end, low + random.below(end + 1 - low));
        }
    }
    let mut next = starts;
    let mut letter = first;
    for slot in run.iter_mut().skip(1) {
        let place = &mut next[usize::from(letter)];
        letter = successors[*place];
        *place += 1;
        *slot = letter;
    }
}

/// Draws the last exit of each letter until they lead to the last letter from everywhere.
fn choose_last_exits(successors: &mut [u8], starts: &[usize; 5], last: u8, random: &mut Random) {
    loop {
        for letter in (0..4).filter(|&letter| letter != usize::from(last)) {
            let (low, high) = (starts[letter], starts[letter + 1]);
            if high > low {
                successors.swap(high - 1, low + random.below(high - low));
            }
        }
        let leads_home = |letter: usize| {
            let mut at = letter;
            for _ in 0..4 {
                if at == usize::from(last) {
                    return true;
                }
                at = usize::from(successors[starts[at + 1] - 1]);
            }
            false
        };
        if (0..4).filter(|&letter| starts[letter + 1] > starts[letter]).all(leads_home) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, shuffle};
    use proptest::prelude::*;
    use std::collections::{HashMap, HashSet};

    fn pairs(codes: &[u8]) -> HashMap<(u8, u8), usize> {
        let mut counts = HashMap::new();
        for pair in codes.windows(2) {
            *counts.entry((pair[0], pair[1])).or_default() += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn dinucleotides_and_unknown_letters_stay(
            codes in prop::collection::vec(0_u8..5, 0..80), seed: u64,
        ) {
            let mut shuffled = codes.clone();
            shuffle(&mut shuffled, &mut Random::new(seed));
            prop_assert_eq!(pairs(&shuffled), pairs(&codes));
            for (old, new) in codes.iter().zip(&shuffled) {
                prop_assert_eq!(*old == 4, *new == 4);
            }
        }
    }

    #[test]
    fn every_arrangement_comes_equally_often() {
        // ACAGACA has the arrangements that order the exits of A: C, G, C in three ways.
        let mut counts: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut random = Random::new(3);
        for _ in 0..9_000 {
            let mut codes = vec![0, 1, 0, 2, 0, 1, 0];
            shuffle(&mut codes, &mut random);
            *counts.entry(codes).or_default() += 1;
        }
        assert_eq!(counts.len(), 3);
        assert!(counts.values().all(|n| (2_800..3_200).contains(n)), "{counts:?}");
    }

    #[test]
    fn a_longer_sequence_takes_many_forms() {
        let codes: Vec<u8> = (0..34_u32).map(|i| ((i * i + i / 3) % 4) as u8).collect();
        let mut random = Random::new(0);
        let forms: HashSet<Vec<u8>> = (0..50)
            .map(|_| {
                let mut copy = codes.clone();
                shuffle(&mut copy, &mut random);
                copy
            })
            .collect();
        assert!(forms.len() > 45);
    }
}
