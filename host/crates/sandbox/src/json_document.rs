//! A JSON document that the host holds: parsed once, with long strings left in the original text.

mod node;
mod parser;
mod skeleton;

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;

use crate::body_text::{BodyText, unpadded};
use crate::foreign_content;
use crate::redaction::CallRedactor;
use node::Node;
use parser::Parser;
use pinhole_ground::json_bounds::JsonBounds;
use pinhole_ground::text::plain;
use skeleton::Skeleton;

/// The most that a document may contain. A parser limits the depth too.
const BOUNDS: JsonBounds = JsonBounds {
    max_values: 500_000,
    max_depth: 128,
    max_string_bytes: usize::MAX,
};

/// Memory of a value in bytes, without a long string. Lists reserve more than they use.
const VALUE_BYTES: usize = 96;

/// Keys that an outline names.
const MAX_OUTLINE_KEYS: usize = 10;
/// Length of a key in an outline, in bytes.
const MAX_KEY_BYTES: usize = 40;

/// A parsed JSON text. It retains the text, so that an image in it uses no more memory until it is read.
#[derive(Debug)]
pub struct Document {
    body: BodyText,
    root: Node,
    copied_bytes: usize,
}

impl Document {
    /// Memory that the values of a text need, in bytes. Fails if the text exceeds [`BOUNDS`].
    pub fn values_bytes(body: &BodyText) -> Result<usize, String> {
        let values = BOUNDS.check(body.shortened());
        let values = values.map_err(|refusal| format!("the response cannot be used: {refusal}"))?;
        Ok(values.saturating_mul(VALUE_BYTES))
    }

    /// Parses a JSON text, of which [`Self::values_bytes`] is known. Fails if it is not JSON, even in the
    /// spellings that servers use; the error says what it is.
    pub fn parse(body: BodyText) -> Result<Self, String> {
        let mut parser = Parser::new(&body);
        let root =
            parser
                .parse()
                .map_err(|error| match foreign_content::describe(body.shortened()) {
                    Some(content) => format!("the response is not JSON but {content}"),
                    None => format!("the response is not JSON: {error}"),
                })?;
        let copied_bytes = parser.copied_bytes;
        Ok(Self {
            body,
            root,
            copied_bytes,
        })
    }

    /// Memory of strings that are copies, in bytes, beyond that of [`Self::values_bytes`].
    #[must_use]
    pub fn copied_bytes(&self) -> usize {
        self.copied_bytes
    }

    /// The JSON without secrets, and with strings longer than `max_string_bytes` cut to their first 32 bytes.
    #[must_use]
    pub fn skeleton(&self, max_string_bytes: u32, redactor: &CallRedactor) -> String {
        let skeleton = Skeleton {
            node: &self.root,
            body: &self.body,
            redactor,
            max_string_bytes: max_string_bytes as usize,
        };
        // Writing to memory fails only for a map whose keys are not strings.
        serde_json::to_string(&skeleton).unwrap_or_else(|_| "null".to_owned())
    }

    /// Decodes the base64 string or data URL at a JSON pointer.
    ///
    /// Accepts the standard and the URL-safe alphabet, with or without padding and white space.
    pub fn base64_at(&self, pointer: &str) -> Result<Bytes, String> {
        let decoded = match self.string_at(pointer)? {
            StringValue::Text(text) => decode_base64(text.as_bytes()),
            StringValue::Slice(range) => match self.body.blob_in(range) {
                Some(decoded) => Some(decoded.clone()),
                None => decode_base64(&self.body.whole(range.clone())),
            },
        };
        decoded.ok_or_else(|| format!("the string at {pointer} is not base64"))
    }

