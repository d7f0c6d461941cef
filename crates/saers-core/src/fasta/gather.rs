//! Reading many regions: in the order of the file, neighbours together.

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::index::are_letters;
use super::text::{BLOCK, Cursor};
use super::{Fasta, Record, Region};
use crate::threads::check;
use crate::{Error, Result};

/// Bytes between two regions that are rather read than skipped: what one more call costs.
const GAP: u64 = 1 << 11;

/// Letters that one task reads, unless one region has more.
pub(super) const LETTERS_A_TASK: usize = 1 << 17;

/// Stretches of the file that regions are sorted into, about.
const STRETCHES: u64 = 1 << 12;

/// Regions by the stretch of the file in which they begin. Memory is slow where it is read in
/// another order than it was written, so what is moved is small.
struct Order {
    /// Places of the regions in the call, stretch by stretch.
    numbers: Vec<u32>,
    /// Number of regions and of letters of each stretch.
    sizes: Vec<(usize, usize)>,
    /// Where the letters of each region begin, among those of the call.
    starts: Vec<usize>,
}

/// Some regions of a stretch, and the place of their letters.
struct Task<'a> {
    numbers: &'a [u32],
    out: &'a mut [u8],
}

/// Where the letters of a region lie in the text, how many of its line stand before them, and
/// where among those of its task they go.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
    column: u64,
    region: Region,
    start: usize,
}

/// What a thread reads with, kept from task to task.
struct Desk<'a> {
    cursor: Cursor<'a>,
    regions: Vec<Region>,
    spans: Vec<Span>,
}

impl Fasta {
    /// Reads the letters of all regions into `letters`, in an order that saves time; gives the
    /// place where those of each region begin.
    pub(super) fn gather(
        &self,
        regions: &[Region],
        soft_mask: bool,
        letters: &mut [u8],
    ) -> Result<Vec<usize>> {
        let order = self.order(regions, letters.len())?;
        let desks = Mutex::new(Vec::new());
        let read = |task: &mut Task<'_>| {
            check()?;
            let free = desks.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut desk = free.unwrap_or_else(|| Desk::new(self.text.cursor()));
            // One after the other, so that the waits for memory overlap.
            desk.regions.clear();
            desk.regions.extend(task.numbers.iter().map(|&number| regions[number as usize]));
            self.read(&mut desk, soft_mask, task.out)?;
            desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk);
            Ok(())
        };
        match &mut order.tasks(regions, letters)[..] {
            [task] => read(task)?, // perhaps beside a pool: there is little to do
            tasks => tasks.par_iter_mut().try_for_each(read)?,
        }
        Ok(order.starts)
    }

    /// Sorts regions by the stretches in which they begin.
    fn order(&self, regions: &[Region], letters: usize) -> Result<Order> {
        if u32::try_from(regions.len()).is_err() {
            return Err(Error::invalid("regions must be fewer than 2^32"));
        }
        let is_one = letters <= LETTERS_A_TASK;
        let shift = if is_one { 63 } else { (self.text.len() / STRETCHES).max(BLOCK).ilog2() };
        // Grows with the byte where the region begins, and is found without a division.
        let stretch = |region: &Region| {
            let record = self.records.get(region.record as usize);
            record.map_or(0, |record| (record.offset + region.inside(record).0) >> shift) as usize
        };
        let mut sizes = vec![(0, 0); (self.text.len() >> shift) as usize + 1];
        for region in regions {
            let (count, letters) = &mut sizes[stretch(region)];
            *count += 1;
            *letters += region.width();
        }
        let mut next = sizes.clone();
        next.iter_mut().fold((0, 0), |(place, start), (count, letters)| {
            let end = (place + *count, start + *letters);
            (*count, *letters) = (place, start);
            end
        });
        let mut numbers = vec![0; regions.len()];
        let mut starts = Vec::with_capacity(regions.len());
        for (number, region) in (0..).zip(regions) {
            let (place, start) = &mut next[stretch(region)];
            numbers[*place] = number;
            starts.push(*start);
            *place += 1;
            *start += region.width();
        }
        Ok(Order { numbers, sizes, starts })
    }

    /// Reads the letters of the regions on a desk.
    fn read(&self, desk: &mut Desk<'_>, soft_mask: bool, out: &mut [u8]) -> Result<()> {
        let Desk { cursor, regions, spans } = desk;
        spans.clear();
        let mut start = 0;
        for region in regions {
            spans.push(Span::new(self.record(region.record as usize)?, region, start));
            start += region.width();
        }
        let is_dense = is_dense(spans);
        if !is_dense {
            spans.sort_unstable_by_key(|span| span.from);
        }
        let mut rest = &spans[..];
        while !rest.is_empty() {
            let count = if is_dense { rest.len() } else { group(rest) };
            let (now, later) = rest.split_at(count);
            if let [_, _, ..] = now {
                let (from, to) = bounds(now);
                cursor.window(from, to)?;
            }
            for span in now {
                fill(cursor, self.record(span.region.record as usize)?, span, span.letters(out))?;
            }
            rest = later;
        }
        self.finish(spans, soft_mask, out)
    }

    /// Brings letters to the case and strand asked for.
    fn finish(&self, spans: &[Span], soft_mask: bool, letters: &mut [u8]) -> Result<()> {
        if !are_letters(letters) {
            return Err(self.no_letters(spans, letters));
        }
        if !soft_mask {
            letters.make_ascii_uppercase();
        }
        for span in spans.iter().filter(|span| span.region.reverse) {
            reverse_complement(span.letters(letters));
        }
        Ok(())
    }

    /// Names the first place where something else stands than a letter.
    fn no_letters(&self, spans: &[Span], letters: &[u8]) -> Error {
        let at = letters.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or_default();
        let own = spans.iter().find_map(|Span { start, region, .. }| {
            let inside = at.checked_sub(*start).filter(|&inside| inside < region.width())?;
            let name = &self.record(region.record as usize).ok()?.name;
            Some(format!("record {name}, position {}", region.start + inside as i64))
        });
        let message = "no letter here: the index is stale, delete it";
        Error::format(self.path(), own.unwrap_or_default(), message)
    }
}

