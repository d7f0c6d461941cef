//! The bytes of a FASTA file, plain or block-compressed, readable at any place.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use memmap2::Mmap;

use crate::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An open file whose uncompressed bytes can be read at any place.
#[derive(Debug)]
pub(super) struct Text {
    path: PathBuf,
    map: Mmap,
    /// Where each block begins, for a block-compressed file; the end of the file comes last.
    blocks: Option<Vec<Block>>,
}

/// Where a block begins, in the file and in the text it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    packed: u64,
    text: u64,
}

impl Text {
    /// Opens a plain or bgzip file; a missing block index is made.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        // SAFETY: the file is only read. Another process that shortens it while it is mapped
        // would end this one; reading it call by call instead is ten times slower for seqlets.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| Error::io(path, error))?;
        let mut text = Self { path: path.to_path_buf(), map, blocks: None };
        if text.map.starts_with(&GZIP_MAGIC) {
            text.blocks = Some(text.find_blocks()?);
        }
        Ok(text)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Number of bytes of text (uncompressed).
    pub(super) fn len(&self) -> u64 {
        self.blocks
            .as_ref()
            .and_then(|blocks| blocks.last())
            .map_or(self.map.len() as u64, |end| end.text)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.blocks.is_some()
    }

    pub(super) fn cursor(&self) -> Cursor<'_> {
        Cursor { text: self, block: usize::MAX, buffer: Vec::new() }
    }

    /// Lists the blocks, from the `.gzi` beside the file as far as it goes.
    fn find_blocks(&self) -> Result<Vec<Block>> {
        let index = beside(&self.path, "gzi");
        let known = match std::fs::read(&index) {
            Ok(bytes) => Some(self.parse_gzi(&index, &bytes)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io(&index, error)),
        };
        let is_known = known.is_some();
        let mut blocks = known.unwrap_or_else(|| vec![Block { packed: 0, text: 0 }]);
        self.walk(&mut blocks)?;
        if !is_known {
            save_beside(&index, &gzi_bytes(&blocks));
        }
        Ok(blocks)
    }

    /// Reads a `.gzi`: a count, then pairs of offsets; the first block is implied.
    fn parse_gzi(&self, index: &Path, bytes: &[u8]) -> Result<Vec<Block>> {
        let words: Vec<u64> =
            bytes.as_chunks::<8>().0.iter().map(|w| u64::from_le_bytes(*w)).collect();
        let pairs = words.get(1..).unwrap_or_default().as_chunks::<2>().0;
        if words.first() != Some(&(pairs.len() as u64)) || bytes.len() != 8 + 16 * pairs.len() {
            return Err(Error::format(index, "byte 0", "cut short, or not an index of bgzip"));
        }
        let mut blocks = vec![Block { packed: 0, text: 0 }];
        for (entry, &[packed, text]) in pairs.iter().enumerate() {
            let last = blocks[blocks.len() - 1];
            if packed <= last.packed || text < last.text || packed > self.map.len() as u64 {
                let place = format!("entry {}", entry + 1);
                let message = format!(
                    "block at byte {packed}, but {} has {} bytes; the index is of another file: delete it",
                    self.path.display(),
                    self.map.len()
                );
                return Err(Error::format(index, place, message));
            }
            blocks.push(Block { packed, text });
        }
        Ok(blocks)
    }

    /// Appends the blocks that follow the last one known, and the end of the file.
    fn walk(&self, blocks: &mut Vec<Block>) -> Result<()> {
        let mut next = blocks[blocks.len() - 1];
        while next.packed < self.map.len() as u64 {
            let packed = self.packed_block(next.packed)?;
            let size = u32_at(packed, packed.len() - 4);
            next = Block {
                packed: next.packed + packed.len() as u64,
                text: next.text + u64::from(size),
            };
            blocks.push(next);
        }
        let is_whole = blocks.iter().rev().nth(1).is_some_and(|last| last.text == next.text);
        if is_whole {
            return Ok(());
        }
        let message = "the empty block that ends every bgzip file is missing: cut short";
        Err(Error::format(&self.path, format!("byte {}", next.packed), message))
    }

    /// The bytes of the compressed block that begins at `at`.
    fn packed_block(&self, at: u64) -> Result<&[u8]> {
        let rest = usize::try_from(at).ok().and_then(|at| self.map.get(at..)).unwrap_or_default();
        let place = || format!("byte {at}");
        let size = block_size(rest).ok_or_else(|| {
            let message = if at == 0 {
                "compressed by gzip, which cannot be read at a place; \
                 use bgzip: gunzip FILE.gz, then bgzip FILE"
            } else {
                "no bgzip block begins here: the file is broken, or its .gzi is of another file"
            };
            Error::format(&self.path, place(), message)
        })?;
        rest.get(..size).ok_or_else(|| {
            let message =
                format!("the block should have {size} bytes, {} are left: cut short", rest.len());
            Error::format(&self.path, place(), message)
        })
    }

    /// Decompresses one block into `buffer`.
    fn unpack(&self, block: Block, buffer: &mut Vec<u8>) -> Result<()> {
        let packed = self.packed_block(block.packed)?;
        let broken = || {
            let message = "the block does not decompress to what it promises";
            Error::format(&self.path, format!("byte {}", block.packed), message)
        };
        let header = 12 + usize::from(u16_at(packed, 10));
        let tail = packed.len().checked_sub(8).filter(|&tail| tail >= header).ok_or_else(broken)?;
        let size = u32_at(packed, tail + 4) as usize;
        if size > 1 << 16 {
            return Err(broken());
        }
        buffer.clear();
        buffer.reserve_exact(size.max(1));
        let status = Decompress::new(false)
            .decompress_vec(&packed[header..tail], buffer, FlushDecompress::Finish)
            .map_err(|_| broken())?;
        let mut crc = Crc::new();
        crc.update(buffer);
        let is_whole = status == Status::StreamEnd
            && buffer.len() == size
            && crc.sum() == u32_at(packed, tail);
        if is_whole { Ok(()) } else { Err(broken()) }
    }
}

