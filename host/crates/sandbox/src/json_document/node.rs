//! The values of a JSON document, and their parser.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};

/// Length of a short string in bytes. Shorter ones are copied out of the text while parsing.
const SHORT_BYTES: usize = 256;

#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    /// A short string, or one with escapes, which is not a slice of the text.
    Text(String),
    /// The range in the text of a long string without escapes.
    Slice(Range<usize>),
    List(Vec<Node>),
    /// In the order of the text. If a key is repeated, the last value counts.
    Object(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let root = Parser { bytes }.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(root)
    }

    /// The value at a JSON pointer. Source: RFC 6901.
    pub(super) fn at(&self, pointer: &str) -> Option<&Self> {
        if pointer.is_empty() {
            return Some(self);
        }
        let mut node = self;
        for step in pointer.strip_prefix('/')?.split('/') {
            let step = step.replace("~1", "/").replace("~0", "~");
            node = match node {
                Self::List(items) => items.get(parse_index(&step)?)?,
                Self::Object(fields) => &fields.iter().rfind(|(key, _)| *key == step)?.1,
                _ => return None,
            };
        }
        Some(node)
    }
}

/// Parses a step of a JSON pointer as a list index: digits without a leading zero.
fn parse_index(step: &str) -> Option<usize> {
    if step != "0" && step.starts_with(['0', '+']) {
        return None;
    }
    step.parse().ok()
}

/// Builds nodes from a deserializer that borrows from `bytes`.
#[derive(Clone, Copy)]
struct Parser<'a> {
    bytes: &'a [u8],
}

impl<'de> DeserializeSeed<'de> for Parser<'de> {
    type Value = Node;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Parser<'de> {
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
        if value.len() <= SHORT_BYTES {
            return Ok(Node::Text(value.to_owned()));
        }
        // A borrowed string is a slice of the text, so the difference of the pointers is its offset.
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
