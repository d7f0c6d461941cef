//! Zstandard (filter 32015): one frame or several.

use zstd::zstd_safe::{DCtx, get_error_name};

use super::Result;

/// Decodes frames; built at its first chunk.
#[derive(Default)]
pub(super) struct Decoder(Option<DCtx<'static>>);

impl Decoder {
    /// Decodes into the front of `to` and tells how many bytes there are.
    pub(super) fn decode(&mut self, from: &[u8], to: &mut [u8]) -> Result<usize> {
        if self.0.is_none() {
            self.0 = DCtx::try_create();
        }
        let decoder = self.0.as_mut().ok_or("zstd: no memory for a decoder")?;
        decoder.decompress(to, from).map_err(|code| format!("zstd: {}", get_error_name(code)))
    }

    /// Decodes what must fill `to`.
    pub(super) fn block(&mut self, from: &[u8], to: &mut [u8]) -> Result<()> {
        match self.decode(from, to)? {
            found if found == to.len() => Ok(()),
            found => Err(format!("zstd: a block of {found} bytes instead of {}", to.len())),
        }
    }
}
