//! Scanning sequences for motif occurrences with exact p-values, as FIMO 5.4.1 does.
//!
//! The score of a site is the sum of log-odds in bits, each rounded to 1/1,000 of their range.
//! Rounding makes the distribution of scores over random sequence finite, so that its tail, the
//! p-value, is computed exactly by convolution.

mod coded;

use rayon::prelude::*;

use crate::motif::{Frequencies, Motif, Row, smooth};
pub use crate::storey::Reservoir;
use crate::storey::reached;
use crate::{Error, Result, threads};
use coded::{Coded, OTHER, WORD, code};

/// Steps between the least and the largest log-odds of a motif.
const STEPS: f64 = 1000.0;

/// Sites of a motif that does not say how many it has.
const DEFAULT_SITES: f64 = 20.0;

/// How sequences are scanned; the default is that of FIMO.
#[derive(Clone, Debug)]
pub struct Options {
    /// Largest p-value of a site.
    pub threshold: f64,
    /// Letters of the background that are added to the sites of every column.
    pub pseudocount: f64,
    /// Letter frequencies of the sequences.
    pub background: Row,
    /// Whether the other strand is scanned too.
    pub reverse_complement: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            threshold: 1e-4,
            pseudocount: 0.1,
            background: NONREDUNDANT,
            reverse_complement: true,
        }
    }
}

/// Letter frequencies of the non-redundant DNA database, FIMO's default.
pub const NONREDUNDANT: Row = [0.281_774, 0.222_020, 0.228_876, 0.267_330];

/// A site of a motif.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Index of the motif.
    pub motif: usize,
    /// Index of the sequence.
    pub sequence: usize,
    /// First position, counted from 0.
    pub start: usize,
    /// Whether the site reads on the other strand.
    pub reverse: bool,
    /// Sum of the log-odds in bits.
    pub score: f64,
    /// Chance of so high a score at one place of random sequence.
    pub p_value: f64,
}

/// A motif as integer log-odds, with the p-value of every score.
///
/// ```
/// use saers_core::motif::{Frequencies, Motif, UNIFORM};
/// use saers_core::scan::{Options, Piece, Scanner, scan};
/// let frequencies = Frequencies::new(vec![[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])?;
/// let motif = Motif { id: "m".into(), name: String::new(), frequencies, n_sites: Some(20.0),
///                     background: UNIFORM, log10_evalue: None };
/// let options = Options { threshold: 0.07, background: UNIFORM, ..Options::default() };
/// let scanner = Scanner::new(&motif, &options)?;
/// let sites = scan(&[scanner], &[Piece::whole(b"TTAGNCTT")])?;
/// let found: Vec<_> = sites.iter().map(|s| (s.start, s.reverse, s.p_value)).collect();
/// assert_eq!(found, [(2, false, 0.0625), (5, true, 0.0625)]);
/// # Ok::<(), saers_core::Error>(())
/// ```
pub struct Scanner {
    width: usize,
    /// Tables of one strand, or of both.
    strands: Vec<Vec<[i32; 256]>>,
    factor: f64,
    offset: f64,
    /// Least score that is reported.
    least: i32,
    /// Chance to reach every score from 0 on.
    p_values: Vec<f64>,
}

impl Scanner {
    /// Computes log-odds and their distribution.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a threshold outside 0..=1, a pseudo-count that is negative
    /// or not finite, or one of 0 where a letter does not occur.
    ///
    /// ```
    /// # use saers_core::motif::{Frequencies, Motif, UNIFORM};
    /// # use saers_core::scan::{Options, Scanner};
    /// # let frequencies = Frequencies::new(vec![[0.5, 0.5, 0.0, 0.0]; 3])?;
    /// # let motif = Motif { id: "m".into(), name: String::new(), frequencies, n_sites: None,
    /// #                     background: UNIFORM, log10_evalue: None };
    /// assert_eq!(Scanner::new(&motif, &Options::default())?.width(), 3);
    /// assert!(Scanner::new(&motif, &Options { pseudocount: 0.0, ..Options::default() }).is_err());
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    pub fn new(motif: &Motif, options: &Options) -> Result<Self> {
        check(options)?;
        let background = smooth(&options.background, options.reverse_complement);
        let sites = motif.n_sites.map_or(0.0, f64::trunc);
        let sites = if sites > 0.0 { sites } else { DEFAULT_SITES };
        let smoothed = motif.frequencies.with_pseudocount(sites, &background, options.pseudocount);
        let odds = log_odds(&smoothed, &background).ok_or_else(|| {
            Error::invalid(format!(
                "motif {} never has some letter: pseudocount must be above 0, got {}",
                motif.id, options.pseudocount
            ))
        })?;
        let values = || odds.iter().flatten().copied();
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        let low = values().fold(f64::INFINITY, f64::min);
        let offset = if low == high { high - 1.0 } else { low }.floor();
        let factor = (STEPS / (high - offset)).floor();
        let scaled: Vec<[i32; 4]> = odds
            .iter()
            .map(|row| row.map(|value| ((value - offset) * factor + 0.5).floor() as i32))
            .collect();
        let p_values = p_values(&scaled, &background);
        let least = p_values.iter().position(|&p| p <= options.threshold);
        let reversed: Vec<[i32; 4]> =
            scaled.iter().rev().map(|&[a, c, g, t]| [t, g, c, a]).collect();
        let both = [scaled, reversed];
        let strands = if options.reverse_complement { &both[..] } else { &both[..1] };
        Ok(Self {
            width: motif.frequencies.width(),
            strands: strands.iter().map(|rows| tables(rows)).collect(),
            factor,
            offset,
            least: least.unwrap_or(p_values.len()) as i32,
            p_values,
        })
    }

