//! Numbers that begin where a line of the cache does: wide vectors of them never span two.

use std::ops::{Deref, DerefMut};

/// Bytes of a line, and of the widest vector.
pub(super) const LINE: usize = 64;

/// A list whose first element begins a line.
pub(super) struct Aligned<T> {
    room: Vec<T>,
    start: usize,
    count: usize,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self { room: Vec::new(), start: 0, count: 0 }
    }
}

impl<T: Copy + Default> Aligned<T> {
    /// Makes room for `count` elements. What was there before is anywhere.
    pub fn resize(&mut self, count: usize) {
        let room = count + LINE;
        if self.room.len() < room {
            self.room.resize(room, T::default());
            // Where this cannot be told, the list starts with the room: slower, but right.
            self.start = self.room.as_ptr().align_offset(LINE).min(LINE);
        }
        self.count = count;
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.room[self.start..self.start + self.count]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.start..self.start + self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::{Aligned, LINE};

    #[test]
    fn the_first_element_begins_a_line() {
        let mut list = Aligned::<u16>::default();
        assert!(list.is_empty());
        for count in [3, 0, 1000, 7] {
            list.resize(count);
            list.fill(9);
            assert_eq!(&*list, vec![9; count]);
            assert_eq!(list.as_ptr().addr() % LINE, 0);
        }
    }
}
