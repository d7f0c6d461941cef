//! Numbers as a file stores them, read as `f32`.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Numbers that are brought from bytes to `f32` together; they stay in the L1 cache.
const BLOCK: usize = 2048;

/// Kind of float.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Half,
    Brain,
    Single,
    Double,
}

/// How a file stores one number.
///
/// ```
/// use saers_core::source::Element;
/// let mut out = [0.0];
/// Element::parse(">f2").unwrap().decode(&[0x3c, 0x00], &mut out);
/// assert_eq!(out, [1.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    kind: Kind,
    big_endian: bool,
}

impl Element {
    /// Reads a NumPy type code of byte order, kind and size: `<f2`, `>f4`, `<f8`, and `<b2` for
    /// bfloat16. None for any other.
    ///
    /// ```
    /// use saers_core::source::Element;
    /// assert_eq!(Element::parse("<f8").unwrap().size(), 8);
    /// assert!(Element::parse("<i4").is_none());
    /// ```
    pub fn parse(code: &str) -> Option<Self> {
        let big_endian = match code.chars().next()? {
            '<' => false,
            '>' => true,
            _ => return None,
        };
        let kind = match &code[1..] {
            "f2" => Kind::Half,
            "b2" => Kind::Brain,
            "f4" => Kind::Single,
            "f8" => Kind::Double,
            _ => return None,
        };
        Some(Self { kind, big_endian })
    }

    /// Bytes of one number.
    ///
    /// ```
    /// assert_eq!(saers_core::source::Element::parse("<b2").unwrap().size(), 2);
    /// ```
    pub fn size(self) -> usize {
        match self.kind {
            Kind::Half | Kind::Brain => 2,
            Kind::Single => 4,
            Kind::Double => 8,
        }
    }

    /// Whether the bytes are `f32` as this machine has them.
    pub(super) fn is_native(self) -> bool {
        self.kind == Kind::Single && self.big_endian == cfg!(target_endian = "big")
    }

    /// Fills `out` from as many numbers; doubles are rounded to the nearest `f32`.
    ///
    /// ```
    /// use saers_core::source::Element;
    /// let mut out = [0.0; 2];
    /// Element::parse("<b2").unwrap().decode(&[0x80, 0x3f, 0, 0xc0], &mut out);
    /// assert_eq!(out, [1.0, -2.0]);
    /// ```
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        if self.is_native() {
            bytemuck::cast_slice_mut(out).copy_from_slice(bytes);
            return;
        }
        let blocks = bytes.chunks(BLOCK * self.size()).zip(out.chunks_mut(BLOCK));
        match self.kind {
            Kind::Half => blocks.for_each(|(bytes, out)| {
                let mut bits = [0; BLOCK];
                let halves: &[f16] = bytemuck::cast_slice(self.words(bytes, &mut bits));
                halves.convert_to_f32_slice(out);
            }),
            Kind::Brain => blocks.for_each(|(bytes, out)| {
                let mut bits = [0; BLOCK];
                let halves: &[bf16] = bytemuck::cast_slice(self.words(bytes, &mut bits));
                halves.convert_to_f32_slice(out);
            }),
            Kind::Single => {
                let word = if self.big_endian { f32::from_be_bytes } else { f32::from_le_bytes };
                bytes.as_chunks().0.iter().zip(out).for_each(|(b, out)| *out = word(*b));
            }
            Kind::Double => {
                let word = if self.big_endian { f64::from_be_bytes } else { f64::from_le_bytes };
                bytes.as_chunks().0.iter().zip(out).for_each(|(b, out)| *out = word(*b) as f32);
            }
        }
    }

    /// Brings 16-bit numbers to this machine's byte order and alignment.
    fn words<'b>(self, bytes: &[u8], bits: &'b mut [u16; BLOCK]) -> &'b [u16] {
        let pairs = bytes.as_chunks().0;
        let words = bits.iter_mut().zip(pairs);
        match self.big_endian {
            true => words.for_each(|(word, pair)| *word = u16::from_be_bytes(*pair)),
            false => words.for_each(|(word, pair)| *word = u16::from_le_bytes(*pair)),
        }
        &bits[..pairs.len()]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(code: &str, bytes: &[u8], count: usize) -> Vec<u32> {
        let mut out = vec![0.0; count];
        Element::parse(code).unwrap().decode(bytes, &mut out);
        out.iter().map(|value| value.to_bits()).collect()
    }

    #[test]
    fn every_half_of_either_kind_and_order_is_what_the_half_crate_says() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let little: Vec<u8> = all.iter().flat_map(|word| word.to_le_bytes()).collect();
        let big: Vec<u8> = all.iter().flat_map(|word| word.to_be_bytes()).collect();
        // A NaN stays a NaN; its payload is nobody's business.
        let plain = |bits: Vec<u32>| -> Vec<Option<u32>> {
            bits.into_iter().map(|b| (!f32::from_bits(b).is_nan()).then_some(b)).collect()
        };
        let half = all.iter().map(|&word| f16::from_bits(word).to_f32().to_bits()).collect();
        let brain = all.iter().map(|&word| bf16::from_bits(word).to_f32().to_bits()).collect();
        let (half, brain) = (plain(half), plain(brain));
        assert_eq!(plain(decoded("<f2", &little, all.len())), half);
        assert_eq!(plain(decoded(">f2", &big, all.len())), half);
        assert_eq!(plain(decoded("<b2", &little, all.len())), brain);
        assert_eq!(plain(decoded(">b2", &big, all.len())), brain);
    }

    proptest! {
        #[test]
        fn both_byte_orders_of_singles_and_doubles_are_read(values in prop::collection::vec(any::<f64>(), 0..70)) {
            let bytes = |word: fn(f64) -> Vec<u8>| -> Vec<u8> {
                values.iter().flat_map(|v| word(*v)).collect()
            };
            let expected: Vec<u32> = values.iter().map(|&v| (v as f32).to_bits()).collect();
            let n = values.len();
            prop_assert_eq!(decoded("<f4", &bytes(|v| (v as f32).to_le_bytes().into()), n), expected.clone());
            prop_assert_eq!(decoded(">f4", &bytes(|v| (v as f32).to_be_bytes().into()), n), expected.clone());
            prop_assert_eq!(decoded("<f8", &bytes(|v| v.to_le_bytes().into()), n), expected.clone());
            prop_assert_eq!(decoded(">f8", &bytes(|v| v.to_be_bytes().into()), n), expected);
        }
    }
}
