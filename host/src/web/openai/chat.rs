//! `POST /v1/chat/completions`: the same turn as Open WebUI's clients ask for, as OpenAI's know it.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CONTENT_TYPE, HeaderMap};

use crate::app::App;
use crate::web::chat;
use crate::web::error::{ApiError, OpenAiError};
use crate::web::openapi::shape;

/// The answer is always the request's own, whatever the client tells of chats and sockets.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    operation_id = "create_chat_completion",
    summary = "Answer a conversation, with a picture where one is asked for",
    request_body = shape::ChatRequest,
    responses(
        (status = 200, description = "the language model's answer", content(
            (shape::Completion = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "pictures are not for this user, and there is no language model"),
        (status = 404, description = "there is no such model, or the chat is somebody else's"),
        (status = 502, description = "the language model cannot be reached"),
    ),
)]
pub(super) async fn complete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, OpenAiError> {
    let turn = chat::read(&app, &headers, request).await?;
    let answer = chat::answer(&app, turn).await?;
    let (status, content_type) = (answer.status(), answer.headers().get(CONTENT_TYPE));
    let is_json = content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    if status.is_success() || is_json {
        return Ok(answer);
    }
    // A page of a proxy in front of the language model.
    let message = format!(
        "the language model answered with status {}",
        status.as_u16()
    );
    Err(ApiError::new(status, message).into())
}
