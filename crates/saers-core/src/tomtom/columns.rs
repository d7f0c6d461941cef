//! All target columns of a comparison, on both strands, laid out by width.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;

use super::Options;
use super::aligned::Aligned;
use crate::motif::{Frequencies, Motif, Row, smooth};

/// Sites of a motif that does not say how many it has.
const DEFAULT_SITES: f64 = 20.0;

/// Target columns after pseudo-counts.
///
/// Strands of one width lie side by side: column `start + position * strands + member`. So the
/// same position of many targets is read at once.
pub(super) struct Columns {
    background: Row,
    rows: Vec<Row>,
    letters: [Vec<f64>; 4],
    singles: [Aligned<f32>; 4],
    sites: Vec<f64>,
    strands: Vec<Strand>,
    classes: Vec<Class>,
    members: Vec<u32>,
    places: Vec<u32>,
    by_place: Vec<u32>,
}

/// A target on one strand.
pub(super) struct Strand {
    pub target: usize,
    pub reverse: bool,
    pub consensus: Arc<str>,
}

/// The strands of one width.
pub(super) struct Class {
    pub width: usize,
    /// Their first column.
    pub start: usize,
    /// Their place among the members.
    first: usize,
    /// Their number.
    pub count: usize,
}

impl Columns {
    /// Adds pseudo-counts, puts every other strand behind its target, and groups them by width.
    pub fn prepare(targets: &[Motif], background: &Row, options: &Options) -> Self {
        let smooth = smoothed(background, 1 + query_rounds(options));
        let both = |(target, motif): (usize, &Motif)| {
            let forward = with_pseudocount(motif, &smooth, options.pseudocount);
            let other = options.reverse_complement.then(|| forward.reverse_complement());
            let strand = move |(reverse, matrix): (bool, Frequencies)| {
                (Strand { target, reverse, consensus: consensus(&matrix) }, matrix)
            };
            std::iter::once((false, forward)).chain(other.map(|other| (true, other))).map(strand)
        };
        let (prepared, by_id) = rayon::join(
            || targets.par_iter().enumerate().flat_map_iter(both).collect::<Vec<_>>(),
            || by_id(targets),
        );
        let (strands, matrices): (Vec<Strand>, Vec<Frequencies>) = prepared.into_iter().unzip();
        let by_place = by_place(&by_id, strands.len());
        let mut places = vec![0; strands.len()];
        for (place, &strand) in by_place.iter().enumerate() {
            places[strand as usize] = place as u32;
        }
        let mut columns = Self {
            background: *background,
            rows: Vec::new(),
            letters: Default::default(),
            singles: Default::default(),
            sites: Vec::new(),
            strands,
            classes: Vec::new(),
            members: Vec::new(),
            places,
            by_place,
        };
        columns.lay_out(&matrices, targets);
        columns
    }

    fn lay_out(&mut self, matrices: &[Frequencies], targets: &[Motif]) {
        let mut by_width: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        for (index, matrix) in matrices.iter().enumerate() {
            by_width.entry(matrix.width()).or_default().push(index as u32);
        }
        let mut start = 0;
        for (width, members) in by_width {
            self.classes.push(Class {
                width,
                start,
                first: self.members.len(),
                count: members.len(),
            });
            start += width * members.len();
            self.members.extend(members);
        }
        let Self { classes, members, strands, .. } = &*self;
        let order = || {
            classes.iter().flat_map(|class| {
                let members = &members[class.first..class.first + class.count];
                (0..class.width)
                    .flat_map(move |position| members.iter().map(move |&m| (m, position)))
            })
        };
        let sites = |(member, _): (u32, usize)| {
            targets[strands[member as usize].target].n_sites.unwrap_or(0.0)
        };
        let (mut rows, mut all_sites) = (Vec::with_capacity(start), Vec::with_capacity(start));
        rayon::join(
            || rows.extend(order().map(|(m, position)| matrices[m as usize].rows()[position])),
            || all_sites.extend(order().map(sites)),
        );
        (self.rows, self.sites) = (rows, all_sites);
        let rows = &self.rows;
        let letters = self.letters.par_iter_mut().zip(&mut self.singles).enumerate();
        letters.for_each(|(letter, (doubles, singles))| {
            *doubles = rows.iter().map(|row| row[letter]).collect();
            singles.resize(rows.len());
            singles.iter_mut().zip(rows).for_each(|(single, row)| *single = row[letter] as f32);
        });
    }

    /// Letter frequencies that the columns were prepared with.
    pub fn background(&self) -> Row {
        self.background
    }

    /// Probabilities of A, C, G and T, one value for each column.
    pub fn letters(&self) -> &[Vec<f64>; 4] {
        &self.letters
    }

