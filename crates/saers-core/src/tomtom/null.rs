//! Chance of a best score, from the chances of the sums over all spans of query columns.

use super::alignment::Alignment;
use super::below::{Below, Range, complements};
use super::columns::{Class, Columns};
use super::scaled::Scaled;
use super::tails::{Column, Memory, Tails};

/// Computes the p-value of every strand's best score.
///
/// With `E(k)` the chance to stay below a score over the first and the last 1..=k query columns,
/// a target of width L has `E(L - 1)`, and spans of L query columns (or the whole query, once
/// for each offset) on top. All targets share `E`.
pub(super) fn p_values(
    scaled: &Scaled,
    columns: &Columns,
    best: &[Alignment],
    memory: &mut Memory,
) -> Vec<f64> {
    let twice = columns.strands().iter().any(|strand| strand.reverse);
    let null = Null::new(scaled, columns, best, memory);
    let width = scaled.width();
    let (mut logs, mut products) = (null.logs, null.products);
    for class in columns.classes() {
        let reach = class.width.min(width);
        let spans = &null.spans[reach];
        let offsets = (class.width + 1 - reach) as i32;
        for &member in columns.members(class) {
            let member = member as usize;
            let (log, product) = spans.at(best[member].score);
            logs[member] += f64::from(offsets) * log;
            products[member] *= product.powi(offsets);
        }
    }
    if twice {
        logs.iter_mut().for_each(|log| *log *= 2.0);
        products.iter_mut().for_each(|product| *product *= *product);
    }
    let mut p_values = Vec::new();
    complements(&logs, &products, &mut p_values);
    p_values
}

/// Chances to stay below the scores that were observed.
///
/// Lists by a number of columns hold what targets of that width need, where there are any;
/// the last entry stands for all targets as wide as the query and wider.
struct Null<'a> {
    scaled: &'a Scaled,
    targets: &'a Columns,
    best: &'a [Alignment],
    columns: Vec<Column<'a>>,
    /// Scores of the targets of each width.
    own: Vec<Range>,
    /// Prefixes and suffixes shorter than the target: logarithms and factors of every strand.
    logs: Vec<f64>,
    products: Vec<f64>,
    /// Spans of as many columns as the target has.
    spans: Vec<Below>,
}

impl<'a> Null<'a> {
    fn new(
        scaled: &'a Scaled,
        targets: &'a Columns,
        best: &'a [Alignment],
        memory: &mut Memory,
    ) -> Self {
        let width = scaled.width();
        let mut own = vec![Range::EMPTY; width + 1];
        for class in targets.classes() {
            let range = &mut own[class.width.min(width)];
            for &member in targets.members(class) {
                let score = best[member as usize].score;
                *range = range.and(Range { low: score, high: score });
            }
        }
        let mut null = Self {
            scaled,
            targets,
            best,
            columns: scaled.histograms.iter().map(Column::new).collect(),
            logs: vec![0.0; best.len()],
            products: vec![0.0; best.len()],
            spans: own.iter().map(|range| Below::certain(*range)).collect(),
            own,
        };
        null.add_ends(memory);
        (1..width).for_each(|first| null.add_inner(first, memory));
        null
    }

    /// Adds prefixes and suffixes of the query, and the query itself.
    fn add_ends(&mut self, memory: &mut Memory) {
        let width = self.scaled.width();
        // Of a number of columns ask targets of that width and all wider ones.
        let mut asked = self.own.clone();
        for length in (0..width).rev() {
            asked[length] = asked[length].and(asked[length + 1]);
        }
        let prefixes = self.chain(0..width, &asked, memory);
        let suffixes = self.chain((1..width).rev(), &asked, memory);
        let mut ends = Below::certain(asked[0]);
        for length in 1..=width {
            if self.own[length] != Range::EMPTY {
                self.note_ends(length, &ends);
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
        memory.recycle(prefixes);
        memory.recycle(suffixes);
    }

    /// Looks up what all targets of a width need of their prefixes and suffixes.
    fn note_ends(&mut self, length: usize, ends: &Below) {
        let width = self.scaled.width();
        let of_width = |class: &&Class| class.width.min(width) == length;
        for class in self.targets.classes().iter().filter(of_width) {
            for &member in self.targets.members(class) {
                let member = member as usize;
                (self.logs[member], self.products[member]) = ends.at(self.best[member].score);
            }
        }
    }

    /// Adds the spans that start at `first` and end before the query does.
    fn add_inner(&mut self, first: usize, memory: &mut Memory) {
        let mut lengths = (1..self.scaled.width() - first).rev();
        let Some(reach) = lengths.find(|&length| self.own[length] != Range::EMPTY) else {
            return;
        };
        let chain = self.chain(first..first + reach, &self.own[..=reach], memory);
        for (length, tails) in (1..).zip(&chain) {
            if self.own[length] != Range::EMPTY {
                self.add(length, tails);
            }
        }
        memory.recycle(chain);
    }

    /// Adds up columns in an order; `asked` says which scores matter after each of them.
    fn chain(
        &self,
        order: impl DoubleEndedIterator<Item = usize> + Clone,
        asked: &[Range],
        memory: &mut Memory,
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
        let mut all: Vec<Tails> = Vec::with_capacity(wanted.len());
        let none = Tails::none();
        for (column, range) in order.zip(wanted.into_iter().rev()) {
            let shorter = all.last().unwrap_or(&none);
            all.push(shorter.with(&self.columns[column], (range.low, range.high), memory));
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
