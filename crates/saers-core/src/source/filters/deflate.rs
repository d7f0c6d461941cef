//! Deflate (HDF5's filter 1): one zlib stream.

use libdeflater::{DecompressionError, Decompressor};

use super::Result;

/// Inflates chunks; built at its first chunk.
#[derive(Default)]
pub(super) struct Inflater(Option<Decompressor>);

impl Inflater {
    /// Inflates into the front of `to` and tells how many bytes there are.
    pub(super) fn decode(&mut self, from: &[u8], to: &mut [u8]) -> Result<usize> {
        let inflater = self.0.get_or_insert_with(Decompressor::new);
        inflater.zlib_decompress(from, to).map_err(|error| match error {
            DecompressionError::BadData => "deflate: not a zlib stream".into(),
            DecompressionError::InsufficientSpace => {
                format!("deflate: holds more than {} bytes", to.len())
            }
        })
    }

    /// Inflates what must fill `to`.
    pub(super) fn block(&mut self, from: &[u8], to: &mut [u8]) -> Result<()> {
        match self.decode(from, to)? {
            found if found == to.len() => Ok(()),
            found => Err(format!("deflate: a block of {found} bytes instead of {}", to.len())),
        }
    }
}
