//! JSON held by the host: parsed once, long strings left where they are.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::redaction::Echo;
use pinhole_ground::guard::Guard;

/// Strings up to this length, in bytes, are copied out of the body while parsing.
const SHORT: usize = 256;
/// How much of a string that is cut remains, in bytes.
const CUT: u32 = 32;
/// Values in one document; more would cost far more memory than the text itself.
const MAX_VALUES: usize = 500_000;

/// A parsed JSON text that keeps its bytes, so that an image in it costs nothing until it is asked for.
#[derive(Debug)]
pub(super) struct Document {
    bytes: Bytes,
    root: Node,
}

#[derive(Debug)]
enum Node {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    /// Short, or with escapes and so no slice of the body.
    Text(String),
    /// A long string without escapes: where it stands in the body.
    Slice(Range<usize>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Document {
    /// Parses a JSON text. Fails on anything else, on nesting deeper than 128 and on more values
    /// than [`MAX_VALUES`].
    pub(super) fn parse(bytes: Bytes) -> Result<Self, String> {
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let seed = Seed {
            bytes: &bytes,
            left: &Cell::new(Guard::JsonValues.limit(MAX_VALUES)),
        };
        let root = seed
            .deserialize(&mut deserializer)
            .and_then(|root| deserializer.end().map(|()| root))
            .map_err(|error| format!("the answer is not JSON: {error}"))?;
        Ok(Self { bytes, root })
    }

    /// The text without secrets, and with every string longer than `max_string` bytes cut to its
    /// first 32 bytes.
    pub(super) fn skeleton(&self, max_string: u32, echo: &Echo) -> String {
        let cut = Cut {
            node: &self.root,
            bytes: &self.bytes,
            echo,
            max: max_string as usize,
        };
        // Writing to memory fails only for maps with keys that are no strings: there are none.
        serde_json::to_string(&cut).unwrap_or_else(|_| "null".to_owned())
    }

    /// The bytes of the base64 string (or data URL) at a JSON pointer.
    ///
    /// Standard and URL-safe alphabets, with or without padding and white space.
    pub(super) fn base64_at(&self, pointer: &str) -> Result<Vec<u8>, String> {
        decode_base64(self.string_at(pointer)?)
            .ok_or_else(|| format!("the text at {pointer} is not base64"))
    }

    /// The whole string at a JSON pointer, secrets included.
    pub(super) fn text_at(&self, pointer: &str) -> Result<&str, String> {
        // Strings of a JSON text that was parsed are UTF-8.
        Ok(std::str::from_utf8(self.string_at(pointer)?).unwrap_or_default())
    }

    fn string_at(&self, pointer: &str) -> Result<&[u8], String> {
        match self.at(pointer) {
            Some(Node::Text(text)) => Ok(text.as_bytes()),
            Some(Node::Slice(range)) => Ok(self.bytes.get(range.clone()).unwrap_or_default()),
            Some(_) => Err(format!("there is no text at {pointer}")),
            None => Err(format!("there is nothing at {pointer}")),
        }
    }

    fn at(&self, pointer: &str) -> Option<&Node> {
        if pointer.is_empty() {
            return Some(&self.root);
        }
        let mut node = &self.root;
        for step in pointer.strip_prefix('/')?.split('/') {
            let step = step.replace("~1", "/").replace("~0", "~");
            node = match node {
                Node::List(items) => items.get(index(&step)?)?,
                Node::Object(fields) => &fields.iter().rfind(|(key, _)| *key == step)?.1,
                _ => return None,
            };
        }
        Some(node)
    }
}

/// A step of a JSON pointer as the place in a list that it names: digits, without a zero in front.
fn index(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with(['0', '+']);
    step.parse().ok().filter(|_| plain)
}

fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = match text.strip_prefix(b"data:") {
        Some(url) => url.get(url.iter().position(|byte| *byte == b',')? + 1..)?,
        None => text,
    };
    let text = text.trim_ascii();
    let bare = text
        .strip_suffix(b"==")
        .or(text.strip_suffix(b"="))
        .unwrap_or(text);
    // The common spelling first; the others are rare and cost a second try.
    base64_simd::STANDARD_NO_PAD
        .decode_to_vec(bare)
        .or_else(|_| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(bare))
        .or_else(|_| base64_simd::forgiving_decode_to_vec(text))
        .ok()
}

/// Builds [`Node`]s from a deserializer that borrows from `bytes`.
#[derive(Clone, Copy)]
struct Seed<'a> {
    bytes: &'a [u8],
    left: &'a Cell<usize>,
}