    /// The same in single precision.
    pub fn singles(&self) -> &[Aligned<f32>; 4] {
        &self.singles
    }

    /// Probabilities in one column.
    pub fn row(&self, column: usize) -> &Row {
        &self.rows[column]
    }

    /// Sites of each column, as read.
    pub fn sites(&self) -> &[f64] {
        &self.sites
    }

    /// Number of columns, repeated ones included.
    pub fn total(&self) -> usize {
        self.sites.len()
    }

    /// Number of targets.
    pub fn targets(&self) -> usize {
        self.strands.last().map_or(0, |strand| strand.target + 1)
    }

    /// Every target followed by its other strand.
    pub fn strands(&self) -> &[Strand] {
        &self.strands
    }

    /// Strands by width, ascending.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The strands of a class.
    pub fn members(&self, class: &Class) -> &[u32] {
        &self.members[class.first..class.first + class.count]
    }

    /// Rank of each strand where matches are equally good: given strands first, then by id.
    pub fn places(&self) -> &[u32] {
        &self.places
    }

    /// The strand of each such rank.
    pub fn by_place(&self) -> &[u32] {
        &self.by_place
    }
}

/// Sorts targets by id, equal ones as they stand.
fn by_id(targets: &[Motif]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..targets.len() as u32).collect();
    order.sort_by_key(|&target| &targets[target as usize].id);
    order
}

/// Lists the strands of targets in an order: given strands before the other ones.
fn by_place(targets: &[u32], strands: usize) -> Vec<u32> {
    let of_each = strands / targets.len();
    let side =
        |other: usize| targets.iter().map(move |&target| target * of_each as u32 + other as u32);
    (0..of_each).flat_map(side).collect()
}

/// Mixes the background into a motif according to its number of sites.
pub(super) fn with_pseudocount(motif: &Motif, background: &Row, pseudocount: f64) -> Frequencies {
    let sites = motif.n_sites.map_or(0.0, f64::trunc);
    let sites = if sites > 0.0 { sites } else { DEFAULT_SITES };
    motif.frequencies.with_pseudocount(sites, background, pseudocount)
}

/// Counts the rounds in which Tomtom smooths the background of queries; targets take one more.
///
/// Found from what it prints: with a background of its own (`-bfile`) there is one less.
pub(super) fn query_rounds(options: &Options) -> usize {
    2 - usize::from(options.background.is_some())
}

/// Makes a background equal on both strands and free of zeros, `rounds` times over.
pub(super) fn smoothed(background: &Row, rounds: usize) -> Row {
    let total: f64 = background.iter().sum();
    let row = background.map(|value| value / total);
    (0..rounds).fold(row, |row, _| smooth(&row, true))
}

/// Spells the likeliest letters as Tomtom does, after pseudo-counts.
///
/// It remembers the best probability so far in single precision, so that of two equal ones the
/// second wins if that rounding went down.
pub(super) fn consensus(motif: &Frequencies) -> Arc<str> {
    let letter = |row: &Row| {
        let mut best = (0, 0.0_f32);
        for (letter, &value) in row.iter().enumerate() {
            if value > f64::from(best.1) {
                best = (letter, value as f32);
            }
        }
        char::from(b"ACGT"[best.0])
    };
    motif.rows().iter().map(letter).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::{Columns, consensus, smoothed};
    use crate::motif::{Frequencies, Motif, Row, UNIFORM};
    use crate::tomtom::Options;

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
    fn strands_of_one_width_lie_side_by_side() {
        let (a, c) = ([1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]);
        let none = Options { pseudocount: 0.0, ..Options::default() };
        let targets = [motif(&[a, c], 20.0), motif(&[a], 20.0), motif(&[c, c], 20.0)];
        let columns = Columns::prepare(&targets, &UNIFORM, &none);
        let classes: Vec<_> = columns.classes().iter().map(|c| (c.width, c.start)).collect();
        assert_eq!(classes, [(1, 0), (2, 2)]);
        assert_eq!(columns.members(&columns.classes()[1]), [0, 1, 4, 5]);
        let of_c = columns.letters()[1].clone();
        assert_eq!(of_c, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn of_equal_matches_given_strands_go_first_and_then_ids() {
        let named = |id: &str| Motif { id: id.into(), ..motif(&[UNIFORM], 20.0) };
        let columns = Columns::prepare(&[named("b"), named("a")], &UNIFORM, &Options::default());
        assert_eq!(columns.places(), [1, 3, 0, 2]);
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
        assert_eq!((spell(up), spell(down)), ("C".into(), "T".into()));
    }
}
