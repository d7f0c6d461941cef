//! The two copies that decoders of the LZ77 family consist of.

/// Bytes moved at once where there is room to write past the end of a copy.
const STEP: usize = 16;

/// Copies the first `length` bytes; `None` where either side is shorter.
///
/// Bytes behind the copy may be overwritten; they are not decoded yet.
#[inline(always)]
pub(super) fn literal(from: &[u8], to: &mut [u8], length: usize) -> Option<()> {
    if length <= 2 * STEP
        && let (Some(from), Some(to)) =
            (from.first_chunk::<{ 2 * STEP }>(), to.first_chunk_mut::<{ 2 * STEP }>())
    {
        *to = *from;
        return Some(());
    }
    to.get_mut(..length)?.copy_from_slice(from.get(..length)?);
    Some(())
}

/// Repeats at `at` the `length` bytes that stand `distance` before; `None` where that would leave
/// the buffer. A `distance` below `length` repeats what was just written.
#[inline(always)]
pub(super) fn repeat(buffer: &mut [u8], at: usize, distance: usize, length: usize) -> Option<()> {
    let start = at.checked_sub(distance)?;
    let end = at.checked_add(length).filter(|end| *end <= buffer.len())?;
    if distance >= STEP && end + STEP <= buffer.len() {
        let mut done = 0;
        while done < length {
            let step = *buffer[start + done..].first_chunk::<STEP>()?;
            *buffer[at + done..].first_chunk_mut::<STEP>()? = step;
            done += STEP;
        }
    } else if distance >= length {
        buffer.copy_within(start..start + length, at);
    } else if distance == 1 {
        let byte = buffer[start];
        buffer[at..end].fill(byte);
    } else {
        for index in at..end {
            buffer[index] = buffer[index - distance];
        }
    }
    Some(())
}
