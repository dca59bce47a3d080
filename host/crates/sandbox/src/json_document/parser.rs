//! The parser of upstreams' JSON.
//!
//! Servers write JSON that the standard lacks: Python's `NaN` and `Infinity`, half of a surrogate pair in a file
//! name, a byte order mark. None of this concerns the image next to it, so it must not cost the image:
//!
//! - A number that JSON lacks, or that is too large, is null. A number in another spelling (`+1`, `.5`) counts.
//! - Half of a surrogate pair and invalid UTF-8 become U+FFFD. An unknown escape stays as it is written.
//! - If a key is repeated, the last value counts. A comma may follow the last value of a list or an object.
//! - What follows an object or a list is ignored.
//!
//! Anything else is not JSON. Settings and clients' bodies have a strict parser.

use super::node::Node;
use crate::body_text::BodyText;

/// Length of a short string in bytes. Shorter ones are copied out of the text while parsing.
const SHORT_BYTES: usize = 256;
/// Lists and objects within each other, so that the parser's own recursion has an end.
const MAX_DEPTH: usize = 128;
/// The UTF-8 byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(super) struct Parser<'a> {
    body: &'a BodyText,
    bytes: &'a [u8],
    position: usize,
    depth: usize,
    /// Total length of the strings that are not slices of the text.
    pub(super) copied_bytes: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(body: &'a BodyText) -> Self {
        let bytes = body.shortened();
        let has_mark = bytes.starts_with(BYTE_ORDER_MARK);
        Self {
            body,
            bytes,
            position: if has_mark { BYTE_ORDER_MARK.len() } else { 0 },
            depth: 0,
            copied_bytes: 0,
        }
    }

    /// Parses the whole text. The error names what is missing, and its position.
    pub(super) fn parse(&mut self) -> Result<Node, String> {
        let root = self.value()?;
        if matches!(root, Node::List(_) | Node::Object(_)) {
            return Ok(root);
        }
        match self.next_byte() {
            None => Ok(root),
            Some(_) => Err(self.expected("the end")),
        }
    }

    fn value(&mut self) -> Result<Node, String> {
        match self.next_byte() {
            Some(b'"') => self.string(),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::list),
            _ => self.word(),
        }
    }

    fn nested(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<Node, String>,
    ) -> Result<Node, String> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        self.position += 1;
        let node = parse(self)?;
        self.position += 1;
        self.depth -= 1;
        Ok(node)
    }

    /// The values up to the closing bracket.
    fn list(&mut self) -> Result<Node, String> {
        let mut items = Vec::new();
        while self.next_byte() != Some(b']') {
            items.push(self.value()?);
            self.separator(b']', "a comma or ]")?;
        }
        Ok(Node::List(items))
    }

    /// The fields up to the closing brace.
    fn object(&mut self) -> Result<Node, String> {
        let mut fields = Vec::new();
        while self.next_byte() != Some(b'}') {
            if self.next_byte() != Some(b'"') {
                return Err(self.expected("a key or }"));
            }
            let key = match self.string()? {
                Node::Slice(range) => {
                    let key = self.body.whole(range);
                    self.copied_bytes += key.len();
                    String::from_utf8_lossy(&key).into_owned()
                }
                Node::Text(key) => key,
                _ => String::new(),
            };
            if self.next_byte() != Some(b':') {
                return Err(self.expected("a colon"));
            }
            self.position += 1;
            fields.push((key, self.value()?));
            self.separator(b'}', "a comma or }")?;
        }
        Ok(Node::Object(fields))
    }

    /// Skips a comma. Nothing else than the end may be in its place.
    fn separator(&mut self, end: u8, expected: &str) -> Result<(), String> {
        match self.next_byte() {
            Some(b',') => {
                self.position += 1;
                Ok(())
            }
            Some(byte) if byte == end => Ok(()),
            _ => Err(self.expected(expected)),
        }
    }

    fn string(&mut self) -> Result<Node, String> {
        let start = self.position + 1;
        let (mut end, mut has_escapes) = (start, false);
        loop {
            let rest = self.bytes.get(end..).unwrap_or_default();
            let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                return Err("a string has no end".to_owned());
            };
            end += found;
            if rest.get(found) == Some(&b'"') {
                break;
            }
            // The escaped byte may be a quotation mark.
            end += 2;
            has_escapes = true;
        }
        self.position = end + 1;
        let raw = self.bytes.get(start..end).unwrap_or_default();
        if has_escapes {
            let text = unescape(raw);
            self.copied_bytes += text.len();
            return Ok(Node::Text(text));
        }
        match std::str::from_utf8(raw) {
            Ok(text) if text.len() <= SHORT_BYTES => Ok(Node::Text(text.to_owned())),
            Ok(_) => Ok(Node::Slice(start..end)),
            Err(_) => {
                let text = String::from_utf8_lossy(raw).into_owned();
                self.copied_bytes += text.len();
                Ok(Node::Text(text))
            }
        }
    }

    fn word(&mut self) -> Result<Node, String> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().position(|byte| !is_part(byte));
        let word = rest.get(..length.unwrap_or(rest.len())).unwrap_or_default();
        let node = match word {
            b"true" => Node::Boolean(true),
            b"false" => Node::Boolean(false),
            b"null" => Node::Null,
            _ => parse_number(word).ok_or_else(|| self.expected("a value"))?,
        };
        self.position += word.len();
        Ok(node)
    }

    /// The next byte that is not white space.
    fn next_byte(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.position)?;
            if !b" \t\r\n".contains(&byte) {
                return Some(byte);
            }
            self.position += 1;
        }
    }

    fn expected(&self, what: &str) -> String {
        let position = self.body.whole_position(self.position);
        format!("{what} is missing at byte {position}")
    }
}

