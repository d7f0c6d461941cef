//! Any three files can be a genome with its indices, or are an error; so is any slice of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use saers_core::fasta::{Fasta, Region};

fuzz_target!(|files: (&[u8], Option<&[u8]>, Option<&[u8]>)| {
    let memory = std::path::Path::new("/dev/shm");
    let folder = match memory.is_dir() {
        true => tempfile::tempdir_in(memory),
        false => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder for the files");
    let path = folder.path().join("genome.fa");
    let write = |name: &str, bytes| std::fs::write(folder.path().join(name), bytes);
    write("genome.fa", files.0).expect("room for the genome");
    for (name, index) in [("genome.fa.fai", files.1), ("genome.fa.gzi", files.2)] {
        index.map_or(Ok(()), |bytes| write(name, bytes)).expect("room for the index");
    }
    let Ok(genome) = Fasta::open(&path) else {
        return;
    };
    for (record, told) in (0..).zip(genome.records()) {
        _ = genome.n_runs(record as usize);
        let end = i64::try_from(told.length).unwrap_or(i64::MAX);
        for (start, end) in [(0, 1), (-3, end.min(100)), (end.saturating_sub(100), end)] {
            let region = Region { record, start, end, reverse: start < 0 };
            _ = genome.slice(&[region], false, true);
            if let Ok(slices) = genome.slice(&[region], true, false) {
                assert_eq!(slices[0].len() as i64, end - start);
            }
        }
    }
});
