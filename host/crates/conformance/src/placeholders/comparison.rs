//! Comparison of JSON with a pattern.

use serde_json::{Map, Value};

use super::Placeholders;
use crate::display::{counted, truncated};
use crate::json_pointer::escape_key;
use crate::test_image;

/// The pattern object that compares pixels instead of JSON.
const SAME_PIXELS: &str = "$same_pixels";

/// Whether an object may have keys that its pattern lacks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectMatch {
    /// The same keys.
    Exact,
    /// At least the keys of the pattern.
    Subset,
}

/// A line for each difference: its JSON pointer, what was expected, and the actual value.
pub(super) fn compare(
    placeholders: &mut Placeholders,
    pattern: &Value,
    actual: &Value,
    objects: ObjectMatch,
) -> Vec<String> {
    let mut comparison = Comparison {
        placeholders,
        objects,
        differences: Vec::new(),
    };
    comparison.compare_value(pattern, actual, "");
    comparison.differences
}

struct Comparison<'a> {
    placeholders: &'a mut Placeholders,
    objects: ObjectMatch,
    differences: Vec<String>,
}

impl Comparison<'_> {
    fn compare_value(&mut self, pattern: &Value, actual: &Value, pointer: &str) {
        match (pattern, actual) {
            (Value::Object(pattern), actual) if pattern.contains_key(SAME_PIXELS) => {
                let spec = pattern.get(SAME_PIXELS).and_then(Value::as_str);
                if let Err(difference) = compare_pixels(spec.unwrap_or_default(), actual) {
                    self.add(pointer, &difference);
                }
            }
            (Value::Object(pattern), Value::Object(actual)) => {
                self.compare_object(pattern, actual, pointer);
            }
            (Value::Array(pattern), Value::Array(actual)) => {
                self.compare_array(pattern, actual, pointer);
            }
            (Value::String(text), actual) => {
                if !self.placeholders.matches(text, actual) {
                    let expected = self.placeholders.fill(pattern);
                    self.add_unequal(pointer, &expected, actual);
                }
            }
            (pattern, actual) => {
                if pattern != actual {
                    self.add_unequal(pointer, pattern, actual);
                }
            }
        }
    }

    fn compare_object(
        &mut self,
        pattern: &Map<String, Value>,
        actual: &Map<String, Value>,
        pointer: &str,
    ) {
        for (key, value_pattern) in pattern {
            let key_pointer = format!("{pointer}/{}", escape_key(key));
            match actual.get(key) {
                Some(value) => self.compare_value(value_pattern, value, &key_pointer),
                None => {
                    let expected = truncated(value_pattern);
                    self.add(&key_pointer, &format!("expected {expected}, got nothing"));
                }
            }
        }
        if self.objects == ObjectMatch::Subset {
            return;
        }
        for (key, value) in actual {
            if !pattern.contains_key(key) {
                let key_pointer = format!("{pointer}/{}", escape_key(key));
                let got = truncated(value);
                self.add(&key_pointer, &format!("expected nothing, got {got}"));
            }
        }
    }

    fn compare_array(&mut self, pattern: &[Value], actual: &[Value], pointer: &str) {
        if pattern.len() != actual.len() {
            let expected = counted(pattern.len(), "item");
            self.add(
                pointer,
                &format!("expected {expected}, got {}", actual.len()),
            );
        }
        for (index, (item_pattern, item)) in pattern.iter().zip(actual).enumerate() {
            self.compare_value(item_pattern, item, &format!("{pointer}/{index}"));
        }
    }

    fn add_unequal(&mut self, pointer: &str, expected: &Value, actual: &Value) {
        let (expected, got) = (truncated(expected), truncated(actual));
        self.add(pointer, &format!("expected {expected}, got {got}"));
    }

    fn add(&mut self, pointer: &str, difference: &str) {
        self.differences.push(match pointer {
            "" => difference.to_owned(),
            pointer => format!("at {pointer}: {difference}"),
        });
    }
}