/// Null for a number that JSON lacks. `None` if it is no number.
fn parse_number(word: &[u8]) -> Option<Node> {
    let word = std::str::from_utf8(word).ok()?;
    if let Ok(number) = serde_json::from_str(word) {
        return Some(Node::Number(number));
    }
    // The spellings of this parser include NaN and Infinity.
    let number = serde_json::Number::from_f64(word.parse().ok()?);
    Some(number.map_or(Node::Null, Node::Number))
}

fn unescape(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(found) = memchr::memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(found);
        text.push_str(&String::from_utf8_lossy(before));
        let (character, length) = parse_escape(escape);
        text.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    text.push_str(&String::from_utf8_lossy(rest));
    text
}

/// The character of an escape, and the escape's length in bytes.
fn parse_escape(escape: &[u8]) -> (char, usize) {
    let character = match escape.get(1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return parse_unicode_escape(escape),
        _ => return ('\\', 1),
    };
    (character, 2)
}

fn parse_unicode_escape(escape: &[u8]) -> (char, usize) {
    let Some(first) = code_unit(escape) else {
        return ('\\', 1);
    };
    if let Some(character) = char::from_u32(first.into()) {
        return (character, 6);
    }
    let second = escape.get(6..).and_then(code_unit);
    let pair = second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
    match pair {
        Some(character) => (character, 12),
        None => (char::REPLACEMENT_CHARACTER, 6),
    }
}

/// The four digits after `\u`.
fn code_unit(escape: &[u8]) -> Option<u16> {
    let digits = escape.strip_prefix(b"\\u")?.get(..4)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse(text: &[u8]) -> Result<Node, String> {
        Parser::new(&text.to_vec().into()).parse()
    }

    #[track_caller]
    fn check(text: impl AsRef<[u8]>, expected: Value) {
        let root = parse(text.as_ref()).unwrap();
        assert_eq!(root.to_value(text.as_ref()), expected);
    }

    #[test]
    fn parser_reads_a_number_that_json_lacks_as_null() {
        for word in [
            "NaN",
            "nan",
            "-nan",
            "Infinity",
            "-Infinity",
            "+Infinity",
            "inf",
            "-inf",
            "1e999",
            "-1e999",
        ] {
            check(format!("[1,{word}, 2]"), json!([1, null, 2]));
            check(word, json!(null));
        }
        check("[+1,.5,5.,007,1e5]", json!([1.0, 0.5, 5.0, 7.0, 1e5]));
        check(
            "[18446744073709551615,18446744073709551616,-9223372036854775808]",
            json!([u64::MAX, 18446744073709551616.0, i64::MIN]),
        );
        for text in ["[nul]", "[NaNs]", "[Infinite]", "[--1]", "[1 2]", "1 2"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn parser_replaces_halves_of_surrogate_pairs_and_invalid_utf_8() {
        check(r#"["\ud83d\ude00"]"#, json!(["😀"]));
        check(r#"["a\ud83d"]"#, json!(["a\u{fffd}"]));
        check(r#"["\ud83dx\udE00"]"#, json!(["\u{fffd}x\u{fffd}"]));
        check(r#"["\ud83d\ud83d\ude00"]"#, json!(["\u{fffd}😀"]));
        check(b"[\"a\xff\"]", json!(["a\u{fffd}"]));
        check(b"{\"k\xff\":1}", json!({"k\u{fffd}": 1}));
    }

    #[test]
    fn parser_ignores_marks_commas_and_what_follows() {
        check("\u{feff} {\"a\": [1,],}", json!({"a": [1]}));
        check("{\"a\":1}\n{\"b\":2}", json!({"a": 1}));
        check("[1] <br>Warning", json!([1]));
        check("{\"a\":1,\"a\":2}", json!({"a": 2}));
        check("[\"a\nb\t\u{1}\"]", json!(["a\nb\t\u{1}"]));
        check(
            r#"["C:\models\queue \u12"]"#,
            json!(["C:\\models\\queue \\u12"]),
        );
        check(r#"["\"\\\/\b\f\n\r\t"]"#, json!(["\"\\/\u{8}\u{c}\n\r\t"]));
    }

    #[test]
    fn parser_refuses_what_is_not_json() {
        for text in [
            "",
            " ",
            "{",
            "[",
            "[1",
            "[,]",
            "{,}",
            "{1:2}",
            "{\"a\"}",
            "{\"a\" 1}",
            "{\"a\":}",
            "]",
            "\"",
            "\"\\\"",
            "\"a\\",
            "<html>",
            "tru",
            "[1}",
            "{'a':1}",
            "\u{feff}",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(parse(deep.as_bytes()).unwrap_err().contains("128 levels"));
    }

    #[test]
    fn parser_copies_only_strings_with_escapes() {
        let long = "A".repeat(1000);
        let text = format!(r#"["{long}","{long}\/",null]"#);
        let body = text.into();
        let mut parser = Parser::new(&body);
        let Node::List(items) = parser.parse().unwrap() else {
            panic!("it is a list");
        };
        assert!(matches!(
            items.as_slice(),
            [Node::Slice(_), Node::Text(_), Node::Null]
        ));
        assert_eq!(parser.copied_bytes, 1001);
    }
}
