//! The `.fai` index: where each record's letters lie.

use std::collections::HashSet;
use std::path::Path;

use super::text::{Cursor, Text, beside, save_beside};
use crate::{Error, Result};

/// One sequence of a FASTA file, as a line of a `.fai` index describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name: the header up to the first white space.
    pub name: String,
    /// Number of letters.
    pub length: u64,
    /// Byte of the first letter in the (uncompressed) file.
    pub offset: u64,
    /// Letters a line.
    pub line_bases: u64,
    /// Bytes a line, line end included.
    pub line_width: u64,
}

impl Record {
    /// Byte of the letter at `position`.
    pub(super) fn byte(&self, position: u64) -> u64 {
        let line_bases = self.line_bases.max(1);
        self.offset + position / line_bases * self.line_width + position % line_bases
    }
}

/// Reads the `.fai` beside the file, or makes it.
pub(super) fn open(text: &Text) -> Result<Vec<Record>> {
    let path = beside(text.path(), "fai");
    match std::fs::read_to_string(&path) {
        Ok(lines) => {
            let records = parse(&path, &lines)?;
            check(&path, &records, text)?;
            Ok(records)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let records = build(text)?;
            save_beside(&path, write(&records).as_bytes());
            Ok(records)
        }
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            Err(Error::format(&path, "byte 0", "not a text file"))
        }
        Err(error) => Err(Error::io(&path, error)),
    }
}

fn write(records: &[Record]) -> String {
    let line = |r: &Record| {
        format!("{}\t{}\t{}\t{}\t{}\n", r.name, r.length, r.offset, r.line_bases, r.line_width)
    };
    records.iter().map(line).collect()
}

fn parse(path: &Path, lines: &str) -> Result<Vec<Record>> {
    let mut names = HashSet::new();
    let mut records = Vec::new();
    for (number, line) in lines.lines().enumerate() {
        let place = || format!("line {}", number + 1);
        let record = parse_line(line).ok_or_else(|| {
            let message = format!("expected name, length, offset, bases and width, found {line:?}");
            Error::format(path, place(), message)
        })?;
        if !names.insert(record.name.clone()) {
            return Err(Error::format(path, place(), format!("{} occurs twice", record.name)));
        }
        records.push(record);
    }
    if records.is_empty() {
        return Err(Error::format(path, "line 1", "the index is empty; delete it"));
    }
    Ok(records)
}

fn parse_line(line: &str) -> Option<Record> {
    let mut fields = line.split('\t');
    let name = fields.next().filter(|name| !name.is_empty())?.to_string();
    let mut number = || fields.next()?.trim_end().parse::<u64>().ok();
    let (length, offset, line_bases, line_width) = (number()?, number()?, number()?, number()?);
    let is_sound = length == 0 || (line_bases > 0 && line_width >= line_bases);
    // The last letter's byte must be a number that a file can have.
    let lines = length / line_bases.max(1);
    lines.checked_mul(line_width)?.checked_add(offset)?.checked_add(line_bases)?;
    (is_sound && fields.next().is_none()).then_some(Record {
        name,
        length,
        offset,
        line_bases,
        line_width,
    })
}

/// Refuses an index that was made for another state of the file.
fn check(path: &Path, records: &[Record], text: &Text) -> Result<()> {
    let mut cursor = text.cursor();
    for (number, record) in records.iter().enumerate() {
        let stale = |message: String| {
            Error::format(
                path,
                format!("line {}", number + 1),
                format!("{message}; the index is stale or the file was cut: delete the index"),
            )
        };
        let end = record.length.checked_sub(1).map_or(record.offset, |last| record.byte(last) + 1);
        if end.max(record.offset) > text.len() {
            return Err(stale(format!(
                "{} ends at byte {end}, but {} has {}",
                record.name,
                text.path().display(),
                text.len()
            )));
        }
        if !follows_header(&mut cursor, record)? {
            return Err(stale(format!(
                "byte {} of {} does not follow the header of {}",
                record.offset,
                text.path().display(),
                record.name
            )));
        }
    }
    Ok(())
}

/// Whether a line that begins with `>name` (or ends with a longer header) stands before the letters.
fn follows_header(cursor: &mut Cursor<'_>, record: &Record) -> Result<bool> {
    let mut before = [0];
    let Some(last) = record.offset.checked_sub(1) else { return Ok(false) };
    cursor.copy(last, &mut before)?;
    let mut header = Vec::new();
    let mut at = last;
    // A header holds the name first and text of any length after it.
    while at > 0 && header.last() != Some(&b'\n') {
        at -= 1;
        let mut byte = [0];
        cursor.copy(at, &mut byte)?;
        header.push(byte[0]);
        if header.len() > 1 << 16 {
            return Ok(false);
        }
    }
    header.reverse();
    let line = header.strip_prefix(b"\n").unwrap_or(&header);
    Ok(before == *b"\n" && header_name(line) == Some(record.name.as_bytes()))
}

/// The name in a header line, None where the line is no header.
fn header_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.strip_prefix(b">")?;
    let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
    Some(&name[..end])
}

/// Reads the whole file once and notes where each record lies.
fn build(text: &Text) -> Result<Vec<Record>> {
    let mut builder = Builder::new(text.path());
    let mut cursor = text.cursor();
    let mut at = 0;
    while at < text.len() {
        let bytes = cursor.bytes(at)?;
        builder.add(bytes)?;
        at += bytes.len() as u64;
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

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                None => self.extend(piece)?,
                Some(rest) => {
                    self.extend(rest)?;
                    self.end_line(1)?;
                }
            }
        }
        Ok(())
    }

    /// Adds bytes to the line.
    fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(&last) = bytes.last() else { return Ok(()) };
        if self.width == 0 && bytes[0] == b'>' {
            self.header = Some(Vec::new());
        }
        if let Some(header) = &mut self.header {
            header.extend_from_slice(bytes);
        } else {
            let letters = if last == b'\r' { &bytes[..bytes.len() - 1] } else { bytes };
            if self.ends_in_return || !letters.iter().all(u8::is_ascii_graphic) {
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
