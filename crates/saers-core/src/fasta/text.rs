//! The text of a FASTA file, plain or block-compressed, readable at any place.

use std::path::Path;

use super::bgzip::{Blocks, Unpacker};
use super::source::Source;
use crate::Result;

/// Bytes that are read at once: few enough to stay in a core's cache.
pub(super) const BLOCK: u64 = 1 << 18;

/// An open file whose uncompressed bytes can be read at any place.
#[derive(Debug)]
pub(super) struct Text {
    source: Source,
    /// None where the file is not compressed.
    blocks: Option<Blocks>,
}

impl Text {
    /// Opens a plain or bgzip file; a missing block index is made.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path)?;
        let blocks = Blocks::open(&source)?;
        Ok(Self { source, blocks })
    }

    pub(super) fn path(&self) -> &Path {
        self.source.path()
    }

    /// Number of bytes of text (uncompressed).
    pub(super) fn len(&self) -> u64 {
        self.blocks.as_ref().map_or(self.source.len(), Blocks::text_len)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.blocks.is_some()
    }

    pub(super) fn cursor(&self) -> Cursor<'_> {
        let unpacker = self.blocks.as_ref().map(|blocks| Unpacker::new(&self.source, blocks));
        Cursor { text: self, unpacker, buffer: Vec::new(), start: 0, len: 0 }
    }
}

/// Reads a [`Text`]; keeps what it read last.
pub(super) struct Cursor<'a> {
    text: &'a Text,
    unpacker: Option<Unpacker<'a>>,
    /// Its first `len` bytes are those of the text from `start` on.
    buffer: Vec<u8>,
    start: u64,
    len: usize,
}

impl Cursor<'_> {
    /// The bytes of a stretch; nothing is read where the last stretch holds it.
    pub(super) fn window(&mut self, from: u64, to: u64) -> Result<&[u8]> {
        if from < self.start || to > self.start + self.len as u64 {
            self.load(from, to)?;
        }
        let from = (from - self.start) as usize;
        let to = (to - self.start) as usize;
        self.buffer.get(from..to).ok_or_else(|| self.text.source.ends(self.start + from as u64))
    }

    fn load(&mut self, from: u64, to: u64) -> Result<()> {
        self.len = 0;
        self.start = from;
        let end = self.text.len();
        if from > to || to > end {
            return Err(self.text.source.ends(end));
        }
        let len = (to - from) as usize;
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        let out = &mut self.buffer[..len];
        match &mut self.unpacker {
            None => self.text.source.read(from, out)?,
            Some(unpacker) => unpacker.read(from, out)?,
        }
        self.len = len;
        Ok(())
    }
}
