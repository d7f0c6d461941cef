//! Undoing the filters of an HDF5 chunk without the HDF5 library.
//!
//! A chunk may come from anywhere, so every length in it is checked against the size that the
//! chunk must have, and nothing larger than a small multiple of that size is ever allocated.

mod bits;
mod bitshuffle;
mod blosc;
mod blosclz;
mod copy;
mod deflate;
mod fletcher32;
mod lanes;
mod lz4;
mod lzf;
mod shuffle;
mod zstandard;

use bitshuffle::Bitshuffle;

/// What went wrong in a chunk; the caller adds file and place.
type Result<T> = std::result::Result<T, String>;

/// One filter as HDF5's pipeline lists it.
///
/// ```
/// use saers_core::source::filters::Filter;
/// let shuffle = Filter { id: 2, values: vec![4] };
/// assert_eq!(shuffle.values, [4]);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Number under which the filter is registered.
    pub id: u32,
    /// Its client data: what its writer chose.
    pub values: Vec<u32>,
}

/// The filters of a dataset, all of which can be undone here.
///
/// ```
/// use saers_core::source::filters::{Filter, Pipeline, Scratch};
/// let shuffle = Filter { id: 2, values: vec![2] };
/// let pipeline = Pipeline::new(&[shuffle], 2).ok_or("unknown filter")?;
/// let mut scratch = Scratch::default();
/// assert_eq!(pipeline.decode(&[1, 3, 2, 4], 0, 4, &mut scratch)?, [1, 2, 3, 4]);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline(Vec<Step>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Shuffle { item: usize },
    Fletcher32,
    Pack(Pack),
}

/// Filters whose result has a size that only they know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pack {
    Deflate,
    Lzf,
    Lz4,
    Zstd,
    Bitshuffle(Bitshuffle),
    Blosc,
}

/// Room for the stages of a chunk, kept from one chunk to the next.
///
/// ```
/// let scratch = saers_core::source::filters::Scratch::default(); // one a thread
/// # drop(scratch);
/// ```
#[derive(Default)]
pub struct Scratch {
    here: Room,
    there: Room,
    tools: Tools,
}

/// What the filters work with.
#[derive(Default)]
struct Tools {
    codecs: Codecs,
    /// For one block of a chunk, before its bytes or bits are put together.
    block: Room,
    /// For a piece of a block, between its bits and its bytes.
    planes: Room,
}

/// Decoders that are costly to set up.
#[derive(Default)]
struct Codecs {
    inflater: deflate::Inflater,
    zstd: zstandard::Decoder,
}

/// A buffer that grows to the largest chunk seen.
#[derive(Default)]
struct Room(Vec<u8>);

impl Pipeline {
    /// Checks a list of filters; `None` where one of them is unknown here or makes no sense for
    /// elements of `item_size` bytes.
    ///
    /// ```
    /// use saers_core::source::filters::{Filter, Pipeline};
    /// let szip = Filter { id: 4, values: vec![] };
    /// assert!(Pipeline::new(&[szip], 4).is_none());
    /// ```
    pub fn new(filters: &[Filter], item_size: usize) -> Option<Self> {
        if item_size == 0 || filters.len() > u32::BITS as usize {
            return None;
        }
        let steps: Vec<Step> = filters.iter().map(Step::new).collect::<Option<_>>()?;
        // What three packing filters may need between them is not worth bounding.
        (steps.iter().filter(|step| step.packs()).count() <= 2).then_some(Self(steps))
    }

