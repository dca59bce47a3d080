//! `POST /v1/chat/completions`: runs a turn for OpenAI's clients, or makes an image for those of OpenRouter.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::header::CONTENT_TYPE;

use super::chat_images;
use crate::app::App;
use crate::web::auth::ChatUser;
use crate::web::chat::{ChatBody, ChatRequest, Completion, run_turn};
use crate::web::error::{ApiError, OpenAiError, SHOULD_RETRY};

/// The turn never runs in the background, even if the request names a chat and a session.
#[utoipa::path(
    post,
    path = "/v1/chat/completions",
    tag = "openai",
    operation_id = "create_chat_completion",
    summary = "Run a turn of a chat. Generates or edits an image if the request asks for it, or names an image model",
    request_body = ChatRequest,
    responses(
        (status = 200, description = "the language model's completion", content(
            (Completion = "application/json"),
            (String = "text/event-stream"),
        )),
        (status = 403, description = "the user may not generate images, or image generation is disabled"),
        (status = 404, description = "unknown model, or unknown chat"),
        (status = 429, description = "the user has sent too many requests, or has too many running turns"),
        (status = 502, description = "the language model is unavailable, or the upstream or the engine failed"),
        (status = 503, description = "the server has too many running turns, or the upstream or the engine is unavailable"),
        (status = 504, description = "the image's job exceeded its time limit"),
        (status = 507, description = "the server's disk is full, and the image is sent as a URL"),
    ),
)]
pub(super) async fn complete(
    State(app): State<Arc<App>>,
    ChatUser(user): ChatUser,
    body: ChatBody,
) -> Result<Response, OpenAiError> {
    if let Some(model) = chat_images::find_image_model(&app, &user, &body).await? {
        return chat_images::complete(app, user, body, model).await;
    }
    let response = run_turn(&app, user, body).await?;
    let (status, content_type) = (response.status(), response.headers().get(CONTENT_TYPE));
    let is_json = content_type.is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    if status.is_success() || is_json {
        return Ok(response);
    }
    // An error page of a proxy in front of the language model.
    let message = format!(
        "the language model responded with status {}",
        status.as_u16()
    );
    let error = ApiError::new(status, message);
    if response
        .headers()
        .get(SHOULD_RETRY)
        .is_some_and(|it| it == "false")
    {
        return Err(error.without_retry().into());
    }
    Err(error.into())
}
