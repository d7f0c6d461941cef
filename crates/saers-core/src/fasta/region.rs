//! Regions of a genome and their letters.

use super::{Fasta, Record};
use crate::{Error, Result};

/// Letters that a region may have outside its record.
const MOST_PADDING: u64 = 1 << 31;

/// Mean width from which on regions have little to gain from being read in one order.
const LONG: usize = 1 << 10;

/// Letters of a portion of long regions: few enough to stay in the cache, and for threads to share.
const LETTERS_A_PORTION: usize = 1 << 22;

/// A stretch of one record; 0-based, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// Place of the record among [`Fasta::records`].
    pub record: u32,
    /// First letter; below 0 only where padding is asked for.
    pub start: i64,
    /// One past the last letter.
    pub end: i64,
    /// Whether the other strand is meant: letters come reverse complemented.
    pub reverse: bool,
}

impl Region {
    /// Number of letters, of a region that [`Fasta::check_regions`] let through.
    pub(super) fn width(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// The part that lies inside a record.
    pub(super) fn inside(&self, record: &Record) -> (u64, u64) {
        let length = i64::try_from(record.length).unwrap_or(i64::MAX);
        let from = self.start.clamp(0, length);
        (from.unsigned_abs(), self.end.clamp(from, length).unsigned_abs())
    }
}

/// The letters of a call's regions, some regions at a time; see [`Fasta::portions`].
#[derive(Debug)]
pub struct Portions<'a> {
    fasta: &'a Fasta,
    /// Regions still to be read.
    regions: &'a [Region],
    soft_mask: bool,
    /// Letters that a portion has at most, unless one region has more.
    most: usize,
    letters: Vec<u8>,
}

impl Portions<'_> {
    /// Number of letters of the next portion; 0 when all are read.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Region};
    /// std::fs::write(&path, ">chr1\nAACG\n")?;
    /// let regions = [Region { record: 0, start: 1, end: 3, reverse: false }];
    /// assert_eq!(Fasta::open(&path)?.portions(&regions, false, false)?.next_size(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn next_size(&self) -> usize {
        self.next().1
    }

    /// Number of regions and letters of the next portion.
    fn next(&self) -> (usize, usize) {
        let mut size = 0;
        for (count, region) in self.regions.iter().enumerate() {
            let more = region.width().saturating_add(size);
            if count > 0 && more > self.most {
                return (count, size);
            }
            size = more;
        }
        (self.regions.len(), size)
    }

    /// Reads the next portion, on all threads; None when all are read.
    ///
    /// # Errors
    /// [`Error::Format`] where the file does not hold the letters that its index promises, as
    /// when it was cut since.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Region};
    /// std::fs::write(&path, ">chr1\nAACG\n")?;
    /// let region = Region { record: 0, start: 1, end: 3, reverse: false };
    /// let genome = Fasta::open(&path)?;
    /// let regions = [region];
    /// let mut portions = genome.portions(&regions, false, false)?;
    /// assert!(portions.read()?.is_some());
    /// assert!(portions.read()?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(&mut self) -> Result<Option<Portion<'_>>> {
        let (count, size) = self.next();
        let (regions, later) = self.regions.split_at(count);
        self.regions = later;
        if regions.is_empty() {
            return Ok(None);
        }
        if self.letters.len() < size {
            self.letters = zeros(size)?;
        }
        let letters = &mut self.letters[..size];
        let starts = self.fasta.gather(regions, self.soft_mask, letters)?;
        Ok(Some(Portion { letters, regions, starts }))
    }
}

/// Some of the regions of a call, one after the other, with their letters.
#[derive(Debug)]
pub struct Portion<'a> {
    pub(super) letters: &'a [u8],
    pub(super) regions: &'a [Region],
    /// Where the letters of each region begin.
    pub(super) starts: Vec<usize>,
}

impl Portion<'_> {
    /// The letters of each region, all of them ASCII.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Region};
    /// std::fs::write(&path, ">chr1\nAACG\n")?;
    /// let regions = [Region { record: 0, start: 1, end: 3, reverse: false }];
    /// let genome = Fasta::open(&path)?;
    /// let mut portions = genome.portions(&regions, false, false)?;
    /// while let Some(portion) = portions.read()? {
    ///     assert_eq!(portion.iter().collect::<Vec<_>>(), [b"AC"]);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let places = self.regions.iter().zip(&self.starts);
        places.map(|(region, &start)| &self.letters[start..start + region.width()])
    }
}

