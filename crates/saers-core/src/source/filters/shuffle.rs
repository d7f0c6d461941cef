//! Shuffle (HDF5's filter 2): the first bytes of all elements, then the second bytes, and so on.

/// Puts the bytes of each element together again; bytes that fill no element stay at the end.
///
/// Both slices have the same size.
pub(super) fn undo(from: &[u8], to: &mut [u8], item: usize) {
    let whole = from.len() / item * item;
    let (to, rest) = to.split_at_mut(whole);
    rest.copy_from_slice(&from[whole..]);
    let from = &from[..whole];
    match item {
        1 => to.copy_from_slice(from),
        2 => interleave::<2>(planes(from), to),
        4 => interleave::<4>(planes(from), to),
        8 => interleave::<8>(planes(from), to),
        _ => interleave_any(from, to, item),
    }
}

fn planes<const N: usize>(from: &[u8]) -> [&[u8]; N] {
    let count = from.len() / N;
    std::array::from_fn(|plane| &from[plane * count..][..count])
}

/// Writes the first bytes of all planes, then the second ones, and so on.
pub(super) fn interleave<const N: usize>(planes: [&[u8]; N], to: &mut [u8]) {
    let (items, _) = to.as_chunks_mut::<N>();
    let planes = planes.map(|plane| &plane[..items.len()]);
    for (index, item) in items.iter_mut().enumerate() {
        *item = std::array::from_fn(|plane| planes[plane][index]);
    }
}

/// Elements written together by [`interleave_any`], so that they stay in the cache.
const BLOCK: usize = 512;

fn interleave_any(from: &[u8], to: &mut [u8], item: usize) {
    let count = to.len() / item;
    for (block, to) in to.chunks_mut(BLOCK * item).enumerate() {
        for plane in 0..item {
            let bytes = &from[plane * count + block * BLOCK..];
            for (to, &byte) in to[plane..].iter_mut().step_by(item).zip(bytes) {
                *to = byte;
            }
        }
    }
}
