//! `POST /api/v1/tasks/image_prompt/completions`: a conversation in, the prompt of a picture out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use http::header::HeaderMap;
use serde_json::{Map, Value};

use crate::app::App;
use crate::chat;
use crate::web::auth;
use crate::web::error::{ApiError, json_body};
use crate::web::openapi::shape;

/// The task model's completion as it came, for `model` and `messages`.
///
/// Source: Open WebUI `routers/tasks.py`, its statuses and texts.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/image_prompt/completions",
    tag = "chat",
    operation_id = "complete_image_prompt",
    summary = "Have a language model write the prompt of the picture that a conversation asks for",
    request_body = shape::ChatRequest,
    responses(
        (status = 200, description = "the language model's answer", body = shape::Completion),
        (status = 404, description = "there is no such model"),
    ),
)]
pub(super) async fn complete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let payload: Map<String, Value> = json_body(request).await?;
    if !payload.get("messages").is_some_and(Value::is_array) {
        return Err(ApiError::invalid("messages", "messages must be a list"));
    }
    let Some(id) = payload.get("model").and_then(Value::as_str) else {
        return Err(ApiError::invalid("model", "model must be a text"));
    };
    let model = app.chat_models.find(Some(id)).await;
    let model = model.ok_or_else(|| ApiError::from(chat::Error::UnknownModel))?;
    let current = app.jobs.current();
    let settings = &current.settings.prompt;
    let completion = chat::prompt::ask(&app, settings, &user, &payload, model).await;
    completion.map(Json).map_err(|why| {
        tracing::warn!("no prompt of a picture was written: {why}");
        ApiError::new(StatusCode::BAD_REQUEST, "An internal error has occurred.")
    })
}