    /// The whole string at a JSON pointer, secrets included.
    pub fn text_at(&self, pointer: &str) -> Result<Cow<'_, str>, String> {
        let whole = match self.string_at(pointer)? {
            StringValue::Text(text) => return Ok(Cow::Borrowed(text)),
            StringValue::Slice(range) => self.body.whole(range.clone()),
        };
        // The strings of a document are UTF-8.
        Ok(match whole {
            Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).unwrap_or_default()),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).unwrap_or_default()),
        })
    }

    /// Length of [`Self::text_at`] in bytes.
    pub(crate) fn text_length_at(&self, pointer: &str) -> Result<usize, String> {
        Ok(match self.string_at(pointer)? {
            StringValue::Text(text) => text.len(),
            StringValue::Slice(range) => self.body.whole_length(range),
        })
    }

    /// What the document is, for an error message: its keys, or its type.
    #[must_use]
    pub(crate) fn outline(&self) -> String {
        match &self.root {
            Node::Object(fields) if fields.is_empty() => "an empty object".to_owned(),
            Node::Object(fields) => {
                let keys = fields.iter().map(|(key, _)| plain(key, MAX_KEY_BYTES));
                let keys: Vec<_> = keys.take(MAX_OUTLINE_KEYS).collect();
                format!("JSON with the keys {}", keys.join(", "))
            }
            Node::List(items) if items.is_empty() => "an empty list".to_owned(),
            Node::List(_) => "a list".to_owned(),
            Node::Text(_) | Node::Slice(_) => "a JSON string".to_owned(),
            Node::Null | Node::Boolean(_) | Node::Number(_) => "a JSON value".to_owned(),
        }
    }

    fn string_at(&self, pointer: &str) -> Result<StringValue<'_>, String> {
        match self.root.at(pointer) {
            Some(Node::Text(text)) => Ok(StringValue::Text(text)),
            Some(Node::Slice(range)) => Ok(StringValue::Slice(range)),
            Some(_) => Err(format!("the value at {pointer} is not a string")),
            None => Err(format!("there is no value at {pointer}")),
        }
    }
}

