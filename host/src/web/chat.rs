//! Open WebUI's chat API: runs a turn, and responds with a language model's completion.

mod choices;
mod completion;
mod image_options;
mod models;
mod prompt;
mod request;
mod responses;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode};
use pinhole_ground::shares::{Share, SharesFull};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth::{self, ChatUser};
use super::error::{ApiError, SHOULD_RETRY};
use super::extractors::Json;
use super::held_body::hold;
use super::json_body::JsonLimits;
use super::tasks;
use crate::app::App;
use crate::chat::{self, Reply, Turn, UpstreamWork};
use crate::clients::MAX_CHATS;
use crate::store;

pub(super) use choices::check as check_choices;
use completion::CompletionFormat;
pub(super) use completion::{ChatResponse, Completion};
pub(super) use image_options::ImageOptions;
pub use request::MAX_RESPONSES;
pub(super) use request::{ChatBody, ChatRequest};

/// Wait for another chat completion to end, in milliseconds.
const CHAT_RETRY_MS: u64 = 1_000;
/// Length of the body of a chat completion request, in bytes.
pub const MAX_COMPLETION_BODY_BYTES: usize = 32 << 20;
/// Limits of a chat completion request. A string may be an image.
pub(super) const COMPLETION_JSON: JsonLimits = JsonLimits::long(MAX_COMPLETION_BODY_BYTES, 200_000);

/// The routes of chats and models, each under both of its paths, and of image prompts.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(complete).layer(Extension(COMPLETION_JSON)))
        .routes(routes!(models::list))
        .route("/api/v1/models", get(models::list))
        .routes(routes!(prompt::complete).layer(Extension(COMPLETION_JSON)))
        .route(
            "/api/v1/chat/completions",
            post(complete).layer(Extension(COMPLETION_JSON)),
        )
}

/// `POST /api/chat/completions`
#[utoipa::path(
    post,
    path = "/api/chat/completions",
    tag = "chat",
    operation_id = "complete_chat",
    summary = "Run a turn of a chat. Generates or edits an image if the request asks for it",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "the language model's completion", content(
            (ChatResponse = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "the user may not generate images, and no language model is configured"),
        (status = 404, description = "unknown model, or unknown chat"),
        (status = 409, description = "the chat lacks the parent of `user_message`, or has another message with one of the ids"),
        (status = 429, description = "the user has sent too many requests, or has too many running turns"),
        (status = 502, description = "the language model is unavailable"),
        (status = 503, description = "the server has too many running turns"),
    ),
)]
async fn complete(
    State(app): State<Arc<App>>,
    ChatUser(user): ChatUser,
    body: ChatBody,
) -> Result<Response, ApiError> {
    if body.request.names_responses(&body.payload) {
        let tasks = responses::start(&app, user, body).await?;
        return Ok(Json(ChatResponse::Tasks(tasks)).into_response());
    }
    if !body.request.runs_in_background() {
        return run_turn(&app, user, body).await;
    }
    let turn = start_turn(&app, user, body).await?;
    chat::check(&app.chat, &turn).await?;
    let task = tasks::start(&app, turn)?;
    Ok(Json(ChatResponse::Task(task)).into_response())
}

/// Runs a turn and responds with its completion.
pub(super) async fn run_turn(
    app: &App,
    user: store::User,
    body: ChatBody,
) -> Result<Response, ApiError> {
    body.request.require_messages()?;
    let format = CompletionFormat {
        model: body.request.model.clone().unwrap_or_default(),
        is_stream: body.request.stream.unwrap_or(false),
    };
    let share = take_chat(app, &user)?;
    let turn = start_turn(app, user, body).await?;
    let response = match Box::pin(chat::run(&app.chat, turn)).await? {
        Reply::Text(text) => format.text_response(&text),
        Reply::Completion {
            completion,
            prefix,
            ran_job,
        } => {
            let is_success = completion.status().is_success();
            let forbids_retry = ran_job || completion.failed_after_acceptance();
            let mut response = format.forward(*completion, &prefix).await?;
            if !is_success && forbids_retry {
                let headers = response.headers_mut();
                headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
            }
            response
        }
    };
    Ok(hold(response, share))
}

/// A place among the running chat completions.
pub(super) fn take_chat(app: &App, user: &store::User) -> Result<Share<String>, ApiError> {
    let taken = app.clients.chats.take(Some(user.id.clone()));
    taken.map_err(|full| {
        let (status, detail) = match full {
            SharesFull::Key => (
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "you have too many running chat completions (limit {MAX_CHATS}): wait for one"
                ),
            ),
            SharesFull::Total => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the server has too many running chat completions: retry later".to_owned(),
            ),
        };
        ApiError::retry_later(status, detail, CHAT_RETRY_MS)
    })
}

async fn start_turn(app: &App, user: store::User, body: ChatBody) -> Result<Turn, ApiError> {
    let ChatBody {
        request,
        payload,
        mut memory,
        origin,
        records_job,
    } = body;
    check_choices(&payload)?;
    let options = ImageOptions::from_payload(&payload);
    let snapshot = if request.wants_image() || app.chat.models.is_empty() {
        let engine = options.as_ref().ok().and_then(ImageOptions::engine);
        app.jobs.snapshot_for_turn(engine.as_deref()).await?
    } else {
        app.jobs.snapshot()
    };
    let wants_image = request.wants_image() || models::is_engine(app, &snapshot, &request);
    let may_create_images = wants_image && auth::may_create_images(app, &user).await?;
    if wants_image && !may_create_images && app.chat.models.is_empty() {
        return Err(ApiError::prohibited());
    }
    let mut options = options?;
    let edit_choice = Arc::new(options.take_edit_choice()?);
    memory.grow(edit_choice.bytes()).await?;
    let requester = auth::requester(app, &snapshot, &user, request.model.as_deref()).await?;
    Ok(Turn {
        user,
        chat_id: request.chat_id()?,
        message_id: match request.message_id()? {
            Some(id) => id,
            None => uuid::Uuid::new_v4().to_string(),
        },
        wants_image: may_create_images,
        upstream_work: UpstreamWork::default(),
        links: origin.links(app, &snapshot.settings),
        snapshot,
        requester,
        engine: options.engine(),
        image_options: options.into_job_request(),
        edit_choice,
        records_job,
        payload,
        memory,
    })
}

impl From<chat::Error> for ApiError {
    fn from(error: chat::Error) -> Self {
        let status = match &error {
            chat::Error::NoModel => StatusCode::BAD_REQUEST,
            chat::Error::UnknownModel => {
                let unknown = Self::new(StatusCode::NOT_FOUND, error.to_string());
                return unknown.coded("model_not_found");
            }
            chat::Error::UnknownChat => StatusCode::NOT_FOUND,
            chat::Error::ModelUnavailable {
                source,
                may_be_charged,
            } => {
                tracing::warn!("the language model is unavailable: {source}");
                let unavailable = Self::new(StatusCode::BAD_GATEWAY, error.to_string());
                if *may_be_charged {
                    return unavailable.without_retry();
                }
                return unavailable;
            }
            chat::Error::MemoryFull(full) => return full.clone().into(),
            chat::Error::ShuttingDown => return Self::shutting_down(),
            chat::Error::Store(_) => return Self::internal(&error.into()),
        };
        Self::new(status, error.to_string())
    }
}
