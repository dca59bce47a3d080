//! JSON pointers.

use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// A key as a segment of a JSON pointer.
pub(crate) fn escape_key(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The JSON pointer of a deserialization error.
pub(crate) fn from_path(path: &Path) -> String {
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escape_key(key)),
            // A key in the file.
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}

/// Sets the value at a pointer: an existing value, a new key of an object, or the next item of a list.
pub(crate) fn set(root: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    if let Some(existing) = root.pointer_mut(pointer) {
        *existing = value;
        return Ok(());
    }
    let no_parent = || format!("cannot set a value at {pointer:?}");
    let (parent, escaped) = pointer.rsplit_once('/').ok_or_else(no_parent)?;
    let key = escaped.replace("~1", "/").replace("~0", "~");
    match root.pointer_mut(parent) {
        Some(Value::Object(parent)) => {
            parent.insert(key, value);
        }
        Some(Value::Array(parent)) if key == parent.len().to_string() => parent.push(value),
        _ => return Err(no_parent()),
    }
    Ok(())
}
