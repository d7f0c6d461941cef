//! The blocks of a bgzip file: where they begin, and what they hold.

use libdeflater::{Crc, Decompressor};

use super::beside::{beside, save_beside};
use super::source::{Source, read_if_there};
use crate::{Error, Result, threads};

/// Bytes that a block has at most, compressed or not.
const MOST: u64 = 1 << 16;

/// Bytes of a block that are neither its header's extra fields nor compressed: the fixed part
/// of the header, then checksum and size.
const HEAD: usize = 12;
const TAIL: usize = 8;

/// Where a block begins, in the file and in the text it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    packed: u64,
    text: u64,
}

/// The blocks of a file in order; its end stands last.
#[derive(Debug)]
pub(super) struct Blocks(Vec<Block>);

impl Blocks {
    /// Lists the blocks, from the `.gzi` beside the file as far as it goes; a missing one is
    /// made. None where the file is not compressed.
    pub(super) fn open(source: &Source) -> Result<Option<Self>> {
        let mut magic = [0; 2];
        if source.len() < 2 {
            return Ok(None);
        }
        source.read(0, &mut magic)?;
        if magic != [0x1f, 0x8b] {
            return Ok(None);
        }
        let index = beside(source.path(), "gzi");
        let known = read_if_there(&index)?;
        let mut blocks = match &known {
            Some(bytes) => parse(source, bytes).map_err(|(place, message)| {
                Error::format(&index, place, format!("{message}; delete the index"))
            })?,
            None => vec![Block { packed: 0, text: 0 }],
        };
        walk(source, &mut blocks)?;
        if known.is_none() {
            save_beside(&index, &gzi(&blocks));
        }
        Ok(Some(Self(blocks)))
    }

    /// Number of bytes of text.
    pub(super) fn text_len(&self) -> u64 {
        self.0.last().map_or(0, |end| end.text)
    }
}

/// Reads a `.gzi`: a count, then pairs of offsets; the first block is implied.
fn parse(source: &Source, bytes: &[u8]) -> std::result::Result<Vec<Block>, (String, String)> {
    let words: Vec<u64> = bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect();
    let pairs = words.get(1..).unwrap_or_default().as_chunks::<2>().0;
    if words.first() != Some(&(pairs.len() as u64)) || bytes.len() != 8 + 16 * pairs.len() {
        return Err(("byte 0".into(), "cut short, or not an index of bgzip".into()));
    }
    let mut last = Block { packed: 0, text: 0 };
    let mut blocks = vec![last];
    for (entry, &[packed, text]) in pairs.iter().enumerate() {
        let is_step = |from: u64, to: u64| to.checked_sub(from).is_some_and(|step| step <= MOST);
        if packed == last.packed
            || packed > source.len()
            || !is_step(last.packed, packed)
            || !is_step(last.text, text)
        {
            let message = format!(
                "no block of {} ({} bytes) begins at byte {packed} and text byte {text}: \
                 the index is of another file",
                source.path().display(),
                source.len()
            );
            return Err((format!("entry {}", entry + 1), message));
        }
        last = Block { packed, text };
        blocks.push(last);
    }
    Ok(blocks)
}

/// Writes a `.gzi`.
fn gzi(blocks: &[Block]) -> Vec<u8> {
    let starts = blocks.get(1..blocks.len() - 1).unwrap_or_default();
    let words = starts.iter().flat_map(|block| [block.packed, block.text]);
    std::iter::once(starts.len() as u64).chain(words).flat_map(u64::to_le_bytes).collect()
}

/// Appends the blocks that follow the last one known, and the end of the file.
fn walk(source: &Source, blocks: &mut Vec<Block>) -> Result<()> {
    let mut next = blocks.last().copied().unwrap_or(Block { packed: 0, text: 0 });
    let mut last_size = None;
    while next.packed < source.len() {
        threads::check()?;
        let size = packed_size(source, next.packed)?;
        let mut tail = [0; 4];
        source.read(next.packed + size - 4, &mut tail)?;
        let text = u64::from(u32::from_le_bytes(tail));
        if text > MOST {
            return Err(broken(source, next.packed));
        }
        last_size = Some(text);
        next = Block { packed: next.packed + size, text: next.text + text };
        blocks.push(next);
    }
    if last_size == Some(0) {
        return Ok(());
    }
    let message = "the empty block that ends every bgzip file is missing: cut short";
    Err(Error::format(source.path(), format!("byte {}", next.packed), message))
}

