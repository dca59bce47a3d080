//! `ImageRequest`: the fields that generations and edits share.

use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use pinhole_sandbox::contract::{Description, ParameterKind};

use crate::jobs::JobRequest;
use crate::web::error::ApiError;
use crate::web::images::schema;

/// Preview images for each image of a stream.
const MAX_PARTIAL_IMAGES: u32 = 3;

/// Prefixes of the upstream requests that an engine of OpenAI's API declares.
const OPENAI_REQUESTS: [&str; 2] = ["POST /images/", "POST /v1/images/"];

/// A request of OpenAI's images API. [`ImageFields`](super::image_fields::ImageFields) refuses unknown fields.
#[derive(Deserialize, ToSchema)]
pub(super) struct ImageRequest {
    #[serde(default)]
    #[schema(schema_with = schema::prompt, required)]
    prompt: String,
    #[schema(schema_with = schema::model)]
    model: Option<String>,
    #[schema(schema_with = schema::image_count)]
    n: Option<u32>,
    #[schema(schema_with = schema::size)]
    size: Option<String>,
    response_format: Option<ResponseFormat>,
    /// Respond with a stream of events. Each event contains an image in base64.
    stream: Option<bool>,
    /// Preview images for each image of a stream.
    #[schema(minimum = 0, maximum = 3)]
    partial_images: Option<u32>,
    /// Not part of OpenAI's API: overrides the configured engine.
    engine: Option<String>,
    #[schema(schema_with = schema::negative_prompt)]
    negative_prompt: Option<String>,
    #[schema(schema_with = schema::steps)]
    steps: Option<u32>,
    #[schema(schema_with = schema::seed)]
    seed: Option<u64>,
    #[schema(schema_with = schema::strength)]
    strength: Option<f32>,
    // The engine validates the values of the following.
    #[schema(value_type = Option<String>)]
    background: Option<Value>,
    #[schema(value_type = Option<String>)]
    input_fidelity: Option<Value>,
    #[schema(value_type = Option<String>)]
    moderation: Option<Value>,
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 100)]
    output_compression: Option<Value>,
    #[schema(value_type = Option<String>)]
    output_format: Option<Value>,
    #[schema(value_type = Option<String>)]
    quality: Option<Value>,
    #[schema(value_type = Option<String>)]
    style: Option<Value>,
    /// Not part of OpenAI's API: parameters of the engine, each also as a field of its own. Unknown ones are refused.
    parameters: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ResponseFormat {
    B64Json,
    /// The images are stored; the response contains their URLs.
    Url,
}

/// The format of a response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Delivery {
    Base64,
    Url,
    /// Events, with at most this number of previews for each image.
    Stream {
        partial_images: u32,
    },
}

impl ImageRequest {
    /// The format of the response. Without `response_format`, the model decides as at OpenAI: the requested
    /// one, or else `default_model`. For models of other names, `prefers_urls` does.
    pub(super) fn delivery(
        &self,
        default_model: Option<&str>,
        prefers_urls: bool,
    ) -> Result<Delivery, ApiError> {
        let partial_images = self.partial_images.unwrap_or(0);
        if partial_images > MAX_PARTIAL_IMAGES {
            let message = format!("partial_images must be 0 to {MAX_PARTIAL_IMAGES}");
            return Err(ApiError::invalid("partial_images", message));
        }
        match (self.stream.unwrap_or(false), self.response_format) {
            (true, Some(ResponseFormat::Url)) => Err(ApiError::invalid(
                "response_format",
                "a stream contains images as b64_json only: remove response_format or stream",
            )),
            (true, _) => Ok(Delivery::Stream { partial_images }),
            (false, Some(ResponseFormat::Url)) => Ok(Delivery::Url),
            (false, Some(ResponseFormat::B64Json)) => Ok(Delivery::Base64),
            (false, None) => {
                let model = self.model().or(default_model).unwrap_or_default();
                let returns_urls = returns_urls(model).unwrap_or(prefers_urls);
                Ok(if returns_urls {
                    Delivery::Url
                } else {
                    Delivery::Base64
                })
            }
        }
    }

    /// The requested model.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref().filter(|model| !model.is_empty())
    }

    /// The name of the requested engine.
    pub(super) fn engine(&self) -> Option<&str> {
        self.engine.as_deref()
    }

    /// The request for an engine.
    ///
    /// An engine of OpenAI's API receives all parameters, and a request for previews if the client
    /// wants them. Other engines report previews without a request. They do not receive parameters
    /// with OpenAI's default values, which clients send by habit, because they refuse unknown names.
    pub(super) fn into_job_request(self, engine: &Description) -> JobRequest {
        let is_openai = is_openai_engine(engine);
        let wants_previews = self.stream == Some(true) && self.partial_images > Some(0);
        let mut parameters = self.parameters(is_openai);
        if is_openai && wants_previews {
            parameters.insert("stream".to_owned(), true.into());
            parameters.insert("partial_images".to_owned(), self.partial_images.into());
        }
        JobRequest {
            prompt: self.prompt,
            negative_prompt: self.negative_prompt,
            model: self.model,
            size: self.size,
            count: self.n,
            steps: self.steps,
            seed: self.seed,
            strength: self.strength,
            parameters: typed_parameters(parameters, engine),
        }
    }
}

