//! Putting the intervals of a table on the line, in order.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::prelude::*;

use super::sort::{Buckets, settle};
use super::sweep::Joiner;
use super::{Columns, Intervals, Line, Place, Segment};
use crate::{Result, threads};

/// Rows that are checked and laid while they are in the processor's cache.
const SPAN: usize = 1 << 13;

impl Line {
    /// Lays the intervals of a table by start, then end, then tag; they are cut to the
    /// chromosomes, and those without bases left out.
    pub(crate) fn sorted<P: Place>(&self, table: &Intervals<'_>) -> Result<Vec<Segment<P>>> {
        let in_order = self.in_parts(table, |spans| {
            let mut laid: Vec<Segment<P>> = Vec::with_capacity(n_rows(spans));
            let is_whole = self.lay(table, spans, |segments| {
                let last = laid.last().copied().unwrap_or_default();
                laid.extend_from_slice(segments);
                segments.is_sorted() && segments.first().is_none_or(|first| last <= *first)
            })?;
            Ok(is_whole.then_some(laid))
        })?;
        match in_order.filter(|parts| follow(parts, |last, next| last <= next)) {
            Some(mut parts) if parts.len() == 1 => Ok(parts.remove(0)),
            Some(parts) => Ok(parts.concat()),
            None => self.sort(table),
        }
    }

    /// Lays the union of the intervals of each tag by start.
    pub(crate) fn union<P: Place>(&self, table: &Intervals<'_>) -> Result<Vec<Segment<P>>> {
        let in_order = self.in_parts(table, |spans| {
            let mut joiner = Joiner::new(table.n_tags(), n_rows(spans));
            let is_whole = self.lay(table, spans, |segments| joiner.add(segments))?;
            Ok(is_whole.then(|| joiner.finish()))
        })?;
        let parts = match in_order.filter(|parts| follow(parts, |l, n| l.start <= n.start)) {
            Some(mut parts) if parts.len() == 1 => return Ok(parts.remove(0)),
            Some(parts) => parts,
            None => vec![self.sort(table)?],
        };
        let mut joiner = Joiner::new(table.n_tags(), parts.iter().map(Vec::len).sum());
        for part in parts {
            joiner.add(&part);
        }
        Ok(joiner.finish())
    }

    /// Lays intervals into buckets along the line, and sorts within each.
    fn sort<P: Place>(&self, table: &Intervals<'_>) -> Result<Vec<Segment<P>>> {
        let buckets = Buckets::new(0, self.length());
        let spans = split(0..table.len());
        let mut ends = buckets.counters();
        self.lay(table, &spans, |segments: &[Segment<P>]| {
            buckets.count(segments, &mut ends);
            true
        })?;
        let mut laid = vec![Segment::default(); Buckets::sum_up(&mut ends)];
        self.lay_checked(table, &spans, |segments| buckets.place(segments, &mut laid, &mut ends))?;
        let each = buckets.split(&mut laid, &ends).into_par_iter();
        each.try_for_each_init(
            || (Vec::new(), Vec::new()),
            |(copy, ends), (within, bucket)| {
                copy.clear();
                copy.extend_from_slice(bucket);
                settle(within, copy, bucket, ends)
            },
        )?;
        Ok(laid)
    }

    /// Lets each thread lay its part of the rows; None where one of them finds no order.
    fn in_parts<P: Place>(
        &self,
        table: &Intervals<'_>,
        lay: impl Fn(&[Range<usize>]) -> Result<Option<Vec<Segment<P>>>> + Sync,
    ) -> Result<Option<Vec<Vec<Segment<P>>>>> {
        let spans = self.spans(table);
        let part = spans.len().div_ceil(rayon::current_num_threads()).max(1);
        let parts = spans.par_chunks(part).map(|spans| lay(spans).transpose());
        parts.collect::<Option<Result<_>>>().transpose()
    }

    /// Splits the rows of a table: by chromosome, in the order of the line, where it is grouped
    /// by chromosome as most files are.
    fn spans(&self, table: &Intervals<'_>) -> Vec<Range<usize>> {
        match self.groups(table) {
            Some(groups) => groups.into_iter().flat_map(|(_, spans)| spans).collect(),
            None => split(0..table.len()),
        }
    }

