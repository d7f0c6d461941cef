use proptest::collection::vec;
use proptest::prelude::*;

use super::{Filter, Pipeline, Room, Scratch, bits, fletcher32};

fn filter(id: u32, values: &[u32]) -> Filter {
    Filter { id, values: values.to_vec() }
}

fn decoded(filters: &[Filter], packed: &[u8], mask: u32, size: usize) -> Result<Vec<u8>, String> {
    let pipeline = Pipeline::new(filters, 4).unwrap();
    pipeline.decode(packed, mask, size, &mut Scratch::default()).map(<[u8]>::to_vec)
}

/// Bytes with runs, repeats and noise.
fn sample(size: usize) -> Vec<u8> {
    (0..size as u32).map(|i| if i % 7 < 4 { (i / 90) as u8 } else { (i * i / 13) as u8 }).collect()
}

fn shuffled(bytes: &[u8], item: usize) -> Vec<u8> {
    let (whole, rest) = bytes.split_at(bytes.len() / item * item);
    let plane = |plane| whole.iter().skip(plane).step_by(item).copied();
    (0..item).flat_map(plane).chain(rest.iter().copied()).collect()
}

/// Sorts bits by definition; the number of elements is a multiple of 8.
fn bit_shuffled(bytes: &[u8], item: usize) -> Vec<u8> {
    let count = bytes.len() / item;
    let mut sorted = vec![0; bytes.len()];
    for (index, element) in bytes.chunks(item).enumerate() {
        for bit in (0..8 * item).filter(|bit| element[bit / 8] >> (bit % 8) & 1 == 1) {
            let place = bit * count + index;
            sorted[place / 8] |= 1 << (place % 8);
        }
    }
    sorted
}

