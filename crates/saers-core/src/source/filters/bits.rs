//! Putting bits together again that were sorted by their place in the element: the first bits of
//! all elements, then the second bits, and so on (the transform of Bitshuffle).

use std::array::from_fn;

use super::lanes::{Lanes, turn, weave};
use super::{Result, Room, shuffle};

/// Elements that are worked on together, one a bit of [`Lanes`].
const STEP: usize = 8 * size_of::<Lanes>();

/// Undoes the transform of whole elements, whose number is a multiple of 8.
///
/// Both slices have the same size; `room` is for the bytes in between.
pub(super) fn undo(from: &[u8], to: &mut [u8], item: usize, room: &mut Room) -> Result<()> {
    match item {
        1 => fused::<1>(from, to),
        2 => fused::<2>(from, to),
        4 => fused::<4>(from, to),
        8 => fused::<8>(from, to),
        _ => apart(from, to, item, room)?,
    }
    Ok(())
}

fn fused<const N: usize>(from: &[u8], to: &mut [u8]) {
    let row = to.len() / (8 * N);
    for (step, to) in to.chunks_mut(STEP * N).enumerate() {
        let planes: [_; N] = from_fn(|plane| join(from, row, plane, step));
        for (part, to) in to.chunks_mut(size_of::<[Lanes; N]>()).enumerate() {
            let woven = weave(planes.each_ref().map(|plane| plane[part]));
            let bytes = woven.as_flattened();
            match bytes.len() == to.len() {
                true => to.copy_from_slice(bytes),
                false => to.copy_from_slice(&bytes[..to.len()]),
            }
        }
    }
}

fn apart(from: &[u8], to: &mut [u8], item: usize, room: &mut Room) -> Result<()> {
    let row = to.len() / (8 * item);
    let planes = room.take(to.len().min(STEP * item))?;
    for (step, to) in to.chunks_mut(STEP * item).enumerate() {
        let planes = &mut planes[..to.len()];
        for (index, plane) in planes.chunks_exact_mut(to.len() / item).enumerate() {
            let bytes = join(from, row, index, step);
            plane.copy_from_slice(&bytes.as_flattened()[..plane.len()]);
        }
        shuffle::undo(planes, to, item);
    }
    Ok(())
}

/// Makes one byte of [`STEP`] elements from eight rows of bits, lowest first.
#[inline(always)]
fn join(from: &[u8], row: usize, plane: usize, step: usize) -> [Lanes; 8] {
    let rows = from_fn(|bit| {
        let bits = &from[(8 * plane + bit) * row..][..row][step * size_of::<Lanes>()..];
        bits.first_chunk().copied().unwrap_or_else(|| {
            let mut padded = Lanes::default();
            padded[..bits.len()].copy_from_slice(bits);
            padded
        })
    });
    weave(turn(rows))
}