    /// The rows of each chromosome, in the order of the line, where a table is grouped by
    /// chromosome.
    pub(super) fn groups(&self, table: &Intervals<'_>) -> Option<Vec<(u32, Vec<Range<usize>>)>> {
        let chrom = table.columns().chrom;
        let mut groups: BTreeMap<u32, Vec<Range<usize>>> = BTreeMap::new();
        let (mut first, mut runs) = (0, 0);
        while let Some(own) = chrom.get(first) {
            let length = chrom[first..].iter().position(|chrom| chrom != own);
            let end = length.map_or(chrom.len(), |length| first + length);
            groups.entry(*own).or_default().extend(split(first..end));
            (first, runs) = (end, runs + 1);
            if runs > 2 * table.n_chroms() {
                return None;
            }
        }
        Some(groups.into_iter().collect())
    }

    /// Lays the union of the rows of one chromosome into `joiner`.
    pub(super) fn union_of<'j, P: Place>(
        &self,
        table: &Intervals<'_>,
        spans: &[Range<usize>],
        joiner: &'j mut Joiner<P>,
    ) -> Result<&'j [Segment<P>]> {
        joiner.clear();
        if !self.lay(table, spans, |segments| joiner.add(segments))? {
            let mut laid = Vec::with_capacity(n_rows(spans));
            self.lay_checked(table, spans, |segments| laid.extend_from_slice(segments))?;
            laid.sort_unstable();
            joiner.clear();
            joiner.add(&laid);
        }
        Ok(joiner.joined())
    }

    /// Checks and lays spans one after the other until `take` declines; tells whether it took
    /// all.
    fn lay<P: Place>(
        &self,
        table: &Intervals<'_>,
        spans: &[Range<usize>],
        mut take: impl FnMut(&[Segment<P>]) -> bool,
    ) -> Result<bool> {
        let mut room = vec![Segment::default(); SPAN];
        for span in spans {
            threads::check()?;
            table.check(span)?;
            if !take(self.lay_span(table.columns(), span, &mut room)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for rows that were checked before, all of which are taken.
    fn lay_checked<P: Place>(
        &self,
        table: &Intervals<'_>,
        spans: &[Range<usize>],
        mut take: impl FnMut(&[Segment<P>]),
    ) -> Result<()> {
        let mut room = vec![Segment::default(); SPAN];
        spans.iter().try_for_each(|span| {
            threads::check()?;
            take(self.lay_span(table.columns(), span, &mut room));
            Ok(())
        })
    }

    /// Lays rows of one span into `room`.
    fn lay_span<'r, P: Place>(
        &self,
        columns: Columns<'_>,
        span: &Range<usize>,
        room: &'r mut [Segment<P>],
    ) -> &'r [Segment<P>] {
        let places = columns.start[span.clone()].iter().zip(&columns.end[span.clone()]);
        let rows = columns.chrom[span.clone()].iter().zip(places);
        let mut n = 0;
        let mut lay = |(&chrom, (&start, &end)): (&u32, (&i64, &i64)), tag: u32| {
            // Which rows are left out is as good as random: each is written, some are kept.
            let (from, to) = self.bounds(chrom);
            let (start, end) = (from + start as u64, (from + end as u64).min(to));
            room[n] = Segment::new(start, end, tag);
            n += usize::from(start < end);
        };
        match columns.tag {
            Some(tag) => rows.zip(&tag[span.clone()]).for_each(|(row, tag)| lay(row, *tag)),
            None => rows.for_each(|row| lay(row, 0)),
        }
        &room[..n]
    }
}

/// Whether each part goes on where the one before it ends.
fn follow<P>(
    parts: &[Vec<Segment<P>>],
    is_next: impl Fn(&Segment<P>, &Segment<P>) -> bool,
) -> bool {
    let ends = parts.iter().filter_map(|part| Some((part.first()?, part.last()?)));
    ends.clone().zip(ends.skip(1)).all(|((_, last), (next, _))| is_next(last, next))
}

fn n_rows(spans: &[Range<usize>]) -> usize {
    spans.iter().map(Range::len).sum()
}

fn split(rows: Range<usize>) -> Vec<Range<usize>> {
    rows.clone().step_by(SPAN).map(|first| first..rows.end.min(first + SPAN)).collect()
}
