//! Secrets that come back in what an upstream says: found in every usual spelling, and blotted out.
//!
//! What counts is a window: eight bytes of a secret in a row. A text is looked at as it is, and as
//! what its JSON escapes and percent-encoding stand for; in each of these as plain bytes, as
//! hexadecimal digits and as base64 of either alphabet, wherever it begins.

mod reading;
mod window;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use pinhole_ground::guard::Guard;

use reading::{REACH_BYTES, Reading, near_escapes};
use window::Windows;

/// Bytes of a secret that may not stay together. A shorter secret is looked for whole.
const WINDOW_BYTES: usize = 8;
/// A secret of fewer bytes is not looked for: it would take letters out of ordinary words.
const MIN_SECRET_BYTES: usize = 4;
/// The same where people read what is left: shorter keys are words that somebody thought of.
const MIN_KEY_BYTES: usize = 16;
/// How often a text is looked at again after something was blotted out. One that still holds a
/// window then is blotted out whole.
const MAX_ROUNDS: usize = 8;
/// What stands in place of each byte.
const BLOT: u8 = b'*';

/// Finds the secrets of one binding. Immutable, and cheap where a text holds none.
///
/// A secret that is an ordinary word takes it out of every answer, names of JSON fields included:
/// keys are to be made by chance.
#[derive(Default)]
pub struct Redactor {
    /// By length, one each. Empty where there is no secret.
    windows: Vec<Windows>,
    /// Could a window be part of a number?
    numeric: bool,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redactor")
    }
}

impl Redactor {
    /// How far apart the ends of what it blots out may be, in bytes.
    pub const REACH_BYTES: usize = REACH_BYTES;

