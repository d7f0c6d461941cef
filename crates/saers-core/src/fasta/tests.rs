use std::io::Write as _;
use std::path::PathBuf;

use flate2::{Compression, write::DeflateEncoder};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

mod damage;

/// A folder that holds `genome.fa` with these bytes.
fn file(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genome.fa");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Bytes in bgzip blocks of `size` letters, with the empty block at the end.
fn bgzip(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for block in bytes.chunks(size).chain([&[][..]]) {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(block).unwrap();
        let packed = encoder.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(block);
        out.extend([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, b'B', b'C', 2, 0]);
        out.extend(u16::try_from(packed.len() + 25).unwrap().to_le_bytes());
        out.extend(&packed);
        out.extend(crc.sum().to_le_bytes());
        out.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
    }
    out
}

fn message<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().to_string()
}

fn region(record: u32, start: i64, end: i64) -> Region {
    Region { record, start, end, reverse: false }
}

fn letters(genome: &Fasta, region: Region) -> String {
    genome.slice(&[region], false, true).unwrap().concat()
}

#[test]
fn an_index_is_made_and_read_again() {
    let (_folder, path) = file(b">a one\nACGT\nAC\n>b\n>c\nG");
    let made = Fasta::open(&path).unwrap();
    let index = std::fs::read_to_string(path.with_extension("fa.fai")).unwrap();
    assert_eq!(index, "a\t6\t7\t4\t5\nb\t0\t18\t0\t0\nc\t1\t21\t1\t1\n");
    assert_eq!(made.records(), Fasta::open(&path).unwrap().records());
    assert_eq!(letters(&made, region(0, 3, 6)), "TAC");
    assert_eq!(letters(&made, region(2, 0, 1)), "G");
    assert_eq!(letters(&made, region(1, 0, 0)), "");
}

#[test]
fn carriage_returns_are_no_letters() {
    let (_folder, path) = file(b">a\r\nACGT\r\nACGT\r\nA\r\n>b\r\nGG");
    let genome = Fasta::open(&path).unwrap();
    assert_eq!(letters(&genome, region(0, 2, 9)), "GTACGTA");
    assert_eq!(letters(&genome, region(1, 0, 2)), "GG");
}

#[test]
fn broken_files_name_the_line() {
    for (bytes, place) in [
        (&b""[..], "line 1"),
        (b"ACGT\n", "line 1"),
        (b">a\nACGT\nAC\nACGT\n", "line 4"),
        (b">a\nAC\nACGT\n", "line 3"),
        (b">a\nACGT\n\nACGT\n", "line 4"),
        (b">a\nAC GT\n", "line 2"),
        (b">a\nACGT\n>a\nACGT\n", "line 3"),
        (b"> \nACGT\n", "line 1"),
    ] {
        let (_folder, path) = file(bytes);
        let error = message(Fasta::open(&path));
        assert!(error.contains("genome.fa: ") && error.contains(place), "{error}");
    }
}

#[test]
fn a_stale_index_is_refused() {
    let (_folder, path) = file(b">a\nACGT\nACGT\n>b\nAC\n");
    drop(Fasta::open(&path).unwrap());
    for cut in [&b">a\nACGT\nAC"[..], b">aa\nACGT\nACGT\n>b\nAC\n", b">c\nACGT\nACGT\n>b\nAC\n"] {
        std::fs::write(&path, cut).unwrap();
        let error = message(Fasta::open(&path));
        assert!(error.contains("genome.fa.fai: line ") && error.contains("stale"), "{error}");
    }
}

#[test]
fn a_broken_index_names_its_line() {
    let (_folder, path) = file(b">a\nACGT\n");
    let index = path.with_extension("fa.fai");
    for (lines, place) in [
        ("", "line 1"),
        ("a\t4\t3\n", "line 1"),
        ("a\t4\t3\t4\t5\na\t4\t3\t4\t5\n", "line 2"),
        ("a\t4\t3\t0\t5\n", "line 1"),
        ("a\t18446744073709551615\t3\t1\t9\n", "line 1"),
    ] {
        std::fs::write(&index, lines).unwrap();
        assert!(message(Fasta::open(&path)).contains(place), "{lines:?}");
    }
}

#[test]
fn a_folder_that_is_read_only_stays_as_it_is() {
    let (folder, path) = file(b">a\nACGT\n");
    let writable = std::fs::metadata(folder.path()).unwrap().permissions();
    let mut closed = writable.clone();
    closed.set_readonly(true);
    std::fs::set_permissions(folder.path(), closed).unwrap();
    let genome = Fasta::open(&path).unwrap();
    std::fs::set_permissions(folder.path(), writable).unwrap();
    assert_eq!(letters(&genome, region(0, 0, 4)), "ACGT");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn plain_gzip_says_how_to_go_on() {
    let (_folder, path) = file(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3, 4]);
    assert!(message(Fasta::open(&path)).contains("use bgzip"));
}

