//! Long values of a case, in files of their own.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

/// Length of JSON and of texts in the case itself, in bytes.
const MAX_INLINE_BYTES: usize = 2000;

/// The files next to the case.
#[derive(Default)]
pub(super) struct CaseFilesWriter(BTreeMap<String, Vec<u8>>);

impl CaseFilesWriter {
    /// The JSON, or the file that contains it. Computed values are no part of a file, so JSON with them stays.
    pub(super) fn json(&mut self, name: &str, value: Value) -> Value {
        if has_computed(&value) || value.to_string().len() <= MAX_INLINE_BYTES {
            return value;
        }
        self.json_file(name, &value)
    }

    /// The file that contains this JSON, whose keys may look like computed values.
    pub(super) fn json_file(&mut self, name: &str, value: &Value) -> Value {
        let file = format!("{name}.json");
        let mut text = serde_json::to_vec_pretty(value).unwrap_or_default();
        text.push(b'\n');
        self.0.insert(file.clone(), text);
        json!({"$file": file})
    }

    /// The text, or the file that contains it.
    pub(super) fn text(&mut self, name: &str, text: String) -> Value {
        if text.len() <= MAX_INLINE_BYTES {
            return text.into();
        }
        let file = format!("{name}.txt");
        self.0.insert(file.clone(), text.into_bytes());
        json!({"$text_file": file})
    }

    /// The file that contains an image.
    pub(super) fn image(&mut self, bytes: &Bytes) -> Value {
        let file = format!("image-{}", self.0.len() + 1);
        self.0.insert(file.clone(), bytes.to_vec());
        json!({"file": file})
    }

    pub(super) fn into_files(self) -> BTreeMap<String, Vec<u8>> {
        self.0
    }
}

/// True if an object has a key of a computed value.
pub(super) fn has_computed(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_computed),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, field)| key.starts_with('$') || has_computed(field)),
        _ => false,
    }
}