    /// Tells whether chunks are stored as they are.
    ///
    /// ```
    /// use saers_core::source::filters::Pipeline;
    /// assert!(Pipeline::new(&[], 4).is_some_and(|pipeline| pipeline.is_empty()));
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Undoes the filters of one chunk, last first, except those whose bit is set in `mask`.
    ///
    /// # Errors
    /// A message that says what is wrong, when the chunk is not one of `raw_size` bytes packed by
    /// these filters.
    ///
    /// ```
    /// use saers_core::source::filters::{Filter, Pipeline, Scratch};
    /// let lzf = Filter { id: 32000, values: vec![] };
    /// let pipeline = Pipeline::new(&[lzf], 1).ok_or("unknown filter")?;
    /// let mut scratch = Scratch::default();
    /// let packed = [0, b'a', 0x20, 0]; // the byte, then three more like it
    /// assert_eq!(pipeline.decode(&packed, 0, 4, &mut scratch)?, b"aaaa");
    /// assert_eq!(pipeline.decode(b"abcd", 1, 4, &mut scratch)?, b"abcd"); // lzf was left out
    /// assert!(pipeline.decode(&packed, 0, 5, &mut scratch).is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn decode<'a>(
        &self,
        packed: &'a [u8],
        mask: u32,
        raw_size: usize,
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8]> {
        let Scratch { here, there, tools } = scratch;
        let used = |bit: usize| mask >> bit & 1 == 0;
        let (mut moved, mut size) = (false, packed.len());
        for (bit, step) in self.0.iter().enumerate().rev().filter(|(bit, _)| used(*bit)) {
            let from = if moved { &here.0[..size] } else { &packed[..size] };
            match step {
                Step::Fletcher32 => {
                    size = fletcher32::check(from)?;
                    continue;
                }
                Step::Shuffle { item } => {
                    shuffle::undo(from, there.take(size)?, *item);
                }
                Step::Pack(pack) => {
                    let before = self.0[..bit].iter().zip(0..).filter(|(_, bit)| used(*bit));
                    let wanted = Wanted::after(before.map(|(step, _)| step), raw_size);
                    let found = pack.undo(from, there.take(wanted.size)?, tools)?;
                    size = wanted.check(found)?;
                }
            }
            std::mem::swap(here, there);
            moved = true;
        }
        if size != raw_size {
            return Err(format!("the chunk holds {size} bytes, its shape needs {raw_size}"));
        }
        Ok(if moved { &here.0[..size] } else { &packed[..size] })
    }
}

impl Step {
    fn new(filter: &Filter) -> Option<Self> {
        Some(match filter.id {
            1 => Self::Pack(Pack::Deflate),
            2 => Self::Shuffle { item: *filter.values.first().filter(|item| **item > 0)? as usize },
            3 => Self::Fletcher32,
            32000 => Self::Pack(Pack::Lzf),
            32001 => Self::Pack(Pack::Blosc),
            32004 => Self::Pack(Pack::Lz4),
            32008 => Self::Pack(Pack::Bitshuffle(Bitshuffle::new(&filter.values)?)),
            32015 => Self::Pack(Pack::Zstd),
            _ => return None,
        })
    }

    /// Tells whether the result has another size than what went in, in a way that only the
    /// filter knows.
    fn packs(&self) -> bool {
        match self {
            Self::Pack(Pack::Bitshuffle(filter)) => filter.packs(),
            Self::Pack(_) => true,
            Self::Shuffle { .. } | Self::Fletcher32 => false,
        }
    }
}

impl Pack {
    /// Unpacks into the front of `to` and tells how many bytes there are.
    fn undo(self, from: &[u8], to: &mut [u8], tools: &mut Tools) -> Result<usize> {
        match self {
            Self::Deflate => tools.codecs.inflater.decode(from, to),
            Self::Lzf => lzf::decode(from, to),
            Self::Lz4 => lz4::decode(from, to),
            Self::Zstd => tools.codecs.zstd.decode(from, to),
            Self::Bitshuffle(filter) => filter.decode(from, to, tools),
            Self::Blosc => blosc::decode(from, to, tools),
        }
    }
}

/// How many bytes a packing filter was given.
struct Wanted {
    size: usize,
    /// Whether another filter packed before, so that `size` is only a limit.
    loose: bool,
}

impl Wanted {
    fn after<'a>(before: impl Iterator<Item = &'a Step>, raw_size: usize) -> Self {
        let exact = Self { size: raw_size, loose: false };
        before.fold(exact, |wanted, step| match step {
            Step::Fletcher32 => Self { size: wanted.size.saturating_add(4), ..wanted },
            // The worst is one zstd frame for every 8 bytes.
            step if step.packs() => {
                Self { size: wanted.size.saturating_mul(4).saturating_add(4096), loose: true }
            }
            _ => wanted,
        })
    }

    fn check(&self, found: usize) -> Result<usize> {
        match found == self.size || self.loose {
            true => Ok(found),
            false => Err(format!("unpacks to {found} bytes instead of {}", self.size)),
        }
    }
}

impl Room {
    /// Gives the first `size` bytes, whatever they hold.
    fn take(&mut self, size: usize) -> Result<&mut [u8]> {
        if self.0.len() < size {
            let more = size - self.0.len();
            let refused = |_| format!("no memory for a chunk of {size} bytes");
            self.0.try_reserve_exact(more).map_err(refused)?;
            self.0.resize(size, 0);
        }
        Ok(&mut self.0[..size])
    }
}

#[cfg(test)]
mod tests;