/// Reads a [`Text`]; keeps the block that it decompressed last.
pub(super) struct Cursor<'a> {
    text: &'a Text,
    block: usize,
    buffer: Vec<u8>,
}

impl Cursor<'_> {
    /// The bytes from `at` on that lie together: up to the end of the block or file.
    pub(super) fn bytes(&mut self, at: u64) -> Result<&[u8]> {
        let (base, bytes) = match &self.text.blocks {
            None => (0, &self.text.map[..]),
            Some(_) if at >= self.text.len() => return Ok(&[]),
            Some(blocks) => {
                let block = blocks.partition_point(|block| block.text <= at) - 1;
                if block != self.block {
                    self.block = usize::MAX;
                    self.text.unpack(blocks[block], &mut self.buffer)?;
                    self.block = block;
                }
                (blocks[block].text, &self.buffer[..])
            }
        };
        let from = usize::try_from(at - base).unwrap_or(usize::MAX);
        Ok(bytes.get(from..).unwrap_or_default())
    }

    /// Fills `out` with the bytes from `at` on; the file must hold them.
    pub(super) fn copy(&mut self, mut at: u64, mut out: &mut [u8]) -> Result<()> {
        while !out.is_empty() {
            let path = self.text.path();
            let bytes = self.bytes(at)?;
            let take = bytes.len().min(out.len());
            if take == 0 {
                return Err(Error::format(path, format!("byte {at}"), "the file ends here"));
            }
            let (now, later) = out.split_at_mut(take);
            now.copy_from_slice(&bytes[..take]);
            out = later;
            at += take as u64;
        }
        Ok(())
    }
}

/// The name of a file's index: its own name with one more ending.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Writes an index under its final name only when it is whole.
///
/// An index saves time at the next opening and nothing else, so a folder that cannot be
/// written to (shared genomes usually lie in one) is no error. The folder's mode is honoured
/// for root too, whom the system would let through.
pub(super) fn save_beside(path: &Path, bytes: &[u8]) {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mode = std::fs::metadata(folder.unwrap_or(Path::new(".")));
    if !mode.is_ok_and(|mode| !mode.permissions().readonly()) {
        return;
    }
    let draft = beside(path, &format!("{}.tmp", std::process::id()));
    let written = File::create_new(&draft)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
}

fn gzi_bytes(blocks: &[Block]) -> Vec<u8> {
    let starts = &blocks[1..blocks.len() - 1];
    let words = starts.iter().flat_map(|block| [block.packed, block.text]);
    std::iter::once(starts.len() as u64).chain(words).flat_map(u64::to_le_bytes).collect()
}

/// Size of the bgzip block at the start of `bytes`, None where there is no such block.
fn block_size(bytes: &[u8]) -> Option<usize> {
    if !bytes.starts_with(&[0x1f, 0x8b, 8, 4]) {
        return None;
    }
    let mut extra = bytes.get(12..12 + usize::from(u16_at(bytes.get(..12)?, 10)))?;
    while extra.len() >= 4 {
        let length = usize::from(u16_at(extra, 2));
        let field = extra.get(4..4 + length)?;
        if extra.starts_with(b"BC") && length == 2 {
            return Some(usize::from(u16_at(field, 0)) + 1).filter(|&size| size >= 26);
        }
        extra = &extra[4 + length..];
    }
    None
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
