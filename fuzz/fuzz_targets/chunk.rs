//! Any filters over any bytes give a chunk of the size asked for, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use saers_core::source::filters::{Filter, Pipeline, Scratch};

const IDS: [u32; 9] = [1, 2, 3, 32000, 32001, 32004, 32008, 32015, 32026];

fuzz_target!(|bytes: &[u8]| {
    let Some((&[count, mask, a, b, c], mut rest)) = bytes.split_first_chunk() else {
        return;
    };
    let mut filters = Vec::new();
    for _ in 0..count % 4 {
        let Some((&[id, item, block, codec], after)) = rest.split_first_chunk() else {
            return;
        };
        let id = IDS[usize::from(id) % IDS.len()];
        let values = match id {
            2 => vec![item.into()],
            _ => vec![0, 4, item.into(), block.into(), codec.into()],
        };
        filters.push(Filter { id, values });
        rest = after;
    }
    let Some(pipeline) = Pipeline::new(&filters, 4) else {
        return;
    };
    // Larger chunks only take longer.
    let size = u32::from_le_bytes([a, b, c % 4, 0]) as usize;
    let decode = |scratch: &mut Scratch| {
        pipeline.decode(rest, mask.into(), size, scratch).map(<[u8]>::to_vec)
    };
    let mut scratch = Scratch::default();
    let found = decode(&mut scratch);
    assert!(found.as_ref().map_or(true, |bytes| bytes.len() == size));
    assert_eq!(decode(&mut scratch), found, "what an earlier chunk left behind shows");
});
