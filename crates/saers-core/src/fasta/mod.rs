//! Slices of a genome: an indexed FASTA file, plain or bgzip, read where it is asked for.

mod beside;
mod bgzip;
mod build;
mod composition;
mod gather;
mod index;
mod onehot;
mod region;
mod source;
mod text;

use std::collections::HashMap;
use std::path::Path;

pub use composition::Composition;
pub use index::Record;
pub use onehot::Layout;
pub use region::{Portion, Portions, Region};

use crate::{Error, Result, threads};
use text::Text;

/// An open FASTA file.
///
/// The `.fai` beside it is read, or made when it is missing; so is the `.gzi` of a bgzip
/// file. Letters stay in the file until they are asked for.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("genome.fa");
/// std::fs::write(&path, ">chr1\nACGT\nACNN\nnG\n")?;
/// let genome = saers_core::fasta::Fasta::open(&path)?;
/// assert_eq!(genome.records()[0].length, 10);
/// assert_eq!(genome.n_runs(0)?, [(6, 9)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fasta {
    text: Text,
    records: Vec<Record>,
    numbers: HashMap<String, usize>,
}

impl Fasta {
    /// Opens a file and its index.
    ///
    /// # Errors
    /// [`Error::Io`] where a file cannot be read; [`Error::Format`] where it is no FASTA file,
    /// is compressed by plain gzip, or the index belongs to another state of it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let text = Text::open(path.as_ref())?;
        let records = index::open(&text)?;
        let numbers = records.iter().enumerate().map(|(i, r)| (r.name.clone(), i)).collect();
        Ok(Self { text, records, numbers })
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.text.path()
    }

    /// The records in the order of the index.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The place of a record among [`Fasta::records`], None where there is none of that name.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    /// Runs of the letter N (or n) in a record: 0-based half-open intervals in order.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] where there is no such record, [`Error::Format`] where the
    /// file is broken.
    pub fn n_runs(&self, record: usize) -> Result<Vec<(u64, u64)>> {
        let record = self.record(record)?;
        let mut runs: Vec<(u64, u64)> = Vec::new();
        self.each_piece(record, |mut at, column, bytes| {
            if holds_n(bytes) {
                record.lines(bytes, column, |line| {
                    add_runs(&mut runs, line, at);
                    at += line.len() as u64;
                });
            }
        })?;
        Ok(runs)
    }

    /// Reads a record from its start to its end; `visit` is given the place of the first letter
    /// among those of the record and among those of its line, and bytes for [`Record::lines`].
    fn each_piece(&self, record: &Record, mut visit: impl FnMut(u64, u64, &[u8])) -> Result<()> {
        let mut cursor = self.text.cursor();
        let mut at = 0;
        while at < record.length {
            threads::check()?;
            let to = record.piece(at, record.length);
            let (byte, column) = record.place(at);
            visit(at, column, cursor.window(byte, record.place(to - 1).0 + 1)?);
            at = to;
        }
        Ok(())
    }

    fn record(&self, number: usize) -> Result<&Record> {
        self.records.get(number).ok_or_else(|| {
            Error::invalid(format!("record must lie in 0..{}, got {number}", self.records.len()))
        })
    }
}

/// Whether there is an N; most stretches hold none, and this test is vectorised.
fn holds_n(letters: &[u8]) -> bool {
    letters.iter().fold(false, |any, &letter| any | (letter & 0xdf == b'N'))
}

/// Adds the runs of N of one line whose first letter stands at `at`.
fn add_runs(runs: &mut Vec<(u64, u64)>, line: &[u8], at: u64) {
    if !holds_n(line) {
        return;
    }
    for (position, _) in (at..).zip(line).filter(|(_, letter)| **letter & 0xdf == b'N') {
        match runs.last_mut() {
            Some((_, end)) if *end == position => *end += 1,
            _ => runs.push((position, position + 1)),
        }
    }
}

#[cfg(test)]
mod tests;
