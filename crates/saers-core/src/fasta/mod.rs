//! Slices of a genome: an indexed FASTA file, plain or bgzip, mapped into memory.

mod composition;
mod index;
mod region;
mod text;

use std::collections::HashMap;
use std::path::Path;

pub use composition::Composition;
pub use index::Record;
pub use region::{Region, Slices, onehot};

use crate::{Error, Result};
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
        let mut cursor = self.text.cursor();
        let mut line = Vec::new();
        let mut runs: Vec<(u64, u64)> = Vec::new();
        let mut at = 0;
        while at < record.length {
            let take = record.line_bases.min(record.length - at);
            line.resize(usize::try_from(take).unwrap_or(usize::MAX), 0);
            cursor.copy(record.byte(at), &mut line)?;
            add_runs(&mut runs, &line, at);
            at += take;
        }
        Ok(runs)
    }

    fn record(&self, number: usize) -> Result<&Record> {
        self.records.get(number).ok_or_else(|| {
            Error::invalid(format!("record must lie in 0..{}, got {number}", self.records.len()))
        })
    }
}

/// Adds the runs of N of one line whose first letter stands at `at`.
fn add_runs(runs: &mut Vec<(u64, u64)>, line: &[u8], at: u64) {
    // Most lines hold none; this test is vectorised, the loop below is not.
    if !line.iter().fold(false, |any, &letter| any | (letter & 0xdf == b'N')) {
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
