//! Shuffle (HDF5's filter 2): the first bytes of all elements, then the second bytes, and so on.

use std::array::from_fn;

use super::lanes::{Lanes, weave};

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
        2 => interleave::<2>(from, to),
        4 => interleave::<4>(from, to),
        8 => interleave::<8>(from, to),
        16 => interleave::<16>(from, to),
        _ => interleave_any(from, to, item),
    }
}

fn interleave<const N: usize>(from: &[u8], to: &mut [u8]) {
    let count = from.len() / N;
    let planes: [&[u8]; N] = from_fn(|plane| &from[plane * count..][..count]);
    let lanes = planes.map(|plane| &plane.as_chunks().0[..count / size_of::<Lanes>()]);
    let mut blocks = to.chunks_exact_mut(N * size_of::<Lanes>());
    for (index, to) in (&mut blocks).enumerate() {
        let woven = weave::<N>(lanes.map(|plane| plane[index]));
        to.copy_from_slice(woven.as_flattened());
    }
    let rest = blocks.into_remainder().as_chunks_mut::<N>().0;
    let done = count - rest.len();
    for (index, item) in rest.iter_mut().enumerate() {
        *item = planes.map(|plane| plane[done + index]);
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
