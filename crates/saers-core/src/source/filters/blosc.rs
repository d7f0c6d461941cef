//! Blosc 1 (filter 32001): blocks, each shuffled and packed, often one byte plane at a time.

use super::{Codecs, Result, Room, Tools, bits, blosclz, lz4, shuffle};

const HEADER: usize = 16;
/// The only version that files have.
const VERSION: u8 = 2;
/// Blocks of larger elements, or with fewer of them, are not split into planes.
const MOST_PLANES: usize = 16;
const LEAST_PLANE: usize = 128;

/// What stands before the blocks.
struct Header {
    flags: u8,
    item: usize,
    size: usize,
    block: usize,
    packed: usize,
}

#[derive(Clone, Copy)]
enum Codec {
    BloscLz,
    Lz4,
    Snappy,
    Zlib,
    Zstd,
}

#[derive(Clone, Copy, PartialEq)]
enum Sorted {
    No,
    Bytes,
    Bits,
}

/// Decodes into the front of `to` and tells how many bytes there are.
pub(super) fn decode(from: &[u8], to: &mut [u8], tools: &mut Tools) -> Result<usize> {
    let header = Header::read(from)?;
    let (size, packed) = (header.size, header.packed);
    let to =
        to.get_mut(..size).ok_or_else(|| format!("blosc: {size} bytes announced, too many"))?;
    let from = from.get(..packed).ok_or_else(|| format!("blosc: {packed} bytes announced, cut"))?;
    if header.is_copy() {
        let copy = from.get(HEADER..).filter(|copy| copy.len() == size);
        to.copy_from_slice(copy.ok_or("blosc: a copy of another size")?);
    } else if size > 0 {
        header.blocks(from, to, tools)?;
    }
    Ok(size)
}

impl Header {
    fn read(from: &[u8]) -> Result<Self> {
        let Some(&[version, _, flags, item, ref sizes @ ..]) = from.first_chunk::<HEADER>() else {
            return Err("blosc: cut within the header".into());
        };
        if version != VERSION {
            return Err(format!("blosc: version {version} of the format is not known"));
        }
        let size = |index: usize| {
            let bytes = sizes.as_chunks::<4>().0[index];
            u32::from_le_bytes(bytes) as usize
        };
        let header =
            Self { flags, item: item.into(), size: size(0), block: size(1), packed: size(2) };
        if header.item == 0 || (header.size > 0 && !(1..=header.size).contains(&header.block)) {
            let Self { item, block, size, .. } = header;
            return Err(format!("blosc: {size} bytes in blocks of {block}, elements of {item}"));
        }
        Ok(header)
    }

    fn is_copy(&self) -> bool {
        self.flags & 2 != 0
    }

    fn codec(&self) -> Result<Codec> {
        Ok(match self.flags >> 5 {
            0 => Codec::BloscLz,
            1 => Codec::Lz4,
            2 => Codec::Snappy,
            3 => Codec::Zlib,
            4 => Codec::Zstd,
            other => return Err(format!("blosc: codec {other} is not known")),
        })
    }

    fn sorted(&self) -> Result<Sorted> {
        match self.flags & 5 {
            0 => Ok(Sorted::No),
            1 if self.item == 1 => Ok(Sorted::No),
            1 => Ok(Sorted::Bytes),
            4 => Ok(Sorted::Bits),
            _ => Err("blosc: sorted by bytes and by bits".into()),
        }
    }

    /// Planes of a block that are packed one by one.
    fn planes(&self, block: usize) -> usize {
        let one = self.flags & 16 != 0
            || self.item > MOST_PLANES
            || block != self.block
            || block / self.item < LEAST_PLANE;
        if one { 1 } else { self.item }
    }

    fn blocks(&self, from: &[u8], to: &mut [u8], tools: &mut Tools) -> Result<()> {
        let (codec, sorted) = (self.codec()?, self.sorted()?);
        let list = 4 * to.len().div_ceil(self.block);
        let (starts, blocks) = from
            .split_at_checked(HEADER)
            .and_then(|(_, after)| after.split_at_checked(list))
            .ok_or("blosc: cut within the list of blocks")?;
        let (starts, _) = starts.as_chunks::<4>();
        let Tools { codecs, block, planes } = tools;
        let mut left = blocks.len();
        for (to, &start) in to.chunks_mut(self.block).zip(starts) {
            let start = u32::from_le_bytes(start) as usize;
            let from = from.get(start..).ok_or("blosc: a block starts behind the chunk")?;
            let used = match sorted {
                Sorted::No => self.unpack(codec, from, to, codecs)?,
                Sorted::Bytes | Sorted::Bits => {
                    let block = block.take(to.len())?;
                    let used = self.unpack(codec, from, block, codecs)?;
                    match sorted {
                        Sorted::Bits => self.undo_bits(block, to, planes)?,
                        _ => shuffle::undo(block, to, self.item),
                    }
                    used
                }
            };
            // Blocks do not overlap. If they might, a short chunk could cause endless work.
            left = left.checked_sub(used).ok_or("blosc: blocks overlap")?;
        }
        Ok(())
    }

    /// Unpacks one block and tells how many bytes it took.
    fn unpack(
        &self,
        codec: Codec,
        from: &[u8],
        to: &mut [u8],
        codecs: &mut Codecs,
    ) -> Result<usize> {
        let cut = || "blosc: cut within a block".to_string();
        let planes = self.planes(to.len());
        if !to.len().is_multiple_of(planes) {
            return Err(format!("blosc: a block of {} bytes in {planes} planes", to.len()));
        }
        let mut rest = from;
        for to in to.chunks_exact_mut(to.len() / planes) {
            let (size, after) = rest.split_first_chunk().ok_or_else(cut)?;
            let size = u32::from_le_bytes(*size) as usize;
            let (packed, after) = after.split_at_checked(size).ok_or_else(cut)?;
            rest = after;
            if packed.len() == to.len() {
                to.copy_from_slice(packed);
                continue;
            }
            match codec {
                Codec::BloscLz => blosclz::block(packed, to)?,
                Codec::Lz4 => lz4::block(packed, to)?,
                Codec::Snappy => snappy(packed, to)?,
                Codec::Zlib => codecs.inflater.block(packed, to)?,
                Codec::Zstd => codecs.zstd.block(packed, to)?,
            }
        }
        Ok(from.len() - rest.len())
    }

    /// Blocks whose number of elements is not a multiple of 8 are left as they are.
    fn undo_bits(&self, from: &[u8], to: &mut [u8], room: &mut Room) -> Result<()> {
        let whole = match to.len() / self.item {
            count if count.is_multiple_of(8) => count * self.item,
            _ => 0,
        };
        let (bits, rest) = to.split_at_mut(whole);
        rest.copy_from_slice(&from[whole..]);
        bits::undo(&from[..whole], bits, self.item, room)
    }
}

fn snappy(from: &[u8], to: &mut [u8]) -> Result<()> {
    let found =
        snap::raw::Decoder::new().decompress(from, to).map_err(|e| format!("snappy: {e}"))?;
    match found == to.len() {
        true => Ok(()),
        false => Err(format!("snappy: a block of {found} bytes instead of {}", to.len())),
    }
}
