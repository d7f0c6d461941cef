//! LZ4 in the framing of HDF5's filter 32004: sizes in big-endian bytes, then blocks.

use super::Result;

/// Decodes into the front of `to` and tells how many bytes there are.
pub(super) fn decode(from: &[u8], to: &mut [u8]) -> Result<usize> {
    let short = || "lz4: ends within a block".to_string();
    let (size, from) = from.split_first_chunk().ok_or_else(short)?;
    let (block_size, mut from) = from.split_first_chunk().ok_or_else(short)?;
    let (size, block_size) = (u64::from_be_bytes(*size), u32::from_be_bytes(*block_size));
    let limit = to.len();
    let to = usize::try_from(size).ok().and_then(|size| to.get_mut(..size));
    let to = to.ok_or_else(|| format!("lz4: {size} bytes announced where {limit} fit"))?;
    if block_size == 0 {
        return Err("lz4: blocks of 0 bytes".into());
    }
    for to in to.chunks_mut(block_size as usize) {
        let (packed_size, rest) = from.split_first_chunk().ok_or_else(short)?;
        let packed_size = u32::from_be_bytes(*packed_size) as usize;
        let (packed, rest) = rest.split_at_checked(packed_size).ok_or_else(short)?;
        if packed.len() == to.len() {
            to.copy_from_slice(packed);
        } else {
            block(packed, to)?;
        }
        from = rest;
    }
    Ok(to.len())
}

/// Decodes one LZ4 block that must fill `to`.
pub(super) fn block(from: &[u8], to: &mut [u8]) -> Result<()> {
    let found = lz4_flex::block::decompress_into(from, to).map_err(|e| format!("lz4: {e}"))?;
    match found == to.len() {
        true => Ok(()),
        false => Err(format!("lz4: a block of {found} bytes instead of {}", to.len())),
    }
}
