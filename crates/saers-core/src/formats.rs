//! Motif files: MEME, JASPAR (counts or sites), TRANSFAC, HOCOMOCO and HOMER are read, MEME and
//! JASPAR written.
//!
//! The format is told from the content, never from the name; gzip is opened as it is met.

mod bases;
mod meme;
mod positions;
mod sites;
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
        Format::Sites => sites::parse(&text)?,
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
    /// Sequences of sites: JASPAR.
    Sites,
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
        if sites::looks_like(&body) {
            return Ok(Format::Sites);
        }
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

#[cfg(test)]
mod tests {
    use super::{jaspar_text, meme_text, parse};
    use crate::motif::{Counts, Motif, UNIFORM};
    use proptest::prelude::*;

    /// Lines that some format gives a meaning, in any order.
    fn fragments() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec![
            "MEME version 4",
            "ALPHABET= ACGT",
            "Background letter frequencies",
            "MOTIF a b",
            "A 0.25 C 0.25 G 0.25 T 0.25",
            "letter-probability matrix: w= 1",
            "1 0 0 0",
            "0 0 1",
            ">m name",
            "A [ 1 2 ]",
            "C [ 1 2 ]",
            "G [ 1 ]",
            "T [ 0 0 ]",
            "AC M1",
            "P0 A C G T",
            "01 1 2 3 4",
            "//",
            "XX",
            "",
            "-1 nan inf 1e400",
            "w= E= nsites=",
            "MOTIF",
            ">",
            "é",
        ]);
        prop::collection::vec(line, 0..12).prop_map(|lines| lines.join("\n"))
    }

    #[test]
    fn a_motif_of_less_than_one_site_is_written_as_counts_that_can_be_read() {
        let motifs = parse(">m\n1e-5 0 0 0\n0 1e-5 0 0\n", "m".as_ref()).unwrap();
        let again = parse(&jaspar_text(&motifs), "again".as_ref()).unwrap();
        assert_eq!(again[0].frequencies, motifs[0].frequencies);
    }

    #[test]
    fn a_header_of_homer_without_a_name_still_gives_an_id() {
        let motifs = parse(">\t\t02\n0 0.26 0.49 0.25\n", "m".as_ref()).unwrap();
        assert_eq!(motifs[0].id, "02");
        assert_eq!(parse(&meme_text(&motifs), "again".as_ref()).unwrap()[0].id, "02");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in fragments()) {
            if let Ok(motifs) = parse(&text, "fuzz".as_ref()) {
                prop_assert!(!motifs.is_empty());
            }
        }

        #[test]
        fn arbitrary_text_is_an_error_or_a_motif(text in "\\PC{0,80}") {
            let _ = parse(&text, "fuzz".as_ref());
        }

        #[test]
        fn what_is_written_is_read_again(rows in prop::collection::vec(prop::array::uniform4(1.0..9.0_f64), 1..9)) {
            let motif = Motif {
                id: "m".into(),
                name: "n".into(),
                frequencies: Counts::new(rows).unwrap().to_frequencies(),
                n_sites: Some(12.0),
                background: UNIFORM,
                log10_evalue: None,
            };
            let again = parse(&meme_text(std::slice::from_ref(&motif)), "again".as_ref()).unwrap().remove(0);
            for (ours, theirs) in again.frequencies.rows().iter().zip(motif.frequencies.rows()) {
                prop_assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-9));
            }
            prop_assert_eq!((again.id, again.name, again.n_sites), (motif.id, motif.name, motif.n_sites));
        }
    }
}
