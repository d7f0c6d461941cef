//! Motif files: MEME, JASPAR, TRANSFAC, HOCOMOCO and HOMER are read, MEME and JASPAR written.
//!
//! The format is told from the content, never from the name; gzip is opened as it is met.

mod bases;
mod meme;
mod positions;
mod transfac;
mod write;

use std::io::Read;
use std::path::Path;

use crate::motif::{Motif, Row};
use crate::{Error, Result};
pub use write::{jaspar_text, meme_text};

/// A file's text with what its errors need.
struct Text<'a> {
    path: &'a Path,
    lines: Vec<&'a str>,
}

impl Text<'_> {
    /// Builds the error for a line, counted from 0.
    fn error(&self, line: usize, message: impl Into<String>) -> Error {
        Error::format(self.path, format!("line {}", line + 1), message)
    }

    /// Passes a value through, or blames a line for its absence.
    fn at<T>(&self, line: usize, result: Result<T>) -> Result<T> {
        result.map_err(|error| self.error(line, error.to_string()))
    }

    /// Reads the numbers of a line, which start after `skip` words.
    fn numbers(&self, line: usize, skip: usize) -> Result<Vec<f64>> {
        let words = self.lines[line].split_whitespace().skip(skip);
        words.map(|word| self.number(line, word)).collect()
    }

    fn number(&self, line: usize, word: &str) -> Result<f64> {
        word.parse().map_err(|_| self.error(line, format!("expected a number, found '{word}'")))
    }

    /// Reads a row of four numbers; more words may follow.
    fn row(&self, line: usize, skip: usize) -> Result<Row> {
        let words: Vec<&str> = self.lines[line].split_whitespace().skip(skip).take(4).collect();
        if words.len() < 4 {
            let found = words.len();
            return Err(self.error(line, format!("expected 4 numbers for A C G T, found {found}")));
        }
        let mut row = [0.0; 4];
        for (value, word) in row.iter_mut().zip(words) {
            *value = self.number(line, word)?;
        }
        Ok(row)
    }
}

/// Reads all motifs of a file, plain or compressed with gzip.
///
/// # Errors
/// [`Error::Io`] where it cannot be read; [`Error::Format`] names the line that is broken, or
/// says that the file holds no motif.
///
/// ```
/// let path = std::env::temp_dir().join("saers-formats-read.jaspar");
/// std::fs::write(&path, ">M1 AG\nA [2 0]\nC [0 0]\nG [0 2]\nT [0 0]\n")?;
/// let motifs = saers_core::formats::read(&path)?;
/// assert_eq!(motifs[0].frequencies.consensus(), "AG");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: &Path) -> Result<Vec<Motif>> {
    let bytes = std::fs::read(path).map_err(|error| Error::io(path, error))?;
    let mut text = String::new();
    let outcome = if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text)
    } else {
        bytes.as_slice().read_to_string(&mut text)
    };
    outcome.map_err(|error| Error::format(path, "content", error.to_string()))?;
    parse(&text, path)
}

/// Parses the text of a motif file; `path` stands in errors only.
///
/// # Errors
/// [`Error::Format`] names the line that is broken, or says that there is no motif.
///
/// ```
/// use saers_core::formats::parse;
/// let text = "MEME version 4\n\nMOTIF M1 Sox2\nletter-probability matrix: w= 1\n1 0 0 0\n";
/// assert_eq!(parse(text, "m.meme".as_ref())?[0].name, "Sox2");
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn parse(text: &str, path: &Path) -> Result<Vec<Motif>> {
    let text = Text { path, lines: text.lines().collect() };
    let motifs = match detect(&text)? {
        Format::Meme => meme::parse(&text)?,
        Format::Transfac => transfac::parse(&text)?,
        Format::Bases => bases::parse(&text)?,
        Format::Positions => positions::parse(&text)?,
    };
    if motifs.is_empty() {
        return Err(Error::format(path, "content", "the file holds no motif"));
    }
    Ok(motifs)
}

enum Format {
    Meme,
    Transfac,
    /// One line for each letter: JASPAR.
    Bases,
    /// One line for each position: HOCOMOCO, HOMER.
    Positions,
}

/// Tells the format from the first lines that mean something.
fn detect(text: &Text) -> Result<Format> {
    let mut lines = text.lines.iter().filter(|line| {
        let line = line.trim();
        !(line.is_empty() || line.starts_with('#') || line.starts_with('*'))
    });
    let Some(first) = lines.next() else {
        return Err(Error::format(text.path, "content", "the file holds no motif"));
    };
    if text.lines.iter().any(|line| line.trim_start().starts_with("MEME version")) {
        return Ok(Format::Meme);
    }
    let word = first.split_whitespace().next().unwrap_or_default();
    if first.starts_with('>') {
        let body: Vec<&str> = lines.take_while(|line| !line.starts_with('>')).copied().collect();
        return Ok(if bases::looks_like(&body) { Format::Bases } else { Format::Positions });
    }
    if ["AC", "ID", "NA", "DE", "VV", "P0", "PO", "XX"].contains(&word) {
        return Ok(Format::Transfac);
    }
    Err(Error::format(
        text.path,
        "line 1",
        "not a motif file: expected 'MEME version', a TRANSFAC field, or '>' of JASPAR, \
         HOCOMOCO or HOMER",
    ))
}