/// Size of the compressed block that begins at `at`; all of it lies in the file.
fn packed_size(source: &Source, at: u64) -> Result<u64> {
    let rest = source.len() - at;
    let mut head = vec![0; rest.min(18) as usize];
    source.read(at, &mut head)?;
    if head.len() == 18 && head_size(&head) > 18 && head_size(&head) as u64 <= rest {
        head.resize(head_size(&head), 0);
        source.read(at, &mut head)?;
    }
    let place = || format!("byte {at}");
    let size = block_size(&head).ok_or_else(|| {
        let message = if at == 0 {
            "compressed by gzip, which cannot be read at a place; \
             use bgzip: gunzip FILE.gz, then bgzip FILE"
        } else {
            "no bgzip block begins here: the file is broken, or its .gzi is of another file"
        };
        Error::format(source.path(), place(), message)
    })?;
    if size > rest {
        let message = format!("the block should have {size} bytes, {rest} are left: cut short");
        return Err(Error::format(source.path(), place(), message));
    }
    Ok(size)
}

/// Bytes of the header whose first 12 bytes these are.
fn head_size(head: &[u8]) -> usize {
    HEAD + usize::from(u16::from_le_bytes([head[10], head[11]]))
}

/// Size of the block whose header this is, None where it is none.
fn block_size(head: &[u8]) -> Option<u64> {
    if head.len() < HEAD || !head.starts_with(&[0x1f, 0x8b, 8, 4]) {
        return None;
    }
    let mut extra = head.get(HEAD..head_size(head))?;
    loop {
        let [id @ .., low, high] = extra.first_chunk::<4>()?;
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let field = extra.get(4..4 + length)?;
        if let (b"BC", &[low, high]) = (id, field) {
            let size = u64::from(u16::from_le_bytes([low, high])) + 1;
            return Some(size).filter(|&size| size >= (head_size(head) + TAIL) as u64);
        }
        extra = &extra[4 + length..];
    }
}

fn broken(source: &Source, at: u64) -> Error {
    let message = "the block does not decompress to what it promises; \
                   the file is broken, or its .gzi is of another file";
    Error::format(source.path(), format!("byte {at}"), message)
}

/// Decompresses blocks; keeps the last one.
pub(super) struct Unpacker<'a> {
    source: &'a Source,
    blocks: &'a [Block],
    decompressor: Decompressor,
    packed: Vec<u8>,
    text: Vec<u8>,
    number: Option<usize>,
}

impl<'a> Unpacker<'a> {
    pub(super) fn new(source: &'a Source, blocks: &'a Blocks) -> Self {
        Self {
            source,
            blocks: &blocks.0,
            decompressor: Decompressor::new(),
            packed: Vec::new(),
            text: Vec::new(),
            number: None,
        }
    }

    /// Fills `out` with the text from `at` on.
    pub(super) fn read(&mut self, mut at: u64, mut out: &mut [u8]) -> Result<()> {
        let source = self.source;
        while !out.is_empty() {
            let bytes = self.bytes(at)?;
            let take = bytes.len().min(out.len());
            if take == 0 {
                return Err(source.ends(source.len()));
            }
            let (now, later) = out.split_at_mut(take);
            now.copy_from_slice(&bytes[..take]);
            out = later;
            at += take as u64;
        }
        Ok(())
    }

    /// Bytes of text from `at` up to the end of their block; none at the end of the file.
    fn bytes(&mut self, at: u64) -> Result<&[u8]> {
        let after = self.blocks.partition_point(|block| block.text <= at);
        let (Some(number), Some(end)) = (after.checked_sub(1), self.blocks.get(after)) else {
            return Ok(&[]);
        };
        if self.number != Some(number) {
            self.number = None;
            self.unpack(self.blocks[number], *end)?;
            self.number = Some(number);
        }
        let from = usize::try_from(at - self.blocks[number].text).unwrap_or(usize::MAX);
        Ok(self.text.get(from..).unwrap_or_default())
    }

    /// Decompresses a block, which must be as long as the index says, packed and unpacked.
    fn unpack(&mut self, block: Block, end: Block) -> Result<()> {
        let broken = || broken(self.source, block.packed);
        let (size, text_size) = (end.packed - block.packed, end.text - block.text);
        self.packed.resize(size as usize, 0);
        self.source.read(block.packed, &mut self.packed)?;
        if block_size(&self.packed) != Some(size) {
            return Err(broken());
        }
        let (packed, tail) = self.packed.split_at(self.packed.len() - TAIL);
        let (sum, promised) = tail.split_at(4);
        self.text.resize(text_size as usize, 0);
        let count = self
            .decompressor
            .deflate_decompress(&packed[head_size(packed)..], &mut self.text)
            .map_err(|_| broken())?;
        let mut crc = Crc::new();
        crc.update(&self.text);
        let is_whole = count as u64 == text_size
            && crc.sum().to_le_bytes() == sum
            && (text_size as u32).to_le_bytes() == promised;
        if is_whole { Ok(()) } else { Err(broken()) }
    }
}
