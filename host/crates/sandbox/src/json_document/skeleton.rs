//! The skeleton of a JSON document: the same JSON with its long strings cut, and without secrets.

use std::borrow::Cow;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::node::Node;
use crate::body_text::BodyText;
use crate::redaction::CallRedactor;
use pinhole_ground::guard::Guard;

/// Length of a cut string in bytes.
const CUT_BYTES: u32 = 32;

/// Serializes a node as a skeleton.
pub(super) struct Skeleton<'a> {
    pub(super) node: &'a Node,
    pub(super) body: &'a BodyText,
    pub(super) max_string_bytes: usize,
    pub(super) redactor: &'a CallRedactor,
}

impl Skeleton<'_> {
    /// Cuts or redacts a string. Checks the length before the UTF-8 of a long string.
    fn string<'t>(&self, bytes: &'t [u8]) -> Cow<'t, str> {
        if bytes.len() > self.max_string_bytes {
            return self.cut(bytes);
        }
        // Strings of a parsed JSON text are UTF-8.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        self.redactor.redact_text(text, Guard::SecretJson)
    }

    /// The whole characters within the first [`CUT_BYTES`].
    fn cut<'t>(&self, text: &'t [u8]) -> Cow<'t, str> {
        let head = self
            .redactor
            .redact_range(text, 0, CUT_BYTES, Guard::SecretJson);
        let valid = head
            .utf8_chunks()
            .next()
            .map_or(0, |chunk| chunk.valid().len());
        match head {
            Cow::Borrowed(head) => String::from_utf8_lossy(head.get(..valid).unwrap_or_default()),
            Cow::Owned(mut head) => {
                head.truncate(valid);
                Cow::Owned(String::from_utf8_lossy(&head).into_owned())
            }
        }
    }
}

impl Serialize for Skeleton<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let child = |node| Skeleton { node, ..*self };
        match self.node {
            Node::Null => serializer.serialize_unit(),
            Node::Boolean(value) => serializer.serialize_bool(*value),
            Node::Number(value) => match self.redactor.redact_number(value, Guard::SecretJson) {
                Some(text) => serializer.serialize_str(&text),
                None => value.serialize(serializer),
            },
            Node::Text(text) => serializer.serialize_str(&self.string(text.as_bytes())),
            Node::Slice(range) => {
                if self.body.whole_length(range) > self.max_string_bytes {
                    return serializer.serialize_str(&self.cut(self.body.before_left_out(range)));
                }
                serializer.serialize_str(&self.string(&self.body.whole(range.clone())))
            }
            Node::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(&child(item))?;
                }
                list.end()
            }
            Node::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(&self.string(key.as_bytes()), &child(value))?;
                }
                map.end()
            }
        }
    }
}
