//! Behaviour of the whole search.

use super::random::Random;
use super::{Discovery, Options, discover};
use crate::Error;
use proptest::prelude::*;
use std::time::Duration;

/// Sequences of random letters; those of `shares` carry a word at a random place and strand.
fn planted(n: usize, length: usize, shares: &[(&[u8], f64)], seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut made: Vec<Vec<u8>> = Vec::new();
    let mut next = 0.0;
    let owner =
        |i: usize, low: f64, high: f64| (low * n as f64..high * n as f64).contains(&(i as f64));
    for _ in 0..n {
        made.push((0..length).map(|_| b"ACGT"[random.below(4)]).collect());
    }
    for (word, share) in shares {
        for (_, sequence) in
            made.iter_mut().enumerate().filter(|(i, _)| owner(*i, next, next + share))
        {
            let at = random.below(length + 1 - word.len());
            sequence[at..at + word.len()].copy_from_slice(word);
            if random.below(2) == 1 {
                *sequence = turned(sequence);
            }
        }
        next += share;
    }
    made
}

fn turned(sequence: &[u8]) -> Vec<u8> {
    let complement = |letter: &u8| match letter {
        b'A' => b'T',
        b'C' => b'G',
        b'G' => b'C',
        b'T' => b'A',
        other => *other,
    };
    sequence.iter().rev().map(complement).collect()
}

fn consensus(motif: &Discovery) -> Vec<u8> {
    let best = |row: &[f64; 4]| (0..4).max_by(|&a, &b| row[a].total_cmp(&row[b]));
    motif.rows.iter().map(|row| b"ACGT"[best(row).unwrap()]).collect()
}

fn holds(motif: &Discovery, word: &[u8]) -> bool {
    let found = consensus(motif);
    [found.clone(), turned(&found)].iter().any(|s| s.windows(word.len()).any(|w| w == word))
}

fn run(sequences: &[Vec<u8>], options: &Options) -> Vec<Discovery> {
    discover(sequences, None, None, options).unwrap()
}

#[test]
fn two_motifs_are_told_apart() {
    let words: [(&[u8], f64); 2] = [(b"TGACTCAGC", 0.5), (b"GGGTATTTC", 0.3)];
    let found = run(&planted(300, 34, &words, 1), &Options::default());
    assert_eq!(found.len(), 2);
    assert!(holds(&found[0], b"TGACTCAG") && holds(&found[1], b"GGTATTT"));
    assert!(found[0].log10_evalue < found[1].log10_evalue);
    assert!((130..200).contains(&found[0].n_sites), "{}", found[0].n_sites);
    assert!(found.iter().flat_map(|m| &m.rows).all(|r| (r.iter().sum::<f64>() - 1.0).abs() < 1e-9));
}

#[test]
fn random_letters_are_called_a_motif_about_as_rarely_as_the_evalue_says() {
    let called =
        |seed: u64| !run(&planted(200, 30, &[], 100 + seed), &Options::default()).is_empty();
    let calls = (0..40).filter(|&seed| called(seed)).count();
    // Of 40 at 0.05 more than 5 are called with a probability of 1.4 %.
    assert!(calls <= 5, "{calls}");
}

#[test]
fn order_strand_and_threads_do_not_matter() {
    let sequences = planted(150, 30, &[(b"CACGTGACC", 0.6)], 2);
    let expected = run(&sequences, &Options::default());
    assert!(holds(&expected[0], b"CACGTGAC"));
    let other: Vec<Vec<u8>> = sequences.iter().rev().map(|s| turned(s)).collect();
    for threads in [1, 3] {
        let found =
            crate::threads::install(Some(threads), &crate::threads::Stop::default(), || {
                run(&other, &Options::default())
            });
        assert_eq!(found.unwrap(), expected);
    }
}

#[test]
fn the_prior_on_the_middle_finds_what_is_too_rare_without_it() {
    // 40 weak sites among 300 sequences of 150 letters: chance hides them anywhere but in the middle.
    let mut sequences = planted(300, 150, &[], 13);
    let mut random = Random::new(14);
    for sequence in sequences.iter_mut().take(40) {
        let at = 68 + random.below(9);
        sequence[at..at + 7].copy_from_slice(b"TGACTCA");
        sequence[at + random.below(7)] = b"ACGT"[random.below(4)];
    }
    let found = |aligned| run(&sequences, &Options { aligned, count: 1, ..Options::default() });
    assert!(found(true).iter().any(|motif| holds(motif, b"GACTC")));
    assert!(!found(false).iter().any(|motif| holds(motif, b"GACTC")));
}

