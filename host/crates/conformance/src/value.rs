//! Values of a case that are computed: parts of files, pictures, long lists.

use bytes::Bytes;
use cap_std::fs::Dir;
use serde_json::{Map, Value};

use super::test_image;

/// Length of a file that a case names, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Length of all that a case computes, in bytes.
const MAX_COMPUTED_BYTES: usize = 64 << 20;

/// The files that a case may name: those of its own folder, then those of its engine's.
pub(crate) struct Files {
    /// The case's folder.
    pub(crate) case: Dir,
    /// The folder that the case's folder lies in.
    pub(crate) engine: Dir,
}

/// What is wrong in a case, and at which JSON pointer.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) place: String,
    pub(crate) why: String,
}

/// A part of a file, with changes.
pub(crate) struct Part<'a> {
    pub(crate) file: &'a str,
    /// A JSON pointer; the whole file when empty.
    pub(crate) at: &'a str,
    /// Values by the pointer in that part at which they are put in.
    pub(crate) with: &'a Map<String, Value>,
    /// Texts, and what takes their place in every string and key.
    pub(crate) replace: &'a Map<String, Value>,
}

impl Files {
    /// A file's bytes. Fails for what is not in the folders.
    pub(crate) fn read(&self, name: &str) -> Result<Bytes, String> {
        let named = |error: std::io::Error| format!("cannot read file {name:?}: {error}");
        let folder = match self.case.try_exists(name) {
            Ok(true) => &self.case,
            _ => &self.engine,
        };
        let length = folder.metadata(name).map_err(named)?.len();
        if length > MAX_FILE_BYTES {
            return Err(format!(
                "file {name:?} has {length} bytes; {MAX_FILE_BYTES} are allowed"
            ));
        }
        folder.read(name).map(Bytes::from).map_err(named)
    }

    /// A file's text.
    pub(crate) fn text(&self, name: &str) -> Result<String, String> {
        let bytes = self.read(name)?;
        let text = std::str::from_utf8(&bytes);
        Ok(text
            .map_err(|_| format!("file {name:?} is no text"))?
            .to_owned())
    }

    /// A part of a JSON file.
    pub(crate) fn part(&self, part: &Part) -> Result<Value, String> {
        let file = part.file;
        let whole: Value = serde_json::from_slice(&self.read(file)?)
            .map_err(|error| format!("file {file:?} is no JSON: {error}"))?;
        let found = whole.pointer(part.at);
        let mut found = found
            .cloned()
            .ok_or_else(|| format!("there is nothing at {:?} in file {file:?}", part.at))?;
        for (pointer, value) in part.with {
            put(&mut found, pointer, value.clone())?;
        }
        for (old, new) in part.replace {
            let Some(new) = new.as_str().filter(|_| !old.is_empty()) else {
                return Err("a replacement is a text for a text".to_owned());
            };
            exchange(&mut found, old, new);
        }
        Ok(found)
    }
}

/// Computes all that is to be computed in a case, innermost first.
pub(crate) fn compute(value: Value, files: &Files) -> Result<Value, Wrong> {
    let mut left = MAX_COMPUTED_BYTES;
    walk(value, "", files, &mut left)
}

fn walk(value: Value, place: &str, files: &Files, left: &mut usize) -> Result<Value, Wrong> {
    match value {
        Value::Array(items) => {
            let items = items.into_iter().enumerate();
            let computed = items.map(|(n, item)| walk(item, &format!("{place}/{n}"), files, left));
            computed.collect::<Result<_, _>>().map(Value::Array)
        }
        Value::Object(entries) => {
            let mut computed = Map::new();
            for (key, item) in entries {
                let place = format!("{place}/{}", escaped(&key));
                computed.insert(key, walk(item, &place, files, left)?);
            }
            if !computed.keys().any(|key| key.starts_with('$')) {
                return Ok(Value::Object(computed));
            }
            object(computed, files, left).map_err(|why| Wrong {
                place: place.to_owned(),
                why,
            })
        }
        plain => Ok(plain),
    }
}

/// What an object with a `$` key stands for.
fn object(
    mut object: Map<String, Value>,
    files: &Files,
    left: &mut usize,
) -> Result<Value, String> {
    let keys: Vec<String> = object.keys().cloned().collect();
    let mut take = |key: &str| object.remove(key).unwrap_or_default();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let computed = match keys.as_slice() {
        // A pattern's own.
        ["$same_pixels"] => return Ok(Value::Object(object)),
        ["$string"] => take("$string").to_string().into(),
        ["$text_file"] => files
            .text(&text(&take("$text_file"), "$text_file")?)?
            .into(),
        ["$picture"] => {
            let bytes = match take("$picture") {
                Value::String(words) => test_image::make(&words)?,
                other => match other.get("file").and_then(Value::as_str) {
                    Some(file) => files.read(file)?,
                    None => return Err("$picture takes a picture".to_owned()),
                },
            };
            base64_simd::STANDARD.encode_to_string(&bytes).into()
        }
        ["$join"] => {
            let Value::Array(pieces) = take("$join") else {
                return Err("$join takes a list of texts".to_owned());
            };
            let texts = pieces.iter().map(|piece| text(piece, "$join"));
            texts.collect::<Result<String, _>>()?.into()
        }
        ["$repeat"] => repeated(&take("$repeat"), *left)?,
        _ if keys.contains(&"$file")
            && keys
                .iter()
                .all(|key| ["$file", "$at", "$with", "$replace"].contains(key)) =>
        {
            let file = text(&take("$file"), "$file")?;
            let at = match take("$at") {
                Value::Null => String::new(),
                at => text(&at, "$at")?,
            };
            let mut map = |key| match take(key) {
                Value::Null => Ok(Map::new()),
                Value::Object(map) => Ok(map),
                _ => Err(format!("{key} takes an object")),
            };
            let (with, replace) = (map("$with")?, map("$replace")?);
            files.part(&Part {
                file: &file,
                at: &at,
                with: &with,
                replace: &replace,
            })?
        }
        _ => {
            return Err(format!(
                "{} is nothing that can be computed",
                keys.join(" with ")
            ));
        }
    };
    let length = computed.to_string().len();
    *left = left.checked_sub(length).ok_or_else(too_much)?;
    Ok(computed)
}

