//! JSON and text as a case expects them, with names for what is not known before.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::test_image;
use super::value::escaped;

/// Characters of a value that a failure shows.
const MAX_SHOWN: usize = 200;

/// What the names of a case stand for, so far.
#[derive(Clone, Default)]
pub(crate) struct Names(BTreeMap<String, Value>);

/// A piece of a text.
enum Piece<'a> {
    Text(&'a str),
    Name(&'a str),
}

impl Names {
    /// Gives a name its value.
    pub(crate) fn bind(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Compares JSON. Where `more`, objects may hold more than the pattern does.
    ///
    /// A line for each difference: where it is, what was expected, and what came.
    pub(crate) fn compare(&mut self, pattern: &Value, came: &Value, more: bool) -> Vec<String> {
        let mut differences = Vec::new();
        self.walk(pattern, came, more, "", &mut differences);
        differences
    }

    fn walk(
        &mut self,
        pattern: &Value,
        came: &Value,
        more: bool,
        place: &str,
        differences: &mut Vec<String>,
    ) {
        let at = if place.is_empty() {
            String::new()
        } else {
            format!("at {place}: ")
        };
        match (pattern, came) {
            (Value::Object(pattern), came) if pattern.contains_key("$same_pixels") => {
                let words = pattern.get("$same_pixels").and_then(Value::as_str);
                if let Err(why) = same_pixels(words.unwrap_or_default(), came) {
                    differences.push(format!("{at}{why}"));
                }
            }
            (Value::Object(pattern), Value::Object(came)) => {
                for (key, pattern) in pattern {
                    let place = format!("{place}/{}", escaped(key));
                    match came.get(key) {
                        Some(came) => self.walk(pattern, came, more, &place, differences),
                        None => {
                            let missing = format!("at {place}: expected {}", shown(pattern));
                            differences.push(format!("{missing}, but it is not there"));
                        }
                    }
                }
                for (key, came) in came.iter().filter(|(key, _)| !pattern.contains_key(*key)) {
                    if !more {
                        let place = format!("{place}/{}", escaped(key));
                        let extra = format!("at {place}: expected nothing, came {}", shown(came));
                        differences.push(extra);
                    }
                }
            }
            (Value::Array(pattern), Value::Array(came)) => {
                if pattern.len() != came.len() {
                    let (expected, came) = (pattern.len(), came.len());
                    differences.push(format!("{at}expected {expected} items, came {came}"));
                }
                for (number, (pattern, came)) in pattern.iter().zip(came).enumerate() {
                    self.walk(
                        pattern,
                        came,
                        more,
                        &format!("{place}/{number}"),
                        differences,
                    );
                }
            }
            (Value::String(text), came) => {
                if !self.fits(text, came) {
                    let expected = shown(&self.fill(pattern));
                    differences.push(format!("{at}expected {expected}, came {}", shown(came)));
                }
            }
            (pattern, came) => {
                if pattern != came {
                    let expected = shown(pattern);
                    differences.push(format!("{at}expected {expected}, came {}", shown(came)));
                }
            }
        }
    }

    /// Does the text of a pattern stand for this value? Its new names are then bound.
    fn fits(&mut self, pattern: &str, came: &Value) -> bool {
        if let [Piece::Name(name)] = pieces(pattern).as_slice() {
            return match self.0.get(*name) {
                _ if *name == "any" => true,
                Some(known) => known == came,
                None => {
                    self.bind(name, came.clone());
                    true
                }
            };
        }
        came.as_str()
            .is_some_and(|came| self.fits_text(pattern, came))
    }

    /// Does a pattern stand for this text? Its new names are then bound.
    pub(crate) fn fits_text(&mut self, pattern: &str, came: &str) -> bool {
        let mut found = self.clone();
        let fits = found.fit(&pieces(pattern), came);
        if fits {
            *self = found;
        }
        fits
    }

    fn fit(&mut self, pieces: &[Piece], text: &str) -> bool {
        let Some((first, rest)) = pieces.split_first() else {
            return text.is_empty();
        };
        let name = match first {
            Piece::Text(expected) => {
                let after = text.strip_prefix(expected);
                return after.is_some_and(|after| self.fit(rest, after));
            }
            Piece::Name(name) => *name,
        };
        if let Some(known) = self.0.get(name) {
            let after = text.strip_prefix(&plain(known)).map(str::to_owned);
            return after.is_some_and(|after| self.fit(rest, &after));
        }
        let ends: Box<dyn Iterator<Item = usize>> = match rest.first() {
            None => Box::new(std::iter::once(text.len())),
            Some(Piece::Text(next)) => Box::new(text.match_indices(next).map(|(at, _)| at)),
            Some(Piece::Name(_)) => {
                Box::new(text.char_indices().map(|(at, _)| at).chain([text.len()]))
            }
        };
        for end in ends {
            let Some((taken, after)) = text.split_at_checked(end) else {
                continue;
            };
            let mut attempt = self.clone();
            if name != "any" {
                attempt.bind(name, taken.into());
            }
            if attempt.fit(rest, after) {
                *self = attempt;
                return true;
            }
        }
        false
    }

    /// The value with known names replaced by what they stand for, in keys too.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match pieces(text).as_slice() {
                [Piece::Name(name)] => self.0.get(*name).unwrap_or(value).clone(),
                _ => self.fill_text(text).into(),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(entries) => {
                let filled = entries.iter();
                let filled = filled.map(|(key, item)| (self.fill_text(key), self.fill(item)));
                Value::Object(filled.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    /// The text with known names replaced.
    pub(crate) fn fill_text(&self, text: &str) -> String {
        let pieces = pieces(text).into_iter().map(|piece| match piece {
            Piece::Text(text) => text.to_owned(),
            Piece::Name(name) => match self.0.get(name) {
                Some(value) => plain(value),
                None => format!("{{{name}}}"),
            },
        });
        pieces.collect()
    }
}

/// A text, taken apart at its names.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
    };
    let mut pieces = Vec::new();
    let (mut from, mut searched) = (0, 0);
    while let Some(open) = text.get(searched..).and_then(|rest| rest.find('{')) {
        let open = searched + open;
        searched = open + 1;
        let inside = text.get(searched..).unwrap_or_default();
        let Some(name) = inside
            .split('}')
            .next()
            .filter(|name| name.len() < inside.len() && is_name(name))
        else {
            continue;
        };
        if from < open {
            pieces.extend(text.get(from..open).map(Piece::Text));
        }
        pieces.push(Piece::Name(name));
        from = searched + name.len() + 1;
        searched = from;
    }
    if from < text.len() {
        pieces.extend(text.get(from..).map(Piece::Text));
    }
    pieces
}

/// A value inside a longer text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn same_pixels(words: &str, came: &Value) -> Result<(), String> {
    let expected = test_image::make(words)?;
    let bytes = came
        .as_str()
        .map(|text| text.split_once(";base64,").map_or(text, |(_, it)| it));
    let bytes = bytes.and_then(|text| base64_simd::STANDARD.decode_to_vec(text).ok());
    let bytes = bytes.ok_or_else(|| format!("expected base64, came {}", shown(came)))?;
    match test_image::same_pixels(&expected, &bytes) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("expected the pixels of {words:?}, came others")),
        Err(why) => Err(format!("expected the pixels of {words:?}, came {why}")),
    }
}

