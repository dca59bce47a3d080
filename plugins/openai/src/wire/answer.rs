//! What an answer of status 200 holds, which is not always a picture.

use pinhole_sdk::words::cut;
use pinhole_sdk::{Error, Place};
use serde::Serialize;
use serde_json::Value;

use super::{MAX_COUNT, items, refusal, text};

/// Of a word such as a size or a quality, in bytes.
const MAX_WORD: usize = 40;

/// What an answer says.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) revised_prompt: Option<String>,
    /// The upstream's own name of the request.
    pub(super) request_id: Option<String>,
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

/// Where the pictures of a successful answer are, from one to [`MAX_COUNT`], and what it says. An
/// answer without a picture, or with more than anybody may ask for, is an error.
pub(crate) fn read(answer: &Value) -> Result<(Vec<Place>, Reading), Error> {
    let items = items(answer);
    let count = items.len();
    if count > MAX_COUNT as usize {
        return Err(Error::protocol(format!(
            "the upstream answered with {count} images: more than {MAX_COUNT} cannot be asked for"
        )));
    }
    let places: Vec<Place> = items
        .iter()
        .enumerate()
        .filter_map(|(index, item)| place(&format!("/data/{index}"), item))
        .collect();
    if places.is_empty() {
        return Err(refusal::without_picture(answer, items));
    }
    let revised = items.iter().find_map(|item| text(item, "revised_prompt"));
    Ok((places, Reading::of(answer, revised)))
}

impl Reading {
    /// What an answer, or an event, says of its pictures.
    pub(super) fn of(answer: &Value, revised_prompt: Option<&str>) -> Self {
        let said = |key| text(answer, key).map(|word| cut(word, MAX_WORD));
        Self {
            revised_prompt: revised_prompt.map(str::to_owned),
            request_id: None,
            made: Made {
                size: said("size"),
                quality: said("quality"),
                background: said("background"),
                output_format: said("output_format"),
            },
            usage: answer.get("usage").and_then(Usage::read),
        }
    }

    /// The same with the upstream's own name of the request.
    pub(crate) fn named(self, request_id: Option<String>) -> Self {
        Self { request_id, ..self }
    }
}

/// Where the picture of an item is, which itself stands at a pointer. Bytes are preferred to an
/// address. Some servers put a data URL where the address belongs.
pub(super) fn place(pointer: &str, item: &Value) -> Option<Place> {
    if text(item, "b64_json").is_some() {
        return Some(Place::Pointer(format!("{pointer}/b64_json")));
    }
    let url = text(item, "url")?;
    Some(if url.starts_with("data:") {
        Place::Pointer(format!("{pointer}/url"))
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
        let addresses = answer(include_str!("../../testdata/success-address.json"));
        let (places, reading) = read(&addresses).unwrap();
        let address = Place::Address("https://blob.example/x.png?sig=1".into());
        assert_eq!(places, [address, pointer("/data/1/url")]);
        assert_eq!(reading.revised_prompt.as_deref(), Some("A red fox."));

        let bytes = answer(include_str!("../../testdata/success-dall-e-3.json"));
        let (places, reading) = read(&bytes).unwrap();
        assert_eq!(places, [pointer("/data/0/b64_json")]);
        let revised = reading.revised_prompt.as_deref();
        assert_eq!(revised, Some("A red fox in the snow, at dusk."));
    }

    fn check_nothing(body: &str, kind: ErrorKind, words: &str) {
        let error = read(&answer(body)).unwrap_err();
        assert_eq!(error.kind, kind, "{body}");
        assert!(error.message.contains(words), "{}", error.message);
    }

    #[test]
    fn success_without_a_picture_is_an_error() {
        use ErrorKind::{Blocked, Protocol, Upstream};
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
        check_nothing(r#"{"error": "loading"}"#, Upstream, "loading");
        let many = json!({"data": vec![json!({"b64_json": "AAAA"}); 11]});
        check_nothing(&many.to_string(), Protocol, "11 images");
    }
}
