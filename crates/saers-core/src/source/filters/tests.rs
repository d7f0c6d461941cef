use super::{Filter, Pipeline, Scratch, fletcher32};

fn filter(id: u32, values: &[u32]) -> Filter {
    Filter { id, values: values.to_vec() }
}

fn pipeline(filters: &[Filter]) -> Pipeline {
    Pipeline::new(filters, 4).unwrap()
}

fn shuffled(bytes: &[u8], item: usize) -> Vec<u8> {
    let (whole, rest) = bytes.split_at(bytes.len() / item * item);
    let plane = |plane| whole.iter().skip(plane).step_by(item).copied();
    (0..item).flat_map(plane).chain(rest.iter().copied()).collect()
}

#[test]
fn every_item_size_and_remainder_is_shuffled_back() {
    let bytes: Vec<u8> = (0..10_000_u32).map(|i| (i * 37 % 251) as u8).collect();
    let mut scratch = Scratch::default();
    for item in 1..20 {
        for size in [0, 1, item, 7 * item + item / 2, 9_999] {
            let packed = shuffled(&bytes[..size], item);
            let pipeline = pipeline(&[filter(2, &[item as u32])]);
            let found = pipeline.decode(&packed, 0, size, &mut scratch).unwrap();
            assert_eq!(found, &bytes[..size], "item {item}, size {size}");
        }
    }
}

#[test]
fn a_checksum_is_verified_in_both_spellings() {
    // "abcde" sums to (0x6162 + 0x6364 + 0x6500) mod 0xffff; see the definition of Fletcher-32.
    let words = [0x6162_u32, 0x6364, 0x6500];
    let (mut plain, mut running) = (0, 0);
    for word in words {
        plain = (plain + word) % 0xffff;
        running = (running + plain) % 0xffff;
    }
    let sum = (running << 16 | plain).to_be_bytes();
    let [a, b, c, d] = sum;
    let with = |tail: [u8; 4]| [b"abcde".as_slice(), &tail].concat();
    assert_eq!(fletcher32::check(&with([d, c, b, a])), Ok(5));
    assert_eq!(fletcher32::check(&with([c, d, a, b])), Ok(5));
    assert!(fletcher32::check(&with([a, b, c, d])).is_err());
    assert!(fletcher32::check(b"abc").is_err());
}