impl<'de> DeserializeSeed<'de> for Seed<'de> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let left = self.left.get().checked_sub(1);
        self.left
            .set(left.ok_or_else(|| D::Error::custom("too many values"))?);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'de> {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Node, E> {
        if value.len() <= SHORT {
            return Ok(Node::Text(value.to_owned()));
        }
        // A borrowed string is a slice of the body, so the difference of the addresses is its place.
        let start = value.as_ptr().addr() - self.bytes.as_ptr().addr();
        Ok(Node::Slice(start..start + value.len()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            fields.push((key, map.next_value_seed(self)?));
        }
        Ok(Node::Object(fields))
    }
}

/// Writes a node with its long strings cut, and without secrets.
struct Cut<'a> {
    node: &'a Node,
    bytes: &'a [u8],
    max: usize,
    echo: &'a Echo,
}

impl Cut<'_> {
    fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match text.len() > self.max {
            true => self.start(text.as_bytes()),
            false => self.echo.text(text, Guard::SecretJson),
        }
    }

    /// The whole characters among the first [`CUT`] bytes.
    fn start<'t>(&self, text: &'t [u8]) -> Cow<'t, str> {
        let whole = |head: &[u8]| {
            let first = head.utf8_chunks().next();
            first.map_or(0, |chunk| chunk.valid().len())
        };
        match self.echo.part(text, 0, CUT, Guard::SecretJson) {
            Cow::Borrowed(head) => {
                let valid = head.get(..whole(head)).unwrap_or_default();
                String::from_utf8_lossy(valid)
            }
            Cow::Owned(mut head) => {
                head.truncate(whole(&head));
                Cow::Owned(String::from_utf8_lossy(&head).into_owned())
            }
        }
    }
}

impl Serialize for Cut<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let with = |node| Cut { node, ..*self };
        match self.node {
            Node::Null => serializer.serialize_unit(),
            Node::Boolean(value) => serializer.serialize_bool(*value),
            Node::Number(value) => match self.echo.number(value, Guard::SecretJson) {
                Some(text) => serializer.serialize_str(&text),
                None => value.serialize(serializer),
            },
            Node::Text(text) => serializer.serialize_str(&self.text(text)),
            Node::Slice(range) => {
                let bytes = self.bytes.get(range.clone()).unwrap_or_default();
                // A string of a JSON text that was parsed is UTF-8.
                let text = match bytes.len() > self.max {
                    true => self.start(bytes),
                    false => self.text(std::str::from_utf8(bytes).unwrap_or_default()),
                };
                serializer.serialize_str(&text)
            }
            Node::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&with(item))?;
                }
                list.end()
            }
            Node::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(&self.text(key), &with(value))?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinhole_egress::Redactor;

    /// With nothing to keep secret, or with a key.
    fn echo(secret: &str) -> Echo {
        Echo::new(Redactor::new([secret]).into(), "engine", "job")
    }

    fn document(text: &str) -> Document {
        Document::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn long_strings_are_cut_and_short_ones_kept() {
        let long = "A".repeat(1000);
        let json = document(&format!(
            r#"{{"a":["{long}",1,2.5,null,true,"é\n"],"b":{{}}}}"#
        ));
        let (cut, echo) = ("A".repeat(32), echo(""));
        assert_eq!(
            json.skeleton(100, &echo),
            format!(r#"{{"a":["{cut}",1,2.5,null,true,"é\n"],"b":{{}}}}"#)
        );
        assert!(json.skeleton(1000, &echo).contains(&long));
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        for prefix in ["", "a", "aa", "aaa"] {
            for text in ["é", "€", "😀"] {
                let json = document(&format!("[\"{prefix}{}\"]", text.repeat(300)));
                let cut: Vec<String> = serde_json::from_str(&json.skeleton(10, &echo(""))).unwrap();
                assert!(cut.iter().all(|cut| cut.len() <= 32 && !cut.is_empty()));
            }
        }
    }

    #[test]
    fn a_skeleton_holds_no_secret_and_is_json() {
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
        assert_eq!(json.skeleton(100, &echo("key-47114711")), expected);
        let numbers = document("[47114711, 4711471112]");
        assert_eq!(
            numbers.skeleton(100, &echo("47114711")),
            r#"["********","********12"]"#
        );
    }

    fn check(text: &str, pointer: &str, expected: Option<&[u8]>) {
        assert_eq!(document(text).base64_at(pointer).ok().as_deref(), expected);
    }

    #[test]
    fn base64_is_found_by_pointer_in_every_spelling() {
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
    fn hostile_texts_are_refused() {
        for text in ["", "{", "<html>", "[1] 2", "\"\u{1}\"", "[1e999]"] {
            assert!(
                Document::parse(Bytes::from(text.to_owned())).is_err(),
                "{text}"
            );
        }
        assert!(Document::parse(Bytes::from("[".repeat(100_000))).is_err());
        let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
        assert!(
            Document::parse(Bytes::from(many))
                .unwrap_err()
                .contains("too many")
        );
        assert!(Document::parse(Bytes::from_static(b"[\"\xff\"]")).is_err());
    }
}
