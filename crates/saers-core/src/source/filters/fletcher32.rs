//! Fletcher's checksum (HDF5's filter 3): four bytes behind the chunk.

use super::Result;

/// Words summed before the remainders are taken; the weighted sum then stays below 2^64.
const BATCH: usize = 1 << 14;
const MODULUS: u64 = 0xffff;

/// Verifies the checksum and tells how many bytes stand before it.
///
/// HDF5 up to 1.6.2 wrote the sum with the bytes of each half swapped; that is taken too.
pub(super) fn check(from: &[u8]) -> Result<usize> {
    let Some((bytes, stored)) = from.split_last_chunk::<4>() else {
        return Err(format!("fletcher32: {} bytes leave no room for a checksum", from.len()));
    };
    let (stored, found) = (u32::from_le_bytes(*stored), sum(bytes));
    let [a, b, c, d] = found.to_be_bytes();
    if stored != found && stored != u32::from_be_bytes([b, a, d, c]) {
        return Err(format!("fletcher32: checksum is {found:08x}, stored as {stored:08x}"));
    }
    Ok(bytes.len())
}

/// Sums big-endian words and the running sums of them, both in ones' complement, where only
/// nothing but zeros sums to 0.
fn sum(bytes: &[u8]) -> u32 {
    let (mut plain, mut running) = (0, 0);
    for batch in bytes.chunks(2 * BATCH) {
        let (words, odd) = batch.as_chunks::<2>();
        let odd = odd.first().map(|&byte| [byte, 0]);
        let count = (words.len() + odd.iter().len()) as u64;
        let (mut total, mut weighted) = (0, 0);
        for (&word, weight) in words.iter().chain(&odd).zip(0..) {
            let word = u64::from(u16::from_be_bytes(word));
            total += word;
            weighted += word * (count - weight);
        }
        running = fold(running + count * plain + weighted);
        plain = fold(plain + total);
    }
    (running << 16 | plain) as u32
}

fn fold(sum: u64) -> u64 {
    if sum == 0 { 0 } else { (sum - 1) % MODULUS + 1 }
}