/// A value as a failure shows it: cut where it is long.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    let total = text.chars().count();
    if total <= MAX_SHOWN {
        return text;
    }
    let start: String = text.chars().take(MAX_SHOWN).collect();
    format!("{start}… ({total} characters)")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pattern: Value, came: Value, more: bool, expected: &[&str]) {
        assert_eq!(Names::default().compare(&pattern, &came, more), expected);
    }

    #[test]
    fn json_is_compared_exactly() {
        check(
            json!({"n": 2, "a": [1, null]}),
            json!({"a": [1, null], "n": 2}),
            false,
            &[],
        );
        check(
            json!({"n": 2}),
            json!({"n": "2"}),
            false,
            &["at /n: expected 2, came \"2\""],
        );
        check(
            json!({"n": 1}),
            json!({"n": 1.0}),
            false,
            &["at /n: expected 1, came 1.0"],
        );
        check(
            json!([1, 2]),
            json!([1]),
            false,
            &["expected 2 items, came 1"],
        );
        check(
            json!({"n": 2, "x/y": 1}),
            json!({"n": 2, "m": 3}),
            false,
            &[
                "at /x~1y: expected 1, but it is not there",
                "at /m: expected nothing, came 3",
            ],
        );
        check(
            json!({"a": {"n": 2}}),
            json!({"a": {"n": 2, "m": 3}, "b": 1}),
            true,
            &[],
        );
        check(
            json!({"a": [{}]}),
            json!({"a": [{"m": 3}, 1]}),
            true,
            &["at /a: expected 2 items, came 1"].map(|_| "at /a: expected 1 items, came 2"),
        );
    }

    #[test]
    fn a_name_stands_for_the_same_everywhere() {
        check(
            json!(["{x}", "{x}", "{any}", "{any}"]),
            json!([{"a": 1}, {"a": 1}, 2, 3]),
            false,
            &[],
        );
        check(
            json!(["{x}", "{x}"]),
            json!([1, 2]),
            false,
            &["at /1: expected 1, came 2"],
        );
        check(json!(["a{x}c", "{x}"]), json!(["abc", "b"]), false, &[]);
        check(json!(["{x}", "a{x}c"]), json!([5, "a5c"]), false, &[]);
        check(json!(["{x}-{y}", "{x}"]), json!(["1-2-3", "1"]), false, &[]);
        check(json!("{x}.{x}"), json!("ab.ab"), false, &[]);
        check(
            json!("{x}.{x}"),
            json!("ab.ac"),
            false,
            &["expected \"{x}.{x}\", came \"ab.ac\""],
        );
        check(json!("{any}{x}!"), json!("äöü!"), false, &[]);
        check(
            json!("a{x}"),
            json!(5),
            false,
            &["expected \"a{x}\", came 5"],
        );
        check(json!("{\"a\": {}}"), json!("{\"a\": {}}"), false, &[]);
    }

    #[test]
    fn known_names_are_filled_in() {
        let mut names = Names::default();
        assert!(names.fits_text("GET /ws?id={id}&x={any}", "GET /ws?id=7-a&x=1"));
        names.bind("n", json!(5));
        assert_eq!(
            names.fill(&json!({"{id}": ["{n}", "n={n}", "{other} {", "{id}"]})),
            json!({"7-a": [5, "n=5", "{other} {", "7-a"]})
        );
    }

    #[test]
    fn pixels_are_compared_whatever_the_bytes() {
        let words =
            |words| base64_simd::STANDARD.encode_to_string(test_image::make(words).unwrap());
        let pattern = json!({"m": {"$same_pixels": "png 4x4 mask"}});
        check(
            pattern.clone(),
            json!({"m": words("webp 4x4 mask")}),
            false,
            &[],
        );
        let url = format!("data:image/gif;base64,{}", words("gif 4x4 mask"));
        check(pattern.clone(), json!({"m": url}), false, &[]);
        let others = ["at /m: expected the pixels of \"png 4x4 mask\", came others"];
        check(
            pattern.clone(),
            json!({"m": words("png 4x4")}),
            false,
            &others,
        );
        check(
            pattern,
            json!({"m": 5}),
            false,
            &["at /m: expected base64, came 5"],
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        let shown = shown(&json!("ä".repeat(1000)));
        assert!(shown.ends_with("… (1002 characters)"), "{shown}");
    }
}
