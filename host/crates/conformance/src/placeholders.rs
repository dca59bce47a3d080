//! Patterns of a case, and the values of their placeholders such as `{seed}`.

mod comparison;
mod template;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use template::{Piece, parse_template};

pub(crate) use comparison::ObjectMatch;

/// Matches anything and has no value.
const ANY: &str = "any";

/// The values of the placeholders that have matched so far.
#[derive(Clone, Default)]
pub(crate) struct Placeholders(BTreeMap<String, Value>);

impl Placeholders {
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Compares JSON with a pattern: a line for each difference.
    pub(crate) fn compare(
        &mut self,
        pattern: &Value,
        actual: &Value,
        objects: ObjectMatch,
    ) -> Vec<String> {
        comparison::compare(self, pattern, actual, objects)
    }

    /// Whether a text pattern matches this value. If so, its new placeholders get values.
    fn matches(&mut self, pattern: &str, actual: &Value) -> bool {
        if let [Piece::Placeholder(name)] = parse_template(pattern).as_slice() {
            if *name == ANY {
                return true;
            }
            if let Some(value) = self.0.get(*name) {
                return value == actual;
            }
            self.set(name, actual.clone());
            return true;
        }
        actual
            .as_str()
            .is_some_and(|actual| self.matches_text(pattern, actual))
    }

    /// Whether a pattern matches this text. If so, its new placeholders get values.
    pub(crate) fn matches_text(&mut self, pattern: &str, actual: &str) -> bool {
        let mut attempt = self.clone();
        let matches = attempt.match_pieces(&parse_template(pattern), actual);
        if matches {
            *self = attempt;
        }
        matches
    }

    fn match_pieces(&mut self, pieces: &[Piece], text: &str) -> bool {
        let Some((first, rest)) = pieces.split_first() else {
            return text.is_empty();
        };
        let name = match first {
            Piece::Literal(literal) => {
                let after = text.strip_prefix(literal);
                return after.is_some_and(|after| self.match_pieces(rest, after));
            }
            Piece::Placeholder(name) => *name,
        };
        if let Some(value) = self.0.get(name) {
            let after = text.strip_prefix(&inline_text(value)).map(str::to_owned);
            return after.is_some_and(|after| self.match_pieces(rest, &after));
        }
        // The shortest text that lets the rest match.
        let ends: Box<dyn Iterator<Item = usize>> = match rest.first() {
            None => Box::new(std::iter::once(text.len())),
            Some(Piece::Literal(next)) => Box::new(text.match_indices(next).map(|(at, _)| at)),
            Some(Piece::Placeholder(_)) => {
                Box::new(text.char_indices().map(|(at, _)| at).chain([text.len()]))
            }
        };
        for end in ends {
            let Some((matched, after)) = text.split_at_checked(end) else {
                continue;
            };
            let mut attempt = self.clone();
            if name != ANY {
                attempt.set(name, matched.into());
            }
            if attempt.match_pieces(rest, after) {
                *self = attempt;
                return true;
            }
        }
        false
    }

    /// Replaces placeholders by their values, also in keys.
    pub(crate) fn fill(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match parse_template(text).as_slice() {
                [Piece::Placeholder(name)] => self.0.get(*name).unwrap_or(value).clone(),
                _ => self.fill_text(text).into(),
            },
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(entries) => {
                let filled: Map<String, Value> = entries
                    .iter()
                    .map(|(key, item)| (self.fill_text(key), self.fill(item)))
                    .collect();
                Value::Object(filled)
            }
            other => other.clone(),
        }
    }

    /// Replaces placeholders in a text by their values.
    pub(crate) fn fill_text(&self, text: &str) -> String {
        parse_template(text)
            .into_iter()
            .map(|piece| match piece {
                Piece::Literal(literal) => literal.to_owned(),
                Piece::Placeholder(name) => match self.0.get(name) {
                    Some(value) => inline_text(value),
                    None => format!("{{{name}}}"),
                },
            })
            .collect()
    }
}

/// A value inside a longer text.
fn inline_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn placeholders_fill_values_and_keys() {
        let mut placeholders = Placeholders::default();
        assert!(placeholders.matches_text("GET /ws?id={id}&x={any}", "GET /ws?id=7-a&x=1"));
        placeholders.set("n", json!(5));
        assert_eq!(
            placeholders.fill(&json!({"{id}": ["{n}", "n={n}", "{other} {", "{id}"]})),
            json!({"7-a": [5, "n=5", "{other} {", "7-a"]})
        );
    }
}