/// Compares the pixels of an image in base64 with those of a test image.
fn compare_pixels(spec: &str, actual: &Value) -> Result<(), String> {
    let expected = test_image::encode(spec)?;
    let base64 = actual
        .as_str()
        .map(|text| text.split_once(";base64,").map_or(text, |(_, data)| data));
    let bytes = base64
        .and_then(|text| base64_simd::STANDARD.decode_to_vec(text).ok())
        .ok_or_else(|| format!("expected base64, got {}", truncated(actual)))?;
    match test_image::has_same_pixels(&expected, &bytes) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("expected the pixels of {spec:?}, got others")),
        Err(error) => Err(format!("expected the pixels of {spec:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(pattern: &Value, actual: &Value, objects: ObjectMatch) -> Vec<String> {
        Placeholders::default().compare(pattern, actual, objects)
    }

    #[track_caller]
    fn check(pattern: Value, actual: Value, expected: &[&str]) {
        assert_eq!(differences(&pattern, &actual, ObjectMatch::Exact), expected);
    }

    #[track_caller]
    fn check_subset(pattern: Value, actual: Value, expected: &[&str]) {
        assert_eq!(
            differences(&pattern, &actual, ObjectMatch::Subset),
            expected
        );
    }

    #[test]
    fn comparison_is_exact() {
        check(
            json!({"n": 2, "a": [1, null]}),
            json!({"a": [1, null], "n": 2}),
            &[],
        );
        check(
            json!({"n": 2}),
            json!({"n": "2"}),
            &["at /n: expected 2, got \"2\""],
        );
        check(
            json!({"n": 1}),
            json!({"n": 1.0}),
            &["at /n: expected 1, got 1.0"],
        );
        check(json!([1, 2]), json!([1]), &["expected 2 items, got 1"]);
        check(
            json!({"n": 2, "x/y": 1}),
            json!({"n": 2, "m": 3}),
            &[
                "at /x~1y: expected 1, got nothing",
                "at /m: expected nothing, got 3",
            ],
        );
    }

    #[test]
    fn comparison_of_subset_allows_more_keys_but_not_more_items() {
        check_subset(
            json!({"a": {"n": 2}}),
            json!({"a": {"n": 2, "m": 3}, "b": 1}),
            &[],
        );
        check_subset(
            json!({"a": [{}]}),
            json!({"a": [{"m": 3}, 1]}),
            &["at /a: expected 1 item, got 2"],
        );
    }

    #[test]
    fn comparison_gives_placeholder_one_value() {
        check(
            json!(["{x}", "{x}", "{any}", "{any}"]),
            json!([{"a": 1}, {"a": 1}, 2, 3]),
            &[],
        );
        check(
            json!(["{x}", "{x}"]),
            json!([1, 2]),
            &["at /1: expected 1, got 2"],
        );
        check(json!(["a{x}c", "{x}"]), json!(["abc", "b"]), &[]);
        check(json!(["{x}", "a{x}c"]), json!([5, "a5c"]), &[]);
        check(json!(["{x}-{y}", "{x}"]), json!(["1-2-3", "1"]), &[]);
        check(json!("{x}.{x}"), json!("ab.ab"), &[]);
        check(
            json!("{x}.{x}"),
            json!("ab.ac"),
            &["expected \"{x}.{x}\", got \"ab.ac\""],
        );
        check(json!("{any}{x}!"), json!("äöü!"), &[]);
        check(json!("a{x}"), json!(5), &["expected \"a{x}\", got 5"]);
        check(json!("{\"a\": {}}"), json!("{\"a\": {}}"), &[]);
    }

    #[test]
    fn comparison_of_pixels_ignores_format() {
        let base64 =
            |spec| base64_simd::STANDARD.encode_to_string(test_image::encode(spec).unwrap());
        let pattern = json!({"m": {"$same_pixels": "png 4x4 mask"}});
        check(pattern.clone(), json!({"m": base64("webp 4x4 mask")}), &[]);
        let url = format!("data:image/gif;base64,{}", base64("gif 4x4 mask"));
        check(pattern.clone(), json!({"m": url}), &[]);
        check(
            pattern.clone(),
            json!({"m": base64("png 4x4")}),
            &["at /m: expected the pixels of \"png 4x4 mask\", got others"],
        );
        check(pattern, json!({"m": 5}), &["at /m: expected base64, got 5"]);
    }
}
