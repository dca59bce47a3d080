//! The fields that generations and edits share.

use serde::Deserialize;
use serde_json::{Map, Value};

use pinhole_sandbox::contract::Description;
use crate::jobs::{Requester, JobRequest, Jobs};
use crate::web::error::ApiError;

/// Drafts of one picture that a client may ask for.
const MAX_PARTIAL_IMAGES: u32 = 3;

/// OpenAI's own parameters, for the engine.
const PARAMETERS: &[&str] = &[
    "background",
    "input_fidelity",
    "moderation",
    "output_compression",
    "output_format",
    "quality",
    "style",
];

/// What an engine that speaks OpenAI's API asks of its upstream.
const OPENAI_REQUESTS: [&str; 2] = ["POST /images/", "POST /v1/images/"];

/// OpenAI's request but for its pictures. `engine`, `negative_prompt`, `steps` and `seed` are
/// additions; what is not known here is left alone.
#[derive(Deserialize)]
pub(super) struct Fields {
    #[serde(default)]
    prompt: String,
    model: Option<String>,
    n: Option<u32>,
    size: Option<String>,
    response_format: Option<Format>,
    stream: Option<bool>,
    partial_images: Option<u32>,
    engine: Option<String>,
    negative_prompt: Option<String>,
    steps: Option<u32>,
    seed: Option<u64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Copy, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Format {
    B64Json,
    Url,
}

/// How the pictures reach the client.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delivery {
    Base64,
    Url,
    /// As events, with so many drafts of each picture.
    Stream {
        partial_images: u32,
    },
}

impl Fields {
    /// How the pictures shall reach the client.
    pub(super) fn delivery(&self) -> Result<Delivery, ApiError> {
        let partial_images = self.partial_images.unwrap_or(0);
        if partial_images > MAX_PARTIAL_IMAGES {
            let message = format!("partial_images must be 0 to {MAX_PARTIAL_IMAGES}");
            return Err(ApiError::invalid("partial_images", message));
        }
        match (self.stream.unwrap_or(false), self.response_format) {
            (true, Some(Format::Url)) => Err(ApiError::invalid(
                "response_format",
                "a stream carries its pictures as b64_json: leave response_format or stream out",
            )),
            (true, _) => Ok(Delivery::Stream { partial_images }),
            (false, Some(Format::Url)) => Ok(Delivery::Url),
            (false, _) => Ok(Delivery::Base64),
        }
    }

    /// The job's request.
    ///
    /// An engine that speaks OpenAI's API gets the parameters as they came, and is asked for
    /// drafts where the client wants them. Any other reports drafts by itself, and is spared the
    /// values that mean what happens anyway: clients send them by habit, and it would refuse names
    /// that it does not know.
    pub(super) fn into_request(self, jobs: &Jobs, asker: Requester, edits: bool) -> JobRequest {
        let chosen = jobs.choose(self.engine.as_deref(), &asker, edits);
        let speaks_openai = chosen.is_ok_and(|it| speaks_openai(&it.component.description));
        let wants_drafts = self.stream == Some(true) && self.partial_images > Some(0);
        let mut parameters = parameters(self.rest, speaks_openai);
        if speaks_openai && wants_drafts {
            parameters.insert("stream".to_owned(), true.into());
            parameters.insert("partial_images".to_owned(), self.partial_images.into());
        }
        JobRequest {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            engine: self.engine,
            model: self.model,
            size: self.size,
            count: self.n,
            steps: self.steps,
            seed: self.seed,
            parameters,
            asker,
        }
    }
}

/// Does the engine say that it posts to OpenAI's own paths?
pub(in crate::web) fn speaks_openai(engine: &Description) -> bool {
    let mut requests = engine
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.requests);
    requests.any(|request| OPENAI_REQUESTS.iter().any(|own| request.starts_with(own)))
}

fn parameters(rest: Map<String, Value>, speaks_openai: bool) -> Map<String, Value> {
    let given = rest.into_iter().filter(|(name, value)| {
        PARAMETERS.contains(&name.as_str())
            && !value.is_null()
            && (speaks_openai || !is_default(name, value))
    });
    given.collect()
}

/// Is it what OpenAI does where the parameter is left out?
///
/// Source: OpenAI's reference of the images API.
fn is_default(name: &str, value: &Value) -> bool {
    match value {
        Value::String(word) => matches!(
            (name, word.as_str()),
            (_, "auto" | "")
                | ("input_fidelity", "low")
                | ("output_format", "png")
                | ("quality", "standard")
                | ("style", "vivid")
        ),
        value => name == "output_compression" && value == 100,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rest: Value, speaks_openai: bool, expected: Value) {
        let Value::Object(rest) = rest else { panic!() };
        let given = parameters(rest, speaks_openai);
        assert_eq!(Value::Object(given), expected);
    }

    #[test]
    fn what_means_the_default_is_for_openai_alone() {
        let habits = json!({
            "background": "auto", "input_fidelity": "low", "moderation": "auto",
            "output_compression": 100, "output_format": "png", "quality": "standard",
            "style": "vivid",
        });
        check(habits.clone(), false, json!({}));
        check(habits.clone(), true, habits);
        let wishes = json!({
            "background": "opaque", "input_fidelity": "high", "moderation": "low",
            "output_compression": 80, "output_format": "webp", "quality": "high",
            "style": "natural",
        });
        check(wishes.clone(), false, wishes.clone());
        check(wishes.clone(), true, wishes);
        let nothing = json!({"quality": null, "user": "u", "safety_identifier": "u", "x": 1});
        check(nothing.clone(), true, json!({}));
        check(nothing, false, json!({}));
    }

    #[test]
    fn a_stream_carries_base64() {
        let delivery = |body: Value| {
            let fields: Fields = serde_json::from_value(body).unwrap();
            fields.delivery().ok()
        };
        assert_eq!(delivery(json!({})), Some(Delivery::Base64));
        assert_eq!(
            delivery(json!({"response_format": "url"})),
            Some(Delivery::Url)
        );
        let stream = |partial_images| Some(Delivery::Stream { partial_images });
        assert_eq!(delivery(json!({"stream": true})), stream(0));
        let asked = json!({"stream": true, "partial_images": 3, "response_format": "b64_json"});
        assert_eq!(delivery(asked), stream(3));
        let both = json!({"stream": true, "response_format": "url"});
        assert_eq!(delivery(both), None);
        assert_eq!(delivery(json!({"partial_images": 4})), None);
    }
}