/// Forms have only texts: converts those of parameters that the engine declares with another type.
fn typed_parameters(
    mut parameters: Map<String, Value>,
    engine: &Description,
) -> Map<String, Value> {
    for declared in &engine.parameters {
        let is_text = matches!(
            declared.kind,
            ParameterKind::Text | ParameterKind::Choice(_)
        );
        if !is_text
            && let Some(value) = parameters.get_mut(&declared.name)
            && let Value::String(text) = &*value
            && let Ok(typed @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(text)
        {
            *value = typed;
        }
    }
    parameters
}

impl ImageRequest {
    /// OpenAI's parameters for the engine.
    fn parameters(&self, is_openai: bool) -> Map<String, Value> {
        let named = [
            ("background", &self.background),
            ("input_fidelity", &self.input_fidelity),
            ("moderation", &self.moderation),
            ("output_compression", &self.output_compression),
            ("output_format", &self.output_format),
            ("quality", &self.quality),
            ("style", &self.style),
        ];
        let mut parameters = self.parameters.clone().unwrap_or_default();
        let sent = named
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?)))
            .filter(|(name, value)| is_openai || !is_default(name, value));
        parameters.extend(sent.map(|(name, value)| (name.to_owned(), value)));
        parameters
    }
}

/// Does OpenAI return URLs of this model's images, unless the request says otherwise? `None` if the name is not
/// one of OpenAI's. Gateways put a provider's name in front of it.
///
/// Source: OpenAI's reference of the images API, `response_format`.
fn returns_urls(model: &str) -> Option<bool> {
    let name = model.rsplit('/').next().unwrap_or(model);
    if name.starts_with("dall-e-") {
        return Some(true);
    }
    let returns_base64 = ["gpt-image-", "chatgpt-image-"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    returns_base64.then_some(false)
}

/// Does the engine declare requests to the paths of OpenAI's API?
pub(in crate::web) fn is_openai_engine(engine: &Description) -> bool {
    let mut requests = engine
        .upstreams
        .iter()
        .flat_map(|upstream| &upstream.requests);
    requests.any(|request| {
        OPENAI_REQUESTS
            .iter()
            .any(|prefix| request.starts_with(prefix))
    })
}

/// Is it the value that OpenAI's API uses if the parameter is missing?
///
/// Source: OpenAI's reference of the images API.
fn is_default(name: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => matches!(
            (name, text.as_str()),
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
    use utoipa::PartialSchema;

    use super::*;

    fn check(body: Value, is_openai: bool, expected: Value) {
        let request: ImageRequest = serde_json::from_value(body).unwrap();
        let parameters = request.parameters(is_openai);
        assert_eq!(Value::Object(parameters), expected);
    }

    #[test]
    fn only_openai_engines_receive_default_parameters() {
        let defaults = json!({
            "background": "auto", "input_fidelity": "low", "moderation": "auto",
            "output_compression": 100, "output_format": "png", "quality": "standard",
            "style": "vivid",
        });
        check(defaults.clone(), false, json!({}));
        check(defaults.clone(), true, defaults);
        let others = json!({
            "background": "opaque", "input_fidelity": "high", "moderation": "low",
            "output_compression": 80, "output_format": "webp", "quality": "high",
            "style": "natural",
        });
        check(others.clone(), false, others.clone());
        check(others.clone(), true, others);
        let unknown = json!({"quality": null, "user": "u", "safety_identifier": "u", "x": 1});
        check(unknown.clone(), true, json!({}));
        check(unknown, false, json!({}));
        let own = json!({"parameters": {"cfg_scale": 5, "quality": "low"}, "quality": "high"});
        check(own, false, json!({"cfg_scale": 5, "quality": "high"}));
    }

    #[test]
    fn stream_is_base64_with_limited_previews() {
        let delivery = |body: Value| {
            let request: ImageRequest = serde_json::from_value(body).unwrap();
            request.delivery(None, false).ok()
        };
        assert_eq!(delivery(json!({})), Some(Delivery::Base64));
        assert_eq!(
            delivery(json!({"response_format": "url"})),
            Some(Delivery::Url)
        );
        let stream = |partial_images| Some(Delivery::Stream { partial_images });
        assert_eq!(delivery(json!({"stream": true})), stream(0));
        let previews = json!({"stream": true, "partial_images": 3, "response_format": "b64_json"});
        assert_eq!(delivery(previews), stream(3));
        let url = json!({"stream": true, "response_format": "url"});
        assert_eq!(delivery(url), None);
        assert_eq!(delivery(json!({"partial_images": 4})), None);
    }

    #[test]
    fn model_decides_format_if_request_does_not() {
        #[track_caller]
        fn check(model: Option<&str>, default: Option<&str>, prefers_urls: bool, is_url: bool) {
            let request: ImageRequest = serde_json::from_value(json!({"model": model})).unwrap();
            let delivery = request.delivery(default, prefers_urls).ok();
            let expected = if is_url {
                Delivery::Url
            } else {
                Delivery::Base64
            };
            assert_eq!(delivery, Some(expected), "{model:?} {default:?}");
        }
        for prefers_urls in [false, true] {
            check(Some("dall-e-3"), None, prefers_urls, true);
            check(Some("openai/dall-e-2"), None, prefers_urls, true);
            check(Some("gpt-image-1"), None, prefers_urls, false);
            check(Some("chatgpt-image-latest"), None, prefers_urls, false);
            check(Some("flux"), Some("dall-e-3"), prefers_urls, prefers_urls);
            check(Some(""), Some("dall-e-3"), prefers_urls, true);
            check(None, Some("dall-e-3"), prefers_urls, true);
            check(None, None, prefers_urls, prefers_urls);
        }
        let request: ImageRequest =
            serde_json::from_value(json!({"model": "dall-e-3", "response_format": "b64_json"}))
                .unwrap();
        assert_eq!(request.delivery(None, true).ok(), Some(Delivery::Base64));
    }

    #[test]
    fn schema_states_preview_limit() {
        let schema = serde_json::to_value(ImageRequest::schema()).unwrap();
        let limit = &schema["properties"]["partial_images"]["maximum"];
        assert_eq!(*limit, MAX_PARTIAL_IMAGES);
    }
}
