//! `Usage`: the tokens of a job, in the terms of each dialect.

use pinhole_ground::text::is_plain;
use serde::Serialize;
use serde_json::{Map, Number, Value, json};
use utoipa::ToSchema;

use super::set_member;

/// Other counts of one usage.
const MAX_OTHERS: usize = 20;
/// Length of the name of another count, in bytes.
const MAX_NAME_BYTES: usize = 60;

/// The cost of a job in tokens; zeros if the upstream reports none. Other counts of the upstream are added.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub(super) struct Usage {
    input_tokens: u64,
    input_tokens_details: TokenDetails,
    output_tokens: u64,
    output_tokens_details: TokenDetails,
    total_tokens: u64,
    #[serde(flatten)]
    #[schema(ignore)]
    others: Map<String, Value>,
}

/// Tokens by kind.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
struct TokenDetails {
    image_tokens: u64,
    text_tokens: u64,
    #[serde(flatten)]
    #[schema(ignore)]
    others: Map<String, Value>,
}

impl Usage {
    /// Reads the usage that an engine reports.
    pub(super) fn from_json(usage: &Value) -> Self {
        let details = |name| TokenDetails::from_json(usage.get(name).unwrap_or_default());
        Self {
            input_tokens: count(usage, "input_tokens"),
            input_tokens_details: details("input_tokens_details"),
            output_tokens: count(usage, "output_tokens"),
            output_tokens_details: details("output_tokens_details"),
            total_tokens: count(usage, "total_tokens"),
            others: others(usage, &["input_tokens", "output_tokens", "total_tokens"]),
        }
    }

    /// As in a chat completion.
    pub(super) fn to_chat_json(&self) -> Value {
        json!({
            "prompt_tokens": self.input_tokens,
            "prompt_tokens_details": {"cached_tokens": self.input_tokens_details.cached()},
            "completion_tokens": self.output_tokens,
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "image_tokens": self.output_tokens_details.image_tokens,
            },
            "total_tokens": self.total_tokens,
        })
    }

    /// As in a response of the responses API.
    pub(super) fn to_response_json(&self) -> Value {
        let mut usage = json!(self);
        if let Some(input) = usage.get_mut("input_tokens_details") {
            let cached = self.input_tokens_details.cached();
            set_member(input, "cached_tokens", cached.into());
        }
        if let Some(output) = usage.get_mut("output_tokens_details") {
            set_member(output, "reasoning_tokens", 0.into());
        }
        usage
    }
}

impl TokenDetails {
    fn from_json(details: &Value) -> Self {
        Self {
            image_tokens: count(details, "image_tokens"),
            text_tokens: count(details, "text_tokens"),
            others: others(details, &["image_tokens", "text_tokens"]),
        }
    }

    fn cached(&self) -> u64 {
        self.others
            .get("cached_tokens")
            .and_then(Value::as_u64)
            .unwrap_or(0)
    }
}

/// A count; some upstreams report fractions.
fn count(counts: &Value, name: &str) -> u64 {
    let Some(number) = counts.get(name).and_then(Value::as_number) else {
        return 0;
    };
    let rounded = || number.as_f64().map_or(0, |count| count.round() as u64);
    number.as_u64().unwrap_or_else(rounded)
}

/// The numbers with other names.
fn others(counts: &Value, known: &[&str]) -> Map<String, Value> {
    let is_other =
        |name: &&String| !known.contains(&name.as_str()) && is_plain(name, MAX_NAME_BYTES);
    let numbers = counts.as_object().into_iter().flatten();
    numbers
        .filter_map(|(name, value)| Some((name, value.as_number()?)))
        .filter(|(name, _)| is_other(name))
        .take(MAX_OTHERS)
        .map(|(name, number): (&String, &Number)| (name.clone(), number.clone().into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_whole_and_zero_where_the_schema_requires_members() {
        let check = |reported: Value, expected: Value| {
            assert_eq!(json!(Usage::from_json(&reported)), expected, "{reported}");
        };
        let zeros = json!({"image_tokens": 0, "text_tokens": 0});
        let none = json!({
            "input_tokens": 0, "input_tokens_details": zeros, "output_tokens": 0,
            "output_tokens_details": zeros, "total_tokens": 0,
        });
        check(json!(null), none.clone());
        check(
            json!({"input_tokens": "5", "x": [1], "total_tokens": -1}),
            none,
        );
        let reported = json!({
            "input_tokens": 50, "output_tokens": 14417.92, "total_tokens": 100, "cost": 0.04,
            "input_tokens_details": {"image_tokens": 40, "text_tokens": 10, "cached_tokens": 3},
        });
        let mut expected = reported.clone();
        expected["output_tokens"] = 14418.into();
        expected["output_tokens_details"] = zeros;
        check(reported.clone(), expected);
        let response = Usage::from_json(&reported).to_response_json();
        assert_eq!(response["input_tokens_details"]["cached_tokens"], 3);
        assert_eq!(response["output_tokens_details"]["reasoning_tokens"], 0);
        let chat = Usage::from_json(&reported).to_chat_json();
        assert_eq!(chat["prompt_tokens"], 50);
        assert_eq!(chat["prompt_tokens_details"]["cached_tokens"], 3);
    }
}
