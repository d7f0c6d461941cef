//! Making the `.fai` of a file that has none.

use std::collections::HashSet;
use std::path::Path;

use super::index::{LONGEST_HEADER, Record, are_letters, header_name};
use super::text::{BLOCK, Text};
use crate::{Error, Result, threads};

/// Reads the whole file once and notes where each record lies.
pub(super) fn build(text: &Text) -> Result<Vec<Record>> {
    let mut builder = Builder::new(text.path());
    let mut cursor = text.cursor();
    let mut at = 0;
    while at < text.len() {
        threads::check()?;
        let to = text.len().min(at + BLOCK);
        builder.add(cursor.window(at, to)?)?;
        at = to;
    }
    builder.finish()
}

/// Follows the lines of a FASTA file that arrives in pieces.
struct Builder<'a> {
    path: &'a Path,
    records: Vec<Record>,
    names: HashSet<String>,
    /// Bytes seen, lines ended.
    at: u64,
    line: u64,
    line_start: u64,
    /// The line so far: its bytes, and its text where it is a header.
    width: u64,
    ends_in_return: bool,
    header: Option<Vec<u8>>,
    /// A short or blank line of the record was seen: no letters may follow.
    is_last_line: bool,
}

impl<'a> Builder<'a> {
    fn new(path: &'a Path) -> Self {
        Self {
            path,
            records: Vec::new(),
            names: HashSet::new(),
            at: 0,
            line: 0,
            line_start: 0,
            width: 0,
            ends_in_return: false,
            header: None,
            is_last_line: false,
        }
    }

    fn error(&self, message: impl Into<String>) -> Error {
        Error::format(self.path, format!("line {}", self.line + 1), message)
    }

    fn add(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            bytes = &bytes[self.skip_full_lines(bytes)..];
            let end = bytes.iter().position(|&byte| byte == b'\n');
            self.extend(&bytes[..end.unwrap_or(bytes.len())])?;
            if end.is_some() {
                self.end_line(1)?;
            }
            bytes = &bytes[end.map_or(bytes.len(), |end| end + 1)..];
        }
        Ok(())
    }

    /// Takes the lines at the start of `bytes` that are as the record's first one; says how
    /// many bytes they have. Nearly all lines are, and need no search for their ends.
    fn skip_full_lines(&mut self, bytes: &[u8]) -> usize {
        let Some(record) = self.records.last_mut() else { return 0 };
        if self.width > 0 || self.is_last_line || record.length == 0 {
            return 0;
        }
        let (Ok(bases), Ok(width)) = (record.line_bases.try_into(), record.line_width.try_into())
        else {
            return 0;
        };
        let end: &[u8] = if width == bases + 1 { b"\n" } else { b"\r\n" };
        let is_full = |line: &&[u8]| {
            let (letters, rest) = line.split_at(bases);
            rest == end && letters[0] != b'>' && are_letters(letters)
        };
        let count = bytes.chunks_exact(width).take_while(is_full).count();
        record.length += (count * bases) as u64;
        self.line += count as u64;
        self.at += (count * width) as u64;
        self.line_start = self.at;
        count * width
    }

    /// Adds bytes to the line.
    fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(&last) = bytes.last() else { return Ok(()) };
        if self.width == 0 && bytes[0] == b'>' {
            self.header = Some(Vec::new());
        }
        if let Some(header) = &mut self.header {
            header.extend_from_slice(bytes);
            if header.len() > LONGEST_HEADER {
                return Err(self.error("a header of more than 64 KB"));
            }
        } else {
            let letters = if last == b'\r' { &bytes[..bytes.len() - 1] } else { bytes };
            if self.ends_in_return || !are_letters(letters) {
                return Err(self.error("a sequence line holds something that is no letter"));
            }
        }
        self.ends_in_return = last == b'\r';
        self.width += bytes.len() as u64;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Ends the line; `newline` is 0 for a last line without one.
    fn end_line(&mut self, newline: u64) -> Result<()> {
        self.at += newline;
        match self.header.take() {
            Some(header) => self.begin_record(&header)?,
            None => self.end_sequence_line()?,
        }
        self.width = 0;
        self.line_start = self.at;
        self.ends_in_return = false;
        self.line += 1;
        Ok(())
    }

    fn begin_record(&mut self, header: &[u8]) -> Result<()> {
        let name = header_name(header).unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| self.error("the name is not UTF-8"))?;
        if name.is_empty() {
            return Err(self.error("a header without a name"));
        }
        if !self.names.insert(name.to_string()) {
            return Err(self.error(format!("{name} occurs twice")));
        }
        let name = name.to_string();
        self.records.push(Record {
            name,
            length: 0,
            offset: self.at,
            line_bases: 0,
            line_width: 0,
        });
        self.is_last_line = false;
        Ok(())
    }

    fn end_sequence_line(&mut self) -> Result<()> {
        let bases = self.width - u64::from(self.ends_in_return);
        let width = self.at - self.line_start;
        let was_last_line = self.is_last_line;
        let Some(record) = self.records.last_mut() else {
            return if bases == 0 {
                Ok(())
            } else {
                Err(self.error("letters before a header (>)"))
            };
        };
        if bases == 0 {
            self.is_last_line = true;
            return Ok(());
        }
        if record.length == 0 {
            (record.line_bases, record.line_width) = (bases, width);
        }
        record.length += bases;
        if was_last_line || bases > record.line_bases {
            let message = format!(
                "lines of {} differ in length ({} letters, then others): all must have one \
                 length but the last, and no blank line may stand between them",
                record.name, record.line_bases
            );
            return Err(self.error(message));
        }
        self.is_last_line = bases < record.line_bases || width != record.line_width;
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Record>> {
        if self.width > 0 {
            self.end_line(0)?;
        }
        if self.records.is_empty() {
            return Err(self.error("no sequences: a FASTA record begins with >"));
        }
        Ok(self.records)
    }
}
