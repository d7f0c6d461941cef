//! LZF (filter 32000, the one of h5py).

use super::Result;

/// Decodes into the front of `to` and tells how many bytes there are.
pub(super) fn decode(mut from: &[u8], to: &mut [u8]) -> Result<usize> {
    let mut at = 0;
    let cut = || "lzf: ends within a token".to_string();
    while let Some((&control, rest)) = from.split_first() {
        let control = usize::from(control);
        if control < 32 {
            let (literal, rest) = rest.split_at_checked(control + 1).ok_or_else(cut)?;
            let to = to.get_mut(at..at + literal.len()).ok_or_else(|| full(at))?;
            to.copy_from_slice(literal);
            at += literal.len();
            from = rest;
            continue;
        }
        let (mut length, mut rest) = (control >> 5, rest);
        if length == 7 {
            let (&more, after) = rest.split_first().ok_or_else(cut)?;
            length += usize::from(more);
            rest = after;
        }
        let (&low, rest) = rest.split_first().ok_or_else(cut)?;
        let back = (control & 31) << 8 | usize::from(low);
        let start = (at.checked_sub(back + 1)).ok_or("lzf: points before the chunk")?;
        let end = at + length + 2;
        if end > to.len() {
            return Err(full(to.len()));
        }
        for index in at..end {
            to[index] = to[start + index - at];
        }
        at = end;
        from = rest;
    }
    Ok(at)
}

fn full(size: usize) -> String {
    format!("lzf: holds more than {size} bytes")
}
