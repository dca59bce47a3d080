//! Open WebUI's chat completions: JSON in, a turn, the language model's answer out.

mod models;
mod prompt;
mod image_options;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::{Stream, StreamExt, stream};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth;
use super::error::{ApiError, json_body};
use super::openapi::shape;
use super::tasks;
use crate::app::App;
use crate::chat::model::Completion;
use crate::chat::{self, Reply, Turn};
use pinhole_egress as egress;
use crate::store::now;

/// Length of a chat's or message's id, in bytes.
const MAX_ID_BYTES: usize = 200;

/// Chat completions and their models, under both of their paths, and the prompts of pictures.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(complete))
        .routes(routes!(models::list))
        .route("/api/v1/models", get(models::list))
        .routes(routes!(prompt::complete))
        .route("/api/v1/chat/completions", post(complete))
}

/// `POST /api/chat/completions`
#[utoipa::path(
    post,
    path = "/api/chat/completions",
    tag = "chat",
    operation_id = "complete_chat",
    summary = "Answer a conversation, with a picture where one is asked for",
    request_body = shape::ChatRequest,
    responses(
        (status = 200, description = "the language model's answer", content(
            (shape::ChatAnswer = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "pictures are not for this user, and there is no language model"),
        (status = 404, description = "there is no such model, or the chat is somebody else's"),
        (status = 429, description = "the caller has too many answers under way"),
        (status = 502, description = "the language model cannot be reached"),
        (status = 503, description = "the server has too many answers under way"),
    ),
)]
async fn complete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = read(&app, &headers, request).await?;
    if goes_on_by_itself(&turn) {
        chat::check(&app, &turn).await?;
        return Ok(tasks::start(app, turn)?.into_response());
    }
    answer(&app, turn).await
}

/// A client that names its socket, its chat and its message is told by events.
fn goes_on_by_itself(turn: &Turn) -> bool {
    let named = |name: &str| {
        let id = turn.payload.get(name).and_then(Value::as_str);
        id.is_some_and(|id| !id.is_empty())
    };
    named("session_id") && named("chat_id") && named("id")
}

/// A chat request as the turn that it asks for.
pub(super) async fn read(
    app: &App,
    headers: &HeaderMap,
    request: Request,
) -> Result<Turn, ApiError> {
    let user = auth::user(app, headers).await?;
    let payload: Map<String, Value> = json_body(request).await?;
    if !payload.get("messages").is_some_and(Value::is_array) {
        return Err(ApiError::invalid("messages", "messages must be a list"));
    }
    let features = payload.get("features");
    let wanted = features.and_then(|features| features.get("image_generation"));
    let wanted = wanted.and_then(Value::as_bool).unwrap_or(false);
    let wants_picture = wanted && auth::may_make_pictures(app, &user).await?;
    if wanted && !wants_picture && app.chat_models.is_empty() {
        return Err(ApiError::prohibited());
    }
    let mut wishes = image_options::read(&payload)?;
    let model = payload.get("model").and_then(Value::as_str);
    let asker = app.asker(&user, model).await;
    wishes.asker = asker.map_err(|error| ApiError::internal(&error.into()))?;
    Ok(Turn {
        user,
        chat_id: id(&payload, "chat_id")?,
        message_id: id(&payload, "id")?.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        wants_picture,
        wishes,
        payload,
    })
}

/// Runs the turn: its answer is the request's.
pub(super) async fn answer(app: &App, turn: Turn) -> Result<Response, ApiError> {
    let text = |name: &str| turn.payload.get(name).and_then(Value::as_str);
    let model = text("model").unwrap_or_default().to_owned();
    let stream = turn.payload.get("stream").and_then(Value::as_bool);
    match chat::run(app, turn).await? {
        Reply::Words(words) => Ok(words_reply(&words, &model, stream.unwrap_or(false))),
        Reply::Model { answer, lead } => pass_on(*answer, lead, &model).await,
    }
}

impl From<chat::Error> for ApiError {
    fn from(error: chat::Error) -> Self {
        let status = match &error {
            chat::Error::NoModel => StatusCode::BAD_REQUEST,
            chat::Error::UnknownModel => {
                let unknown = Self::new(StatusCode::NOT_FOUND, error.to_string());
                return unknown.coded("model_not_found");
            }
            chat::Error::NoChat => StatusCode::NOT_FOUND,
            chat::Error::Model(source) => {
                tracing::warn!("the language model did not answer: {source}");
                StatusCode::BAD_GATEWAY
            }
            chat::Error::Store(_) => return Self::internal(&error.into()),
        };
        Self::new(status, error.to_string())
    }
}