/// A string of a document.
enum StringValue<'a> {
    Text(&'a str),
    /// The range in the text of the body.
    Slice(&'a Range<usize>),
}

fn decode_base64(text: &[u8]) -> Option<Bytes> {
    let encoded = match text.strip_prefix(b"data:") {
        Some(url) => url.get(url.iter().position(|byte| *byte == b',')? + 1..)?,
        None => text,
    }
    .trim_ascii();
    let unpadded = unpadded(encoded);
    // The common form first. The others are rare and cost a second attempt.
    base64_simd::STANDARD_NO_PAD
        .decode_to_vec(unpadded)
        .or_else(|_| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(unpadded))
        .or_else(|_| base64_simd::forgiving_decode_to_vec(encoded))
        .ok()
        .map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_context::JobContext;
    use pinhole_egress::Redactor;
    use pinhole_ground::audit::AuditLog;

    fn redactor(secret: &str) -> CallRedactor {
        let redactor = Redactor::new([secret]).into();
        let context = JobContext::new("job".to_owned());
        CallRedactor::new(redactor, AuditLog::default(), "engine", &context)
    }

    fn document(text: &str) -> Document {
        Document::parse(text.to_owned().into()).unwrap()
    }

    #[test]
    fn skeleton_cuts_only_long_strings() {
        let long = "A".repeat(1000);
        let json = document(&format!(
            r#"{{"a":["{long}",1,2.5,null,true,"é\n"],"b":{{}}}}"#
        ));
        let (cut, no_secret) = ("A".repeat(32), redactor(""));
        assert_eq!(
            json.skeleton(100, &no_secret),
            format!(r#"{{"a":["{cut}",1,2.5,null,true,"é\n"],"b":{{}}}}"#)
        );
        assert!(json.skeleton(1000, &no_secret).contains(&long));
    }

    #[test]
    fn skeleton_never_splits_a_character() {
        for prefix in ["", "a", "aa", "aaa"] {
            for text in ["é", "€", "😀"] {
                let json = document(&format!("[\"{prefix}{}\"]", text.repeat(300)));
                let skeleton = json.skeleton(10, &redactor(""));
                let cut: Vec<String> = serde_json::from_str(&skeleton).unwrap();
                assert!(cut.iter().all(|cut| cut.len() <= 32 && !cut.is_empty()));
            }
        }
    }

    #[test]
    fn skeleton_contains_no_secret_and_is_json() {
        let long = "x".repeat(300);
        let json = document(&format!(
            r#"{{"key-47114711":["a key-4711\\u0034711",1711,"key%2D47114711",
            "{}key-47114711{long}","{}key-47114711{long}", 1.5]}}"#,
            "a".repeat(20),
            "b".repeat(28),
        ));
        let expected = format!(
            r#"{{"************":["a *****************",1711,"**************","{}************","{}****",1.5]}}"#,
            "a".repeat(20),
            "b".repeat(28),
        );
        assert_eq!(json.skeleton(100, &redactor("key-47114711")), expected);
        let numbers = document("[47114711, 4711471112]");
        assert_eq!(
            numbers.skeleton(100, &redactor("47114711")),
            r#"["********","********12"]"#
        );
    }

    fn check(text: &str, pointer: &str, expected: Option<&[u8]>) {
        assert_eq!(document(text).base64_at(pointer).ok().as_deref(), expected);
    }

    #[test]
    fn document_decodes_base64_of_any_alphabet_at_a_pointer() {
        check(
            r#"{"data":[{"b64_json":"aGk/"}]}"#,
            "/data/0/b64_json",
            Some(b"hi?"),
        );
        check(r#"["aGk_"]"#, "/0", Some(b"hi?"));
        check(r#"["aA=="]"#, "/0", Some(b"h"));
        check(r#"["aA"]"#, "/0", Some(b"h"));
        check(r#"["aG\nk\/"]"#, "/0", Some(b"hi?"));
        check(r#"["data:image/png;base64,aGk/"]"#, "/0", Some(b"hi?"));
        check(r#"{"a/b":{"~":"aGk/"}}"#, "/a~1b/~0", Some(b"hi?"));
        check(r#""aGk/""#, "", Some(b"hi?"));
        check(r#"["%%%"]"#, "/0", None);
        check(r#"[1]"#, "/0", None);
        check(r#"[1]"#, "/1", None);
        check(r#"[1]"#, "0", None);
        check(r#"["aGk/"]"#, "/+0", None);
        check(r#"["aGk/"]"#, "/00", None);
    }

    #[test]
    fn document_refuses_hostile_texts() {
        for text in ["", "{", "<html>", "1 2"] {
            assert!(Document::parse(text.to_owned().into()).is_err(), "{text}");
        }
        assert!(Document::parse("[".repeat(100_000).into()).is_err());
        let many = format!("[{}0]", "0,".repeat(BOUNDS.max_values));
        let refused = Document::values_bytes(&many.into()).unwrap_err();
        assert!(refused.contains("more than 500000 values"), "{refused}");
    }

    #[test]
    fn document_says_what_is_not_json() {
        for (text, expected) in [
            ("", "the response is not JSON but empty"),
            (
                "<!doctype html><title> Sign  in </title>",
                "the response is not JSON but an HTML page \"Sign in\"",
            ),
            (
                "[1,",
                "the response is not JSON: a value is missing at byte 3",
            ),
        ] {
            let refused = Document::parse(text.to_owned().into());
            assert_eq!(refused.unwrap_err(), expected);
        }
    }

    #[test]
    fn document_survives_numbers_that_json_lacks() {
        let json =
            document("\u{feff}{\"is_changed\":[NaN,-Infinity],\"data\":[{\"b64_json\":\"aGk/\"}]}");
        assert_eq!(json.base64_at("/data/0/b64_json").unwrap(), "hi?");
        assert_eq!(
            json.skeleton(100, &redactor("")),
            r#"{"is_changed":[null,null],"data":[{"b64_json":"aGk/"}]}"#
        );
    }
}
