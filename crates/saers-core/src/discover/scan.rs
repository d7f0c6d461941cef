//! Scores of a matrix along packed sequences, in whole steps of an eighth of a bit.
//!
//! Whole numbers make the sums exact in any order, so that vectors of any width agree.

use super::pool::{Pool, UNIT};
use super::profile::Profile;

/// Score of a sequence in which no window fits.
pub(super) const NOWHERE: i16 = i16::MIN;

/// Dearest letter of a row, in steps: four of them fit a byte, and eight bits are hopeless.
const DEAREST: f64 = 63.0;
/// Places whose scores are computed at once, so that they stay in the nearest cache.
const CHUNK: usize = 8192;

/// What each letter costs in a row of the motif, and in that row of its reverse complement.
///
/// Twice the sixteen bytes that a vector instruction looks up; all but four are 0.
type Row = [[u8; 32]; 2];

/// Where the motif lies in one sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Site {
    /// Place of its leftmost letter in the pool.
    pub(super) start: usize,
    /// Whether the motif lies on the other strand.
    pub(super) reverse: bool,
}

/// Scores of all places of a pool, and the best of each sequence.
pub(super) struct Landscape {
    /// The better strand of the window that starts at a place; only windows count.
    pub(super) places: Vec<i16>,
    /// [`NOWHERE`] where no window fits.
    pub(super) best: Vec<i16>,
}

/// A matrix made ready for scanning.
pub(super) struct Scanner {
    rows: Vec<Row>,
    both_strands: bool,
}

impl Scanner {
    /// Prepares the tables; an unknown letter costs nothing.
    pub(super) fn new(profile: &Profile, both_strands: bool) -> Self {
        let cost = |p: f64| (-p.log2() * UNIT).round().min(DEAREST) as u8;
        let table = |row: &[f64; 4]| {
            std::array::from_fn(|i| row.get(i % 16).map_or(0, |&probability| cost(probability)))
        };
        let turned = profile.reverse_complement();
        let pairs = profile.rows.iter().zip(&turned.rows);
        let rows = pairs.map(|(row, turned)| [table(row), table(turned)]).collect();
        Self { rows, both_strands }
    }

    /// Number of rows of the matrix.
    pub(super) fn width(&self) -> usize {
        self.rows.len()
    }

    /// Scores every place and every sequence.
    pub(super) fn landscape(&self, pool: &Pool) -> Landscape {
        let mut places = vec![0; pool.end().next_multiple_of(32)];
        self.fill(pool, 0, &mut places);
        let best = (0..pool.len()).map(|i| highest(&places[pool.windows(i, self.width())]));
        Landscape { best: best.collect(), places }
    }

    /// Finds the best score of every sequence.
    pub(super) fn best(&self, pool: &Pool) -> Vec<i16> {
        let mut best = Vec::with_capacity(pool.len());
        let mut places = Vec::new();
        while best.len() < pool.len() {
            let first = pool.places(best.len()).start;
            let fits =
                (best.len() + 1..pool.len()).take_while(|&i| pool.places(i).end < first + CHUNK);
            let last = fits.last().unwrap_or(best.len());
            places.resize((pool.places(last).end - first).next_multiple_of(32), 0);
            self.fill(pool, first, &mut places);
            best.extend((best.len()..=last).map(|sequence| {
                let windows = pool.windows(sequence, self.width());
                highest(&places[windows.start - first..windows.end - first])
            }));
        }
        best
    }

    /// Finds the window of a sequence that has its best score; ties go to the lower place, then
    /// to the given strand.
    pub(super) fn site(&self, pool: &Pool, landscape: &Landscape, sequence: usize) -> Option<Site> {
        let windows = pool.windows(sequence, self.width());
        let best = landscape.best[sequence];
        let offset = landscape.places[windows.clone()].iter().position(|&score| score == best)?;
        let start = windows.start + offset;
        let [forward, reverse] = self.strands(pool, start);
        Some(Site { start, reverse: self.both_strands && reverse > forward })
    }

    /// Scores a window as it stands, and on the other strand.
    pub(super) fn strands(&self, pool: &Pool, start: usize) -> [i16; 2] {
        let cost = pool.costs[start + self.width()].wrapping_sub(pool.costs[start]);
        let mut scores = [cost + pool.bonus[start + self.width() / 2]; 2];
        for (row, &code) in self.rows.iter().zip(&pool.codes[start..]) {
            for (score, table) in scores.iter_mut().zip(row) {
                *score -= i16::from(table[usize::from(code)]);
            }
        }
        scores
    }