#[test]
fn a_cut_bgzip_file_is_refused() {
    let packed = bgzip(b">a\nACGTACGTACGTACGT\n", 8);
    for cut in 1..packed.len() - 28 {
        let (_folder, path) = file(&packed[..cut]);
        assert!(Fasta::open(&path).is_err(), "{cut}");
    }
}

#[test]
fn a_changed_byte_in_a_block_is_noticed() {
    let mut packed = bgzip(b">a\nACGTACGTACGTACGT\n", 64);
    packed[22] ^= 0x40;
    let (_folder, path) = file(&packed);
    assert!(message(Fasta::open(&path)).contains("byte 0"));
}

#[test]
fn a_stale_block_index_is_refused() {
    let (_folder, path) = file(&bgzip(b">a\nACGTACGTACGTACGT\n", 8));
    drop(Fasta::open(&path).unwrap());
    std::fs::write(&path, bgzip(b">a\nA\n", 8)).unwrap();
    assert!(message(Fasta::open(&path)).contains("delete"));
}

#[test]
fn regions_outside_are_refused_or_padded() {
    let (_folder, path) = file(b">a\nACGT\n");
    let genome = Fasta::open(&path).unwrap();
    let outside = [region(0, 0, 4), region(0, -2, 6)];
    assert!(message(genome.slice(&outside, false, false)).contains("regions[1]: a:-2-6"));
    let padded = genome.slice(&outside, true, false).unwrap();
    assert_eq!(padded, ["ACGT", "NNACGTNN"]);
    let beyond = [region(0, -9, -5), region(0, 7, 9)];
    assert_eq!(genome.slice(&beyond, true, false).unwrap(), ["NNNN", "NN"]);
    let far = region(0, -(1 << 40), 1 << 40);
    for wrong in [region(0, 3, 2), region(1, 0, 1), region(0, i64::MIN, i64::MAX), far] {
        assert!(genome.slice(&[wrong], true, false).is_err());
    }
}

#[test]
fn the_other_strand_is_reverse_complemented() {
    let (_folder, path) = file(b">a\nAACRYnx\n");
    let genome = Fasta::open(&path).unwrap();
    let other = Region { record: 0, start: 0, end: 7, reverse: true };
    assert_eq!(letters(&genome, other), "xnRYGTT");
}

#[test]
fn a_file_that_is_cut_while_open_is_an_error() {
    let text = format!(">a\n{}", "ACGTACGTAC\n".repeat(20_000));
    for (bytes, kind) in
        [(text.clone().into_bytes(), "plain"), (bgzip(text.as_bytes(), 999), "bgzip")]
    {
        let (_folder, path) = file(&bytes);
        let genome = Fasta::open(&path).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
        let end = genome.records()[0].length as i64;
        let regions = [region(0, 0, 10), region(0, end - 10, end)];
        let error = message(genome.slice(&regions, false, false));
        assert!(error.contains("genome.fa: byte "), "{kind}: {error}");
        assert!(error.contains("the file ends here, but had"), "{kind}: {error}");
        let mut code = [0_u8; 80];
        let layout = Layout::ChannelsLast;
        assert!(genome.onehot(&regions, false, 1, layout, &mut code).is_err(), "{kind}");
        assert!(genome.n_runs(0).is_err(), "{kind}");
    }
}

#[test]
fn regions_in_any_order_and_number_come_in_the_order_asked_for() {
    let letters: String = (0..700_000).map(|i| ['A', 'C', 'G', 't'][i * i % 7 % 4]).collect();
    let bytes = fasta_bytes(&[letters.clone(), letters[5..].to_string()], 61, false);
    for bytes in [bgzip(&bytes, 5000), bytes] {
        let (_folder, path) = file(&bytes);
        let genome = Fasta::open(&path).unwrap();
        for width in [0, 1, 34, 3000, 600_000] {
            let count = (9_000_000 / (width + 1)).clamp(3, 6000);
            let places = (0..count).map(|i| i * 7919 % (letters.len() - width - 5));
            let places: Vec<_> = places.map(|start| (start % 2, start)).collect();
            let own = |&(record, start): &(usize, usize)| {
                region(record as u32, start as i64, (start + width) as i64)
            };
            let regions: Vec<_> = places.iter().map(own).collect();
            let sequences = genome.slice(&regions, false, true).unwrap();
            for (&(record, start), sequence) in places.iter().zip(&sequences) {
                let start = start + 5 * record;
                assert_eq!(sequence, &letters[start..start + width]);
            }
        }
    }
}

