//! Fletcher's checksum (HDF5's filter 3): four bytes behind the chunk.

use super::Result;

/// Words summed before remainders are taken; sums of lanes then fit in 32 bits:
/// 0xffff × (128 + 127 + … + 1) < 2^29.
const ROUNDS: usize = 128;
/// Words that are added side by side.
const LANES: usize = 16;
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

/// Sums big-endian words and the running sums of them.
fn sum(bytes: &[u8]) -> u32 {
    let mut sums = (0, 0);
    let (rows, rest) = bytes.as_chunks::<{ 2 * LANES }>();
    for rows in rows.chunks(ROUNDS) {
        sums = add_rows(sums, rows);
    }
    for word in rest.chunks(2) {
        let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        sums.0 += u64::from(word);
        sums.1 += sums.0;
    }
    ((fold(sums.1) << 16) | fold(sums.0)) as u32
}

/// Adds rows of words. A word's weight in the running sum is how many words, itself included,
/// follow it; with lane and row apart, all of that but the sums of a lane is done once a call.
fn add_rows((plain, running): (u64, u64), rows: &[[u8; 2 * LANES]]) -> (u64, u64) {
    let mut totals = [0_u32; LANES];
    let mut weighted = [0_u32; LANES];
    for row in rows {
        for lane in 0..LANES {
            totals[lane] += u32::from(u16::from_be_bytes([row[2 * lane], row[2 * lane + 1]]));
            weighted[lane] += totals[lane];
        }
    }
    let words = (rows.len() * LANES) as u64;
    let (mut total, mut sums) = (0, words * plain + running);
    for (lane, (&plain, &weighted)) in totals.iter().zip(&weighted).enumerate() {
        total += u64::from(plain);
        sums += LANES as u64 * u64::from(weighted) - lane as u64 * u64::from(plain);
    }
    (fold(plain + total), fold(sums))
}

/// Reduces a sum in ones' complement, where nothing but zeros sums to 0.
fn fold(sum: u64) -> u64 {
    if sum == 0 { 0 } else { (sum - 1) % MODULUS + 1 }
}