    /// For these secrets, and the same in lower case, as a header's name would have them. What
    /// follows the first colon, as the password of `user:password` does, counts by itself too.
    /// Secrets of fewer than 4 bytes are left out.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        // A blot is never looked for.
        let is_blot = |window: &[u8]| window.iter().all(|byte| *byte == BLOT);
        Self::of(secrets, MIN_SECRET_BYTES, |window| !is_blot(window))
    }

    /// The same for a server's answers to people, which may have any word in them: a key that was
    /// not made by chance, such as `no-key-required`, is not looked for. Secrets of fewer than 16
    /// bytes are left out, and windows of small letters alone.
    pub fn among_words<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let is_word = |window: &[u8]| {
            let in_word = |byte: &u8| byte.is_ascii_lowercase() || b" -_*".contains(byte);
            window.iter().all(in_word)
        };
        Self::of(secrets, MIN_KEY_BYTES, |window| !is_word(window))
    }

    fn of<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        min_bytes: usize,
        counts: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut by_length: [Vec<u64>; WINDOW_BYTES + 1] = Default::default();
        let mut numeric = false;
        let parts = |secret: &'a str| {
            let password = secret.split_once(':').map(|(_, password)| password);
            let parts = [Some(secret), password].into_iter().flatten();
            parts.flat_map(|part| [part.to_owned(), part.to_ascii_lowercase()])
        };
        let long = |secret: &String| secret.len() >= min_bytes;
        for secret in secrets.into_iter().flat_map(parts).filter(long) {
            let length = secret.len().min(WINDOW_BYTES);
            let windows = secret.as_bytes().windows(length);
            for window in windows.filter(|window| counts(window)) {
                let digit = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                numeric |= window.iter().all(digit);
                let bits = |bits, byte: &u8| bits << 8 | u64::from(*byte);
                if let Some(known) = by_length.get_mut(length) {
                    known.push(window.iter().fold(0, bits));
                }
            }
        }
        let windows = by_length.into_iter().enumerate();
        let windows = windows.filter(|(_, known)| !known.is_empty());
        let windows = windows.map(|(length, known)| Windows::new(length, known));
        Self {
            windows: windows.collect(),
            numeric,
        }
    }

    /// Is there no secret to be found?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Is a secret, or eight bytes of one, anywhere in there?
    #[must_use]
    pub fn finds(&self, bytes: &[u8]) -> bool {
        !self.places(bytes).is_empty()
    }

    /// The text with a `*` for each byte of a secret. Owned only where there was one.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.blotted(text.as_bytes()) {
            None => Cow::Borrowed(text),
            // Whole characters are blotted out, so it is UTF-8 still.
            Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// A part of the bytes, with a `*` for each byte of a secret that lies in it or reaches into
    /// it, so that parts side by side tell nothing either. Owned only where one is near.
    ///
    /// Beyond the end there is nothing.
    #[must_use]
    pub fn part<'a>(&self, whole: &'a [u8], part: Range<usize>) -> Cow<'a, [u8]> {
        let end = part.end.min(whole.len());
        let start = part.start.min(end);
        let from = start.saturating_sub(REACH_BYTES);
        let to = end.saturating_add(REACH_BYTES).min(whole.len());
        let near = whole.get(from..to).unwrap_or_default();
        match self.blotted(near) {
            None => Cow::Borrowed(whole.get(start..end).unwrap_or_default()),
            Some(near) => {
                let part = near.get(start - from..end - from);
                Cow::Owned(part.unwrap_or_default().to_vec())
            }
        }
    }

    /// A JSON text in which strings, names and numbers hold no secret; `None` where that is so
    /// already. What is no JSON is taken as text.
    #[must_use]
    pub fn json(&self, text: &str) -> Option<String> {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return match self.text(text) {
                Cow::Borrowed(_) => None,
                Cow::Owned(text) => Some(text),
            };
        };
        let redacted = self.value(&value);
        (redacted != value).then(|| redacted.to_string())
    }

    /// A number's text, where it holds a secret: with `*` for its digits.
    #[must_use]
    pub fn number(&self, number: &serde_json::Number) -> Option<String> {
        if !self.numeric {
            return None;
        }
        match self.text(&number.to_string()) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        }
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(self.text(text)),
            Value::Number(number) => self
                .number(number)
                .map_or_else(|| value.clone(), Value::from),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter();
                let redacted = fields.map(|(name, value)| (self.text(name), self.value(value)));
                redacted
                    .map(|(name, value)| (name.into_owned(), value))
                    .collect()
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    /// The bytes without secrets; `None` where there are none in them.
    fn blotted(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut places = self.places(bytes);
        if places.is_empty() {
            return None;
        }
        let mut left = bytes.to_vec();
        // What was blotted out may have hidden how the rest is to be read.
        for _ in 0..MAX_ROUNDS {
            for place in &places {
                blot(&mut left, place);
            }
            places = self.places(&left);
            if places.is_empty() {
                return Some(left);
            }
        }
        left.fill(BLOT);
        Some(left)
    }

    /// Where windows stand, in every spelling.
    fn places(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut places = Vec::new();
        if self.windows.is_empty() {
            return places;
        }
        self.look(bytes, &mut |place| places.push(place));
        for near in near_escapes(bytes) {
            let piece = bytes.get(near.clone()).unwrap_or_default();
            for reading in Self::readings(piece) {
                self.look(&reading.letters, &mut |letters| {
                    let place = reading.place(&letters);
                    places.push(near.start + place.start..near.start + place.end);
                });
            }
        }
        places
    }

    /// What a piece may stand for, where it holds escapes.
    fn readings(piece: &[u8]) -> Vec<Reading> {
        let mut readings = vec![Reading::plain(piece)];
        if piece.contains(&b'\\') && Guard::SecretEscapes.holds() {
            readings.push(Reading::unescaped(piece, false));
            readings.push(Reading::unescaped(piece, true));
        }
        if Guard::SecretPercent.holds() {
            let encoded = readings.iter().filter(|it| it.letters.contains(&b'%'));
            let decoded: Vec<_> = encoded.map(Reading::percent_decoded).collect();
            readings.extend(decoded);
        }
        // The piece as it is was looked at already.
        readings.remove(0);
        readings
    }
}

impl Redactor {
    /// Looks at letters as bytes, as hexadecimal digits and as base64.
    fn look(&self, letters: &[u8], found: &mut impl FnMut(Range<usize>)) {
        for windows in &self.windows {
            if Guard::SecretPlain.holds() {
                windows.look_at_bytes(letters, found);
            }
            if Guard::SecretHex.holds() {
                windows.look_at_digits(letters, found);
            }
            if Guard::SecretBase64.holds() {
                windows.look_at_base64(letters, found);
            }
        }
    }
}

