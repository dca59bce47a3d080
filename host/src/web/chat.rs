//! Open WebUI's chat API: runs a turn, and responds with a language model's completion.

mod completion;
mod image_options;
mod models;
mod prompt;
mod request;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth::{self, User};
use super::error::ApiError;
use super::extractors::Json;
use super::json_body::JsonLimits;
use super::tasks;
use crate::app::App;
use crate::chat::{self, Reply, Turn};
use crate::store;

use completion::CompletionFormat;
use image_options::ImageOptions;

pub(super) use completion::{ChatResponse, Completion};
pub(super) use request::{ChatBody, ChatRequest};

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
        (status = 429, description = "the user has too many running turns"),
        (status = 502, description = "the language model is unavailable"),
        (status = 503, description = "the server has too many running turns"),
    ),
)]
async fn complete(
    State(app): State<Arc<App>>,
    User(user): User,
    body: ChatBody,
) -> Result<Response, ApiError> {
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
    let format = CompletionFormat {
        model: body.request.model.clone().unwrap_or_default(),
        is_stream: body.request.stream.unwrap_or(false),
    };
    let turn = start_turn(app, user, body).await?;
    match chat::run(&app.chat, turn).await? {
        Reply::Text(text) => Ok(format.text_response(&text)),
        Reply::Completion { completion, prefix } => format.forward(*completion, &prefix).await,
    }
}

async fn start_turn(app: &App, user: store::User, body: ChatBody) -> Result<Turn, ApiError> {
    let ChatBody {
        request,
        payload,
        memory,
    } = body;
    let wants_image = request.wants_image();
    let may_create_images = wants_image && auth::may_create_images(app, &user).await?;
    if wants_image && !may_create_images && app.chat.models.is_empty() {
        return Err(ApiError::prohibited());
    }
    let options = ImageOptions::from_payload(&payload)?;
    let snapshot = app.jobs.snapshot();
    let requester = auth::requester(app, &snapshot, &user, request.model.as_deref()).await?;
    Ok(Turn {
        user,
        chat_id: request.chat_id()?,
        message_id: match request.message_id()? {
            Some(id) => id,
            None => uuid::Uuid::new_v4().to_string(),
        },
        wants_image: may_create_images,
        snapshot,
        requester,
        engine: options.engine(),
        image_options: options.into_job_request(),
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
            chat::Error::ModelUnavailable(source) => {
                tracing::warn!("the language model is unavailable: {source}");
                StatusCode::BAD_GATEWAY
            }
            chat::Error::MemoryFull(full) => return full.clone().into(),
            chat::Error::Store(_) => return Self::internal(&error.into()),
        };
        Self::new(status, error.to_string())
    }
}
