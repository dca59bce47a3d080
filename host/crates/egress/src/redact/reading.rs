//! What a text stands for once its escapes are read: JSON's, and those of URLs.

use std::ops::Range;

/// How far a window's longest spelling reaches, in bytes: 16 hexadecimal digits, percent-encoded,
/// each character of that as a JSON escape of six.
pub(super) const REACH_BYTES: usize = 512;
/// Escapes are read in pieces of about so many bytes, so that what is noted of them stays small.
pub(super) const PIECE_BYTES: usize = 16 << 10;

/// A text as what it stands for: the letters, and where each stands.
pub(super) struct Reading {
    pub(super) letters: Vec<u8>,
    /// Begin and end of each.
    places: Vec<(u32, u32)>,
}

/// The parts of a text in which a window may be spelled with escapes: what is near one.
pub(super) fn near_escapes(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut near: Vec<Range<usize>> = Vec::new();
    let marks = bytes.iter().enumerate();
    let marks = marks.filter(|(_, byte)| matches!(byte, b'%' | b'\\'));
    for (at, mark) in marks {
        let escapes = match (mark, bytes.get(at + 1)) {
            (b'%', Some(next)) => next.is_ascii_hexdigit() || *next == b'\\',
            (_, Some(next)) => b"u\"/\\bfnrt".contains(next),
            (_, None) => false,
        };
        if !escapes {
            continue;
        }
        let (from, to) = (at.saturating_sub(REACH_BYTES), at + REACH_BYTES);
        let to = to.min(bytes.len());
        match near.last_mut() {
            Some(last) if from <= last.end && last.len() < PIECE_BYTES => last.end = to,
            _ => near.push(from..to),
        }
    }
    near
}

impl Reading {
    /// The bytes themselves.
    pub(super) fn plain(bytes: &[u8]) -> Self {
        let places = (0..).zip(1..);
        Self {
            letters: bytes.to_vec(),
            places: places.take(bytes.len()).collect(),
        }
    }

    /// Where these letters stand.
    pub(super) fn place(&self, letters: &Range<usize>) -> Range<usize> {
        let begin = self.places.get(letters.start);
        let end = self.places.get(letters.end.saturating_sub(1));
        match (begin, end) {
            (Some((begin, _)), Some((_, end))) => *begin as usize..*end as usize,
            _ => 0..0,
        }
    }

    /// What JSON escapes stand for. Two backslashes are one where `pairs` says so; else an escape
    /// counts whatever is before it, as in JSON that is a string of other JSON.
    pub(super) fn unescaped(bytes: &[u8], pairs: bool) -> Self {
        let mut reading = Self::plain(&[]);
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let (letter, length) = match (byte, bytes.get(at + 1)) {
                (b'\\', Some(b'u')) => match unicode(bytes, at) {
                    Some((letter, length)) => (letter, length),
                    None => ('\\', 1),
                },
                (b'\\', Some(b'\\')) if pairs => ('\\', 2),
                (b'\\', Some(b'n')) => ('\n', 2),
                (b'\\', Some(b'r')) => ('\r', 2),
                (b'\\', Some(b't')) => ('\t', 2),
                (b'\\', Some(b'b')) => ('\u{8}', 2),
                (b'\\', Some(b'f')) => ('\u{c}', 2),
                (b'\\', Some(itself @ (b'"' | b'/'))) => (*itself as char, 2),
                _ => {
                    reading.push(*byte, at..at + 1);
                    at += 1;
                    continue;
                }
            };
            for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                reading.push(byte, at..at + length);
            }
            at += length;
        }
        reading
    }

    /// What percent-encoding stands for.
    pub(super) fn percent_decoded(&self) -> Self {
        let mut reading = Self::plain(&[]);
        let mut at = 0;
        while let Some(byte) = self.letters.get(at) {
            let digit = |ahead: usize| {
                let digit = self.letters.get(at + ahead);
                digit.and_then(|digit| (*digit as char).to_digit(16))
            };
            match (byte, digit(1), digit(2)) {
                (b'%', Some(high), Some(low)) => {
                    let stands_for = u8::try_from(high << 4 | low).unwrap_or_default();
                    reading.push(stands_for, self.place(&(at..at + 3)));
                    at += 3;
                }
                _ => {
                    reading.push(*byte, self.place(&(at..at + 1)));
                    at += 1;
                }
            }
        }
        reading
    }

    fn push(&mut self, letter: u8, place: Range<usize>) {
        // A piece is no longer than 2^32 bytes.
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        self.letters.push(letter);
        self.places.push((offset(place.start), offset(place.end)));
    }
}

/// The character of a `\u` escape, or of two that make one, and the escape's length.
fn unicode(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let escape = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digits = escape.iter().map(|digit| (*digit as char).to_digit(16));
        let unit = digits.collect::<Option<Vec<_>>>()?;
        u16::try_from(unit.iter().fold(0, |unit, digit| unit << 4 | digit)).ok()
    };
    let first = unit(at)?;
    let units = [Some(first), unit(at + 6)].into_iter().flatten();
    let letter = char::decode_utf16(units).next()?.ok()?;
    Some((letter, if letter.len_utf16() == 2 { 12 } else { 6 }))
}
