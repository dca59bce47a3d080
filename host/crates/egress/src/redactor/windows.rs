//! Search for windows of one length in plain bytes, hexadecimal digits and base64.

use std::ops::Range;

/// All windows of one length. A window's bytes are the low bytes of a number, the first one highest.
pub(super) struct Windows {
    /// In bytes, at most 8.
    length: usize,
    sorted: Vec<u64>,
    /// A bit for each of 2^16 hashes. Most bytes of a text need no other lookup.
    filter: Box<[u64; 1024]>,
}

impl Windows {
    pub(super) fn new(length: usize, mut windows: Vec<u64>) -> Self {
        windows.sort_unstable();
        windows.dedup();
        let mut filter = Box::new([0; 1024]);
        for window in &windows {
            let (index, bit) = filter_position(*window);
            if let Some(word) = filter.get_mut(index) {
                *word |= bit;
            }
        }
        Self {
            length,
            sorted: windows,
            filter,
        }
    }

    /// Are the low bytes of `newest` one of the windows?
    #[inline]
    fn contains(&self, newest: u64) -> bool {
        let window = newest & (u64::MAX >> (64 - 8 * self.length));
        let (index, bit) = filter_position(window);
        self.filter.get(index).is_some_and(|word| word & bit != 0)
            && self.sorted.binary_search(&window).is_ok()
    }

    pub(super) fn find_in_bytes(&self, text: &[u8], on_match: &mut impl FnMut(Range<usize>)) {
        let mut newest = 0;
        for (end, byte) in (1..).zip(text) {
            newest = newest << 8 | u64::from(*byte);
            if end >= self.length && self.contains(newest) {
                on_match(end - self.length..end);
            }
        }
    }

    pub(super) fn find_in_hex(&self, text: &[u8], on_match: &mut impl FnMut(Range<usize>)) {
        let (mut newest, mut count) = (0, 0);
        for (end, byte) in (1..).zip(text) {
            let (digit, _) = digit_values(*byte);
            if digit == NO_DIGIT {
                count = 0;
                continue;
            }
            newest = newest << 4 | u64::from(digit);
            count += 1;
            if count >= 2 * self.length && self.contains(newest) {
                on_match(end - 2 * self.length..end);
            }
        }
    }

    /// A window may start and end within a base64 character. Line ends are skipped.
    pub(super) fn find_in_base64(&self, text: &[u8], on_match: &mut impl FnMut(Range<usize>)) {
        let (mut newest, mut count) = (0_u128, 0);
        for (end, byte) in (1..).zip(text) {
            let (_, digit) = digit_values(*byte);
            if digit == NO_DIGIT {
                count = if is_line_end(*byte) { count } else { 0 };
                continue;
            }
            newest = newest << 6 | u128::from(digit);
            count += 1;
            for bits_after in [0, 2, 4] {
                let bits = 8 * self.length + bits_after;
                #[expect(clippy::cast_possible_truncation, reason = "the newest 64 bits")]
                let candidate = (newest >> bits_after) as u64;
                if 6 * count >= bits && self.contains(candidate) {
                    let before = text.get(..end).unwrap_or_default();
                    on_match(base64_start(before, bits.div_ceil(6))..end);
                }
            }
        }
    }
}

/// The index of the character that is this many base64 characters before the end.
fn base64_start(text: &[u8], characters: usize) -> usize {
    text.iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| !is_line_end(**byte))
        .nth(characters - 1)
        .map_or(0, |(index, _)| index)
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// The value of a base64 character in the standard or URL alphabet; else [`NO_DIGIT`].
const fn base64_value(byte: u8) -> u8 {
    match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => NO_DIGIT,
    }
}

/// The value of a hexadecimal digit; else [`NO_DIGIT`].
const fn hex_value(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => NO_DIGIT,
    }
}

/// Not a digit.
const NO_DIGIT: u8 = u8::MAX;
/// For each byte its value as a hexadecimal digit and as a base64 character.
const DIGIT_VALUES: [(u8, u8); 256] = {
    let mut values = [(NO_DIGIT, NO_DIGIT); 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::indexing_slicing,
            reason = "below 256, and computed while compiling"
        )]
        {
            values[byte] = (hex_value(byte as u8), base64_value(byte as u8));
        }
        byte += 1;
    }
    values
};

fn digit_values(byte: u8) -> (u8, u8) {
    let values = DIGIT_VALUES.get(byte as usize);
    values.copied().unwrap_or((NO_DIGIT, NO_DIGIT))
}

/// The index of a word of the filter, and a bit in it.
#[inline]
fn filter_position(window: u64) -> (usize, u64) {
    /// 2^64 divided by the golden ratio: Fibonacci hashing.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let hash = window.wrapping_mul(MULTIPLIER) >> 48;
    ((hash >> 6) as usize, 1 << (hash & 63))
}