    /// Counts the positions of the motif.
    ///
    /// ```
    /// # use saers_core::motif::{Frequencies, Motif, UNIFORM};
    /// # use saers_core::scan::{Options, Scanner};
    /// # let frequencies = Frequencies::new(vec![[0.25; 4]; 7])?;
    /// # let motif = Motif { id: "m".into(), name: String::new(), frequencies, n_sites: None,
    /// #                     background: UNIFORM, log10_evalue: None };
    /// assert_eq!(Scanner::new(&motif, &Options::default())?.width(), 7);
    /// # Ok::<(), saers_core::Error>(())
    /// ```
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Adds up the scores of a place on every strand.
    #[inline]
    fn steps(&self, coded: &Coded, start: usize) -> impl Iterator<Item = i32> {
        self.strands.iter().map(move |tables| {
            let words = coded.words(start);
            tables.iter().zip(words).map(|(table, word)| table[usize::from(word)]).sum()
        })
    }

    /// Shows the p-values of one sequence to a sample, in the order of [`Self::sites`].
    fn sample(&self, coded: &Coded, reached: &[u8], reservoir: &mut Reservoir) {
        let known = (0..coded.places(self.width)).filter(|&at| coded.is_known(at, self.width));
        for start in known {
            self.steps(coded, start).for_each(|steps| reservoir.add(reached[steps as usize]));
        }
    }

    fn score(&self, steps: i32) -> f64 {
        f64::from(steps) / self.factor + self.width as f64 * self.offset
    }

    /// Lists the sites in one sequence, by position, the given strand first.
    fn sites(&self, motif: usize, sequence: usize, coded: &Coded, sites: &mut Vec<Site>) {
        for start in 0..coded.places(self.width) {
            for (strand, steps) in self.steps(coded, start).enumerate() {
                if steps >= self.least && coded.is_known(start, self.width) {
                    sites.push(Site {
                        motif,
                        sequence,
                        start,
                        reverse: strand == 1,
                        score: self.score(steps),
                        p_value: self.p_values[steps as usize],
                    });
                }
            }
        }
    }
}

/// Finds the sites of all motifs in all sequences: by motif, sequence, and position.
///
/// Letters of either case count; a site holds none but A, C, G and T.
///
/// # Errors
/// [`Error::Stopped`] when the caller asks for it.
///
/// ```
/// # use saers_core::scan::scan;
/// # use saers_core::scan::Piece;
/// assert!(scan(&[], &[Piece::whole(b"ACGT")])?.is_empty());
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn scan(scanners: &[Scanner], pieces: &[Piece]) -> Result<Vec<Site>> {
    let coded: Vec<Coded> = pieces.par_iter().map(Coded::new).collect();
    let of = |(motif, scanner): (usize, &Scanner)| {
        let mut sites = Vec::new();
        for (sequence, coded) in coded.iter().enumerate() {
            threads::check()?;
            scanner.sites(motif, sequence, coded, &mut sites);
        }
        Ok(sites)
    };
    let found: Vec<Vec<Site>> = scanners.par_iter().enumerate().map(of).collect::<Result<_>>()?;
    Ok(found.concat())
}