fn id(payload: &Map<String, Value>, field: &str) -> Result<Option<String>, ApiError> {
    match payload.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) if id.len() <= MAX_ID_BYTES => Ok(Some(id.clone())),
        Some(_) => Err(ApiError::invalid(
            field,
            format!("{field} must be a text of at most {MAX_ID_BYTES} bytes"),
        )),
    }
}

/// Headers of a language model's answer that clients act on or show to those who help them.
fn is_passed_on(name: &HeaderName) -> bool {
    // These would tell whose the operator's key is.
    const OPERATORS: [&str; 2] = ["openai-organization", "openai-project"];
    const STARTS: [&str; 2] = ["openai-", "x-ratelimit-"];
    let name = name.as_str();
    ["retry-after", "retry-after-ms", "x-request-id"].contains(&name)
        || (STARTS.iter().any(|start| name.starts_with(start)) && !OPERATORS.contains(&name))
}

/// The model's answer as it comes, with the lead in front.
async fn pass_on(mut answer: Completion, lead: String, model: &str) -> Result<Response, ApiError> {
    let status = answer.status();
    let passed_on = answer.headers().filter(|(name, _)| is_passed_on(name));
    let passed_on = passed_on.map(|(name, value)| (name.clone(), value.clone()));
    let mut headers: HeaderMap = passed_on.collect();
    headers.insert(CONTENT_TYPE, answer.content_type());
    let body = match (lead.is_empty() || !status.is_success(), answer.streams()) {
        (true, _) => Body::from_stream(chunks(answer)),
        (false, true) => {
            let first = Bytes::from(format!(
                "data: {}\n\n",
                chunk(&new_id(), &lead, model, None)
            ));
            Body::from_stream(stream::iter([Ok(first)]).chain(chunks(answer)))
        }
        (false, false) => {
            let whole = answer.bytes().await.map_err(|error| {
                tracing::warn!("the language model's answer broke off: {error}");
                ApiError::new(
                    StatusCode::BAD_GATEWAY,
                    "the language model's answer broke off",
                )
            })?;
            Body::from(with_lead(&whole, &lead).map_or(whole, Bytes::from))
        }
    };
    Ok((status, headers, body).into_response())
}

fn chunks(answer: Completion) -> impl Stream<Item = Result<Bytes, egress::Error>> {
    stream::try_unfold(answer, async |mut answer| {
        Ok(answer.chunk().await?.map(|chunk| (chunk, answer)))
    })
}

/// A whole completion with the lead before its text. `None` when it is no completion.
fn with_lead(whole: &[u8], lead: &str) -> Option<String> {
    let mut completion: Value = serde_json::from_slice(whole).ok()?;
    let content = completion.pointer_mut("/choices/0/message/content")?;
    *content = format!("{lead}{}", content.as_str().unwrap_or_default()).into();
    Some(completion.to_string())
}

/// The answer where no language model is configured.
fn words_reply(words: &str, model: &str, streams: bool) -> Response {
    if streams {
        let id = new_id();
        let text = chunk(&id, words, model, None);
        let end = chunk(&id, "", model, Some("stop"));
        let body = format!("data: {text}\n\ndata: {end}\n\ndata: [DONE]\n\n");
        return ([(CONTENT_TYPE, "text/event-stream")], body).into_response();
    }
    let choice = json!({
        "index": 0,
        "message": {"role": "assistant", "content": words},
        "finish_reason": "stop",
    });
    axum::Json(completion(&new_id(), "chat.completion", model, choice)).into_response()
}

fn chunk(id: &str, text: &str, model: &str, finish_reason: Option<&str>) -> Value {
    let delta = match finish_reason {
        None => json!({"role": "assistant", "content": text}),
        Some(_) => json!({}),
    };
    let choice = json!({"index": 0, "delta": delta, "finish_reason": finish_reason});
    completion(id, "chat.completion.chunk", model, choice)
}

/// All chunks of one answer carry the same.
fn new_id() -> String {
    format!("chatcmpl-{}", uuid::Uuid::new_v4())
}

fn completion(id: &str, object: &str, model: &str, choice: Value) -> Value {
    json!({
        "id": id,
        "object": object,
        "created": now(),
        "model": model,
        "choices": [choice],
    })
}