#[test]
fn one_strand_finds_the_word_as_it_was_given() {
    let word: &[u8] = b"TGTTTACGA";
    let mut sequences = planted(200, 30, &[(word, 0.7)], 3);
    for sequence in &mut sequences {
        if !sequence.windows(word.len()).any(|w| w == word) {
            *sequence = turned(sequence);
        }
    }
    let options = Options { both_strands: false, ..Options::default() };
    let found = run(&sequences, &options);
    assert!(consensus(&found[0]).windows(7).any(|w| w == b"GTTTACG"));
}

#[test]
fn widths_stay_within_their_bounds() {
    let sequences = planted(200, 34, &[(b"TGACTCAGCATTGCCA", 0.8)], 4);
    for (min_width, max_width) in [(4, 5), (6, 8), (12, 12), (20, 30), (25, 30)] {
        let options = Options { min_width, max_width, ..Options::default() };
        for motif in run(&sequences, &options) {
            assert!((min_width..=max_width).contains(&motif.rows.len()));
        }
    }
}

#[test]
fn unknown_letters_and_short_sequences_are_put_up_with() {
    let mut sequences = planted(120, 30, &[(b"GGGGCGGGGC", 0.7)], 5);
    for sequence in sequences.iter_mut().step_by(3) {
        sequence[..4].fill(b'N');
    }
    sequences.extend([vec![], b"A".to_vec(), vec![b'N'; 50], b"--**".to_vec()]);
    assert!(holds(&run(&sequences, &Options::default())[0], b"GGGCGGGG"));
    assert_eq!(run(&[], &Options::default()), []);
    assert_eq!(run(&vec![vec![b'N'; 30]; 50], &Options::default()), []);
}

#[test]
fn equal_sequences_are_one_witness_and_many_sites() {
    let one = planted(1, 30, &[], 6);
    assert_eq!(run(&vec![one[0].clone(); 500], &Options::default()), []);
    let sequences = planted(100, 30, &[(b"TGACTCAGC", 0.6)], 7);
    let twice: Vec<Vec<u8>> = sequences.iter().chain(&sequences).cloned().collect();
    let (once, doubled) = (run(&sequences, &Options::default()), run(&twice, &Options::default()));
    assert_eq!(once[0].rows, doubled[0].rows);
    assert_eq!(2 * once[0].n_sites, doubled[0].n_sites);
}

#[test]
fn a_repeat_does_not_crowd_out_a_motif() {
    let words: [(&[u8], f64); 2] = [(b"GGAAGGAAGGAAGGAA", 0.5), (b"ATGACTCAT", 0.3)];
    let options = Options { count: 1, ..Options::default() };
    assert!(holds(&run(&planted(400, 34, &words, 8), &options)[0], b"TGACTCA"));
    let only = planted(400, 34, &words[..1], 8);
    let found = run(&only, &options);
    assert!(holds(&found[0], b"GGAA"));
}

#[test]
fn given_controls_take_the_place_of_shuffles() {
    let words: [(&[u8], f64); 1] = [(b"TGACTCAGC", 0.5)];
    let sequences = planted(200, 30, &words, 9);
    let plain = discover(&sequences, None, Some(&planted(400, 30, &[], 10)), &Options::default());
    assert!(holds(&plain.unwrap()[0], b"TGACTCAG"));
    let same = discover(&sequences, None, Some(&planted(200, 30, &words, 11)), &Options::default());
    assert_eq!(same.unwrap(), []);
    let none: [Vec<u8>; 0] = [];
    assert!(discover(&sequences, None, Some(&none), &Options::default()).is_err());
}

#[test]
fn too_little_time_is_an_error() {
    let options = Options { time_limit: Some(Duration::from_nanos(1)), ..Options::default() };
    let found = discover(&planted(100, 30, &[], 12), None, None, &options);
    assert!(matches!(found, Err(Error::Timeout { .. })));
}

#[test]
fn options_out_of_range_are_refused() {
    for options in [
        Options { min_width: 3, ..Options::default() },
        Options { max_width: 31, ..Options::default() },
        Options { min_width: 12, max_width: 9, ..Options::default() },
        Options { evalue: 0.0, ..Options::default() },
        Options { evalue: f64::NAN, ..Options::default() },
    ] {
        assert!(matches!(
            discover(&[b"ACGT"], None, None, &options),
            Err(Error::InvalidArgument(_))
        ));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_input_makes_it_panic(
        sequences in prop::collection::vec("[ACGTacgtN]{0,40}", 0..40),
        min_width in 4_usize..12,
        more in 0_usize..19,
        both_strands: bool,
        seed: u64,
    ) {
        let options = Options {
            min_width, max_width: (min_width + more).min(30), both_strands, seed,
            evalue: 100.0, ..Options::default()
        };
        prop_assert!(discover(&sequences, None, None, &options).is_ok());
    }
}
