//! All target columns of a comparison, on both strands, identical ones merged.

use std::collections::HashMap;

use super::{Distance, Options};
use crate::motif::{Frequencies, Motif, Row};

/// Sites of a motif that does not say how many it has.
const DEFAULT_SITES: f64 = 20.0;

/// Target columns after pseudo-counts; which strand has which is kept beside them.
pub(super) struct Columns {
    background: Row,
    letters: [Vec<f64>; 4],
    sites: Vec<f64>,
    counts: Vec<u32>,
    index: Vec<u32>,
    strands: Vec<Strand>,
}

/// A target on one strand: `width` entries of the index from `start`.
pub(super) struct Strand {
    pub target: usize,
    pub reverse: bool,
    pub consensus: String,
    pub start: usize,
    pub width: usize,
}

impl Columns {
    /// Adds pseudo-counts, appends other strands, and merges columns that are equal.
    pub fn prepare(targets: &[Motif], background: &Row, options: &Options) -> Self {
        let smooth = smoothed(background, 3);
        let mut columns = Self {
            background: *background,
            letters: Default::default(),
            sites: Vec::new(),
            counts: Vec::new(),
            index: Vec::new(),
            strands: Vec::new(),
        };
        let mut known = HashMap::new();
        for (target, motif) in targets.iter().enumerate() {
            let forward = with_pseudocount(motif, &smooth, options.pseudocount);
            // Only this score depends on the number of sites: else it must not hinder merging.
            let sites = match options.distance {
                Distance::Allr => motif.n_sites.unwrap_or(0.0),
                _ => 0.0,
            };
            columns.push(&forward, target, false, sites, &mut known);
            if options.reverse_complement {
                columns.push(&forward.reverse_complement(), target, true, sites, &mut known);
            }
        }
        columns
    }

    fn push(
        &mut self,
        motif: &Frequencies,
        target: usize,
        reverse: bool,
        sites: f64,
        known: &mut HashMap<([u64; 4], u64), u32>,
    ) {
        self.strands.push(Strand {
            target,
            reverse,
            consensus: consensus(motif),
            start: self.index.len(),
            width: motif.width(),
        });
        for row in motif.rows() {
            let fresh = self.counts.len() as u32;
            let key = (row.map(f64::to_bits), sites.to_bits());
            let column = *known.entry(key).or_insert(fresh);
            if column == fresh {
                self.letters.iter_mut().zip(row).for_each(|(letter, &value)| letter.push(value));
                self.sites.push(sites);
                self.counts.push(0);
            }
            self.counts[column as usize] += 1;
            self.index.push(column);
        }
    }

    /// Letter frequencies that the columns were prepared with.
    pub fn background(&self) -> Row {
        self.background
    }

    /// Probabilities of A, C, G and T, one value for each distinct column.
    pub fn letters(&self) -> &[Vec<f64>; 4] {
        &self.letters
    }

    /// Sites of each distinct column, as read.
    pub fn sites(&self) -> &[f64] {
        &self.sites
    }

    /// How often each distinct column occurs.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Number of columns, repeated ones included.
    pub fn total(&self) -> usize {
        self.index.len()
    }

    /// Every target followed by its other strand.
    pub fn strands(&self) -> &[Strand] {
        &self.strands
    }

    /// The distinct columns of a strand.
    pub fn of(&self, strand: &Strand) -> &[u32] {
        &self.index[strand.start..strand.start + strand.width]
    }
}

/// Mixes the background into a motif according to its number of sites.
pub(super) fn with_pseudocount(motif: &Motif, background: &Row, pseudocount: f64) -> Frequencies {
    let sites = motif.n_sites.map_or(0.0, f64::trunc);
    let sites = if sites > 0.0 { sites } else { DEFAULT_SITES };
    motif.frequencies.with_pseudocount(sites, background, pseudocount)
}

/// Makes a background equal on both strands and free of zeros, `rounds` times over.
///
/// Tomtom passes queries through two rounds and targets through a third; the difference shows
/// in the printed digits.
pub(super) fn smoothed(background: &Row, rounds: usize) -> Row {
    const FLOOR: f64 = 5e-7;
    let total: f64 = background.iter().sum();
    let mut row = background.map(|value| value / total);
    for _ in 0..rounds {
        let [a, c, g, t] = row;
        row = [(a + t) / 2.0, (c + g) / 2.0, (g + c) / 2.0, (t + a) / 2.0];
        let total = row.iter().sum::<f64>() + 4.0 * FLOOR;
        row = row.map(|value| (value + FLOOR) / total);
        let total: f64 = row.iter().sum();
        row = row.map(|value| value / total);
    }
    row
}

/// Spells the likeliest letters as Tomtom does, after pseudo-counts.
///
/// It remembers the best probability so far in single precision, so that of two equal ones the
/// second wins if that rounding went down.
pub(super) fn consensus(motif: &Frequencies) -> String {
    let letter = |row: &Row| {
        let mut best = (0, 0.0_f32);
        for (letter, &value) in row.iter().enumerate() {
            if value > f64::from(best.1) {
                best = (letter, value as f32);
            }
        }
        char::from(b"ACGT"[best.0])
    };
    motif.rows().iter().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::{Columns, consensus, smoothed};
    use crate::motif::{Frequencies, Motif, Row, UNIFORM};
    use crate::tomtom::{Distance, Options};

    fn motif(rows: &[Row], n_sites: f64) -> Motif {
        Motif {
            id: "m".into(),
            name: String::new(),
            frequencies: Frequencies::new(rows.to_vec()).unwrap(),
            n_sites: Some(n_sites),
            background: UNIFORM,
            log10_evalue: None,
        }
    }

    #[test]
    fn equal_columns_are_merged_and_counted_on_both_strands() {
        let (a, t) = ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]);
        let columns = Columns::prepare(&[motif(&[a, a, t], 20.0)], &UNIFORM, &Options::default());
        assert_eq!(columns.counts(), [3, 3]);
        assert_eq!(columns.total(), 6);
        let of: Vec<&[u32]> = columns.strands().iter().map(|s| columns.of(s)).collect();
        assert_eq!(of, [[0, 0, 1], [0, 1, 1]]);
    }

    #[test]
    fn sites_keep_columns_apart_only_where_scores_depend_on_them() {
        let flat = [UNIFORM];
        let targets = [motif(&flat, 20.0), motif(&flat, 30.0)];
        let distinct = |distance| {
            let options = Options { distance, ..Options::default() };
            Columns::prepare(&targets, &UNIFORM, &options).counts().len()
        };
        assert_eq!((distinct(Distance::Euclidean), distinct(Distance::Allr)), (1, 2));
    }

    #[test]
    fn a_background_becomes_equal_on_both_strands_and_positive() {
        let [a, c, g, t] = smoothed(&[0.6, 0.4, 0.0, 0.0], 2);
        assert_eq!((a, c), (t, g));
        assert!(c > 0.0 && (a + c + g + t - 1.0).abs() < 1e-12);
    }

    #[test]
    fn of_equal_letters_rounding_to_single_precision_decides() {
        let spell =
            |p: f64| consensus(&Frequencies::new(vec![[0.0, p, 1.0 - 2.0 * p, p]]).unwrap());
        let (up, down) = (0.4, 0.35);
        assert!(f64::from(up as f32) > up && f64::from(down as f32) < down);
        assert_eq!((spell(up), spell(down)), ("C".to_owned(), "T".to_owned()));
    }
}