impl<'a> Desk<'a> {
    fn new(cursor: Cursor<'a>) -> Self {
        Self { cursor, regions: Vec::new(), spans: Vec::new() }
    }
}

impl Order {
    /// Deals regions out: a task has those of one stretch, or a share of them.
    fn tasks<'a>(&'a self, regions: &[Region], mut letters: &'a mut [u8]) -> Vec<Task<'a>> {
        let mut numbers = &self.numbers[..];
        let mut tasks = Vec::new();
        for &(count, size) in &self.sizes {
            let (mut own, later) = numbers.split_at(count);
            numbers = later;
            let share = (LETTERS_A_TASK * count / size.max(1)).max(1);
            while !own.is_empty() {
                let (now, later) = own.split_at(share.min(own.len()));
                let size = match later {
                    [] if now.len() == count => size,
                    _ => now.iter().map(|&number| regions[number as usize].width()).sum(),
                };
                let (out, rest) = std::mem::take(&mut letters).split_at_mut(size);
                tasks.push(Task { numbers: now, out });
                (own, letters) = (later, rest);
            }
        }
        tasks
    }
}

impl Span {
    fn new(record: &Record, region: &Region, start: usize) -> Self {
        let ((from, to), region) = (region.inside(record), *region);
        if from == to {
            return Self { from: record.offset, to: record.offset, column: 0, region, start };
        }
        let (byte, column) = record.place(from);
        let is_one_line = column + (to - from) <= record.line_bases;
        let end = if is_one_line { byte + (to - from) } else { record.place(to - 1).0 + 1 };
        Self { from: byte, to: end, column, region, start }
    }

    /// Its own letters among those of the task.
    fn letters<'a>(&self, letters: &'a mut [u8]) -> &'a mut [u8] {
        &mut letters[self.start..][..self.region.width()]
    }
}

/// The first and last byte of spans.
fn bounds(spans: &[Span]) -> (u64, u64) {
    let from = spans.iter().map(|span| span.from).min().unwrap_or_default();
    (from, spans.iter().map(|span| span.to).max().unwrap_or_default())
}

/// Whether there are so many spans that all around them is read anyway.
fn is_dense(spans: &[Span]) -> bool {
    let (from, to) = bounds(spans);
    to - from <= 2 * BLOCK && (to - from) / GAP < spans.len() as u64
}

/// Number of the first spans that are read at once.
fn group(spans: &[Span]) -> usize {
    let (from, mut to) = spans.first().map_or((0, 0), |first| (first.from, first.to));
    let is_apart = |span: &Span| {
        let apart = span.from > to + GAP || span.to > from + BLOCK;
        to = to.max(span.to);
        apart
    };
    spans.iter().skip(1).position(is_apart).map_or(spans.len(), |place| place + 1)
}

/// Fills `out` with the letters of a region as they stand in the file, N outside.
fn fill(cursor: &mut Cursor<'_>, record: &Record, span: &Span, out: &mut [u8]) -> Result<()> {
    let (mut from, to) = span.region.inside(record);
    let left = (from as i64 - span.region.start) as usize;
    let (left, out) = out.split_at_mut(left.min(out.len()));
    let (mut out, right) = out.split_at_mut((to - from) as usize);
    left.fill(b'N');
    right.fill(b'N');
    let (mut byte, mut column) = (span.from, span.column);
    while from < to {
        // Most regions are short.
        let end = if span.to - span.from <= BLOCK { to } else { record.piece(from, to) };
        let end_byte = if end == to { span.to } else { record.place(end - 1).0 + 1 };
        record.lines(cursor.window(byte, end_byte)?, column, |line| {
            let (now, later) = std::mem::take(&mut out).split_at_mut(line.len());
            now.copy_from_slice(line);
            out = later;
        });
        from = end;
        if from < to {
            (byte, column) = record.place(from);
        }
    }
    Ok(())
}

/// Brings letters to the other strand.
fn reverse_complement(letters: &mut [u8]) {
    letters.reverse();
    letters.iter_mut().for_each(|letter| *letter = COMPLEMENT[usize::from(*letter)]);
}

/// Complement of each letter, ambiguity codes and case kept; anything else is its own.
const COMPLEMENT: [u8; 256] = {
    let mut table = [0; 256];
    let mut letter = 0;
    while letter < 256 {
        table[letter] = letter as u8;
        letter += 1;
    }
    let (from, to) = (b"ACGTURYKMBVDH", b"TGCAAYRMKVBHD");
    let mut pair = 0;
    while pair < from.len() {
        table[from[pair] as usize] = to[pair];
        table[from[pair].to_ascii_lowercase() as usize] = to[pair].to_ascii_lowercase();
        pair += 1;
    }
    table
};
