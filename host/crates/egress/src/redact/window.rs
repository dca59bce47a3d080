//! Windows of one length, found among bytes, hexadecimal digits and base64.

use std::ops::Range;

/// All windows of one length.
pub(super) struct Windows {
    /// In bytes, at most 8.
    length: usize,
    /// In order.
    known: Vec<u64>,
    /// A bit for each of 2^16 hashes: most texts need no other look.
    sieve: Box<[u64; 1024]>,
}

impl Windows {
    /// Of these bytes, the first of each highest; at most 8 each.
    pub(super) fn new(length: usize, mut known: Vec<u64>) -> Self {
        known.sort_unstable();
        known.dedup();
        let mut sieve = Box::new([0; 1024]);
        for bits in &known {
            let (word, bit) = place_in_sieve(*bits);
            if let Some(word) = sieve.get_mut(word) {
                *word |= bit;
            }
        }
        Self {
            length,
            known,
            sieve,
        }
    }

    /// Are the last bytes, the newest lowest, one of the windows?
    #[inline]
    fn hold(&self, newest: u64) -> bool {
        let bits = newest & (u64::MAX >> (64 - 8 * self.length));
        let (word, bit) = place_in_sieve(bits);
        self.sieve.get(word).is_some_and(|word| word & bit != 0)
            && self.known.binary_search(&bits).is_ok()
    }

    pub(super) fn look_at_bytes(&self, letters: &[u8], found: &mut impl FnMut(Range<usize>)) {
        let mut newest = 0;
        for (end, byte) in (1..).zip(letters) {
            newest = newest << 8 | u64::from(*byte);
            if end >= self.length && self.hold(newest) {
                found(end - self.length..end);
            }
        }
    }

    pub(super) fn look_at_digits(&self, letters: &[u8], found: &mut impl FnMut(Range<usize>)) {
        let (mut newest, mut count) = (0, 0);
        for (end, byte) in (1..).zip(letters) {
            let (digit, _) = bits_of(*byte);
            if digit == NONE {
                count = 0;
                continue;
            }
            newest = newest << 4 | u64::from(digit);
            count += 1;
            if count >= 2 * self.length && self.hold(newest) {
                found(end - 2 * self.length..end);
            }
        }
    }

    /// A window may begin in the middle of a character; the ends of lines are passed over.
    pub(super) fn look_at_base64(&self, letters: &[u8], found: &mut impl FnMut(Range<usize>)) {
        let (mut newest, mut count) = (0_u128, 0);
        for (end, byte) in (1..).zip(letters) {
            let (_, six) = bits_of(*byte);
            if six == NONE {
                count = if ends_line(*byte) { count } else { 0 };
                continue;
            }
            newest = newest << 6 | u128::from(six);
            count += 1;
            for behind in [0, 2, 4] {
                let bits = 8 * self.length + behind;
                #[expect(clippy::cast_possible_truncation, reason = "the newest 64 bits")]
                let last = (newest >> behind) as u64;
                if 6 * count >= bits && self.hold(last) {
                    let before = letters.get(..end).unwrap_or_default();
                    found(begin_of_base64(before, bits.div_ceil(6))..end);
                }
            }
        }
    }
}

/// Where the last so many characters of base64 begin.
fn begin_of_base64(letters: &[u8], characters: usize) -> usize {
    let told = letters.iter().enumerate().rev();
    let mut told = told.filter(|(_, byte)| !ends_line(**byte));
    told.nth(characters - 1).map_or(0, |(place, _)| place)
}

fn ends_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// What a character of base64 stands for, in the standard alphabet or that of URLs; else [`NONE`].
const fn six_bits(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => NONE,
    }
}

/// What a hexadecimal digit stands for; else [`NONE`].
const fn four_bits(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => NONE,
    }
}

/// Neither a digit nor a character of base64.
const NONE: u8 = u8::MAX;
/// For each byte its four bits and its six.
const BITS: [(u8, u8); 256] = {
    let mut bits = [(NONE, NONE); 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::indexing_slicing,
            reason = "below 256, and computed while compiling"
        )]
        {
            bits[byte] = (four_bits(byte as u8), six_bits(byte as u8));
        }
        byte += 1;
    }
    bits
};

fn bits_of(byte: u8) -> (u8, u8) {
    BITS.get(byte as usize).copied().unwrap_or((NONE, NONE))
}

/// A word of the sieve, and a bit in it.
#[inline]
fn place_in_sieve(bits: u64) -> (usize, u64) {
    /// Odd, and without a pattern: 2^64 over the golden ratio.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = bits.wrapping_mul(SPREAD) >> 48;
    ((hash >> 6) as usize, 1 << (hash & 63))
}