/// Blots out a place, and the rest of the characters that it cuts.
fn blot(bytes: &mut [u8], place: &Range<usize>) {
    let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let (mut start, mut end) = (place.start, place.end);
    while start > 0 && continues(start) {
        start -= 1;
    }
    while continues(end) {
        end += 1;
    }
    if let Some(place) = bytes.get_mut(start..end) {
        place.fill(BLOT);
    }
}

#[cfg(test)]
mod tests {
    use super::reading::PIECE_BYTES;
    use super::*;

    /// With the characters that base64's alphabets differ in, and one that JSON and URLs escape.
    const SECRET: &str = "sk-Proj_9~?>/Qz\"7f+é&xyz41";

    fn redactor() -> Redactor {
        Redactor::new([SECRET])
    }

    /// Every spelling of the secret, or of a part of it.
    fn spellings(part: &str) -> Vec<String> {
        let bytes = part.as_bytes();
        let each = |how: &dyn Fn(usize, u8) -> String| -> String {
            let bytes = bytes.iter().enumerate();
            bytes.map(|(at, byte)| how(at, *byte)).collect()
        };
        let hex = |byte: u8| format!("{byte:02x}");
        let mut spelled = vec![
            part.to_owned(),
            each(&|_, byte| hex(byte)),
            each(&|at, byte| match at % 2 {
                0 => hex(byte),
                _ => hex(byte).to_uppercase(),
            }),
            each(&|_, byte| format!("%{}", hex(byte))),
            each(
                &|at, byte| match byte.is_ascii_alphanumeric() && at % 3 > 0 {
                    true => (byte as char).to_string(),
                    false => format!("%{}", hex(byte).to_uppercase()),
                },
            ),
            serde_json::to_string(part).unwrap(),
            part.encode_utf16()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect(),
            serde_json::to_string(part)
                .unwrap()
                .replace('/', "\\/")
                .replace('s', "\\u0073"),
            // JSON of what is percent-encoded, every character of it.
            each(&|_, byte| {
                hex(byte).chars().fold("\\u0025".to_owned(), |text, digit| {
                    text + &format!("\\u{:04x}", digit as u32)
                })
            }),
        ];
        for before in ["", "x", "xy"] {
            for after in ["", "z", "zz"] {
                let text = format!("{before}{part}{after}");
                let standard = base64_simd::STANDARD.encode_to_string(&text);
                spelled.push(
                    standard
                        .replace('+', "%2B")
                        .replace('/', "%2F")
                        .replace('=', "%3d"),
                );
                spelled.push(standard.replace('/', "\\/"));
                let lines = standard.as_bytes().chunks(5).map(String::from_utf8_lossy);
                spelled.push(lines.collect::<Vec<_>>().join("\r\n"));
                spelled.push(base64_simd::STANDARD_NO_PAD.encode_to_string(&text));
                spelled.push(base64_simd::URL_SAFE.encode_to_string(&text));
                spelled.push(base64_simd::URL_SAFE_NO_PAD.encode_to_string(&text));
            }
        }
        spelled
    }

    #[test]
    fn no_spelling_of_a_secret_is_left() {
        let redactor = redactor();
        for spelling in spellings(SECRET) {
            let text = format!("{{\"the key\": {spelling}, it says}}");
            assert!(redactor.finds(text.as_bytes()), "{text}");
            let left = redactor.text(&text);
            assert_eq!(left.len(), text.len(), "{text}");
            assert!(
                left.starts_with("{\"the key\": ") && left.ends_with(", it says}"),
                "{left}"
            );
            assert!(!redactor.finds(left.as_bytes()), "{left}");
            assert!(left.contains("********"), "{left}");
        }
    }