#[test]
fn one_hot_code_has_both_layouts() {
    let (_folder, path) = file(b">a\nacGNT\n");
    let genome = Fasta::open(&path).unwrap();
    let regions = [region(0, 0, 3), region(0, 2, 5)];
    let mut last = [7_u16; 24];
    genome.onehot(&regions, false, 9, Layout::ChannelsLast, &mut last).unwrap();
    assert_eq!(last[..12], [9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9, 0]);
    let mut first = [7_u16; 24];
    genome.onehot(&regions, false, 9, Layout::ChannelsFirst, &mut first).unwrap();
    assert_eq!(first[12..], [0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9]);
    let refused = |regions: &[Region], out: &mut [u16]| {
        message(genome.onehot(regions, false, 9, Layout::ChannelsLast, out))
    };
    assert!(refused(&regions, &mut [0; 23]).contains("out must have 2 × 3 × 4 numbers, got 23"));
    assert!(refused(&[region(0, 0, 3), region(0, 0, 2)], &mut []).contains("regions[1] has 2"));
}

#[test]
fn an_index_saved_by_many_at_once_is_whole() {
    let (folder, path) = file(&bgzip(b">a\nACGTACGTAC\n", 4));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope
                .spawn(|| assert_eq!(letters(&Fasta::open(&path).unwrap(), region(0, 2, 4)), "GT"));
        }
    });
    let mut names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["genome.fa", "genome.fa.fai", "genome.fa.gzi"]);
}

#[test]
fn an_index_that_leaves_letters_out_is_refused() {
    let (_folder, path) = file(b">a\nACGT\nAC\n\n\n>b\nAC\nGT\n\n");
    std::fs::write(path.with_extension("fa.fai"), "a\t6\t3\t4\t5\nb\t4\t16\t2\t3\n").unwrap();
    assert!(Fasta::open(&path).is_ok());
    for (lines, message) in [
        ("a\t5\t3\t4\t5\nb\t4\t16\t2\t3\n", "line 1: a does not end at byte 9"),
        ("a\t6\t3\t4\t5\nb\t2\t16\t2\t3\n", "line 2: b does not end at byte 18"),
        ("a\t6\t3\t3\t5\nb\t4\t16\t2\t3\n", "line 1: the lines of a"),
        ("a\t6\t3\t4\t5\n", "line 1: a record at byte 13"),
        ("b\t4\t16\t2\t3\n", "line 1: a record at byte 0"),
    ] {
        std::fs::write(path.with_extension("fa.fai"), lines).unwrap();
        let error = self::message(Fasta::open(&path));
        assert!(error.contains(message), "{error}");
    }
}

/// Records of letters, their line width, and whether lines end in CRLF.
fn genomes() -> impl Strategy<Value = (Vec<String>, usize, bool)> {
    (prop::collection::vec("[ACGTNacgtn]{0,60}", 1..5), 1_usize..20, any::<bool>())
}

fn fasta_bytes(records: &[String], width: usize, crlf: bool) -> Vec<u8> {
    let end = if crlf { "\r\n" } else { "\n" };
    let mut text = String::new();
    for (number, record) in records.iter().enumerate() {
        text += &format!(">r{number} x{end}");
        for line in record.as_bytes().chunks(width) {
            text += std::str::from_utf8(line).unwrap();
            text += end;
        }
    }
    text.into_bytes()
}

proptest! {
    #[test]
    fn slices_equal_the_letters_written((records, width, crlf) in genomes(), packed in any::<bool>()) {
        let bytes = fasta_bytes(&records, width, crlf);
        let bytes = if packed { bgzip(&bytes, 11) } else { bytes };
        let (_folder, path) = file(&bytes);
        // Once with the index being made, once with it being read.
        for _ in 0..2 {
            let genome = Fasta::open(&path).unwrap();
            let mut regions = Vec::new();
            let mut expected = Vec::new();
            for (number, record) in records.iter().enumerate() {
                for start in 0..=record.len() {
                    let end = (start + 7).min(record.len());
                    regions.push(region(number as u32, start as i64, end as i64));
                    expected.push(&record[start..end]);
                }
            }
            let slices = genome.slice(&regions, false, true).unwrap();
            prop_assert_eq!(slices, expected);
        }
    }

    #[test]
    fn runs_of_n_cover_exactly_the_letters_n((records, width, crlf) in genomes()) {
        let (_folder, path) = file(&fasta_bytes(&records, width, crlf));
        let genome = Fasta::open(&path).unwrap();
        for (number, record) in records.iter().enumerate() {
            let mut covered = vec![false; record.len()];
            let runs = genome.n_runs(number).unwrap();
            for &(start, end) in &runs {
                covered[start as usize..end as usize].fill(true);
            }
            let truth: Vec<bool> = record.bytes().map(|l| l == b'N' || l == b'n').collect();
            prop_assert_eq!(covered, truth);
            prop_assert!(runs.windows(2).all(|pair| pair[0].1 < pair[1].0));
        }
    }
}