    /// Scores the places from `first` on; the number of scores is a multiple of 32.
    fn fill(&self, pool: &Pool, first: usize, scores: &mut [i16]) {
        let text = Text {
            codes: &pool.codes[first..],
            costs: &pool.costs[first..],
            bonus: &pool.bonus[first..],
        };
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has just been asked.
            unsafe { fill_avx2(&self.rows, self.both_strands, &text, scores) };
            return;
        }
        fill_plain(&self.rows, self.both_strands, &text, scores);
    }
}

fn highest(scores: &[i16]) -> i16 {
    scores.iter().copied().fold(NOWHERE, i16::max)
}

/// What is scanned, from the first place on.
struct Text<'a> {
    codes: &'a [u8],
    costs: &'a [i16],
    bonus: &'a [i16],
}

/// Scores places one block of 32 after the other, row by row.
fn fill_plain(rows: &[Row], both_strands: bool, text: &Text, scores: &mut [i16]) {
    let width = rows.len();
    for (block, scores) in scores.chunks_mut(32).enumerate() {
        let first = 32 * block;
        let mut sums = [[0_i16; 32]; 2];
        for (place, row) in rows.iter().enumerate() {
            for (sums, table) in sums.iter_mut().zip(row) {
                for (sum, &code) in sums.iter_mut().zip(&text.codes[first + place..]) {
                    *sum += i16::from(table[usize::from(code & 31)]);
                }
            }
        }
        for (i, score) in scores.iter_mut().enumerate() {
            let least = if both_strands { sums[0][i].min(sums[1][i]) } else { sums[0][i] };
            let start = first + i;
            let cost = text.costs[start + width].wrapping_sub(text.costs[start]);
            *score = cost - least + text.bonus[start + width / 2];
        }
    }
}

/// Does what [`fill_plain`] does, 32 places at a time: a search spends most of its time here, and
/// takes a multiple of it without these instructions (`benches/bench_discovery.py`).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn fill_avx2(rows: &[Row], both_strands: bool, text: &Text, scores: &mut [i16]) {
    use std::arch::x86_64::{
        _mm256_add_epi8, _mm256_add_epi16, _mm256_min_epi16, _mm256_permute2x128_si256,
        _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_sub_epi16, _mm256_unpackhi_epi8,
        _mm256_unpacklo_epi8,
    };
    let (width, zero) = (rows.len(), _mm256_setzero_si256());
    for (block, scores) in scores.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let first = 32 * block;
        let mut sums = [[zero; 2]; 2];
        for (group, rows) in rows.chunks(4).enumerate() {
            let mut parts = [zero; 2];
            for (place, row) in rows.iter().enumerate() {
                let codes = bytemuck::cast(*at::<32, _>(text.codes, first + 4 * group + place));
                for (part, &table) in parts.iter_mut().zip(row) {
                    let costs = _mm256_shuffle_epi8(bytemuck::cast(table), codes);
                    *part = _mm256_add_epi8(*part, costs);
                }
            }
            for ([low, high], part) in sums.iter_mut().zip(parts) {
                *low = _mm256_add_epi16(*low, _mm256_unpacklo_epi8(part, zero));
                *high = _mm256_add_epi16(*high, _mm256_unpackhi_epi8(part, zero));
            }
        }
        let [forward, reverse] = sums;
        let other = if both_strands { reverse } else { forward };
        let a = _mm256_min_epi16(forward[0], other[0]);
        let b = _mm256_min_epi16(forward[1], other[1]);
        // Unpacking took the halves of vectors apart; they come together again.
        let least =
            [_mm256_permute2x128_si256::<0x20>(a, b), _mm256_permute2x128_si256::<0x31>(a, b)];
        let mut halves = [[0_i16; 16]; 2];
        for (half, (score, least)) in halves.iter_mut().zip(least).enumerate() {
            let start = first + 16 * half;
            let low = bytemuck::cast(*at::<16, _>(text.costs, start));
            let high = bytemuck::cast(*at::<16, _>(text.costs, start + width));
            let bonus = bytemuck::cast(*at::<16, _>(text.bonus, start + width / 2));
            let cost = _mm256_sub_epi16(_mm256_sub_epi16(high, low), least);
            *score = bytemuck::cast(_mm256_add_epi16(cost, bonus));
        }
        *scores = bytemuck::cast(halves);
    }
}