    #[test]
    fn eight_bytes_of_it_are_enough_and_seven_are_left() {
        let redactor = redactor();
        let secret: Vec<_> = SECRET.char_indices().map(|(at, _)| at).collect();
        for at in secret {
            let Some(window) = SECRET.get(at..at + 8) else {
                continue;
            };
            for spelling in spellings(window) {
                assert!(
                    redactor.finds(spelling.as_bytes()),
                    "{window} as {spelling}"
                );
            }
            let seven = SECRET.get(at..at + 7).unwrap_or_default();
            assert!(
                !redactor.finds(format!("{seven}\n{seven}").as_bytes()),
                "{seven}"
            );
        }
    }

    #[test]
    fn reading_in_pieces_gives_nothing() {
        let redactor = redactor();
        let before = "-".repeat(700);
        for spelling in spellings(SECRET) {
            let text = format!("{before}{spelling}{before}");
            let whole = redactor.part(text.as_bytes(), 0..text.len()).into_owned();
            for size in [1, 7, 64] {
                let starts = (0..text.len()).step_by(size);
                let parts = starts.map(|at| redactor.part(text.as_bytes(), at..at + size));
                let read: Vec<u8> = parts.flat_map(Cow::into_owned).collect();
                assert_eq!(read, whole, "{spelling} in pieces of {size}");
            }
        }
        assert_eq!(redactor.part(b"abc", 2..usize::MAX).as_ref(), b"c");
        assert_eq!(redactor.part(b"abc", 9..12).as_ref(), b"");
    }

    #[test]
    fn a_long_text_is_looked_at_where_its_pieces_meet() {
        let redactor = redactor();
        let hex: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for shift in (0..600).step_by(7) {
            let text = format!("{}{hex} end", "%20".repeat(PIECE_BYTES / 3 - shift));
            let left = redactor.text(&text);
            assert!(
                !redactor.finds(left.as_bytes()) && left.ends_with(" end"),
                "{shift}"
            );
        }
    }

    #[test]
    fn short_secrets_are_looked_for_whole_and_shorter_ones_not() {
        let check = |secret: &str, text: &str, expected: &str| {
            assert_eq!(Redactor::new([secret]).text(text), expected, "{secret}");
        };
        check(
            "abcd",
            "abc bcd abcd %61bcd 61626364",
            "abc bcd **** ****** ********",
        );
        check("abc", "abc", "abc");
        check("", "", "");
        // A password, and both together.
        check("me:pass", "me:pass and pass", "******* and ****");
        check("********", "********", "********");
        // As a header's name would be.
        check(
            "AbCdEfGh",
            "AbCdEfGh abcdefgh ABCDEFGH",
            "******** ******** ABCDEFGH",
        );
    }

    #[test]
    fn json_stays_json() {
        let redactor = Redactor::new(["12345678901", "say \"hi\" \\now"]);
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(redactor.json(text).as_deref(), expected, "{text}");
        };
        check(r#"{"a": [1, null, "x"]}"#, None);
        check(r#"{"a": 12345678901}"#, Some(r#"{"a":"***********"}"#));
        check(r#"{"n12345678": 1.5}"#, Some(r#"{"n********":1.5}"#));
        check(r#"["say \"hi\" \\now"]"#, Some(r#"["*************"]"#));
        check("no JSON 12345678", Some("no JSON ********"));
        check("no JSON", None);
    }

    #[test]
    fn what_is_left_after_a_blot_is_looked_at_again() {
        // Once the first backslash is gone, the second begins an escape.
        let redactor = Redactor::new(["bcdefgh\\", "sixteenx"]);
        let left = redactor.text("bcdefgh\\\\u0073ixteenx");
        assert!(!redactor.finds(left.as_bytes()), "{left}");
    }

    #[test]
    fn among_words_a_key_that_is_words_is_left() {
        for words in [
            "ollama",
            "no-key-required",
            "sk-no-key-required",
            "lm_studio",
        ] {
            let text = format!("set it to {words} where a key is required");
            assert_eq!(Redactor::among_words([words]).text(&text), text);
        }
        let key = "sk-proj-abcdefgh-4Fz9xQ71LmNo";
        let left = Redactor::among_words([key]).text(key).into_owned();
        assert_eq!(left, "sk-proj-ab*******************");
    }

    #[test]
    fn its_secrets_do_not_show() {
        assert_eq!(format!("{:?}", redactor()), "Redactor");
    }
}
