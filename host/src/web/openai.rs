//! OpenAI's images API: JSON in, a job, JSON out.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::auth;
use super::error::{ApiError, OpenAiError, json_body};
use crate::app::App;
use crate::engine::Control;
use crate::images::Image;
use crate::jobs::{Finished, JobRequest};
use crate::store::now;

/// OpenAI's own parameters, handed to the engine as they are.
const PARAMETERS: &[&str] = &[
    "background",
    "moderation",
    "output_compression",
    "output_format",
    "quality",
    "style",
];

/// OpenAI's request. `engine`, `negative_prompt`, `steps` and `seed` are additions.
#[derive(Deserialize)]
struct GenerateBody {
    prompt: String,
    model: Option<String>,
    n: Option<u32>,
    size: Option<String>,
    response_format: Option<Format>,
    stream: Option<bool>,
    engine: Option<String>,
    negative_prompt: Option<String>,
    steps: Option<u32>,
    seed: Option<u64>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    B64Json,
    Url,
}

/// `POST /v1/images/generations`
///
/// Pictures are stored only where a `url` is asked for.
pub(super) async fn generate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, OpenAiError> {
    let user = auth::user(&app, &headers).await?;
    let body: GenerateBody = json_body(request).await?;
    if body.stream == Some(true) {
        let detail = "streaming is not supported yet: leave stream out";
        return Err(ApiError::invalid("stream", detail).into());
    }
    let format = body.response_format.unwrap_or_default();
    let control = Control::new(uuid::Uuid::new_v4().to_string());
    let finished = app.jobs.generate(job_request(body), &control).await?;
    match format {
        Format::B64Json => Ok(base64_reply(&finished)),
        Format::Url => {
            let kept = app.keep(&user, &finished, json!({})).await;
            let kept = kept.map_err(|error| ApiError::internal(&error))?;
            let data: Vec<Value> = kept.iter().map(|file| json!({"url": file.url()})).collect();
            Ok(axum::Json(json!({"created": now(), "data": data})).into_response())
        }
    }
}

fn job_request(body: GenerateBody) -> JobRequest {
    let parameters = body
        .rest
        .into_iter()
        .filter(|(name, _)| PARAMETERS.contains(&name.as_str()));
    JobRequest {
        prompt: body.prompt,
        negative_prompt: body.negative_prompt,
        engine: body.engine,
        model: body.model,
        size: body.size,
        count: body.n,
        steps: body.steps,
        seed: body.seed,
        parameters: parameters.collect(),
    }
}

/// The pictures in base64, written once into a buffer of the right size: they are most of the body.
fn base64_reply(finished: &Finished) -> Response {
    let length: usize = finished
        .images
        .iter()
        .map(|image| image.bytes().len() * 4 / 3 + 64)
        .sum();
    let mut text = String::with_capacity(length + 256);
    text.push_str(&format!("{{\"created\":{},\"data\":[", now()));
    for (index, image) in finished.images.iter().enumerate() {
        text.push_str(if index == 0 { "{" } else { ",{" });
        if let Some(prompt) = &finished.revised_prompt {
            text.push_str(&format!(
                "\"revised_prompt\":{},",
                Value::from(prompt.as_str())
            ));
        }
        text.push_str("\"b64_json\":\"");
        base64_simd::STANDARD.encode_append(image.bytes(), &mut text);
        text.push_str("\"}");
    }
    text.push(']');
    if let Some(format) = finished.images.first().and_then(output_format) {
        text.push_str(&format!(",\"output_format\":\"{format}\""));
    }
    text.push('}');
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// OpenAI's word for an image's type, where it has one.
fn output_format(image: &Image) -> Option<&'static str> {
    match image.media_type() {
        "image/png" => Some("png"),
        "image/jpeg" => Some("jpeg"),
        "image/webp" => Some("webp"),
        "image/gif" => Some("gif"),
        _ => None,
    }
}
