//! Computed values: objects such as `{"$picture": "png 8x8"}` in `case.json`.

use serde_json::{Map, Value};

use crate::case_files::{CaseFiles, JsonSelection};
use crate::invalid_case::InvalidCase;
use crate::json_pointer::escape_key;
use crate::test_image;

/// Maximum total length of the computed values of a case, in bytes of JSON.
const MAX_COMPUTED_BYTES: usize = 64 << 20;

/// The keys of a value in a file.
const FILE_KEYS: [&str; 4] = ["$file", "$at", "$with", "$replace"];

/// Replaces all computed values in a case, innermost first.
pub(crate) fn compute(value: Value, files: &CaseFiles) -> Result<Value, InvalidCase> {
    let mut computation = Computation {
        files,
        remaining_bytes: MAX_COMPUTED_BYTES,
    };
    computation.compute_tree(value, "")
}

struct Computation<'a> {
    files: &'a CaseFiles,
    remaining_bytes: usize,
}

impl Computation<'_> {
    fn compute_tree(&mut self, value: Value, pointer: &str) -> Result<Value, InvalidCase> {
        match value {
            Value::Array(items) => items
                .into_iter()
                .enumerate()
                .map(|(index, item)| self.compute_tree(item, &format!("{pointer}/{index}")))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Value::Object(entries) => {
                let mut object = Map::new();
                for (key, item) in entries {
                    let item_pointer = format!("{pointer}/{}", escape_key(&key));
                    object.insert(key, self.compute_tree(item, &item_pointer)?);
                }
                if !object.keys().any(|key| key.starts_with('$')) {
                    return Ok(Value::Object(object));
                }
                self.compute_object(object)
                    .map_err(|reason| InvalidCase::at(pointer, reason))
            }
            scalar => Ok(scalar),
        }
    }

    /// The value of an object with a `$` key.
    fn compute_object(&mut self, mut object: Map<String, Value>) -> Result<Value, String> {
        let keys: Vec<String> = object.keys().cloned().collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut remove = |key: &str| object.remove(key).unwrap_or_default();
        let computed = match keys.as_slice() {
            // A pattern, not a value.
            ["$same_pixels"] => return Ok(Value::Object(object)),
            ["$string"] => remove("$string").to_string().into(),
            ["$text_file"] => {
                let file = require_text(&remove("$text_file"), "$text_file")?;
                self.files.read_text(&file)?.into()
            }
            ["$picture"] => self.image_base64(&remove("$picture"))?.into(),
            ["$join"] => join(&remove("$join"))?.into(),
            ["$repeat"] => self.repeat(&remove("$repeat"))?,
            _ if keys.contains(&"$file") && keys.iter().all(|key| FILE_KEYS.contains(key)) => {
                self.file_json(&mut remove)?
            }
            _ => {
                let all = keys.join(" with ");
                return Err(format!("{all} is not a computed value"));
            }
        };
        let length = computed.to_string().len();
        self.remaining_bytes = self
            .remaining_bytes
            .checked_sub(length)
            .ok_or_else(too_long)?;
        Ok(computed)
    }

    fn image_base64(&self, image: &Value) -> Result<String, String> {
        let bytes = match image {
            Value::String(spec) => test_image::encode(spec)?,
            other => match other.get("file").and_then(Value::as_str) {
                Some(file) => self.files.read_bytes(file)?,
                None => return Err("$picture must be an image".to_owned()),
            },
        };
        Ok(base64_simd::STANDARD.encode_to_string(&bytes))
    }

    fn file_json(&self, remove: &mut impl FnMut(&str) -> Value) -> Result<Value, String> {
        let file = require_text(&remove("$file"), "$file")?;
        let pointer = match remove("$at") {
            Value::Null => String::new(),
            pointer => require_text(&pointer, "$at")?,
        };
        let mut remove_map = |key| match remove(key) {
            Value::Null => Ok(Map::new()),
            Value::Object(map) => Ok(map),
            _ => Err(format!("{key} must be an object")),
        };
        let (with, replace) = (remove_map("$with")?, remove_map("$replace")?);
        self.files.read_json(&JsonSelection {
            file: &file,
            pointer: &pointer,
            with: &with,
            replace: &replace,
        })
    }

    fn repeat(&self, arguments: &Value) -> Result<Value, String> {
        let Some([value, count]) = arguments.as_array().map(Vec::as_slice) else {
            return Err("$repeat must be a list of a value and a number".to_owned());
        };
        let count = count
            .as_u64()
            .and_then(|count| usize::try_from(count).ok())
            .ok_or("$repeat must have a whole number as its second item")?;
        // With its comma.
        let item_bytes = value.to_string().len() + 1;
        match item_bytes.checked_mul(count) {
            Some(total) if total <= self.remaining_bytes => Ok(vec![value.clone(); count].into()),
            _ => Err(too_long()),
        }
    }
}

