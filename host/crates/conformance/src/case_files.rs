//! The files that a case may name.

use bytes::Bytes;
use cap_std::fs::Dir;
use serde_json::{Map, Value};

use crate::json_pointer;

/// Maximum length of a file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The files of a case's directory, then those of its engine's directory.
pub(crate) struct CaseFiles {
    pub(crate) case: Dir,
    /// The parent of the case's directory.
    pub(crate) engine: Dir,
}

/// A value in a JSON file, and changes to it.
pub(crate) struct JsonSelection<'a> {
    pub(crate) file: &'a str,
    /// A JSON pointer; empty for the whole file.
    pub(crate) pointer: &'a str,
    /// Values to set, by their pointers in the selected value.
    pub(crate) with: &'a Map<String, Value>,
    /// Texts to replace in every string and key, and their replacements.
    pub(crate) replace: &'a Map<String, Value>,
}

impl CaseFiles {
    /// Reads a file's bytes. A path outside of the directories is an error.
    pub(crate) fn read_bytes(&self, name: &str) -> Result<Bytes, String> {
        let unreadable = |error: std::io::Error| format!("cannot read file {name:?}: {error}");
        let directory = match self.case.try_exists(name) {
            Ok(true) => &self.case,
            _ => &self.engine,
        };
        let length = directory.metadata(name).map_err(unreadable)?.len();
        if length > MAX_FILE_BYTES {
            return Err(format!(
                "file {name:?} is too long: {length} bytes (limit {MAX_FILE_BYTES})"
            ));
        }
        directory.read(name).map(Bytes::from).map_err(unreadable)
    }

    pub(crate) fn read_text(&self, name: &str) -> Result<String, String> {
        let bytes = self.read_bytes(name)?;
        let text = std::str::from_utf8(&bytes);
        Ok(text
            .map_err(|_| format!("file {name:?} is not UTF-8"))?
            .to_owned())
    }

    /// Reads a value from a JSON file.
    pub(crate) fn read_json(&self, selection: &JsonSelection) -> Result<Value, String> {
        let file = selection.file;
        let root: Value = serde_json::from_slice(&self.read_bytes(file)?)
            .map_err(|error| format!("file {file:?} is not JSON: {error}"))?;
        let mut selected = root
            .pointer(selection.pointer)
            .cloned()
            .ok_or_else(|| format!("file {file:?} has no value at {:?}", selection.pointer))?;
        for (pointer, value) in selection.with {
            json_pointer::set(&mut selected, pointer, value.clone())?;
        }
        for (old, new) in selection.replace {
            let Some(new) = new.as_str() else {
                return Err("a replacement must be a string".to_owned());
            };
            if old.is_empty() {
                return Err("an empty text cannot be replaced".to_owned());
            }
            replace_text(&mut selected, old, new);
        }
        Ok(selected)
    }
}

/// Replaces a text in all strings and keys.
fn replace_text(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) => *text = text.replace(old, new),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_text(item, old, new)),
        Value::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(key, mut item)| {
                    replace_text(&mut item, old, new);
                    (key.replace(old, new), item)
                })
                .collect();
        }
        _ => {}
    }
}
