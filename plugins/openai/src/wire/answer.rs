//! What an answer of status 200 holds, which is not always a picture.

use pinhole_sdk::Error;
use serde::Serialize;
use serde_json::Value;

use super::words::cut;
use super::{MAX_COUNT, items, refusal, text};

/// Of a word such as a size or a quality, in bytes.
const MAX_WORD: usize = 40;

/// Where a picture of an answer is.
#[derive(Debug, PartialEq)]
pub(crate) enum Place {
    /// Its base64 stands at this JSON pointer.
    Pointer(String),
    /// It has to be fetched.
    Address(String),
}

/// What an answer says.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Never empty, and never more than [`MAX_COUNT`].
    pub(crate) places: Vec<Place>,
    pub(crate) revised_prompt: Option<String>,
    pub(super) made: Made,
    pub(super) usage: Option<Usage>,
}

/// What the upstream says of the pictures it made.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Made {
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    background: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_format: Option<String>,
}

/// In tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

/// What a successful answer holds. An answer without a picture is an error.
pub(crate) fn read(answer: &Value) -> Result<Reading, Error> {
    let items = items(answer);
    let places: Vec<Place> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| place(index, item))
        .take(MAX_COUNT as usize)
        .collect();
    if places.is_empty() {
        return Err(refusal::without_picture(answer, items));
    }
    let said = |key| text(answer, key).map(|word| cut(word, MAX_WORD));
    Ok(Reading {
        places,
        revised_prompt: items
            .iter()
            .find_map(|item| text(item, "revised_prompt"))
            .map(str::to_owned),
        made: Made {
            size: said("size"),
            quality: said("quality"),
            background: said("background"),
            output_format: said("output_format"),
        },
        usage: answer.get("usage").and_then(Usage::read),
    })
}

/// Bytes are preferred to an address. Some servers put a data URL where the address belongs.
fn place(index: usize, item: &Value) -> Option<Place> {
    if text(item, "b64_json").is_some() {
        return Some(Place::Pointer(format!("/data/{index}/b64_json")));
    }
    let url = text(item, "url")?;
    Some(if url.starts_with("data:") {
        Place::Pointer(format!("/data/{index}/url"))
    } else {
        Place::Address(url.into())
    })
}

impl Usage {
    fn read(usage: &Value) -> Option<Self> {
        let count = |key| usage.get(key).and_then(Value::as_u64).unwrap_or(0);
        let read = Self {
            input_tokens: count("input_tokens"),
            output_tokens: count("output_tokens"),
            total_tokens: count("total_tokens"),
        };
        (read != Self::default()).then_some(read)
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
            total_tokens: self.total_tokens.saturating_add(other.total_tokens),
        }
    }
}

#[cfg(test)]
mod tests {
    use pinhole_sdk::ErrorKind;
    use serde_json::json;

    use super::*;

    fn answer(body: &str) -> Value {
        serde_json::from_str(body).unwrap()
    }

    fn pointer(pointer: &str) -> Place {
        Place::Pointer(pointer.into())
    }

    #[test]
    fn pictures_are_found_as_bytes_and_as_addresses() {
        let reading = read(&answer(include_str!("../../testdata/success-address.json"))).unwrap();
        let address = Place::Address("https://blob.example/x.png?sig=1".into());
        assert_eq!(reading.places, [address, pointer("/data/1/url")]);
        assert_eq!(reading.revised_prompt.as_deref(), Some("A red fox."));

        let reading = read(&answer(include_str!(
            "../../testdata/success-dall-e-3.json"
        )))
        .unwrap();
        assert_eq!(reading.places, [pointer("/data/0/b64_json")]);
        let revised = reading.revised_prompt.as_deref();
        assert_eq!(revised, Some("A red fox in the snow, at dusk."));
    }

    #[test]
    fn no_more_pictures_are_read_than_a_job_may_ask_for() {
        let items = vec![json!({"b64_json": "AAAA"}); 50];
        let reading = read(&json!({"data": items})).unwrap();
        assert_eq!(reading.places.len(), MAX_COUNT as usize);
    }

    fn check_nothing(body: &str, kind: ErrorKind, words: &str) {
        let error = read(&answer(body)).unwrap_err();
        assert_eq!(error.kind, kind, "{body}");
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn success_without_a_picture_is_an_error() {
        use ErrorKind::{Blocked, Protocol};
        for body in [
            "{}",
            "[]",
            "null",
            "7",
            r#"{"data": null}"#,
            r#"{"created": 1, "data": []}"#,
            r#"{"data": [{}, 1, null, {"b64_json": ""}, {"url": 5}]}"#,
        ] {
            check_nothing(body, Protocol, "said success but gave no image");
        }
        let filtered = include_str!("../../testdata/success-filtered.json");
        check_nothing(filtered, Blocked, "categories: sexual");
        let error = r#"{"error": {"code": "moderation_blocked", "message": "not this"}}"#;
        check_nothing(error, Blocked, "not this");
        check_nothing(r#"{"error": "loading"}"#, Protocol, "loading");
    }
}
