//! Chance of a best score, from the chances of the sums over all spans of query columns.

use super::alignment::Alignment;
use super::below::{Below, Range};
use super::columns::Columns;
use super::scaled::Scaled;
use super::tails::{Column, Tails};

/// Computes the p-value of every strand's best score.
///
/// With `E(k)` the chance to stay below a score over the first and the last 1..=k query columns,
/// a target of width L has `E(L - 1)`, and spans of L query columns (or the whole query, once
/// for each offset) on top. All targets share `E`.
pub(super) fn p_values(scaled: &Scaled, columns: &Columns, best: &[Alignment]) -> Vec<f64> {
    let strands = if columns.strands().iter().any(|strand| strand.reverse) { 2.0 } else { 1.0 };
    let null = Null::new(scaled, columns, best);
    let width = scaled.width();
    let mut p_values = vec![0.0; best.len()];
    for class in columns.classes() {
        let reach = class.width.min(width);
        let (ends, spans) = (&null.ends[reach], &null.spans[reach]);
        let offsets = (class.width + 1 - reach) as f64;
        let (low, count) = spans.scores();
        let mut known = vec![f64::NAN; count];
        for &member in columns.members(class) {
            let score = best[member as usize].score;
            let p = &mut known[(score - low) as usize];
            if p.is_nan() {
                *p = (strands * (ends.ln(score) + offsets * spans.ln(score))).exp_m1().abs();
            }
            p_values[member as usize] = *p;
        }
    }
    p_values
}

/// Chances to stay below the scores that were observed.
///
/// Lists by a number of columns hold what targets of that width need, where there are any;
/// the last entry stands for all targets as wide as the query and wider.
struct Null<'a> {
    scaled: &'a Scaled,
    columns: Vec<Column<'a>>,
    /// Scores of the targets of each width.
    own: Vec<Range>,
    /// Prefixes and suffixes shorter than the target.
    ends: Vec<Below>,
    /// Spans of as many columns as the target has.
    spans: Vec<Below>,
}

impl<'a> Null<'a> {
    fn new(scaled: &'a Scaled, columns: &Columns, best: &[Alignment]) -> Self {
        let width = scaled.width();
        let mut own = vec![Range::EMPTY; width + 1];
        for class in columns.classes() {
            let range = &mut own[class.width.min(width)];
            for &member in columns.members(class) {
                let score = best[member as usize].score;
                *range = range.and(Range { low: score, high: score });
            }
        }
        let mut null = Self {
            scaled,
            columns: scaled.histograms.iter().map(Column::new).collect(),
            ends: vec![Below::certain(Range::EMPTY); width + 1],
            spans: own.iter().map(|range| Below::certain(*range)).collect(),
            own,
        };
        null.add_ends();
        (1..width).for_each(|first| null.add_inner(first));
        null
    }

    /// Adds prefixes and suffixes of the query, and the query itself.
    fn add_ends(&mut self) {
        let width = self.scaled.width();
        // Of a number of columns ask targets of that width and all wider ones.
        let mut asked = self.own.clone();
        for length in (0..width).rev() {
            asked[length] = asked[length].and(asked[length + 1]);
        }
        let prefixes = self.chain(0..width, &asked);
        let suffixes = self.chain((1..width).rev(), &asked);
        let mut ends = Below::certain(asked[0]);
        for length in 1..=width {
            if self.own[length] != Range::EMPTY {
                self.ends[length] = ends.clone();
                self.add(length, &prefixes[length - 1]);
            }
            if let Some(suffix) = suffixes.get(length - 1) {
                if self.own[length] != Range::EMPTY {
                    self.add(length, suffix);
                }
                let free = self.free(length);
                add(&mut ends, &prefixes[length - 1], free);
                add(&mut ends, suffix, free);
            }
        }
    }

    /// Adds the spans that start at `first` and end before the query does.
    fn add_inner(&mut self, first: usize) {
        let mut lengths = (1..self.scaled.width() - first).rev();
        let Some(reach) = lengths.find(|&length| self.own[length] != Range::EMPTY) else {
            return;
        };
        let chain = self.chain(first..first + reach, &self.own[..=reach]);
        for (length, tails) in (1..).zip(chain) {
            if self.own[length] != Range::EMPTY {
                self.add(length, &tails);
            }
        }
    }

    /// Adds up columns in an order; `asked` says which scores matter after each of them.
    fn chain(
        &self,
        order: impl DoubleEndedIterator<Item = usize> + Clone,
        asked: &[Range],
    ) -> Vec<Tails> {
        let lengths = 1..=order.clone().count();
        let mut wanted = Vec::with_capacity(asked.len());
        let mut later = Range::EMPTY;
        for (length, column) in lengths.zip(order.clone()).collect::<Vec<_>>().into_iter().rev() {
            let free = self.free(length);
            let range = asked[length].less(free, free).and(later);
            let column = &self.columns[column];
            later = range.less(column.low, column.high());
            wanted.push(range);
        }
        let mut memory = Vec::new();
        let mut all: Vec<Tails> = Vec::with_capacity(wanted.len());
        let none = Tails::none();
        for (column, range) in order.zip(wanted.into_iter().rev()) {
            let shorter = all.last().unwrap_or(&none);
            all.push(shorter.with(&self.columns[column], (range.low, range.high), &mut memory));
        }
        all
    }

    /// Score of the query columns outside a span.
    fn free(&self, length: usize) -> i64 {
        self.scaled.unaligned * (self.scaled.width() - length) as i64
    }

    /// Adds a span for the targets as wide as it is.
    fn add(&mut self, length: usize, tails: &Tails) {
        let free = self.free(length);
        add(&mut self.spans[length], tails, free);
    }
}

/// Adds an alignment outside of which `free` is scored.
fn add(below: &mut Below, tails: &Tails, free: i64) {
    let (low, count) = below.scores();
    let (sure, chances) = tails.at(low - free, count);
    below.add(sure, chances);
}
