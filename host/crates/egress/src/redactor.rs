//! Redaction of secrets that an upstream reflects, in every usual encoding.
//!
//! An upstream may repeat the API key that it received: in an error, an echoed request or an image's
//! metadata. A hostile engine could ask it to. The redactor searches for *windows*: eight consecutive
//! bytes of a secret. It searches the text itself, and what its JSON escapes and percent-encoding decode
//! to. In each of these it searches plain bytes, hexadecimal digits, and base64 of both alphabets at any
//! offset. Each byte that is part of a window is replaced by `*`, so the length does not change.
//!
//! Not covered: an upstream that transforms the secret in another way, such as by reversing it or by
//! spreading it over texts that a guest joins.

mod decoded_text;
mod json;
mod live_secrets;
mod windows;

use std::borrow::Cow;
use std::ops::Range;

use pinhole_ground::guard::Guard;

use decoded_text::{DecodedText, REACH_BYTES, find_escapes};
pub use live_secrets::LiveSecrets;
use windows::Windows;

/// Consecutive bytes of a secret that must not remain. A shorter secret is searched as a whole.
const WINDOW_BYTES: usize = 8;
/// Shorter secrets are not searched: they would match parts of ordinary text.
const MIN_SECRET_BYTES: usize = 4;
/// The minimum length in [`Redactor::for_prose`]: shorter keys are often chosen words.
const MIN_PROSE_SECRET_BYTES: usize = 16;
/// Searches of one text. Masking a match can change how the rest decodes, so the text is searched again.
/// If a match remains after the last search, the whole text is masked.
const MAX_ROUNDS: usize = 8;
/// Replaces each byte of a secret.
const MASK: u8 = b'*';

/// Finds the secrets of one binding. It is immutable except for its live secrets, and fast on a text without secrets.
///
/// A secret that is an ordinary word removes this word from every response, including names of JSON
/// fields. Keys should be random.
#[derive(Default)]
pub struct Redactor {
    /// One entry per length. Empty if there is no secret.
    windows: Vec<Windows>,
    /// A window can be part of a number.
    is_numeric: bool,
    /// Secrets that change while the server runs.
    live: Vec<LiveSecrets>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Redactor")
    }
}

impl Redactor {
    /// A window in its longest encoding ends at most this many bytes after its start.
    pub const REACH_BYTES: usize = REACH_BYTES;

