//! Damaged indexes and files: an error, or the letters that are there.

use std::path::Path;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng as _, SeedableRng as _};

use super::{bgzip, fasta_bytes, file, region};
use crate::fasta::Fasta;
use crate::{Error, Result};

/// One small change: of a bit, a byte or a digit, a cut, a gap, or something twice.
fn mutate(bytes: &[u8], random: &mut Xoshiro256PlusPlus) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let mut below = |end: usize| (random.next_u64() % end.max(1) as u64) as usize;
    let (at, other) = (below(bytes.len()), below(bytes.len()));
    match below(7) {
        0 => changed[at] ^= 1 << below(8),
        1 => changed[at] = below(256) as u8,
        2 => changed.truncate(at),
        3 => drop(changed.drain(at.min(other)..at.max(other))),
        4 => drop(changed.splice(at..at, bytes[other..].iter().copied())),
        5 => drop(changed.splice(at..at, *b"99999999999")),
        _ => changed[at] = b"0123456789"[below(10)],
    }
    changed
}

/// Letters of all records, or the message of the first error.
fn everything(path: &Path) -> std::result::Result<Vec<String>, String> {
    let read = || -> Result<Vec<String>> {
        let genome = Fasta::open(path)?;
        let whole = genome.records().iter().enumerate();
        let whole: Vec<_> = whole.map(|(i, r)| region(i as u32, 0, r.length as i64)).collect();
        (0..whole.len()).try_for_each(|record| genome.n_runs(record).map(drop))?;
        genome.slice(&whole, false, true)
    };
    read().map_err(|error| match error {
        Error::Format { .. } => error.to_string(),
        other => panic!("another error: {other:?}"),
    })
}

#[test]
fn a_damaged_index_or_file_never_gives_other_letters() {
    let records: Vec<_> = (3..9).map(|i| "ACGTnNRacg".repeat(i * 7)).collect();
    let packed = bgzip(&fasta_bytes(&records, 23, false), 97);
    let (_folder, path) = file(&packed);
    assert_eq!(everything(&path).unwrap(), records);
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut kinds = [0, 0];
    for name in ["genome.fa.fai", "genome.fa.gzi", "genome.fa"] {
        let damaged = path.with_file_name(name);
        let sound = std::fs::read(&damaged).unwrap();
        for _ in 0..1000 {
            std::fs::write(&damaged, mutate(&sound, &mut random)).unwrap();
            match everything(&path) {
                Ok(found) => assert_eq!(found, records),
                Err(_) => kinds[1] += 1,
            }
            kinds[0] += 1;
        }
        std::fs::write(&damaged, sound).unwrap();
    }
    assert!(kinds[1] > kinds[0] / 2, "{kinds:?}");
}
