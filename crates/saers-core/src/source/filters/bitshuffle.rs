//! Bitshuffle (filter 32008): bits sorted by place in blocks, packed with LZ4, Zstandard or not.

use super::{Result, Tools, bits, lz4};

/// What a file says about its bitshuffle filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bitshuffle {
    /// Bytes of an element.
    item: usize,
    /// Elements of a block; 0 for the usual number.
    block: usize,
    /// How blocks are packed.
    codec: Option<Codec>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    Lz4,
    Zstd,
}

/// Bytes that a block of the usual number of elements has.
const USUAL_BLOCK: usize = 8192;
/// The usual number of elements is not smaller.
const LEAST_ELEMENTS: usize = 128;
/// Larger elements are read through HDF5.
const MOST_ITEM: usize = 1 << 16;

impl Bitshuffle {
    /// Takes client data: two version numbers, element size, block size, codec.
    pub(super) fn new(values: &[u32]) -> Option<Self> {
        let item = *values.get(2)? as usize;
        let block = values.get(3).map_or(0, |&block| block as usize);
        let codec = match values.get(4).copied().unwrap_or(0) {
            0 => None,
            2 => Some(Codec::Lz4),
            3 => Some(Codec::Zstd),
            _ => return None,
        };
        let known = (1..=MOST_ITEM).contains(&item) && block.is_multiple_of(8);
        known.then_some(Self { item, block, codec })
    }

    /// Tells whether blocks are packed, and not sorted only.
    pub(super) fn packs(&self) -> bool {
        self.codec.is_some()
    }

    /// Decodes into the front of `to` and tells how many bytes there are.
    pub(super) fn decode(&self, from: &[u8], to: &mut [u8], tools: &mut Tools) -> Result<usize> {
        match self.codec {
            Some(codec) => self.unpack(codec, from, to, tools),
            None => self.sort(from, to, tools),
        }
    }

    fn sort(&self, mut from: &[u8], to: &mut [u8], tools: &mut Tools) -> Result<usize> {
        let size = from.len();
        let to = to.get_mut(..size).ok_or_else(|| format!("bitshuffle: {size} bytes, too many"))?;
        let rest = self.blocks(to, self.block, |to| {
            let (block, rest) = from.split_at(to.len());
            from = rest;
            // Read in order once, so that reading it in many places does not wait for memory.
            let near = tools.block.take(block.len())?;
            near.copy_from_slice(block);
            bits::undo(near, to, self.item, &mut tools.planes)
        })?;
        rest.copy_from_slice(from);
        Ok(size)
    }

    fn unpack(&self, codec: Codec, from: &[u8], to: &mut [u8], tools: &mut Tools) -> Result<usize> {
        let short = || "bitshuffle: ends within a block".to_string();
        let (size, from) = from.split_first_chunk().ok_or_else(short)?;
        let (block_size, mut from) = from.split_first_chunk().ok_or_else(short)?;
        let (size, block_size) = (u64::from_be_bytes(*size), u32::from_be_bytes(*block_size));
        let to = usize::try_from(size).ok().and_then(|size| to.get_mut(..size));
        let to = to.ok_or_else(|| format!("bitshuffle: {size} bytes announced, too many"))?;
        let Tools { codecs, planes, block } = tools;
        let rest = self.blocks(to, block_size as usize / self.item, |to| {
            let (size, rest) = from.split_first_chunk().ok_or_else(short)?;
            let size = u32::from_be_bytes(*size) as usize;
            let (packed, rest) = rest.split_at_checked(size).ok_or_else(short)?;
            from = rest;
            let sorted = block.take(to.len())?;
            match codec {
                Codec::Lz4 => lz4::block(packed, sorted)?,
                Codec::Zstd => codecs.zstd.block(packed, sorted)?,
            }
            bits::undo(sorted, to, self.item, planes)
        })?;
        rest.copy_from_slice(from.get(..rest.len()).ok_or_else(short)?);
        Ok(size as usize)
    }

    /// Has blocks of `elements` undone; gives the last elements, fewer than 8, which are stored
    /// as they are.
    fn blocks<'a>(
        &self,
        to: &'a mut [u8],
        elements: usize,
        mut undo: impl FnMut(&mut [u8]) -> Result<()>,
    ) -> Result<&'a mut [u8]> {
        let elements = match elements {
            0 => (USUAL_BLOCK / self.item / 8 * 8).max(LEAST_ELEMENTS),
            _ => elements,
        };
        if !elements.is_multiple_of(8) || !to.len().is_multiple_of(self.item) {
            let Self { item, .. } = self;
            let size = to.len();
            return Err(format!("bitshuffle: {size} bytes in blocks of {elements} × {item}"));
        }
        let whole = to.len() / (8 * self.item) * (8 * self.item);
        let (to, rest) = to.split_at_mut(whole);
        to.chunks_mut(elements.saturating_mul(self.item)).try_for_each(&mut undo)?;
        Ok(rest)
    }
}
