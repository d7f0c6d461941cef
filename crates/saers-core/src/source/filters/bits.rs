//! Putting bits together again that were sorted by their place in the element: the first bits of
//! all elements, then the second bits, and so on (the transform of Bitshuffle).

use super::{Result, Room, shuffle};

/// Bytes put together in one go, so that they stay in the L1 cache.
const PIECE: usize = 4096;

/// Undoes the transform of whole elements, whose number is a multiple of 8.
///
/// Both slices have the same size; `room` is for the bytes in between.
pub(super) fn undo(from: &[u8], to: &mut [u8], item: usize, room: &mut Room) -> Result<()> {
    let groups = to.len() / (8 * item); // of 8 elements; a row of bits has as many bytes
    let step = (PIECE / (8 * item)).max(1);
    let room = room.take((8 * step * item).saturating_add(8 * step))?;
    let (planes, eights) = room.split_at_mut(8 * step * item);
    for (piece, to) in to.chunks_mut(8 * step * item).enumerate() {
        let (start, count) = (piece * step, to.len() / (8 * item));
        let planes = &mut planes[..to.len()];
        for (byte, plane) in planes.chunks_exact_mut(8 * count).enumerate() {
            let row = |bit| &from[(8 * byte + bit) * groups + start..][..count];
            shuffle::interleave(std::array::from_fn::<_, 8, _>(row), &mut eights[..8 * count]);
            for (to, eight) in plane.as_chunks_mut().0.iter_mut().zip(eights.as_chunks().0) {
                *to = transpose(u64::from_le_bytes(*eight)).to_le_bytes();
            }
        }
        shuffle::undo(planes, to, item);
    }
    Ok(())
}

/// Turns 8 bytes of 8 bits: bit j of byte i becomes bit i of byte j.
#[inline(always)]
fn transpose(mut bits: u64) -> u64 {
    for (shift, mask) in
        [(7, 0x00aa_00aa_00aa_00aa), (14, 0x0000_cccc_0000_cccc), (28, 0xf0f0_f0f0)]
    {
        let swap = (bits ^ (bits >> shift)) & mask;
        bits ^= swap ^ (swap << shift);
    }
    bits
}