/// Shows the p-value of every place to the sample of its motif: sequences in their order.
///
/// # Errors
/// [`Error::Stopped`] when the caller asks for it.
///
/// ```
/// # use saers_core::scan::{Piece, Reservoir, sample};
/// sample(&[], &[Piece::whole(b"ACGT")], &mut Reservoir::of_each(&[]))?;
/// # Ok::<(), saers_core::Error>(())
/// ```
pub fn sample(scanners: &[Scanner], pieces: &[Piece], reservoirs: &mut [Reservoir]) -> Result<()> {
    let coded: Vec<Coded> = pieces.par_iter().map(Coded::new).collect();
    scanners.par_iter().zip(reservoirs).try_for_each(|(scanner, reservoir)| {
        let reached = reached(&scanner.p_values);
        for coded in &coded {
            threads::check()?;
            scanner.sample(coded, &reached, reservoir);
        }
        Ok(())
    })
}

/// Letters to scan: a whole sequence, or a part of one that is too long to be scanned at once.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Letters, those of the last sites to the end.
    pub letters: &'a [u8],
    /// Sites start before this position; those behind are left to the next piece.
    pub starts: usize,
}

impl<'a> Piece<'a> {
    /// Takes all sites of a sequence.
    ///
    /// ```
    /// assert_eq!(saers_core::scan::Piece::whole(b"ACGT").starts, 4);
    /// ```
    #[must_use]
    pub fn whole(letters: &'a [u8]) -> Self {
        Self { letters, starts: letters.len() }
    }

    /// Counts the places where a motif of some width is scored, on one strand.
    ///
    /// ```
    /// assert_eq!(saers_core::scan::Piece::whole(b"ACGNACGT").places(3), 3);
    /// assert_eq!(saers_core::scan::Piece { letters: b"ACGNACGT", starts: 5 }.places(3), 2);
    /// ```
    #[must_use]
    pub fn places(&self, width: usize) -> usize {
        let reach = (self.starts + width).saturating_sub(1).min(self.letters.len());
        let runs = self.letters[..reach].split(|letter| code(*letter) == OTHER);
        runs.map(|run| (run.len() + 1).saturating_sub(width)).sum()
    }
}

fn check(options: &Options) -> Result<()> {
    let Options { threshold, pseudocount, background, .. } = options;
    if !(0.0..=1.0).contains(threshold) {
        return Err(Error::invalid(format!("thresh must lie in 0..1, got {threshold}")));
    }
    if !(pseudocount.is_finite() && *pseudocount >= 0.0) {
        return Err(Error::invalid(format!(
            "pseudocount must be finite and at least 0, got {pseudocount}"
        )));
    }
    if !background.iter().all(|value| value.is_finite() && *value > 0.0) {
        return Err(Error::invalid(format!(
            "background must hold 4 frequencies above 0, got {background:?}"
        )));
    }
    Ok(())
}

/// Compares frequencies with the background in bits; `None` where one is 0.
fn log_odds(frequencies: &Frequencies, background: &Row) -> Option<Vec<Row>> {
    let of = |row: &Row| std::array::from_fn(|letter| (row[letter] / background[letter]).log2());
    let odds: Vec<Row> = frequencies.rows().iter().map(of).collect();
    odds.iter().flatten().all(|value| value.is_finite()).then_some(odds)
}

/// Scores words of four letters, from the first position to the last.
fn tables(rows: &[[i32; 4]]) -> Vec<[i32; 256]> {
    let table = |part: &[[i32; 4]]| {
        std::array::from_fn(|word| {
            let letter = |place: usize| (word >> (2 * (WORD - 1 - place))) & 3;
            part.iter().enumerate().map(|(place, row)| row[letter(place)]).sum()
        })
    };
    rows.chunks(WORD).map(table).collect()
}

/// Computes the chance to reach every score from 0 on, over random sequence.
fn p_values(rows: &[[i32; 4]], background: &Row) -> Vec<f64> {
    let mut shares = vec![1.0];
    for row in rows {
        let most = row.iter().copied().max().unwrap_or(0) as usize;
        let mut longer = vec![0.0; shares.len() + most];
        for (&steps, &frequency) in row.iter().zip(background) {
            let shifted = longer[steps as usize..].iter_mut();
            shifted.zip(&shares).for_each(|(sum, share)| *sum += frequency * share);
        }
        shares = longer;
    }
    let mut tail = 0.0;
    for share in shares.iter_mut().rev() {
        tail = f64::min(tail + *share, 1.0);
        *share = tail;
    }
    shares
}

#[cfg(test)]
mod tests;