fn join(texts: &Value) -> Result<String, String> {
    let Value::Array(texts) = texts else {
        return Err("$join must be a list of texts".to_owned());
    };
    texts
        .iter()
        .map(|text| require_text(text, "$join"))
        .collect()
}

fn too_long() -> String {
    format!("the computed values of the case are too long (limit {MAX_COMPUTED_BYTES} bytes)")
}

fn require_text(value: &Value, key: &str) -> Result<String, String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("{key} needs text, got {value}"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    /// A case's directory in an engine's, with one file each, and a file outside both.
    fn case_files() -> (tempfile::TempDir, CaseFiles) {
        let outside = tempfile::tempdir().unwrap();
        let root = pinhole_ground::data_dir::open(outside.path()).unwrap();
        root.create_dir_all("engine/case").unwrap();
        root.write("secret.json", "1").unwrap();
        let engine = root.open_dir("engine").unwrap();
        let recorded = r#"{"list": [{"id": "old-1", "old-key": 2}], "a/b": 1}"#;
        engine.write("recorded.json", recorded).unwrap();
        let case = engine.open_dir("case").unwrap();
        case.write("words.txt", "some words").unwrap();
        (outside, CaseFiles { case, engine })
    }

    fn check(value: Value, expected: Value) {
        let (_directory, files) = case_files();
        assert_eq!(compute(value, &files).unwrap(), expected);
    }

    #[test]
    fn computation_starts_innermost() {
        check(
            json!({"a": {"$string": {"$join": ["x", "y"]}}}),
            json!({"a": "\"xy\""}),
        );
        check(json!({"$join": {"$repeat": ["ab", 3]}}), json!("ababab"));
        check(json!([{"$text_file": "words.txt"}]), json!(["some words"]));
        check(
            json!({"$same_pixels": "png 1x1"}),
            json!({"$same_pixels": "png 1x1"}),
        );
        let (_directory, files) = case_files();
        let base64 = compute(json!({"$picture": "gif 1x1"}), &files).unwrap();
        let bytes = base64_simd::STANDARD
            .decode_to_vec(base64.as_str().unwrap())
            .unwrap();
        assert_eq!(Bytes::from(bytes), test_image::encode("gif 1x1").unwrap());
    }

    #[test]
    fn computation_changes_selected_json() {
        check(
            json!({"$file": "recorded.json", "$at": "/list/0", "$replace": {"old": "new"},
                   "$with": {"/more": {"$repeat": [1, 2]}}}),
            json!({"id": "new-1", "new-key": 2, "more": [1, 1]}),
        );
        check(
            json!({"$file": "recorded.json", "$with": {"/list/1": 5, "/a~1b": 6}}),
            json!({"list": [{"id": "old-1", "old-key": 2}, 5], "a/b": 6}),
        );
    }

    #[test]
    fn computation_names_pointer_and_reason_of_error() {
        for (value, expected) in [
            (json!({"$file": "../secret.json"}), "secret.json"),
            (json!({"$file": "../../secret.json"}), "secret.json"),
            (json!({"$file": "/etc/hostname"}), "hostname"),
            (json!({"$file": "words.txt"}), "not JSON"),
            (json!({"$file": "recorded.json", "$at": "/x"}), "\"/x\""),
            (
                json!({"$file": "recorded.json", "$with": {"/x/y": 1}}),
                "\"/x/y\"",
            ),
            (json!({"$file": "recorded.json", "x": 1}), "$file with x"),
            (json!({"$pictur": "png 1x1"}), "$pictur"),
            (json!({"$picture": "png"}), "64x48"),
            (json!({"$repeat": [1, 1_000_000_000]}), "too long"),
            (json!({"$join": [1]}), "$join needs text"),
        ] {
            let (_directory, files) = case_files();
            let error = compute(json!({"a/b": [value]}), &files).unwrap_err();
            assert_eq!(error.pointer, "/a~1b/0");
            assert!(error.reason.contains(expected), "{}", error.reason);
        }
    }
}
