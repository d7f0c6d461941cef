//! The matches of all queries, as the columns of their table.

use std::iter::repeat_n;
use std::sync::Arc;

use super::columns::Columns;

/// The best alignments of queries with targets: a list for each column of their table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// Index of the query.
    pub query: Vec<u32>,
    /// Index of the target.
    pub target: Vec<u32>,
    /// Whether the target was read off its other strand.
    pub reverse: Vec<bool>,
    /// Position of the first query column in the target.
    pub offset: Vec<i64>,
    /// Number of aligned columns.
    pub overlap: Vec<i64>,
    /// Chance of so good a best score on one target.
    pub p_value: Vec<f64>,
    /// Base-10 logarithm of the p-value.
    pub log10_p: Vec<f64>,
    /// Expected number of targets with so good a score.
    pub e_value: Vec<f64>,
    /// Expected share of false matches among those at least as good.
    pub q_value: Vec<f64>,
    /// Likeliest letters of the query, after pseudo-counts.
    pub query_consensus: Consensus,
    /// Likeliest letters of the target on the strand that matched.
    pub target_consensus: Consensus,
}

/// A column of strings that many rows share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Consensus {
    /// The strings.
    pub strings: Vec<Arc<str>>,
    /// Which of them each row has.
    pub places: Vec<u32>,
}

/// The better strands of targets that one query matched, best first: a list for each column.
pub(super) struct Found {
    /// Likeliest letters of the query.
    pub consensus: Arc<str>,
    pub strand: Vec<u32>,
    pub offset: Vec<i64>,
    pub overlap: Vec<i64>,
    pub p_value: Vec<f64>,
    pub log10_p: Vec<f64>,
    pub e_value: Vec<f64>,
    pub q_value: Vec<f64>,
}

impl Matches {
    /// Adds what the queries from `first` on have found among columns.
    pub(super) fn extend(&mut self, first: usize, found: &[Found], columns: &Columns) {
        let strands = columns.strands();
        let targets = |found: &Found, to: &mut Vec<u32>| {
            to.extend(found.strand.iter().map(|&strand| strands[strand as usize].target as u32));
        };
        let reverse = |found: &Found, to: &mut Vec<bool>| {
            to.extend(found.strand.iter().map(|&strand| strands[strand as usize].reverse));
        };
        rayon::scope(|scope| {
            scope.spawn(|_| add(&mut self.target, found, targets));
            scope.spawn(|_| add(&mut self.reverse, found, reverse));
            scope.spawn(|_| add(&mut self.offset, found, |found, to| to.extend(&found.offset)));
            scope.spawn(|_| add(&mut self.overlap, found, |found, to| to.extend(&found.overlap)));
            scope.spawn(|_| add(&mut self.p_value, found, |found, to| to.extend(&found.p_value)));
            scope.spawn(|_| add(&mut self.log10_p, found, |found, to| to.extend(&found.log10_p)));
            scope.spawn(|_| add(&mut self.e_value, found, |found, to| to.extend(&found.e_value)));
            scope.spawn(|_| add(&mut self.q_value, found, |found, to| to.extend(&found.q_value)));
            scope.spawn(|_| {
                let mut number = first as u32;
                add(&mut self.query, found, |found, to| {
                    to.extend(repeat_n(number, found.strand.len()));
                    number += 1;
                });
            });
            scope.spawn(|_| self.query_consensus.add_queries(found));
            scope.spawn(|_| self.target_consensus.add_targets(found, columns));
        });
    }
}

/// Adds the rows of each query to a column.
fn add<T>(column: &mut Vec<T>, found: &[Found], mut rows: impl FnMut(&Found, &mut Vec<T>)) {
    column.reserve(found.iter().map(|found| found.strand.len()).sum());
    found.iter().for_each(|found| rows(found, column));
}

impl Consensus {
    fn add_queries(&mut self, found: &[Found]) {
        let strings = &mut self.strings;
        add(&mut self.places, found, |found, places| {
            places.extend(repeat_n(strings.len() as u32, found.strand.len()));
            strings.push(Arc::clone(&found.consensus));
        });
    }

    /// Adds those of targets, the strings of strands that matched alone.
    fn add_targets(&mut self, found: &[Found], columns: &Columns) {
        const NONE: u32 = u32::MAX;
        let mut known = vec![NONE; columns.strands().len()];
        let strings = &mut self.strings;
        add(&mut self.places, found, |found, places| {
            places.extend(found.strand.iter().map(|&strand| {
                let place = &mut known[strand as usize];
                if *place == NONE {
                    *place = strings.len() as u32;
                    strings.push(Arc::clone(&columns.strands()[strand as usize].consensus));
                }
                *place
            }));
        });
    }
}
