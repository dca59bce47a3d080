//! Decoding of JSON escapes and percent-encoding, with the position of each decoded byte.

use std::ops::Range;

/// Length of a window's longest encoding in bytes: 16 hexadecimal digits, percent-encoded, each character
/// of that as a JSON escape of six bytes.
pub(super) const REACH_BYTES: usize = 512;
/// Escapes are decoded in pieces of about this length, so that the recorded positions stay small.
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// A decoded text, and the range in the encoded text that each byte comes from.
pub(super) struct DecodedText {
    pub(super) bytes: Vec<u8>,
    /// Start and end for each byte.
    ranges: Vec<(u32, u32)>,
}

/// The ranges of a text that are near an escape: only there can a window be encoded with escapes.
pub(super) fn find_escapes(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, byte) in bytes.iter().enumerate() {
        let is_escape = match (byte, bytes.get(index + 1)) {
            (b'%', Some(next)) => next.is_ascii_hexdigit() || *next == b'\\',
            (b'\\', Some(next)) => b"u\"/\\bfnrt".contains(next),
            _ => false,
        };
        if !is_escape {
            continue;
        }
        let start = index.saturating_sub(REACH_BYTES);
        let end = (index + REACH_BYTES).min(bytes.len());
        match ranges.last_mut() {
            Some(last) if start <= last.end && last.len() < PIECE_BYTES => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges
}

impl DecodedText {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// The bytes without decoding.
    pub(super) fn from_plain(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            ranges: (0..).zip(1..).take(bytes.len()).collect(),
        }
    }

    /// The range in the encoded text of a range of decoded bytes.
    pub(super) fn encoded_range(&self, decoded: &Range<usize>) -> Range<usize> {
        let first = self.ranges.get(decoded.start);
        let last = self.ranges.get(decoded.end.saturating_sub(1));
        match (first, last) {
            (Some((start, _)), Some((_, end))) => *start as usize..*end as usize,
            _ => 0..0,
        }
    }

    /// Decodes JSON escapes.
    ///
    /// With `pairs`, two backslashes are one backslash. Without, every backslash starts an escape, as in
    /// JSON that is a string of other JSON.
    pub(super) fn from_json_escapes(encoded: &[u8], pairs: bool) -> Self {
        let mut decoded = Self::new();
        let mut at = 0;
        while let Some(byte) = encoded.get(at) {
            let Some((character, length)) = decode_json_escape(encoded, at, pairs) else {
                decoded.push(*byte, at..at + 1);
                at += 1;
                continue;
            };
            for utf8_byte in character.encode_utf8(&mut [0; 4]).bytes() {
                decoded.push(utf8_byte, at..at + length);
            }
            at += length;
        }
        decoded
    }

    /// Decodes percent-encoding.
    pub(super) fn percent_decode(&self) -> Self {
        let mut decoded = Self::new();
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            let digit = |offset: usize| {
                let digit = self.bytes.get(at + offset)?;
                (*digit as char).to_digit(16)
            };
            let (value, length) = match (byte, digit(1), digit(2)) {
                (b'%', Some(high), Some(low)) => {
                    (u8::try_from(high << 4 | low).unwrap_or_default(), 3)
                }
                _ => (*byte, 1),
            };
            decoded.push(value, self.encoded_range(&(at..at + length)));
            at += length;
        }
        decoded
    }

    fn push(&mut self, byte: u8, range: Range<usize>) {
        // A piece is shorter than 2^32 bytes.
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        self.bytes.push(byte);
        self.ranges.push((offset(range.start), offset(range.end)));
    }
}

/// The character of the JSON escape at this index, and the escape's length in bytes.
fn decode_json_escape(encoded: &[u8], at: usize, pairs: bool) -> Option<(char, usize)> {
    let [b'\\', next, ..] = encoded.get(at..)? else {
        return None;
    };
    Some(match next {
        b'u' => decode_unicode_escape(encoded, at).unwrap_or(('\\', 1)),
        b'\\' if pairs => ('\\', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'"' | b'/' => (*next as char, 2),
        _ => return None,
    })
}

/// The character of a `\u` escape, or of a surrogate pair of them, and its length in bytes.
fn decode_unicode_escape(encoded: &[u8], at: usize) -> Option<(char, usize)> {
    let unit_at = |index: usize| {
        let digits = encoded.get(index..index + 6)?.strip_prefix(b"\\u")?;
        let mut unit = 0_u32;
        for digit in digits {
            unit = unit << 4 | (*digit as char).to_digit(16)?;
        }
        u16::try_from(unit).ok()
    };
    let units = [Some(unit_at(at)?), unit_at(at + 6)];
    let character = char::decode_utf16(units.into_iter().flatten())
        .next()?
        .ok()?;
    Some((character, 6 * character.len_utf16()))
}
