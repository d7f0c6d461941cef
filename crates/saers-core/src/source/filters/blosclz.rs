//! BloscLZ, the codec of Blosc's own.

use super::Result;
use super::copy::{literal, repeat};

/// Distances from here on take two more bytes.
const FAR: usize = 8192;

/// Decodes one block that must fill `to`.
pub(super) fn block(from: &[u8], to: &mut [u8]) -> Result<()> {
    let (mut read, mut written) = (0, 0);
    let next = |read: &mut usize| {
        let byte = from.get(*read).copied().ok_or("blosclz: ends within a token");
        *read += 1;
        byte.map(usize::from)
    };
    let mut control = next(&mut read)? & 31; // the first token is a literal
    loop {
        if control < 32 {
            let length = control + 1;
            literal(&from[read..], &mut to[written..], length).ok_or("blosclz: a cut literal")?;
            read += length;
            written += length;
        } else {
            let mut length = (control >> 5) + 2;
            if control >> 5 == 7 {
                loop {
                    let more = next(&mut read)?;
                    length += more;
                    if more < 255 {
                        break;
                    }
                }
            }
            let mut distance = ((control & 31) << 8 | next(&mut read)?) + 1;
            if distance == FAR {
                distance += next(&mut read)? << 8 | next(&mut read)?;
            }
            repeat(to, written, distance, length).ok_or("blosclz: a repeat is out of bounds")?;
            written += length;
        }
        if read == from.len() {
            break;
        }
        control = next(&mut read)?;
    }
    match written == to.len() {
        true => Ok(()),
        false => Err(format!("blosclz: a block of {written} bytes instead of {}", to.len())),
    }
}
