//! JSON as upstreams write it, in a text that the engine holds. The host reads documents the same way.
//!
//! ```
//! use pinhole_sdk::json_text::parse_json;
//!
//! assert!(parse_json(r#"{"cfg": NaN}"#).unwrap()["cfg"].is_null());
//! ```

use serde_json::Value;

/// Parses JSON. Accepts what servers write although the standard lacks it: a byte order mark, `NaN` and
/// `Infinity` and numbers that are too large (null), and half of a surrogate pair (U+FFFD).
///
/// ```
/// use pinhole_sdk::json_text::parse_json;
/// use serde_json::json;
///
/// let info = parse_json(r#"{"seed": 7, "cfg": NaN, "title": "NaN \ud83d"}"#).unwrap();
/// assert_eq!(info, json!({"seed": 7, "cfg": null, "title": "NaN \u{fffd}"}));
/// ```
///
/// # Errors
///
/// If the text is not JSON: the error of the strict parser.
pub fn parse_json(text: &str) -> serde_json::Result<Value> {
    let text = text.trim_start_matches('\u{feff}');
    serde_json::from_str(text)
        .or_else(|strict| serde_json::from_str(&standard_json(text)).map_err(|_| strict))
}

/// The text with null in place of numbers that JSON lacks, and without halves of surrogate pairs.
fn standard_json(text: &str) -> String {
    let mut standard = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '"' || is_word_character(c)) {
        let (before, token) = rest.split_at(start);
        standard.push_str(before);
        if token.starts_with('"') {
            let (string, after) = token.split_at(string_end(token));
            push_string(&mut standard, string);
            rest = after;
            continue;
        }
        let end = token.find(|c| !is_word_character(c)).unwrap_or(token.len());
        let (word, after) = token.split_at(end);
        let is_infinite = word.parse().is_ok_and(|number: f64| !number.is_finite());
        standard.push_str(if is_infinite { "null" } else { word });
        rest = after;
    }
    standard + rest
}

fn is_word_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-.".contains(c)
}

/// Length of the string at the start of a text, with its quotation marks.
fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |position| position + 2)
}

/// Appends a string without halves of surrogate pairs.
fn push_string(standard: &mut String, string: &str) {
    let mut rest = string;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        standard.push_str(before);
        let units = [code_unit(escape), escape.get(6..).and_then(code_unit)];
        let (text, length) = match units {
            [Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)] => (escape.get(..12), 12),
            [Some(0xd800..=0xdfff), _] => (Some("\\ufffd"), 6),
            _ => (escape.get(..2), 2),
        };
        standard.push_str(text.unwrap_or(escape));
        rest = escape.get(length..).unwrap_or_default();
    }
    standard.push_str(rest);
}

/// The four digits after `\u`.
fn code_unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parse_json_accepts_what_servers_write() {
        for (text, expected) in [
            ("\u{feff}{\"a\": 1}", json!({"a": 1})),
            ("[NaN, -Infinity,inf]", json!([null, null, null])),
            ("[1e999]", json!([null])),
            (r#"["NaN","\"NaN",NaN]"#, json!(["NaN", "\"NaN", null])),
            (
                r#"["\ud83d\ude00 \ude00", "\\ud83d",NaN]"#,
                json!(["😀 \u{fffd}", "\\ud83d", null]),
            ),
            ("NaN", json!(null)),
        ] {
            assert_eq!(parse_json(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn parse_json_refuses_what_is_not_json() {
        for text in [
            "",
            "{",
            "[NaN",
            "nonsense",
            "\"\\ud83d",
            "é",
            "\"\\é",
            "[NaN] x",
        ] {
            assert!(parse_json(text).is_err(), "{text}");
        }
    }
}