impl Fasta {
    /// Reads the letters of many regions on all threads.
    ///
    /// Letters come in upper case unless `soft_mask` keeps them as they stand in the file.
    /// With `pad`, places outside the record are N.
    ///
    /// # Errors
    /// As [`Fasta::portions`] and [`Portions::read`].
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Region};
    /// std::fs::write(&path, ">chr1\nAACg\nT\n")?;
    /// let region = Region { record: 0, start: 1, end: 5, reverse: true };
    /// assert_eq!(Fasta::open(&path)?.slice(&[region], false, false)?, ["ACGT"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn slice(&self, regions: &[Region], pad: bool, soft_mask: bool) -> Result<Vec<String>> {
        let mut slices = Vec::with_capacity(regions.len());
        let mut portions = self.portions(regions, pad, soft_mask)?;
        while let Some(portion) = portions.read()? {
            slices.extend(
                portion.iter().map(|letters| String::from_utf8_lossy(letters).into_owned()),
            );
        }
        Ok(slices)
    }

    /// Checks regions, whose letters can then be read some at a time, so that those of long
    /// regions are never kept all at once. The arguments are those of [`Fasta::slice`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] names the first region that has its ends swapped, no such
    /// record, or (without `pad`) places outside the record.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Region};
    /// std::fs::write(&path, ">chr1\nAACGT\n")?;
    /// let region = Region { record: 0, start: 3, end: 6, reverse: false };
    /// let genome = Fasta::open(&path)?;
    /// assert!(genome.portions(&[region], false, false).is_err());
    /// assert!(genome.portions(&[region], true, false).is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn portions<'a>(
        &'a self,
        regions: &'a [Region],
        pad: bool,
        soft_mask: bool,
    ) -> Result<Portions<'a>> {
        self.check_regions(regions, pad)?;
        let most = self.portion_size(regions);
        Ok(Portions { fasta: self, regions, soft_mask, most, letters: Vec::new() })
    }

    /// Letters of a portion: all of them where blocks are to be decompressed or neighbours
    /// read together, once each.
    fn portion_size(&self, regions: &[Region]) -> usize {
        let total = regions.iter().map(Region::width).fold(0, usize::saturating_add);
        if self.text.is_compressed() || total / regions.len().max(1) < LONG {
            return usize::MAX;
        }
        LETTERS_A_PORTION
    }

    /// Refuses the first region whose letters cannot be given.
    fn check_regions(&self, regions: &[Region], pad: bool) -> Result<()> {
        for (number, region) in regions.iter().enumerate() {
            let record = self.record(region.record as usize)?;
            check(record, region, pad).map_err(|why| {
                let Region { start, end, .. } = region;
                Error::invalid(format!("regions[{number}]: {}:{start}-{end} {why}", record.name))
            })?;
        }
        Ok(())
    }
}

fn check(record: &Record, region: &Region, pad: bool) -> std::result::Result<(), String> {
    let Region { start, end, .. } = *region;
    let past = u64::try_from(end).map_or(0, |end| end.saturating_sub(record.length));
    let outside = start.min(0).unsigned_abs().saturating_add(past);
    let Record { name, length, .. } = record;
    if start > end {
        return Err("has its start after its end".into());
    }
    if !pad && start < 0 {
        return Err("starts before 0 (pad=True gives N there)".into());
    }
    if !pad && past > 0 {
        return Err(format!(
            "reaches past the end of {name}, {length} bp (pad=True gives N there)"
        ));
    }
    if outside > MOST_PADDING {
        return Err(format!("lies too far outside of {name}, {length} bp"));
    }
    Ok(())
}

/// Makes room for letters, or says that there is none.
fn zeros(size: usize) -> Result<Vec<u8>> {
    Vec::<u8>::new()
        .try_reserve_exact(size)
        .map_err(|_| Error::invalid(format!("regions: no memory for {size} letters at once")))?;
    Ok(vec![0; size])
}
