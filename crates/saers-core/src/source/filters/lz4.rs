//! LZ4 in the framing of HDF5's filter 32004: sizes in big-endian bytes, then blocks.

use super::Result;

/// Decodes into the front of `to` and tells how many bytes there are.
pub(super) fn decode(from: &[u8], to: &mut [u8]) -> Result<usize> {
    let short = || "lz4: ends within a block".to_string();
    let (size, from) = from.split_first_chunk().ok_or_else(short)?;
    let (block_size, mut from) = from.split_first_chunk().ok_or_else(short)?;
    let (size, block_size) = (u64::from_be_bytes(*size), u32::from_be_bytes(*block_size));
    let to = usize::try_from(size).ok().and_then(|size| to.get_mut(..size));
    let to = to.ok_or_else(|| format!("lz4: {size} bytes announced, too many"))?;
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
    let wanted = i32::try_from(to.len()).map_err(|_| "lz4: a block over 2 GiB")?;
    match lz4::block::decompress_to_buffer(from, Some(wanted), to) {
        Ok(found) if found == to.len() => Ok(()),
        Ok(found) => Err(format!("lz4: a block of {found} bytes instead of {wanted}")),
        Err(_) => Err("lz4: not a block".into()),
    }
}
