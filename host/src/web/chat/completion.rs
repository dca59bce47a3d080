//! Chat completions in OpenAI's format: those of a language model, and those that the server writes
//! itself.

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use pinhole_egress as egress;

use crate::chat::model::{Completion as ModelCompletion, parse_json};
use crate::store::now;
use crate::web::error::ApiError;
use crate::web::extractors::Json;
use crate::web::tasks::{Task, Tasks};

/// Length of a completion that gets a text in front of its own, in bytes.
const MAX_PREFIXED_BYTES: usize = 4 << 20;

/// The response to a chat completion request: the completion, or the task that computes it.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(in crate::web) enum ChatResponse {
    Completion(Completion),
    /// The response arrives as events: the request has `session_id`, `chat_id` and `id`.
    Task(Task),
    /// The responses arrive as events: the request has `session_id` and `message_ids`.
    Tasks(Tasks),
}

/// A chat completion, or a chunk of it.
#[derive(Serialize, ToSchema)]
pub(in crate::web) struct Completion {
    choices: Vec<Map<String, Value>>,
    /// OpenAI's other fields, and those of the language model.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The completion that the client expects.
pub(in crate::web) struct CompletionFormat {
    /// The requested model.
    pub(super) model: String,
    pub(super) is_stream: bool,
}

impl CompletionFormat {
    /// A completion with this text.
    pub(super) fn text_response(&self, text: &str) -> Response {
        let id = new_id();
        if self.is_stream {
            let first = self.chunk(&id, text);
            let last = self.last_chunk(&id);
            let body = format!("{first}{last}data: [DONE]\n\n");
            return ([(CONTENT_TYPE, "text/event-stream")], body).into_response();
        }
        let choice = json!({
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        });
        let completion = self.completion(&id, "chat.completion", choice);
        Json(ChatResponse::Completion(completion)).into_response()
    }

    /// Passes a language model's response on, with a text in front of its own.
    pub(super) async fn forward(
        &self,
        mut response: ModelCompletion,
        prefix: &str,
    ) -> Result<Response, ApiError> {
        let status = response.status();
        let mut headers: HeaderMap = response
            .headers()
            .filter(|(name, _)| is_forwarded(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        headers.insert(CONTENT_TYPE, response.content_type());
        let body = if prefix.is_empty() || !status.is_success() {
            Body::from_stream(body_chunks(response))
        } else if response.is_stream() {
            let first = Bytes::from(self.chunk(&new_id(), prefix));
            Body::from_stream(stream::iter([Ok(first)]).chain(body_chunks(response)))
        } else {
            let bytes = response.bytes(MAX_PREFIXED_BYTES).await.map_err(|error| {
                tracing::warn!("the language model's response is incomplete: {error}");
                let detail = "the language model's response is incomplete";
                ApiError::new(StatusCode::BAD_GATEWAY, detail).without_retry()
            })?;
            Body::from(with_prefix(&bytes, prefix).map_or(bytes, Bytes::from))
        };
        Ok((status, headers, body).into_response())
    }

    /// An event with a text of the completion.
    fn chunk(&self, id: &str, text: &str) -> String {
        let delta = json!({"role": "assistant", "content": text});
        self.event(
            id,
            json!({"index": 0, "delta": delta, "finish_reason": null}),
        )
    }

    fn last_chunk(&self, id: &str) -> String {
        self.event(
            id,
            json!({"index": 0, "delta": {}, "finish_reason": "stop"}),
        )
    }

    fn event(&self, id: &str, choice: Value) -> String {
        let completion = self.completion(id, "chat.completion.chunk", choice);
        let json = serde_json::to_string(&completion).unwrap_or_default();
        format!("data: {json}\n\n")
    }

    fn completion(&self, id: &str, object: &str, choice: Value) -> Completion {
        let rest = [
            ("id", Value::from(id)),
            ("object", object.into()),
            ("created", now().into()),
            ("model", self.model.as_str().into()),
        ];
        Completion {
            choices: choice.as_object().cloned().into_iter().collect(),
            rest: rest
                .map(|(name, value)| (name.to_owned(), value))
                .into_iter()
                .collect(),
        }
    }
}

/// The id of a completion and all its chunks.
fn new_id() -> String {
    format!("chatcmpl-{}", uuid::Uuid::new_v4())
}

/// Is it a header of a language model's response that clients use, or that users report?
fn is_forwarded(name: &HeaderName) -> bool {
    // They identify the operator's account.
    const PRIVATE: [&str; 2] = ["openai-organization", "openai-project"];
    const PREFIXES: [&str; 2] = ["openai-", "x-ratelimit-"];
    let name = name.as_str();
    [
        "retry-after",
        "retry-after-ms",
        "x-request-id",
        "x-should-retry",
    ]
    .contains(&name)
        || (PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !PRIVATE.contains(&name))
}

fn body_chunks(response: ModelCompletion) -> impl Stream<Item = Result<Bytes, egress::Error>> {
    stream::try_unfold(response, async |mut rest| {
        Ok(rest.chunk().await?.map(|chunk| (chunk, rest)))
    })
}

/// The completion with the prefix in front of its text; `None` if the body is not a completion.
fn with_prefix(body: &[u8], prefix: &str) -> Option<String> {
    let mut completion: Value = parse_json(body).ok()?;
    let content = completion.pointer_mut("/choices/0/message/content")?;
    *content = format!("{prefix}{}", content.as_str().unwrap_or_default()).into();
    Some(completion.to_string())
}