    /// Searches for these secrets, and for the same in lower case, as a header name would have them. The
    /// text after the first colon, such as the password of `user:password`, counts as a secret of its
    /// own. Ignores secrets of fewer than 4 bytes.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let is_mask = |window: &[u8]| window.iter().all(|byte| *byte == MASK);
        Self::with_windows(secrets, MIN_SECRET_BYTES, |window| !is_mask(window))
    }

    /// For responses that people read, which may contain any word. Ignores secrets of fewer than 16 bytes
    /// and windows of lower-case letters, so that placeholder keys such as `no-key-required` are not
    /// removed.
    pub fn for_prose<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let is_word = |window: &[u8]| {
            let in_word = |byte: &u8| byte.is_ascii_lowercase() || b" -_*".contains(byte);
            window.iter().all(in_word)
        };
        Self::with_windows(secrets, MIN_PROSE_SECRET_BYTES, |window| !is_word(window))
    }

    fn with_windows<'a>(
        secrets: impl IntoIterator<Item = &'a str>,
        min_bytes: usize,
        is_searched: impl Fn(&[u8]) -> bool,
    ) -> Self {
        let mut by_length: [Vec<u64>; WINDOW_BYTES + 1] = Default::default();
        let mut is_numeric = false;
        let variants = secrets.into_iter().flat_map(variants_of);
        for secret in variants.filter(|secret| secret.len() >= min_bytes) {
            let length = secret.len().min(WINDOW_BYTES);
            let windows = secret.as_bytes().windows(length);
            for window in windows.filter(|window| is_searched(window)) {
                let in_number = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
                is_numeric |= window.iter().all(in_number);
                let append = |bits, byte: &u8| bits << 8 | u64::from(*byte);
                if let Some(windows_of_length) = by_length.get_mut(length) {
                    windows_of_length.push(window.iter().fold(0, append));
                }
            }
        }
        let windows = by_length
            .into_iter()
            .enumerate()
            .filter(|(_, windows)| !windows.is_empty())
            .map(|(length, windows)| Windows::new(length, windows))
            .collect();
        Self {
            windows,
            is_numeric,
            live: Vec::new(),
        }
    }

    /// Searches for these secrets too: those that each list has at the time of a search.
    #[must_use]
    pub fn with_live(mut self, secrets: impl IntoIterator<Item = LiveSecrets>) -> Self {
        self.live.extend(secrets);
        self
    }

    /// True if there is no secret to search for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.live.iter().all(LiveSecrets::is_empty)
    }

    /// Do the bytes contain a secret, or eight bytes of one?
    #[must_use]
    pub fn finds_secret(&self, bytes: &[u8]) -> bool {
        !self.find_matches(bytes).is_empty()
    }

    /// The text with a `*` for each byte of a secret. Owned only if it contains one.
    #[must_use]
    pub fn redact_text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redacted(text.as_bytes()) {
            None => Cow::Borrowed(text),
            // Whole characters are masked, so it is still UTF-8.
            Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// A range of the bytes with a `*` for each byte of a secret that lies in it or overlaps it, so that
    /// adjacent ranges reveal no secret either. Owned only if a secret is near.
    ///
    /// The range is cut to the bytes that exist.
    #[must_use]
    pub fn redact_range<'a>(&self, bytes: &'a [u8], range: Range<usize>) -> Cow<'a, [u8]> {
        let end = range.end.min(bytes.len());
        let start = range.start.min(end);
        let near_start = start.saturating_sub(REACH_BYTES);
        let near_end = end.saturating_add(REACH_BYTES).min(bytes.len());
        let near = bytes.get(near_start..near_end).unwrap_or_default();
        match self.redacted(near) {
            None => Cow::Borrowed(bytes.get(start..end).unwrap_or_default()),
            Some(redacted) => {
                let part = redacted.get(start - near_start..end - near_start);
                Cow::Owned(part.unwrap_or_default().to_vec())
            }
        }
    }

    /// The bytes without secrets; `None` if they contain none.
    fn redacted(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut matches = self.find_matches(bytes);
        if matches.is_empty() {
            return None;
        }
        let mut masked = bytes.to_vec();
        for _ in 0..MAX_ROUNDS {
            for range in &matches {
                mask(&mut masked, range);
            }
            matches = self.find_matches(&masked);
            if matches.is_empty() {
                return Some(masked);
            }
        }
        masked.fill(MASK);
        Some(masked)
    }

    /// The ranges of all windows, in every encoding.
    fn find_matches(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut matches = Vec::new();
        if self.is_empty() {
            return matches;
        }
        self.search(bytes, &mut |range| matches.push(range));
        for piece in find_escapes(bytes) {
            let encoded = bytes.get(piece.clone()).unwrap_or_default();
            for decoded in decode_escapes(encoded) {
                self.search(&decoded.bytes, &mut |range| {
                    let range = decoded.encoded_range(&range);
                    matches.push(piece.start + range.start..piece.start + range.end);
                });
            }
        }
        matches
    }

    /// Searches plain bytes, hexadecimal digits and base64.
    fn search(&self, bytes: &[u8], on_match: &mut impl FnMut(Range<usize>)) {
        for secret in self.live.iter().flat_map(LiveSecrets::current) {
            secret.search(bytes, on_match);
        }
        for windows in &self.windows {
            if Guard::SecretPlain.applies(true) {
                windows.find_in_bytes(bytes, on_match);
            }
            if Guard::SecretHex.applies(true) {
                windows.find_in_hex(bytes, on_match);
            }
            if Guard::SecretBase64.applies(true) {
                windows.find_in_base64(bytes, on_match);
            }
        }
    }
}

/// The secret and its password part, each also in lower case.
fn variants_of(secret: &str) -> impl Iterator<Item = String> {
    let password = secret.split_once(':').map(|(_, password)| password);
    [Some(secret), password]
        .into_iter()
        .flatten()
        .flat_map(|part| [part.to_owned(), part.to_ascii_lowercase()])
}

