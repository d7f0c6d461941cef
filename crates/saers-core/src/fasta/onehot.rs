//! One-hot code of regions, written where the caller wants it.

use rayon::prelude::*;

use super::gather::LETTERS_A_TASK;
use super::{Fasta, Portion, Region};
use crate::{Error, Result};

/// Letters in the order of their codes.
const BASES: &[u8; 4] = b"ACGT";

/// How the code of a region is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Four numbers a letter: (length, 4).
    ChannelsLast,
    /// All numbers of A, then those of C, G and T: (4, length).
    ChannelsFirst,
}

impl Fasta {
    /// Writes the one-hot code of regions of one length, in the order A, C, G, T; any other
    /// letter is four zeros (the default of `T`).
    ///
    /// # Errors
    /// As [`Fasta::slice`]; [`Error::InvalidArgument`] also where regions differ in length or
    /// `out` does not have four numbers for each letter.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// use saers_core::fasta::{Fasta, Layout, Region};
    /// std::fs::write(&path, ">chr1\naN\n")?;
    /// let region = Region { record: 0, start: 0, end: 2, reverse: false };
    /// let mut code = [9_u8; 8];
    /// Fasta::open(&path)?.onehot(&[region], false, 1, Layout::ChannelsLast, &mut code)?;
    /// assert_eq!(code, [1, 0, 0, 0, 0, 0, 0, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn onehot<T: Copy + Default + Send + Sync>(
        &self,
        regions: &[Region],
        pad: bool,
        one: T,
        layout: Layout,
        out: &mut [T],
    ) -> Result<()> {
        let mut portions = self.portions(regions, pad, false)?;
        let length = common_length(regions)?;
        if regions.len().checked_mul(length).and_then(|n| n.checked_mul(4)) != Some(out.len()) {
            return Err(Error::invalid(format!(
                "out must have {} × {length} × 4 numbers, got {}",
                regions.len(),
                out.len()
            )));
        }
        if length == 0 {
            return Ok(());
        }
        let codes = Codes::new(one, layout);
        let mut rest = out;
        while let Some(portion) = portions.read()? {
            let size = portion.regions.len() * 4 * length;
            let (out, later) = rest.split_at_mut(size);
            rest = later;
            codes.write_all(&portion, length, out);
        }
        Ok(())
    }
}

/// The length that all regions have.
fn common_length(regions: &[Region]) -> Result<usize> {
    let length = regions.first().map_or(0, Region::width);
    match regions.iter().position(|region| region.width() != length) {
        None => Ok(length),
        Some(odd) => Err(Error::invalid(format!(
            "regions must have one length, regions[0] has {length}, regions[{odd}] has {}",
            regions[odd].width()
        ))),
    }
}

/// The codes of all letters, and how they are laid out.
struct Codes<T> {
    codes: [[T; 4]; 256],
    one: T,
    layout: Layout,
}

impl<T: Copy + Default + Send + Sync> Codes<T> {
    fn new(one: T, layout: Layout) -> Self {
        let mut codes = [[T::default(); 4]; 256];
        for (channel, base) in BASES.iter().enumerate() {
            codes[usize::from(*base)][channel] = one;
        }
        Self { codes, one, layout }
    }

    /// Writes the codes of all regions of a portion.
    fn write_all(&self, portion: &Portion<'_>, length: usize, out: &mut [T]) {
        let write = |(starts, out): (&[usize], &mut [T])| {
            for (&start, out) in starts.iter().zip(out.chunks_exact_mut(4 * length)) {
                self.write(&portion.letters[start..start + length], out);
            }
        };
        let share = (LETTERS_A_TASK / length).max(1);
        if portion.starts.len() <= share {
            return write((&portion.starts, out)); // perhaps beside a pool: there is little to do
        }
        let shares = portion.starts.par_chunks(share).zip(out.par_chunks_mut(share * 4 * length));
        shares.for_each(write);
    }

    /// Writes the code of letters in upper case.
    fn write(&self, letters: &[u8], out: &mut [T]) {
        match self.layout {
            Layout::ChannelsLast => {
                for (code, letter) in out.as_chunks_mut::<4>().0.iter_mut().zip(letters) {
                    *code = self.codes[usize::from(*letter)];
                }
            }
            Layout::ChannelsFirst => {
                for (channel, base) in out.chunks_exact_mut(letters.len()).zip(BASES) {
                    for (number, letter) in channel.iter_mut().zip(letters) {
                        *number = if letter == base { self.one } else { T::default() };
                    }
                }
            }
        }
    }
}
