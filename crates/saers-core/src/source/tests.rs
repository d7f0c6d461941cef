use std::io::Write as _;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;

use super::filters::Filter;
use super::*;
use crate::stats::ChannelStats;
use crate::threads::{Stop, install};

/// A file of chunks as HDF5 would lay them out, and what it holds.
pub(crate) struct Made {
    _folder: tempfile::TempDir,
    path: PathBuf,
    shape: Shape,
    storage: Storage,
    values: Vec<f32>,
}

impl Made {
    pub(crate) fn open(&self) -> Result<Dataset> {
        let element = Element::parse("<f4").unwrap();
        Dataset::open(&self.path, self.shape, element, -1.0, self.storage.clone())
    }

    fn at(&self, window: usize, position: usize, channel: usize) -> f32 {
        self.values[(window * self.shape[1] + position) * self.shape[2] + channel]
    }
}

/// Writes chunks, some of them packed; every `missing`th is left out and reads as -1.
fn chunked(shape: Shape, block: Shape, missing: usize) -> Made {
    pack((0..shape.iter().product()).map(|i| (i % 1001) as f32).collect(), shape, block, missing)
}

/// The same for given numbers.
pub(crate) fn pack(mut values: Vec<f32>, shape: Shape, block: Shape, missing: usize) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acts.h5");
    let mut file = vec![0_u8; 13];
    let mut chunks = Vec::new();
    let starts = |axis: usize| (0..shape[axis]).step_by(block[axis]);
    for first in
        starts(0).flat_map(|w| starts(1).flat_map(move |p| starts(2).map(move |c| [w, p, c])))
    {
        let left_out = (chunks.len() + 1).is_multiple_of(missing) && missing > 1;
        let mut bytes = Vec::new();
        let axis = |a: usize| first[a]..first[a] + block[a];
        for (w, p, c) in
            axis(0).flat_map(|w| axis(1).flat_map(move |p| axis(2).map(move |c| (w, p, c))))
        {
            let inside = w < shape[0] && p < shape[1] && c < shape[2];
            let place = (w * shape[1] + p) * shape[2] + c;
            if inside && left_out {
                values[place] = -1.0;
            }
            let value = if inside { values[place] } else { 99.0 };
            bytes.extend(value.to_le_bytes());
        }
        let plain = chunks.len() % 2 == 1;
        if !plain {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        let chunk = Chunk {
            first,
            offset: file.len() as u64,
            size: bytes.len() as u64,
            mask: plain.into(),
        };
        file.extend(bytes);
        chunks.push((left_out, chunk));
    }
    let chunks = chunks.into_iter().rev().filter(|(out, _)| !out).map(|(_, chunk)| chunk).collect();
    std::fs::write(&path, file).unwrap();
    let filters = vec![Filter { id: 1, values: vec![1] }];
    let storage = Storage::Chunked { shape: block, filters, chunks };
    Made { _folder: folder, path, shape, storage, values }
}

fn contiguous(shape: Shape) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acts.h5");
    let values: Vec<f32> = (0..shape.iter().product()).map(|i| (i % 1001) as f32).collect();
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    std::fs::write(&path, [7, 7, 7].into_iter().chain(bytes).collect::<Vec<u8>>()).unwrap();
    Made { _folder: folder, path, shape, storage: Storage::Contiguous { offset: 3 }, values }
}

fn shapes() -> impl Strategy<Value = (Shape, Shape)> {
    let shape = [1_usize..5, 1_usize..40, 1_usize..9];
    let block = [1_usize..4, 1_usize..17, 1_usize..9];
    (shape, block)
}