fn lz4_block(bytes: &[u8]) -> Vec<u8> {
    lz4::block::compress(bytes, None, false).unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut packer = libdeflater::Compressor::new(libdeflater::CompressionLvl::default());
    let mut packed = vec![0; packer.zlib_compress_bound(bytes.len())];
    let size = packer.zlib_compress(bytes, &mut packed).unwrap();
    packed.truncate(size);
    packed
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

fn with_size(size: u32, bytes: &[u8]) -> Vec<u8> {
    [&size.to_be_bytes(), bytes].concat()
}

fn framed(bytes: &[u8], block: usize, pack: impl FnMut(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let blocks = bytes.chunks(block).map(pack);
    let blocks = blocks.flat_map(|packed| with_size(packed.len() as u32, &packed));
    let size = (bytes.len() as u64).to_be_bytes().into_iter();
    size.chain((block as u32).to_be_bytes()).chain(blocks).collect()
}

/// One chunk of Blosc; `flags` without the codec's number.
fn blosc(bytes: &[u8], item: usize, block: usize, flags: u8, codec: u8) -> Vec<u8> {
    let pack = [lz4_block, zlib, zstd][usize::from(codec)];
    let mut blocks = Vec::new();
    let mut starts = Vec::new();
    for bytes in bytes.chunks(block) {
        starts.push((16 + 4 * bytes.len().min(1) + blocks.len()) as u32);
        let sorted = match flags & 5 {
            1 => shuffled(bytes, item),
            4 if (bytes.len() / item).is_multiple_of(8) => {
                let (bits, rest) = bytes.split_at(bytes.len() / item * item);
                [bit_shuffled(bits, item), rest.to_vec()].concat()
            }
            _ => bytes.to_vec(),
        };
        let split = flags & 16 == 0 && bytes.len() == block && block / item >= 128;
        for plane in sorted.chunks(if split { block / item } else { bytes.len() }) {
            let packed = Some(pack(plane)).filter(|packed| packed.len() < plane.len());
            let packed = packed.unwrap_or_else(|| plane.to_vec());
            blocks.extend((packed.len() as u32).to_le_bytes());
            blocks.extend(packed);
        }
    }
    let list = 4 * (starts.len() as u32 - 1);
    let number = [1, 3, 4][usize::from(codec)];
    let head = [2, 1, flags | number << 5, item as u8];
    let sizes = [bytes.len(), block, 16 + 4 * starts.len() + blocks.len()];
    let sizes = sizes.into_iter().flat_map(|size| (size as u32).to_le_bytes());
    let starts = starts.into_iter().flat_map(|start| (start + list).to_le_bytes());
    head.into_iter().chain(sizes).chain(starts).chain(blocks).collect()
}

#[test]
fn every_item_size_and_remainder_is_shuffled_back() {
    let bytes = sample(10_000);
    for item in 1..20 {
        for size in [0, 1, item, 7 * item + item / 2, 16 * item, 9_999] {
            let found =
                decoded(&[filter(2, &[item as u32])], &shuffled(&bytes[..size], item), 0, size);
            assert_eq!(found.unwrap(), &bytes[..size], "item {item}, size {size}");
        }
    }
}

#[test]
fn bits_come_together_as_by_definition() {
    let bytes = sample(40_000);
    for item in 1..20 {
        for count in [0, 8, 120, 128, 136, 1024, 1032] {
            let bytes = &bytes[..item * count];
            let mut found = vec![0; bytes.len()];
            bits::undo(&bit_shuffled(bytes, item), &mut found, item, &mut Room::default()).unwrap();
            assert_eq!(found, bytes, "item {item}, count {count}");
        }
    }
}

#[test]
fn a_checksum_is_verified_in_both_spellings() {
    // "abcde" in words of two bytes, the last one filled up; by the definition of Fletcher-32.
    let (mut plain, mut running) = (0_u32, 0_u32);
    for word in [0x6162, 0x6364, 0x6500] {
        plain = (plain + word) % 0xffff;
        running = (running + plain) % 0xffff;
    }
    let [a, b, c, d] = ((running << 16) | plain).to_be_bytes();
    let with = |tail: [u8; 4]| [b"abcde".as_slice(), &tail].concat();
    assert_eq!(fletcher32::check(&with([d, c, b, a])), Ok(5));
    assert_eq!(fletcher32::check(&with([c, d, a, b])), Ok(5));
    assert!(fletcher32::check(&with([a, b, c, d])).is_err());
    assert!(fletcher32::check(b"abc").is_err());
}

#[test]
fn filters_in_the_mask_are_left_alone() {
    let bytes = sample(999);
    let filters = [filter(2, &[4]), filter(1, &[4]), filter(32015, &[])];
    let sorted = shuffled(&bytes, 4);
    for (mask, packed) in
        [(0, zstd(&zlib(&sorted))), (1, zstd(&zlib(&bytes))), (2, zstd(&sorted)), (6, sorted)]
    {
        assert_eq!(decoded(&filters, &packed, mask, 999).as_ref(), Ok(&bytes), "mask {mask}");
    }
    assert_eq!(decoded(&filters, &bytes, !0, 999).as_ref(), Ok(&bytes));
}

#[test]
fn a_checksum_counts_among_what_was_packed() {
    let bytes = sample(1000);
    let filters = [filter(3, &[]), filter(1, &[])];
    let mut summed = bytes.clone();
    summed.extend([0; 4]);
    let wrong = decoded(&filters, &zlib(&summed), 0, 1000).unwrap_err();
    let sum = wrong.split_whitespace().nth(3).unwrap().trim_end_matches(',');
    let sum = u32::from_str_radix(sum, 16).unwrap();
    summed[1000..].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(decoded(&filters, &zlib(&summed), 0, 1000), Ok(bytes));
}

#[test]
fn unknown_filters_and_senseless_values_are_left_to_hdf5() {
    for (id, values) in [
        (4, vec![]),
        (2, vec![]),
        (2, vec![0]),
        (32008, vec![0, 4]),
        (32008, vec![0, 4, 0, 0, 2]),
        (32008, vec![0, 4, 4, 7, 2]),
        (32008, vec![0, 4, 4, 0, 9]),
        (32026, vec![]),
    ] {
        assert_eq!(Pipeline::new(&[filter(id, &values)], 4), None, "{id} {values:?}");
    }
    assert_eq!(Pipeline::new(&[], 0), None);
    assert_eq!(Pipeline::new(&vec![filter(2, &[4]); 33], 4), None);
    assert_eq!(Pipeline::new(&vec![filter(1, &[]); 3], 4), None);
}

#[test]
fn blocks_of_blosc_that_overlap_are_refused() {
    let bytes = vec![7; 4096];
    let mut packed = blosc(&bytes, 1, 256, 16, 2);
    assert!(decoded(&[filter(32001, &[])], &packed, 0, 4096).is_ok());
    // All blocks are alike, so only their places tell that they are the same.
    let first: [u8; 4] = packed[16..20].try_into().unwrap();
    packed[16..16 + 4 * 16].copy_from_slice(&first.repeat(16));
    assert!(decoded(&[filter(32001, &[])], &packed, 0, 4096).is_ok());
    let end = packed.len() - 1;
    packed[12..16].copy_from_slice(&(end as u32).to_le_bytes());
    packed.truncate(end);
    let refused = decoded(&[filter(32001, &[])], &packed, 0, 4096);
    assert_eq!(refused.unwrap_err(), "blosc: blocks overlap");
}

#[test]
fn a_chunk_of_blosc_that_claims_less_than_its_header_is_refused() {
    let mut packed = blosc(&sample(4096), 1, 256, 16, 2);
    packed[12..16].fill(0);
    assert!(decoded(&[filter(32001, &[])], &packed, 0, 4096).is_err());
}

/// A run of literal bytes, or a repeat of `length` bytes from `distance` before.
#[derive(Clone, Debug)]
enum Token {
    Literal(Vec<u8>),
    Repeat { distance: usize, length: usize },
}

fn tokens(far: usize, long: usize) -> impl Strategy<Value = Vec<Token>> {
    let token = prop_oneof![
        vec(any::<u8>(), 1..=32).prop_map(Token::Literal),
        (prop_oneof![1..40_usize, 1..=far], prop_oneof![3..12_usize, 3..=long])
            .prop_map(|(distance, length)| Token::Repeat { distance, length }),
    ];
    (vec(any::<u8>(), 1..=32), vec(token, 0..200)).prop_map(|(first, rest)| {
        let mut written = first.len();
        let mut tokens = vec![Token::Literal(first)];
        for mut token in rest {
            written += match &mut token {
                Token::Literal(bytes) => bytes.len(),
                Token::Repeat { distance, length } => {
                    *distance = (*distance).min(written);
                    *length
                }
            };
            tokens.push(token);
        }
        tokens
    })
}

fn told(tokens: &[Token]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for token in tokens {
        match token {
            Token::Literal(literal) => bytes.extend(literal),
            Token::Repeat { distance, length } => {
                (0..*length).for_each(|_| bytes.push(bytes[bytes.len() - distance]));
            }
        }
    }
    bytes
}

/// Spells tokens; `more` writes what of a length above 8 goes into further bytes.
fn spelled(tokens: &[Token], far: bool, more: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let mut packed = Vec::new();
    for token in tokens {
        match token {
            Token::Literal(bytes) => {
                packed.push(bytes.len() as u8 - 1);
                packed.extend(bytes);
            }
            Token::Repeat { distance, length } => {
                let near = if far { (distance - 1).min(8191) } else { distance - 1 };
                packed.push(((length - 2).min(7) << 5 | near >> 8) as u8);
                if *length >= 9 {
                    packed.extend(more(length - 9));
                }
                packed.push(near as u8);
                if far && near == 8191 {
                    packed.extend(((distance - 8192) as u16).to_be_bytes());
                }
            }
        }
    }
    packed
}

/// Any filter with values that may make sense, and the number of bytes of its elements.
fn any_filter() -> impl Strategy<Value = Filter> {
    let id = prop::sample::select(vec![1_u32, 2, 3, 32000, 32001, 32004, 32008, 32015]);
    let codec = prop::sample::select(vec![0_u32, 2, 3]);
    (id, 1..17_u32, 0..9_u32, codec).prop_map(|(id, item, block, codec)| match id {
        2 => filter(id, &[item]),
        _ => filter(id, &[0, 4, item, 8 * block, codec]),
    })
}

proptest! {
    #[test]
    fn repeats_and_literals_of_lzf_are_told_as_by_definition(tokens in tokens(8192, 264)) {
        let bytes = told(&tokens);
        let packed = spelled(&tokens, false, |more| vec![more as u8]);
        prop_assert_eq!(decoded(&[filter(32000, &[])], &packed, 0, bytes.len()), Ok(bytes));
    }

    #[test]
    fn repeats_and_literals_of_blosclz_are_told_as_by_definition(tokens in tokens(70_000, 800)) {
        let bytes = told(&tokens);
        let packed = spelled(&tokens, true, |more| {
            let mut spelled = vec![255; more / 255];
            spelled.push((more % 255) as u8);
            spelled
        });
        let mut found = vec![0; bytes.len()];
        super::blosclz::block(&packed, &mut found).map_err(TestCaseError::fail)?;
        prop_assert_eq!(found, bytes);
    }

    #[test]
    fn blocks_of_any_size_come_back(
        bytes in vec(0..4_u8, 0..3000), item in 1..10_usize, block in 1..40_usize, codec in 0..3_u8,
    ) {
        let size = bytes.len();
        let lz4 = framed(&bytes, 8 * block, |bytes| match lz4_block(bytes) {
            packed if packed.len() == bytes.len() => bytes.to_vec(),
            packed => packed,
        });
        let found = decoded(&[filter(32004, &[])], &lz4, 0, size);
        prop_assert_eq!(found.as_ref(), Ok(&bytes));

        for flags in [16, 17, 20, 0, 1, 4] {
            let block = (block * item * 24).min(size);
            if size == 0 || (flags & 16 == 0 && !block.is_multiple_of(item)) {
                continue;
            }
            let packed = blosc(&bytes, item, block, flags, codec);
            let found = decoded(&[filter(32001, &[])], &packed, 0, size);
            prop_assert_eq!(found.as_ref(), Ok(&bytes), "{} {} {}", flags, block, item);
        }

        let bytes = &bytes[..size / item * item];
        let (whole, rest) = bytes.split_at(bytes.len() / (8 * item) * (8 * item));
        for (values, pack) in [(2, lz4_block as fn(&[u8]) -> Vec<u8>), (3, zstd)] {
            let sorted = |bytes: &[u8]| pack(&bit_shuffled(bytes, item));
            let mut packed = framed(whole, 8 * block * item, sorted);
            packed[..8].copy_from_slice(&(bytes.len() as u64).to_be_bytes());
            packed.extend(rest);
            let filter = filter(32008, &[0, 4, item as u32, 0, values]);
            prop_assert_eq!(decoded(&[filter], &packed, 0, bytes.len()).unwrap(), bytes);
        }
    }

    #[test]
    fn any_cut_of_a_chunk_is_an_error(cut in 0.0..1.0_f64, codec in 0..3_u8) {
        let bytes = sample(5000);
        let chunks = [
            (1, zlib(&bytes)),
            (32001, blosc(&bytes, 4, 2048, 1, codec)),
            (32004, framed(&bytes, 1000, lz4_block)),
            (32015, zstd(&bytes)),
        ];
        for (id, packed) in chunks {
            let cut = &packed[..(cut * packed.len() as f64) as usize];
            prop_assert!(decoded(&[filter(id, &[])], cut, 0, 5000).is_err(), "{}", id);
        }
    }

    #[test]
    fn noise_takes_no_more_memory_than_a_chunk_may(
        filters in vec(any_filter(), 0..3),
        packed in vec(any::<u8>(), 0..300),
        size in prop_oneof![0..400_usize, Just(1 << 20)],
        mask in 0..4_u32,
    ) {
        let pipeline = Pipeline::new(&filters, 4).unwrap();
        let mut scratch = Scratch::default();
        let found = pipeline.decode(&packed, mask, size, &mut scratch).map(<[u8]>::len);
        prop_assert!(found.is_err() || found == Ok(size));
        let Scratch { here, there, tools } = &scratch;
        for room in [here, there, &tools.block, &tools.planes] {
            prop_assert!(room.0.capacity() <= 4 * size.max(packed.len()) + 4096);
        }
    }
}
