//! The highest values of every channel that keep a distance from each other.
//!
//! Order the positions of a window by value, descending; equal values by position, ascending.
//! Take them in that order, skipping each that lies closer than `min_distance` positions to one
//! taken before, until there are k. [`DenseTop`] finds these picks in one pass over dense rows
//! and bounded memory; [`sparse`] does the same for the codes of a sparse autoencoder.

use std::cmp::Ordering;

use crate::{Error, Result};

mod dense;
pub mod sparse;
mod streamed;

pub use dense::{DenseTop, top_positions};
pub use streamed::{Found, top_positions_from};

/// One taken position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Position within the window.
    pub position: u32,
    /// The value there.
    pub value: f32,
}

impl Pick {
    /// Orders by value, descending, then by position, ascending. Zeros of both signs are equal;
    /// NaN must not occur.
    ///
    /// ```
    /// use saers_core::topk::Pick;
    /// let mut picks = [Pick { position: 9, value: 1.0 }, Pick { position: 2, value: 1.0 }];
    /// picks.sort_by(Pick::order);
    /// assert_eq!(picks[0].position, 2);
    /// ```
    pub fn order(&self, other: &Self) -> Ordering {
        let by_value = other.value.partial_cmp(&self.value).unwrap_or(Ordering::Equal);
        by_value.then(self.position.cmp(&other.position))
    }
}

/// Takes positions one by one and refuses those too close to one taken before.
struct Spacing {
    min_distance: u32,
    taken: Vec<u32>,
}

impl Spacing {
    fn take(&mut self, position: u32) -> bool {
        let next = self.taken.partition_point(|&other| other < position);
        let clear = |other: Option<&u32>| {
            other.is_none_or(|&other| other.abs_diff(position) >= self.min_distance)
        };
        let free = clear(self.taken.get(next)) && clear(self.taken[..next].last());
        if free {
            self.taken.insert(next, position);
        }
        free
    }
}

/// Takes the first k of `ordered` that keep their distance.
fn greedy(ordered: impl Iterator<Item = Pick>, k: usize, min_distance: u32) -> Vec<Pick> {
    let mut spacing = Spacing { min_distance, taken: Vec::new() };
    ordered.filter(|pick| spacing.take(pick.position)).take(k).collect()
}

/// What is sought in each channel.
#[derive(Clone, Copy, Debug)]
struct Rule {
    k: usize,
    min_distance: u32,
    /// Rows whose maximum is looked at first; blocks lie on the absolute grid of the window.
    block: usize,
    /// While this many block maxima are at least t, all k picks are at least t: a pick rules out
    /// positions in at most `per_pick` blocks, so k - 1 picks leave one of these blocks untouched.
    blocks_needed: usize,
}

impl Rule {
    fn new(k: usize, min_distance: usize) -> Result<Self> {
        if k == 0 {
            return Err(Error::invalid("k must be positive, got 0"));
        }
        let wide = u32::try_from(min_distance).unwrap_or(0);
        if wide == 0 {
            let range = format!("1..{}", u32::MAX);
            let message = format!("min_distance must lie in {range}, got {min_distance}");
            return Err(Error::invalid(message));
        }
        let block = (min_distance.next_power_of_two() / 2).clamp(16, 1024);
        let per_pick = (2 * min_distance - 2).div_ceil(block) + 1;
        let blocks_needed = per_pick.saturating_mul(k - 1).saturating_add(1);
        Ok(Self { k, min_distance: wide, block, blocks_needed })
    }
}

#[cfg(test)]
mod tests;