fn too_much() -> String {
    format!("the case computes more than {MAX_COMPUTED_BYTES} bytes")
}

fn repeated(given: &Value, left: usize) -> Result<Value, String> {
    let Some([value, times]) = given.as_array().map(Vec::as_slice) else {
        return Err("$repeat takes a list of a value and a number".to_owned());
    };
    let times = times.as_u64().and_then(|times| usize::try_from(times).ok());
    let times = times.ok_or("$repeat takes a value and a whole number")?;
    // With its comma.
    let length = value.to_string().len() + 1;
    match length.checked_mul(times) {
        Some(length) if length <= left => Ok(vec![value.clone(); times].into()),
        _ => Err(too_much()),
    }
}

fn text(value: &Value, key: &str) -> Result<String, String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("{key} takes text, not {value}"))
}

/// Puts a value at a pointer: into what is there, or as a new key of an object, or at a list's end.
fn put(whole: &mut Value, pointer: &str, value: Value) -> Result<(), String> {
    if let Some(place) = whole.pointer_mut(pointer) {
        *place = value;
        return Ok(());
    }
    let nowhere = || format!("nothing can be put at {pointer:?}");
    let (parent, key) = pointer.rsplit_once('/').ok_or_else(nowhere)?;
    let key = key.replace("~1", "/").replace("~0", "~");
    match whole.pointer_mut(parent) {
        Some(Value::Object(parent)) => {
            parent.insert(key, value);
        }
        Some(Value::Array(parent)) if key == parent.len().to_string() => parent.push(value),
        _ => return Err(nowhere()),
    }
    Ok(())
}

fn exchange(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) => *text = text.replace(old, new),
        Value::Array(items) => items.iter_mut().for_each(|item| exchange(item, old, new)),
        Value::Object(entries) => {
            *entries = std::mem::take(entries)
                .into_iter()
                .map(|(key, mut item)| {
                    exchange(&mut item, old, new);
                    (key.replace(old, new), item)
                })
                .collect();
        }
        _ => {}
    }
}

/// A key as a step of a JSON pointer.
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A case's folder in an engine's, with one file each, and a file outside both.
    fn files() -> (tempfile::TempDir, Files) {
        let outside = tempfile::tempdir().unwrap();
        let whole = pinhole_ground::data_dir::open(outside.path()).unwrap();
        whole.create_dir_all("engine/case").unwrap();
        whole.write("secret.json", "1").unwrap();
        let engine = whole.open_dir("engine").unwrap();
        let recorded = r#"{"list": [{"id": "old-1", "old-key": 2}], "a/b": 1}"#;
        engine.write("recorded.json", recorded).unwrap();
        let case = engine.open_dir("case").unwrap();
        case.write("words.txt", "some words").unwrap();
        (outside, Files { case, engine })
    }

    fn check(value: Value, expected: Value) {
        let (_folder, files) = files();
        assert_eq!(compute(value, &files).unwrap(), expected);
    }

    #[test]
    fn values_are_computed_innermost_first() {
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
        let (_folder, files) = files();
        let made = compute(json!({"$picture": "gif 1x1"}), &files).unwrap();
        let bytes = base64_simd::STANDARD
            .decode_to_vec(made.as_str().unwrap())
            .unwrap();
        assert_eq!(Bytes::from(bytes), test_image::make("gif 1x1").unwrap());
    }

    #[test]
    fn a_part_of_a_file_can_be_changed() {
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
    fn what_cannot_be_computed_is_named_with_its_place() {
        for (value, expected) in [
            (json!({"$file": "../secret.json"}), "secret.json"),
            (json!({"$file": "../../secret.json"}), "secret.json"),
            (json!({"$file": "/etc/hostname"}), "hostname"),
            (json!({"$file": "words.txt"}), "no JSON"),
            (json!({"$file": "recorded.json", "$at": "/x"}), "\"/x\""),
            (
                json!({"$file": "recorded.json", "$with": {"/x/y": 1}}),
                "\"/x/y\"",
            ),
            (json!({"$file": "recorded.json", "x": 1}), "$file with x"),
            (json!({"$pictur": "png 1x1"}), "$pictur"),
            (json!({"$picture": "png"}), "64x48"),
            (json!({"$repeat": [1, 1_000_000_000]}), "more than"),
            (json!({"$join": [1]}), "$join takes text"),
        ] {
            let (_folder, files) = files();
            let wrong = compute(json!({"a/b": [value]}), &files).unwrap_err();
            assert_eq!(wrong.place, "/a~1b/0");
            assert!(wrong.why.contains(expected), "{}", wrong.why);
        }
    }
}
