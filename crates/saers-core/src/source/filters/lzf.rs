//! LZF (filter 32000, the one of h5py).

use super::Result;
use super::copy::{literal, repeat};

/// Decodes into the front of `to` and tells how many bytes there are.
pub(super) fn decode(from: &[u8], to: &mut [u8]) -> Result<usize> {
    let (mut read, mut written) = (0, 0);
    let next = |read: &mut usize| {
        let byte = from.get(*read).copied().ok_or("lzf: ends within a token");
        *read += 1;
        byte.map(usize::from)
    };
    while read < from.len() {
        let control = next(&mut read)?;
        if control < 32 {
            let length = control + 1;
            literal(&from[read..], &mut to[written..], length).ok_or("lzf: a literal is cut")?;
            read += length;
            written += length;
            continue;
        }
        let mut length = (control >> 5) + 2;
        if length == 9 {
            length += next(&mut read)?;
        }
        let distance = ((control & 31) << 8 | next(&mut read)?) + 1;
        repeat(to, written, distance, length).ok_or("lzf: a repeat is out of bounds")?;
        written += length;
    }
    Ok(written)
}
