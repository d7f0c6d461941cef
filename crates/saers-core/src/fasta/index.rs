//! The `.fai` index: where each record's letters lie.

use std::collections::HashSet;
use std::path::Path;

use super::beside::{beside, save_beside};
use super::build::build;
use super::source::read_if_there;
use super::text::{BLOCK, Cursor, Text};
use crate::{Error, Result};

/// Bytes of a header, so that a file of other kind is no header as a whole.
pub(super) const LONGEST_HEADER: usize = 1 << 16;

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
    /// Byte of the letter at `position`, and how many letters of its line stand before it.
    pub(super) fn place(&self, position: u64) -> (u64, u64) {
        let line_bases = self.line_bases.max(1);
        let column = position % line_bases;
        (self.offset + position / line_bases * self.line_width + column, column)
    }

    /// Cuts letters into pieces whose bytes can be read at once; gives the end of the first.
    pub(super) fn piece(&self, from: u64, to: u64) -> u64 {
        let line = from / self.line_bases.max(1);
        let end = match BLOCK / self.line_width.max(1) {
            0 => (from + BLOCK).min(line.saturating_add(1).saturating_mul(self.line_bases)),
            lines => line.saturating_add(lines).saturating_mul(self.line_bases),
        };
        to.min(end)
    }

    /// Calls `visit` with the letters of each line among `bytes`, before which `column`
    /// letters of the first line stand.
    pub(super) fn lines<'b>(
        &self,
        mut bytes: &'b [u8],
        column: u64,
        mut visit: impl FnMut(&'b [u8]),
    ) {
        let gap = (self.line_width - self.line_bases) as usize;
        let mut left = self.line_bases - column;
        while !bytes.is_empty() {
            let (line, rest) = bytes.split_at(bytes.len().min(left as usize));
            visit(line);
            bytes = rest.get(gap..).unwrap_or_default();
            left = self.line_bases;
        }
    }
}

/// Whether all bytes can be letters of a sequence.
pub(super) fn are_letters(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, byte| all & byte.is_ascii_graphic())
}

/// Reads the `.fai` beside the file, or makes it.
pub(super) fn open(text: &Text) -> Result<Vec<Record>> {
    let path = beside(text.path(), "fai");
    let Some(bytes) = read_if_there(&path)? else {
        let records = build(text)?;
        save_beside(&path, write(&records).as_bytes());
        return Ok(records);
    };
    let lines = std::str::from_utf8(&bytes).map_err(|error| {
        Error::format(&path, format!("byte {}", error.valid_up_to()), "no text")
    })?;
    let records = parse(&path, lines)?;
    check(&path, &records, text)?;
    Ok(records)
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
    let mut look = Look { cursor: text.cursor(), text_len: text.len() };
    let mut headers = HashSet::new();
    let mut next = Vec::new();
    let file = text.path().display();
    let stale = |number: usize, message: String| {
        let place = format!("line {}", number + 1);
        let advice = "the index is stale or the file was cut: delete the index";
        Error::format(path, place, format!("{message}; {advice}"))
    };
    for (number, record) in records.iter().enumerate() {
        let Record { name, offset, .. } = record;
        let end = record.length.checked_sub(1).map_or(*offset, |last| record.place(last).0 + 1);
        if end.max(*offset) > text.len() {
            let message = format!("{name} ends at byte {end}, but {file} has {}", text.len());
            return Err(stale(number, message));
        }
        let Some(header) = look.header_of(record)? else {
            let message = format!("byte {offset} of {file} does not follow the header of {name}");
            return Err(stale(number, message));
        };
        if !look.ends_lines(record)? {
            let message = format!("the lines of {name} in {file} do not end there");
            return Err(stale(number, message));
        }
        let Some(after) = look.header_after(end)? else {
            return Err(stale(number, format!("{name} does not end at byte {end} of {file}")));
        };
        headers.insert(header);
        next.push(after);
    }
    next.push(look.header_after(0)?.unwrap_or_default());
    let is_left_out = |header: &u64| *header < text.len() && !headers.contains(header);
    match next.iter().position(is_left_out) {
        None => Ok(()),
        Some(number) => {
            let message = format!("a record at byte {} of {file} is left out", next[number]);
            Err(stale(number % records.len(), message))
        }
    }
}

/// Looks at the places in a file of which an index speaks.
struct Look<'a> {
    cursor: Cursor<'a>,
    text_len: u64,
}

impl Look<'_> {
    /// Where the line that begins with `>name` and stands before the letters begins.
    fn header_of(&mut self, record: &Record) -> Result<Option<u64>> {
        // Most headers are short.
        for most in [1 << 8, LONGEST_HEADER + 2] {
            let from = record.offset.saturating_sub(most as u64);
            let before = self.cursor.window(from, record.offset)?;
            let Some(header) = before.strip_suffix(b"\n") else { return Ok(None) };
            let start = match header.iter().rposition(|&byte| byte == b'\n') {
                Some(end) => end + 1,
                None if from == 0 => 0,
                None => continue,
            };
            let is_own = header_name(&header[start..]) == Some(record.name.as_bytes());
            return Ok(is_own.then_some(from + start as u64));
        }
        Ok(None)
    }

    /// Whether the first line of a record, where there are several, ends as the others are
    /// said to.
    fn ends_lines(&mut self, record: &Record) -> Result<bool> {
        if record.length <= record.line_bases {
            return Ok(true);
        }
        let (from, to) = (record.offset + record.line_bases, record.offset + record.line_width);
        let is_short = to <= self.text_len && to - from <= 1 << 8;
        let end = if is_short { self.cursor.window(from, to)? } else { &[] };
        Ok(end.ends_with(b"\n") && end.trim_ascii().is_empty())
    }

    /// Where the next header begins, if nothing but white space stands before it; the end of
    /// the file where there is none, as far as one looks.
    fn header_after(&mut self, end: u64) -> Result<Option<u64>> {
        let after = self.cursor.window(end, self.text_len.min(end + (1 << 8)))?;
        match after.iter().position(|byte| !byte.is_ascii_whitespace()) {
            None => Ok(Some(self.text_len)),
            Some(at) if after[at] == b'>' => Ok(Some(end + at as u64)),
            Some(_) => Ok(None),
        }
    }
}

/// The name in a header line, None where the line is no header.
pub(super) fn header_name(line: &[u8]) -> Option<&[u8]> {
    let name = line.strip_prefix(b">")?;
    let end = name.iter().position(u8::is_ascii_whitespace).unwrap_or(name.len());
    Some(&name[..end])
}
