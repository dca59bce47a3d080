//! `POST /api/v1/tasks/image_prompt/completions`: writes the prompt of an image for a conversation.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde_json::Value;

use super::completion::Completion;
use super::request::{ChatBody, ChatRequest};
use crate::app::App;
use crate::chat;
use crate::web::auth::ChatUser;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// Returns the task model's completion unchanged.
///
/// Source: Open WebUI `routers/tasks.py`, its statuses and texts.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/image_prompt/completions",
    tag = "chat",
    operation_id = "complete_image_prompt",
    summary = "Write an image prompt for a conversation with a language model",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "the language model's completion", body = Completion),
        (status = 404, description = "unknown model"),
        (status = 429, description = "the user has sent too many requests, or has too many running turns"),
        (status = 503, description = "the server has too many running turns"),
    ),
)]
pub(super) async fn complete(
    State(app): State<Arc<App>>,
    ChatUser(user): ChatUser,
    ChatBody {
        request,
        payload,
        memory: _memory,
        ..
    }: ChatBody,
) -> Result<Json<Value>, ApiError> {
    request.require_messages()?;
    let Some(id) = request.model else {
        return Err(ApiError::invalid("model", "model must be a string"));
    };
    let Some(model) = app.chat.models.find(Some(&id)).await else {
        return Err(chat::Error::UnknownModel.into());
    };
    let _share = super::take_chat(&app, &user)?;
    let snapshot = app.jobs.snapshot();
    let settings = &snapshot.settings.prompt;
    let completion = chat::prompt::ask(&app.chat, settings, &user, &payload, model).await;
    completion.map(Json).map_err(|why| {
        tracing::warn!("no image prompt was written: {why}");
        ApiError::new(StatusCode::BAD_REQUEST, "An internal error has occurred.")
    })
}