/// What a piece with escapes decodes to, in each way that a reader may decode it.
fn decode_escapes(encoded: &[u8]) -> Vec<DecodedText> {
    let mut decoded = Vec::new();
    if Guard::SecretEscapes.applies(encoded.contains(&b'\\')) {
        decoded.push(DecodedText::from_json_escapes(encoded, false));
        decoded.push(DecodedText::from_json_escapes(encoded, true));
    }
    let plain = DecodedText::from_plain(encoded);
    let percent_decoded: Vec<_> = std::iter::once(&plain)
        .chain(&decoded)
        .filter(|text| Guard::SecretPercent.applies(text.bytes.contains(&b'%')))
        .map(DecodedText::percent_decode)
        .collect();
    decoded.extend(percent_decoded);
    decoded
}

/// Masks a range, and the rest of the characters that it cuts.
fn mask(bytes: &mut [u8], range: &Range<usize>) {
    let is_continuation = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let (mut start, mut end) = (range.start, range.end);
    while start > 0 && is_continuation(start) {
        start -= 1;
    }
    while is_continuation(end) {
        end += 1;
    }
    if let Some(characters) = bytes.get_mut(start..end) {
        characters.fill(MASK);
    }
}

#[cfg(test)]
mod tests {
    use super::decoded_text::PIECE_BYTES;
    use super::*;

    /// Contains the characters in which the base64 alphabets differ, and one that JSON and URLs escape.
    const SECRET: &str = "sk-Proj_9~?>/Qz\"7f+é&xyz41";

    fn redactor() -> Redactor {
        Redactor::new([SECRET])
    }

