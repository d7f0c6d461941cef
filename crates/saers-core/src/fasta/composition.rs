//! Counts of G and C in any stretch of a record.

use rayon::prelude::*;

use super::Fasta;
use crate::Result;

/// Bases of one word of bits.
const WORD: usize = u64::BITS as usize;

/// Which bases of a record are G or C, and which are known (A, C, G or T), countable in any
/// stretch by two look-ups.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("genome.fa");
/// std::fs::write(&path, ">chr1\nACGTNNggAA\n")?;
/// let genome = saers_core::fasta::Fasta::open(&path)?;
/// let composition = genome.composition(0)?;
/// assert_eq!((composition.gc(1, 8), composition.known(1, 8)), (4, 5));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Composition {
    length: u64,
    /// One bit a base: G or C.
    bits: Vec<u64>,
    /// G and C before each word.
    before: Vec<u32>,
    /// Stretches of other letters, with the number of such letters before each.
    unknown: Vec<(u64, u64, u64)>,
}

impl Fasta {
    /// Reads the composition of a record.
    ///
    /// # Errors
    /// [`crate::Error::InvalidArgument`] where there is no such record,
    /// [`crate::Error::Format`] where the file is broken, [`crate::Error::Stopped`] where the
    /// caller gives up.
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// std::fs::write(&path, ">chr1\nGC\n")?;
    /// let genome = saers_core::fasta::Fasta::open(&path)?;
    /// assert_eq!(genome.composition(0)?.gc(0, 1), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn composition(&self, record: usize) -> Result<Composition> {
        let record = self.record(record)?;
        let mut found = Composition::of_length(record.length);
        self.each_piece(record, |mut at, column, bytes| {
            record.lines(bytes, column, |line| {
                found.add(line, at);
                at += line.len() as u64;
            });
        })?;
        found.sum_up();
        Ok(found)
    }

    /// Reads the compositions of several records side by side.
    ///
    /// # Errors
    /// As in [`Fasta::composition`].
    ///
    /// ```
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("genome.fa");
    /// std::fs::write(&path, ">chr1\nGC\n>chr2\nAAA\n")?;
    /// let genome = saers_core::fasta::Fasta::open(&path)?;
    /// assert_eq!(genome.compositions(&[1, 0])?[0].length(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn compositions(&self, records: &[usize]) -> Result<Vec<Composition>> {
        records.par_iter().map(|record| self.composition(*record)).collect()
    }
}

impl Composition {
    fn of_length(length: u64) -> Self {
        let words = length as usize / WORD + 1;
        Self { length, bits: vec![0; words], before: Vec::new(), unknown: Vec::new() }
    }

    /// Takes in the letters from `at` on.
    fn add(&mut self, letters: &[u8], at: u64) {
        for (place, letter) in (at..).zip(letters) {
            let is_gc = matches!(letter & 0xdf, b'C' | b'G');
            self.bits[place as usize / WORD] |= u64::from(is_gc) << (place as usize % WORD);
            if is_gc || matches!(letter & 0xdf, b'A' | b'T') {
                continue;
            }
            match self.unknown.last_mut() {
                Some((_, end, _)) if *end == place => *end += 1,
                Some((start, end, before)) => {
                    let before = *before + *end - *start;
                    self.unknown.push((place, place + 1, before));
                }
                None => self.unknown.push((place, place + 1, 0)),
            }
        }
    }

    fn sum_up(&mut self) {
        let mut sum = 0;
        let counts = self.bits.iter().map(|word| {
            let before = sum;
            sum += word.count_ones();
            before
        });
        self.before = counts.collect();
    }

    /// Number of bases.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether the base at `place` is G or C; past the end none is.
    pub fn is_gc(&self, place: u64) -> bool {
        let word = self.bits.get(place as usize / WORD).copied().unwrap_or_default();
        word >> (place as usize % WORD) & 1 == 1
    }

    /// Number of G and C in a stretch, cut to the record.
    pub fn gc(&self, start: u64, end: u64) -> u32 {
        self.gc_before(end).saturating_sub(self.gc_before(start))
    }

    fn gc_before(&self, place: u64) -> u32 {
        let place = place.min(self.length) as usize;
        let mask = (1_u64 << (place % WORD)) - 1;
        self.before[place / WORD] + (self.bits[place / WORD] & mask).count_ones()
    }

    /// Number of A, C, G and T in a stretch, cut to the record.
    pub fn known(&self, start: u64, end: u64) -> u32 {
        let (start, end) = (start.min(self.length), end.min(self.length));
        let unknown = self.unknown_before(end).saturating_sub(self.unknown_before(start));
        end.saturating_sub(start).saturating_sub(unknown) as u32
    }

    fn unknown_before(&self, place: u64) -> u64 {
        let next = self.unknown.partition_point(|(start, ..)| *start < place);
        let last = next.checked_sub(1).map(|last| self.unknown[last]);
        last.map_or(0, |(start, end, before)| before + end.min(place) - start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn counts_equal_those_of_letters(
            letters in prop::collection::vec(prop::sample::select(b"ACGTacgtNnR".to_vec()), 1..300),
            width in 1_usize..70,
            bounds in (0_usize..310, 0_usize..310),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("genome.fa");
            let lines = letters.chunks(width).collect::<Vec<_>>().join(&b'\n');
            std::fs::write(&path, [b">a\n", &lines[..], b"\n"].concat()).unwrap();
            let found = Fasta::open(&path).unwrap().composition(0).unwrap();
            let (start, end) = (bounds.0.min(bounds.1), bounds.0.max(bounds.1));
            let own = &letters[start.min(letters.len())..end.min(letters.len())];
            let count = |of: &[u8]| own.iter().filter(|l| of.contains(&l.to_ascii_uppercase())).count();
            prop_assert_eq!(found.gc(start as u64, end as u64) as usize, count(b"CG"));
            prop_assert_eq!(found.known(start as u64, end as u64) as usize, count(b"ACGT"));
            for (place, letter) in letters.iter().enumerate() {
                prop_assert_eq!(found.is_gc(place as u64), b"CGcg".contains(letter));
            }
        }
    }
}
