//! Letters of many regions at once, and their one-hot code.

use rayon::prelude::*;

use super::text::Cursor;
use super::{Fasta, Record};
use crate::{Error, Result};

/// Regions that one task reads: enough to share a decompressed block.
const REGIONS_A_TASK: usize = 256;

/// A stretch of one record; 0-based, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Place of the record among [`Fasta::records`].
    pub record: usize,
    /// First letter; below 0 only where padding is asked for.
    pub start: i64,
    /// One past the last letter.
    pub end: i64,
    /// Whether the other strand is meant: letters come reverse complemented.
    pub reverse: bool,
}

/// The letters of many regions, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices {
    letters: String,
    ends: Vec<usize>,
}

impl Slices {
    /// All letters, region after region.
    pub fn letters(&self) -> &str {
        &self.letters
    }

    /// The letters of each region.
    ///
    /// ```
    /// assert_eq!(saers_core::fasta::Slices::default().iter().count(), 0);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.letters[start..end])
    }
}

impl Fasta {
    /// Reads the letters of many regions on all threads.
    ///
    /// Letters come in upper case unless `soft_mask` keeps them as they stand in the file.
    /// With `pad`, places outside the record are N.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the first region that has its ends swapped, no such
    /// record, or (without `pad`) places outside the record.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Region};
    /// std::fs::write(&path, ">chr1\nAACg\nT\n")?;
    /// let region = Region { record: 0, start: 1, end: 5, reverse: true };
    /// let slices = Fasta::open(&path)?.slice(&[region], false, false)?;
    /// assert_eq!(slices.letters(), "ACGT");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slice(&self, regions: &[Region], pad: bool, soft_mask: bool) -> Result<Slices> {
        let mut ends = Vec::with_capacity(regions.len());
        let mut total = 0;
        for (number, region) in regions.iter().enumerate() {
            total += self.width(number, region, pad)?;
            ends.push(total);
        }
        let mut letters = vec![0; total];
        let mut tasks = self.tasks(regions, &ends, &mut letters);
        tasks.par_chunks_mut(REGIONS_A_TASK).try_for_each(|tasks| {
            let mut cursor = self.text.cursor();
            tasks.iter_mut().try_for_each(|(region, out)| {
                self.read(&mut cursor, region, out)?;
                finish(out, region.reverse, soft_mask);
                Ok(())
            })
        })?;
        let letters = String::from_utf8(letters)
            .map_err(|_| Error::format(self.path(), "a sequence", "holds bytes above 127"))?;
        Ok(Slices { letters, ends })
    }

    /// Pairs each region with its part of the output; in file order where blocks must be
    /// decompressed, so that each is decompressed once.
    fn tasks<'r, 'o>(
        &self,
        regions: &'r [Region],
        ends: &[usize],
        mut letters: &'o mut [u8],
    ) -> Vec<(&'r Region, &'o mut [u8])> {
        let mut tasks = Vec::with_capacity(regions.len());
        let mut start = 0;
        for (region, &end) in regions.iter().zip(ends) {
            let (out, rest) = letters.split_at_mut(end - start);
            tasks.push((region, out));
            letters = rest;
            start = end;
        }
        if self.text.is_compressed() {
            tasks.sort_by_key(|(region, _)| (region.record, region.start));
        }
        tasks
    }

    /// Number of letters of a region that can be read.
    fn width(&self, number: usize, region: &Region, pad: bool) -> Result<usize> {
        let record = self.record(region.record)?;
        let Region { start, end, .. } = *region;
        let refuse = |why: String| {
            Err(Error::invalid(format!("regions[{number}]: {}:{start}-{end} {why}", record.name)))
        };
        if start > end {
            return refuse("has its start after its end".into());
        }
        if !pad && start < 0 {
            return refuse("starts before 0 (pad=True gives N there)".into());
        }
        if !pad && u64::try_from(end).is_ok_and(|end| end > record.length) {
            return refuse(format!(
                "reaches past the end of {}, {} bp (pad=True gives N there)",
                record.name, record.length
            ));
        }
        let width = end.checked_sub(start).and_then(|width| usize::try_from(width).ok());
        width.map_or_else(|| refuse("is too long".into()), Ok)
    }

    /// Fills `out` with the letters of a region as they stand in the file.
    fn read(&self, cursor: &mut Cursor<'_>, region: &Region, out: &mut [u8]) -> Result<()> {
        let record = self.record(region.record)?;
        let length = i64::try_from(record.length).unwrap_or(i64::MAX);
        let from = region.start.clamp(0, length);
        let to = region.end.clamp(from, length);
        let left = usize::try_from(from - region.start).unwrap_or(out.len()).min(out.len());
        let inner = usize::try_from(to - from).unwrap_or(0);
        out.fill(b'N');
        copy_letters(cursor, record, from.unsigned_abs(), &mut out[left..left + inner])?;
        match out.iter().position(|letter| !letter.is_ascii_graphic()) {
            None => Ok(()),
            Some(at) => Err(Error::format(
                self.path(),
                format!("record {}, position {}", record.name, region.start + at as i64),
                "no letter here: the index is stale, delete it",
            )),
        }
    }
}

/// Copies letters line by line.
fn copy_letters(
    cursor: &mut Cursor<'_>,
    record: &Record,
    mut position: u64,
    mut out: &mut [u8],
) -> Result<()> {
    while !out.is_empty() {
        let left = record.line_bases - position % record.line_bases;
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(out.len());
        let (now, later) = out.split_at_mut(take);
        cursor.copy(record.byte(position), now)?;
        out = later;
        position += take as u64;
    }
    Ok(())
}

/// Brings letters to the strand and case asked for.
fn finish(letters: &mut [u8], reverse: bool, soft_mask: bool) {
    if !soft_mask {
        letters.make_ascii_uppercase();
    }
    if reverse {
        letters.reverse();
        letters.iter_mut().for_each(|letter| *letter = COMPLEMENT[usize::from(*letter)]);
    }
}

/// Complement of each letter, ambiguity codes and case kept; anything else is its own.
const COMPLEMENT: [u8; 256] = {
    let mut table = [0; 256];
    let mut letter = 0;
    while letter < 256 {
        table[letter] = letter as u8;
        letter += 1;
    }
    let (from, to) = (b"ACGTURYKMBVDH", b"TGCAAYRMKVBHD");
    let mut pair = 0;
    while pair < from.len() {
        table[from[pair] as usize] = to[pair];
        table[from[pair].to_ascii_lowercase() as usize] = to[pair].to_ascii_lowercase();
        pair += 1;
    }
    table
};

/// One-hot code of letters in the order A, C, G, T; any other letter is four zeros.
///
/// ```
/// let code = saers_core::fasta::onehot::<u8>("aN");
/// assert_eq!(code, [[1, 0, 0, 0], [0, 0, 0, 0]]);
/// ```
pub fn onehot<T: From<u8> + Copy + Send + Sync>(letters: &str) -> Vec<[T; 4]> {
    let (zero, one) = (T::from(0), T::from(1));
    let mut table = [[zero; 4]; 256];
    for (column, letter) in b"ACGT".iter().enumerate() {
        table[usize::from(*letter)][column] = one;
        table[usize::from(letter.to_ascii_lowercase())][column] = one;
    }
    letters.as_bytes().par_iter().with_min_len(1 << 14).map(|&l| table[usize::from(l)]).collect()
}