/// The next `N` items, which the tail of a pool makes sure of.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn at<const N: usize, T>(of: &[T], first: usize) -> &[T; N] {
    let (items, _) = of[first..].as_chunks::<N>();
    &items[0]
}

#[cfg(test)]
mod tests {
    use super::super::background::Background;
    use super::super::pool::{Pool, UNIT, encode, reverse_complement};
    use super::{NOWHERE, Profile, Scanner, Text, fill_plain};
    use proptest::prelude::*;

    fn pool(codes: &[u8]) -> Pool {
        Pool::new([codes].into_iter(), &Background::new([codes].into_iter(), false))
    }

    /// The score of a window letter by letter, in bits.
    fn slow(profile: &Profile, pool: &Pool, start: usize) -> f64 {
        let window = &pool.codes[start..start + profile.width()];
        let odds: f64 = window
            .iter()
            .zip(&profile.rows)
            .filter(|&(&code, _)| code < 4)
            .map(|(&code, row)| row[usize::from(code)].log2())
            .sum();
        odds + f64::from(pool.costs[start + profile.width()].wrapping_sub(pool.costs[start])) / UNIT
    }

    proptest! {
        #[test]
        fn the_tables_give_the_scores_of_single_letters(
            codes in prop::collection::vec(0_u8..5, 30..90),
            word in prop::collection::vec(0_u8..4, 4..31),
            both_strands: bool,
        ) {
            let (pool, profile) = (pool(&codes), Profile::from_word(&word));
            let scanner = Scanner::new(&profile, both_strands);
            let landscape = scanner.landscape(&pool);
            let windows = pool.windows(0, word.len());
            prop_assert_eq!(landscape.best[0], scanner.best(&pool)[0]);
            prop_assert_eq!(
                landscape.best[0],
                landscape.places[windows.clone()].iter().copied().max().unwrap_or(NOWHERE)
            );
            for start in windows {
                let scores = scanner.strands(&pool, start);
                let turned = profile.reverse_complement();
                let room = 0.5 * word.len() as f64 / UNIT + 1e-9;
                for (score, profile) in scores.into_iter().zip([&profile, &turned]) {
                    prop_assert!((f64::from(score) / UNIT - slow(profile, &pool, start)).abs() < room);
                }
                let best = if both_strands { scores[0].max(scores[1]) } else { scores[0] };
                prop_assert_eq!(landscape.places[start], best);
            }
            let mut plain = vec![0; landscape.places.len()];
            let text = Text { codes: &pool.codes, costs: &pool.costs, bonus: &pool.bonus };
            fill_plain(&scanner.rows, both_strands, &text, &mut plain);
            prop_assert_eq!(plain, landscape.places);
        }
    }

    #[test]
    fn many_sequences_are_scored_chunk_by_chunk() {
        let codes: Vec<Vec<u8>> = (0..700_u32)
            .map(|i| (0..i % 60).map(|j| ((i * 7 + j * j + j * i / 3) % 4) as u8).collect())
            .collect();
        let all = || codes.iter().map(Vec::as_slice);
        let pool = Pool::new(all(), &Background::new(all(), true));
        let scanner = Scanner::new(&Profile::from_word(&[0, 1, 2, 2, 3, 0, 1]), true);
        assert_eq!(scanner.best(&pool), scanner.landscape(&pool).best);
    }

    #[test]
    fn the_site_is_found_on_either_strand() {
        let word = encode(b"TGACTCA");
        let scanner = Scanner::new(&Profile::from_word(&word), true);
        let site = |codes: &[u8]| {
            let pool = pool(codes);
            scanner.site(&pool, &scanner.landscape(&pool), 0).map(|s| (s.start, s.reverse))
        };
        let here = encode(b"GGGGGTGACTCATTTTT");
        assert_eq!(site(&here), Some((8, false)));
        assert_eq!(site(&reverse_complement(&here)), Some((8, true)));
    }

    #[test]
    fn a_sequence_shorter_than_the_motif_has_no_site() {
        let scanner = Scanner::new(&Profile::from_word(&[0; 20]), true);
        let pool = pool(&[0, 1, 2]);
        let landscape = scanner.landscape(&pool);
        assert_eq!(landscape.best, [NOWHERE]);
        assert_eq!(scanner.site(&pool, &landscape, 0), None);
    }
}
