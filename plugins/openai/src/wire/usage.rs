//! `Usage`: the tokens of a job, as the upstream counts them.

use pinhole_sdk::upstream_text::truncate;
use serde::Serialize;
use serde_json::{Map, Number, Value};

/// Counts of one object.
const MAX_COUNTS: usize = 20;
/// Bytes of a count's name.
const MAX_NAME_BYTES: usize = 60;

/// The names of a chat completion's counts, and those of the images API.
const CHAT_NAMES: [(&str, &str); 4] = [
    ("prompt_tokens", "input_tokens"),
    ("prompt_tokens_details", "input_tokens_details"),
    ("completion_tokens", "output_tokens"),
    ("completion_tokens_details", "output_tokens_details"),
];

/// The upstream's counts, and objects of counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Usage(Map<String, Value>);

impl Usage {
    /// `None` if all counts are missing or 0.
    pub(super) fn from_json(usage: &Value) -> Option<Self> {
        let counts = counts(usage, true);
        let is_zero = |value: &Value| value.as_f64() == Some(0.0) || is_empty(value);
        (!counts.values().all(is_zero)).then_some(Self(counts))
    }

    /// The same of a chat completion, with the names of the images API.
    pub(super) fn from_completion(usage: &Value) -> Option<Self> {
        let Self(mut counts) = Self::from_json(usage)?;
        for (chat_name, name) in CHAT_NAMES {
            if let Some(count) = counts.remove(chat_name) {
                counts.insert(name.to_owned(), count);
            }
        }
        Some(Self(counts))
    }

    /// What OpenRouter charges, in US dollars.
    pub(super) fn cost(&self) -> Option<f64> {
        self.0.get("cost")?.as_f64()
    }

    /// The sum of two usages.
    pub(super) fn sum(mut self, other: Self) -> Self {
        add_counts(&mut self.0, other.0);
        self
    }
}

/// The numbers of an object, and of the objects in it.
fn counts(object: &Value, has_objects: bool) -> Map<String, Value> {
    let members = object.as_object().into_iter().flatten();
    members
        .filter_map(|(name, value)| {
            let count = match value {
                Value::Number(number) => Value::Number(number.clone()),
                Value::Object(_) if has_objects => Value::Object(counts(value, false)),
                _ => return None,
            };
            Some((truncate(name, MAX_NAME_BYTES), count))
        })
        .filter(|(_, count)| !is_empty(count))
        .take(MAX_COUNTS)
        .collect()
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty)
}

fn add_counts(sum: &mut Map<String, Value>, other: Map<String, Value>) {
    for (name, value) in other {
        match (sum.get_mut(&name), value) {
            (Some(Value::Object(counts)), Value::Object(added)) => add_counts(counts, added),
            (Some(Value::Number(count)), Value::Number(added)) => *count = add(count, &added),
            (Some(_), _) => {}
            (None, value) => {
                sum.insert(name, value);
            }
        }
    }
}

/// Whole numbers remain whole.
fn add(a: &Number, b: &Number) -> Number {
    if let (Some(a), Some(b)) = (a.as_u64(), b.as_u64()) {
        return a.saturating_add(b).into();
    }
    let sum = a.as_f64().unwrap_or_default() + b.as_f64().unwrap_or_default();
    Number::from_f64(sum).unwrap_or_else(|| 0.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_holds_every_count() {
        let usage = json!({
            "input_tokens": 5, "input_tokens_details": {"image_tokens": 3, "text_tokens": 2},
            "output_tokens": 14417.92, "total_tokens": 14422.92, "cost": 0.25,
            "model": "x", "list": [1], "is_free": true, "empty": {},
        });
        let expected = json!({
            "input_tokens": 5, "input_tokens_details": {"image_tokens": 3, "text_tokens": 2},
            "output_tokens": 14417.92, "total_tokens": 14422.92, "cost": 0.25,
        });
        assert_eq!(json!(Usage::from_json(&usage)), expected);
        for nothing in [
            json!(null),
            json!({}),
            json!({"input_tokens": 0, "details": {}}),
            json!([1]),
        ] {
            assert_eq!(Usage::from_json(&nothing), None, "{nothing}");
        }
        let completion =
            json!({"prompt_tokens": 1, "completion_tokens_details": {"image_tokens": 2}});
        let counts = json!({"input_tokens": 1, "output_tokens_details": {"image_tokens": 2}});
        assert_eq!(json!(Usage::from_completion(&completion)), counts);
    }

    #[test]
    fn sum_adds_each_count() {
        let usage = |value: Value| Usage::from_json(&value).unwrap();
        let first = usage(json!({"total_tokens": 5, "details": {"image_tokens": 3}, "cost": 0.5}));
        let second = usage(json!({
            "total_tokens": u64::MAX, "details": {"image_tokens": 1, "text_tokens": 2}, "cost": 1,
        }));
        let expected = json!({
            "total_tokens": u64::MAX, "details": {"image_tokens": 4, "text_tokens": 2}, "cost": 1.5,
        });
        assert_eq!(json!(first.sum(second)), expected);
    }
}