proptest! {
    #[test]
    fn any_part_of_any_layout_is_read((shape, block) in shapes(), missing in 1_usize..5, plain: bool, cut in (0.0_f64..1.0, 0.0_f64..1.0)) {
        let made = if plain { contiguous(shape) } else { chunked(shape, block, missing) };
        let (from, to) = (cut.0.min(cut.1), cut.0.max(cut.1));
        let part = |size: usize| (from * size as f64) as usize..(to * size as f64).ceil() as usize;
        let (windows, positions) = (part(shape[0]), part(shape[1]));
        let mut out = vec![f32::NAN; windows.len() * positions.len() * shape[2]];
        made.open().unwrap().read(windows.clone(), positions.clone(), &mut out).unwrap();
        let mut expected = Vec::new();
        for w in windows {
            for p in positions.clone() {
                expected.extend((0..shape[2]).map(|c| made.at(w, p, c)));
            }
        }
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn statistics_of_a_file_are_those_of_its_numbers((shape, block) in shapes(), plain: bool, masked: bool, threads in 1_usize..5) {
        let made = if plain { contiguous(shape) } else { chunked(shape, block, 3) };
        let mask: Vec<bool> = (0..shape[0] * shape[1]).map(|i| i % 5 != 2).collect();
        let mask = masked.then_some(&mask[..]);
        let mut expected = ChannelStats::new(shape[2], false).unwrap();
        expected.update(&made.values, &[0], 0, mask).unwrap();
        let mut stats = ChannelStats::new(shape[2], false).unwrap();
        let dataset = made.open().unwrap();
        let all = || stats.update_from(&dataset, 0..shape[0], 0, mask);
        install(Some(threads), &Stop::default(), all).unwrap().unwrap();
        for (found, wanted) in stats.summary().iter().zip(expected.summary()) {
            prop_assert_eq!((found.max, found.min, found.nonzero, found.count), (wanted.max, wanted.min, wanted.nonzero, wanted.count));
            prop_assert!((found.mean - wanted.mean).abs() <= 1e-12 * wanted.mean.abs());
            prop_assert!((found.std - wanted.std).abs() <= 1e-9 * (1.0 + wanted.std));
        }
    }
}

#[test]
fn one_two_and_eight_threads_give_the_same_bits() {
    let made = chunked([3, 3000, 37], [1, 700, 20], 4);
    let dataset = made.open().unwrap();
    let run = |threads| {
        let mut stats = ChannelStats::new(37, false).unwrap();
        let all = || stats.update_from(&dataset, 0..3, 0, None);
        install(Some(threads), &Stop::default(), all).unwrap().unwrap();
        stats.summary()
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(1), run(8));
}

#[test]
fn a_bad_value_of_a_file_is_named() {
    let mut made = contiguous([3, 50, 4]);
    made.values[(50 + 7) * 4 + 2] = f32::NAN;
    let bytes: Vec<u8> = made.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(&made.path, bytes).unwrap();
    made.storage = Storage::Contiguous { offset: 0 };
    let mut stats = ChannelStats::new(4, false).unwrap();
    let error = stats.update_from(&made.open().unwrap(), 0..3, 10, None).unwrap_err();
    assert!(error.to_string().ends_with("activations: NaN at window 11, position 7, channel 2"));
    let mut stats = ChannelStats::new(4, true).unwrap();
    stats.update_from(&made.open().unwrap(), 0..3, 10, None).unwrap();
    assert_eq!((stats.summary()[2].nan, stats.summary()[2].count), (1, 149));
}

#[test]
fn bytes_beyond_the_end_are_refused_at_once_and_later() {
    let made = contiguous([1, 5, 2]);
    let cut = Made { storage: Storage::Contiguous { offset: 4 }, ..contiguous([1, 5, 2]) };
    assert!(matches!(cut.open(), Err(Error::Format { .. })));
    let dataset = made.open().unwrap();
    std::fs::OpenOptions::new().write(true).open(&made.path).unwrap().set_len(11).unwrap();
    let error = dataset.read(0..1, 0..5, &mut [0.0; 10]).unwrap_err();
    assert!(error.to_string().ends_with("byte 3: the file ends before 40 bytes are read"));
}

#[test]
fn chunk_tables_that_lie_are_refused() {
    let made = chunked([2, 8, 3], [1, 4, 3], 1);
    let Storage::Chunked { shape, filters, chunks } = made.storage.clone() else { panic!() };
    let open = |change: fn(&mut Vec<Chunk>)| {
        let mut chunks = chunks.clone();
        change(&mut chunks);
        let storage = Storage::Chunked { shape, filters: filters.clone(), chunks };
        Made { storage, ..chunked([2, 8, 3], [1, 4, 3], 1) }.open().map(|_| ())
    };
    assert!(open(|_| ()).is_ok());
    assert!(open(|chunks| chunks[0].size = u64::MAX).is_err());
    assert!(open(|chunks| chunks[0].offset = u64::MAX).is_err());
    assert!(open(|chunks| chunks[0].first = [0, 3, 0]).is_err());
    assert!(open(|chunks| chunks[0].first = [2, 0, 0]).is_err());
    assert!(open(|chunks| chunks[0].first = chunks[1].first).is_err());
}

#[test]
fn a_chunk_that_is_not_what_its_filter_promises_names_its_place() {
    let made = chunked([1, 8, 3], [1, 8, 3], 1);
    let mut bytes = std::fs::read(&made.path).unwrap();
    bytes[20] ^= 0x55;
    std::fs::write(&made.path, bytes).unwrap();
    let error = made.open().unwrap().read(0..1, 0..8, &mut [0.0; 24]).unwrap_err();
    assert!(error.to_string().contains("chunk at window 0, position 0, channel 0"), "{error}");
}
