//! The values of a JSON document.

use std::ops::Range;

#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    /// A short string, or one that is not a slice of the text.
    Text(String),
    /// The range in the text of a long string without escapes.
    Slice(Range<usize>),
    List(Vec<Node>),
    /// In the order of the text. If a key is repeated, the last value counts.
    Object(Vec<(String, Node)>),
}

impl Node {
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

    /// The node of this text as a value with whole strings.
    #[cfg(test)]
    pub(super) fn to_value(&self, text: &[u8]) -> serde_json::Value {
        use serde_json::Value;
        match self {
            Self::Null => Value::Null,
            Self::Boolean(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::Text(string) => string.as_str().into(),
            Self::Slice(range) => String::from_utf8_lossy(&text[range.clone()]).into(),
            Self::List(items) => items.iter().map(|item| item.to_value(text)).collect(),
            Self::Object(fields) => fields
                .iter()
                .map(|(key, value)| (key.clone(), value.to_value(text)))
                .collect(),
        }
    }
}

/// Parses a step of a JSON pointer as a list index: digits without a leading zero.
fn parse_index(step: &str) -> Option<usize> {
    if step != "0" && step.starts_with(['0', '+']) {
        return None;
    }
    step.parse().ok()
}