    /// The secret, or a part of it, in every encoding.
    fn encodings(part: &str) -> Vec<String> {
        let bytes = part.as_bytes();
        let each = |encode: &dyn Fn(usize, u8) -> String| -> String {
            let bytes = bytes.iter().enumerate();
            bytes.map(|(index, byte)| encode(index, *byte)).collect()
        };
        let hex = |byte: u8| format!("{byte:02x}");
        let mut encoded = vec![
            part.to_owned(),
            each(&|_, byte| hex(byte)),
            each(&|index, byte| match index % 2 {
                0 => hex(byte),
                _ => hex(byte).to_uppercase(),
            }),
            each(&|_, byte| format!("%{}", hex(byte))),
            each(&|index, byte| {
                if byte.is_ascii_alphanumeric() && index % 3 > 0 {
                    return (byte as char).to_string();
                }
                format!("%{}", hex(byte).to_uppercase())
            }),
            serde_json::to_string(part).unwrap(),
            part.encode_utf16()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect(),
            serde_json::to_string(part)
                .unwrap()
                .replace('/', "\\/")
                .replace('s', "\\u0073"),
            // Percent-encoded, with every character of that as a JSON escape.
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
                encoded.push(
                    standard
                        .replace('+', "%2B")
                        .replace('/', "%2F")
                        .replace('=', "%3d"),
                );
                encoded.push(standard.replace('/', "\\/"));
                let lines = standard.as_bytes().chunks(5).map(String::from_utf8_lossy);
                encoded.push(lines.collect::<Vec<_>>().join("\r\n"));
                encoded.push(base64_simd::STANDARD_NO_PAD.encode_to_string(&text));
                encoded.push(base64_simd::URL_SAFE.encode_to_string(&text));
                encoded.push(base64_simd::URL_SAFE_NO_PAD.encode_to_string(&text));
            }
        }
        encoded
    }

    #[test]
    fn redactor_masks_secret_in_every_encoding() {
        let redactor = redactor();
        for encoding in encodings(SECRET) {
            let text = format!("{{\"the key\": {encoding}, it says}}");
            assert!(redactor.finds_secret(text.as_bytes()), "{text}");
            let left = redactor.redact_text(&text);
            assert_eq!(left.len(), text.len(), "{text}");
            assert!(
                left.starts_with("{\"the key\": ") && left.ends_with(", it says}"),
                "{left}"
            );
            assert!(!redactor.finds_secret(left.as_bytes()), "{left}");
            assert!(left.contains("********"), "{left}");
        }
    }

    #[test]
    fn redactor_finds_eight_bytes_of_a_secret_and_ignores_seven() {
        let redactor = redactor();
        let secret: Vec<_> = SECRET.char_indices().map(|(at, _)| at).collect();
        for at in secret {
            let Some(window) = SECRET.get(at..at + 8) else {
                continue;
            };
            for encoding in encodings(window) {
                assert!(
                    redactor.finds_secret(encoding.as_bytes()),
                    "{window} as {encoding}"
                );
            }
            let seven = SECRET.get(at..at + 7).unwrap_or_default();
            assert!(
                !redactor.finds_secret(format!("{seven}\n{seven}").as_bytes()),
                "{seven}"
            );
        }
    }

    #[test]
    fn redactor_masks_adjacent_ranges_consistently() {
        let redactor = redactor();
        let before = "-".repeat(700);
        for encoding in encodings(SECRET) {
            let text = format!("{before}{encoding}{before}");
            let whole = redactor
                .redact_range(text.as_bytes(), 0..text.len())
                .into_owned();
            for size in [1, 7, 64] {
                let starts = (0..text.len()).step_by(size);
                let parts = starts.map(|at| redactor.redact_range(text.as_bytes(), at..at + size));
                let read: Vec<u8> = parts.flat_map(Cow::into_owned).collect();
                assert_eq!(read, whole, "{encoding} in ranges of {size}");
            }
        }
        assert_eq!(redactor.redact_range(b"abc", 2..usize::MAX).as_ref(), b"c");
        assert_eq!(redactor.redact_range(b"abc", 9..12).as_ref(), b"");
    }

    #[test]
    fn redactor_finds_secret_across_pieces_of_a_long_text() {
        let redactor = redactor();
        let hex: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for shift in (0..600).step_by(7) {
            let text = format!("{}{hex} end", "%20".repeat(PIECE_BYTES / 3 - shift));
            let left = redactor.redact_text(&text);
            assert!(
                !redactor.finds_secret(left.as_bytes()) && left.ends_with(" end"),
                "{shift}"
            );
        }
    }

    #[test]
    fn redactor_finds_short_secrets_as_a_whole() {
        let check = |secret: &str, text: &str, expected: &str| {
            assert_eq!(
                Redactor::new([secret]).redact_text(text),
                expected,
                "{secret}"
            );
        };
        check(
            "abcd",
            "abc bcd abcd %61bcd 61626364",
            "abc bcd **** ****** ********",
        );
        check("abc", "abc", "abc");
        check("", "", "");
        // A password, and user and password together.
        check("me:pass", "me:pass and pass", "******* and ****");
        check("********", "********", "********");
        // In lower case, as in a header name.
        check(
            "AbCdEfGh",
            "AbCdEfGh abcdefgh ABCDEFGH",
            "******** ******** ABCDEFGH",
        );
    }

    #[test]
    fn redactor_searches_again_after_masking() {
        // After the first backslash is masked, the second starts an escape.
        let redactor = Redactor::new(["bcdefgh\\", "sixteenx"]);
        let left = redactor.redact_text("bcdefgh\\\\u0073ixteenx");
        assert!(!redactor.finds_secret(left.as_bytes()), "{left}");
    }

    #[test]
    fn redactor_for_prose_ignores_keys_that_are_words() {
        for words in [
            "ollama",
            "no-key-required",
            "sk-no-key-required",
            "lm_studio",
        ] {
            let text = format!("set it to {words} where a key is required");
            assert_eq!(Redactor::for_prose([words]).redact_text(&text), text);
        }
        let key = "sk-proj-abcdefgh-4Fz9xQ71LmNo";
        let left = Redactor::for_prose([key]).redact_text(key).into_owned();
        assert_eq!(left, "sk-proj-ab*******************");
    }

    #[test]
    fn redactor_debug_output_contains_no_secret() {
        assert_eq!(format!("{:?}", redactor()), "Redactor");
    }
}
