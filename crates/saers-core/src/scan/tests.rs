use super::{Options, Piece, Scanner, Site, scan};
use crate::motif::{Counts, Motif, UNIFORM};
use proptest::prelude::*;

fn motif(rows: Vec<[f64; 4]>) -> Motif {
    Motif {
        id: "m".into(),
        name: String::new(),
        frequencies: Counts::new(rows).unwrap().to_frequencies(),
        n_sites: None,
        background: UNIFORM,
        log10_evalue: None,
    }
}

fn all(width: usize) -> Vec<Vec<u8>> {
    (0..4_usize.pow(width as u32))
        .map(|word| (0..width).map(|i| b"ACGT"[(word >> (2 * i)) & 3]).collect())
        .collect()
}

fn sites(scanner: Scanner, sequence: &[u8]) -> Vec<Site> {
    scan(&[scanner], &[Piece::whole(sequence)]).unwrap()
}

proptest! {
    #[test]
    fn the_p_value_is_the_share_of_sequences_that_score_as_high(
        rows in prop::collection::vec(prop::array::uniform4(0.0..9.0_f64), 1..6),
    ) {
        let rows: Vec<_> = rows.into_iter().map(|row| row.map(|x| x + 0.01)).collect();
        let options = Options { threshold: 1.0, background: UNIFORM, reverse_complement: false, ..Options::default() };
        let words = all(rows.len());
        let motif = motif(rows);
        let found: Vec<Site> = words
            .iter()
            .map(|word| sites(Scanner::new(&motif, &options).unwrap(), word)[0])
            .collect();
        for site in &found {
            let above = found.iter().filter(|other| other.score >= site.score).count();
            prop_assert!((site.p_value - above as f64 / found.len() as f64).abs() < 1e-12);
        }
    }

    #[test]
    fn the_other_strand_is_the_given_one_of_the_reverse_complement(
        rows in prop::collection::vec(prop::array::uniform4(0.01..9.0_f64), 1..12),
        letters in prop::collection::vec(prop::sample::select(b"ACGTN".to_vec()), 0..40),
    ) {
        let options = Options { threshold: 1.0, ..Options::default() };
        let motif = motif(rows);
        let scanner = || Scanner::new(&motif, &options).unwrap();
        let turned: Vec<u8> = letters.iter().rev().map(|letter| match letter {
            b'A' => b'T', b'C' => b'G', b'G' => b'C', b'T' => b'A', other => *other,
        }).collect();
        let width = scanner().width();
        let mut one: Vec<_> = sites(scanner(), &letters).into_iter()
            .map(|s| (s.start, s.reverse, s.score.to_bits())).collect();
        let mut other: Vec<_> = sites(scanner(), &turned).into_iter()
            .map(|s| (letters.len() - width - s.start, !s.reverse, s.score.to_bits())).collect();
        one.sort_unstable();
        other.sort_unstable();
        prop_assert_eq!(one.len(), 2 * Piece::whole(&letters).places(width));
        prop_assert_eq!(one, other);
    }
}

#[test]
fn sequences_shorter_than_a_motif_or_of_other_letters_have_no_site() {
    let options = Options { threshold: 1.0, ..Options::default() };
    let scanner = || Scanner::new(&motif(vec![[1.0, 0.0, 0.0, 0.0]; 3]), &options).unwrap();
    for sequence in [&b""[..], b"AC", b"NNNNN", b"ACNAC", b"MEFKL"] {
        assert!(sites(scanner(), sequence).is_empty());
    }
    assert_eq!(sites(scanner(), b"acg").len(), 2);
}

#[test]
fn pieces_of_a_sequence_have_its_sites_once() {
    let options = Options { threshold: 1.0, ..Options::default() };
    let scanner = || Scanner::new(&motif(vec![[3.0, 2.0, 1.0, 0.0]; 3]), &options).unwrap();
    let letters = b"ACGTTGNCATTTACG";
    let pieces =
        [Piece { letters: &letters[..8], starts: 6 }, Piece { letters: &letters[6..], starts: 9 }];
    let parts = scan(&[scanner()], &pieces).unwrap().into_iter();
    let found: Vec<_> = parts.map(|s| (s.start + 6 * s.sequence, s.reverse, s.score)).collect();
    let whole = sites(scanner(), letters).into_iter();
    assert_eq!(found, whole.map(|s| (s.start, s.reverse, s.score)).collect::<Vec<_>>());
    assert_eq!(found.len(), 2 * pieces.iter().map(|piece| piece.places(3)).sum::<usize>());
}

#[test]
fn wrong_options_are_named() {
    let bad = |options: Options| {
        Scanner::new(&motif(vec![[1.0; 4]]), &options).err().map(|e| e.to_string())
    };
    let message = bad(Options { threshold: 2.0, ..Options::default() }).unwrap();
    assert!(message.contains("thresh must lie in 0..1, got 2"));
    assert!(bad(Options { pseudocount: -1.0, ..Options::default() }).is_some());
    assert!(bad(Options { background: [0.5, 0.5, 0.0, 0.0], ..Options::default() }).is_some());
    assert!(bad(Options::default()).is_none());
}
