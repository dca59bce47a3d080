//! Flags of a chat: pinned and archived.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::chat_response::ChatResponse;
use super::{find, not_found, respond};
use crate::app::App;
use crate::store::{self, ChatFlag};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};

/// `GET /api/v1/chats/{id}/pinned`
#[utoipa::path(
    get,
    path = "/api/v1/chats/{id}/pinned",
    tag = "chats",
    operation_id = "chat_is_pinned",
    summary = "Check whether a chat is pinned",
    params(("id" = String, Path)),
    responses((status = 200, description = "`true` if the chat is pinned", content_type = "application/json", body = bool)),
)]
pub(super) async fn is_pinned(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
) -> Result<Json<bool>, ApiError> {
    Ok(Json(find(&app, &user, &id).await?.pinned))
}

/// `POST /api/v1/chats/{id}/pin`
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}/pin",
    tag = "chats",
    operation_id = "pin_chat",
    summary = "Pin a chat, or unpin it if it is pinned",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat", body = ChatResponse)),
)]
pub(super) async fn pin(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
) -> Result<Response, ApiError> {
    toggle(&app, &user, &id, ChatFlag::Pinned).await
}

/// `POST /api/v1/chats/{id}/archive`
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}/archive",
    tag = "chats",
    operation_id = "archive_chat",
    summary = "Archive a chat, or restore it if it is archived",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat", body = ChatResponse)),
)]
pub(super) async fn archive(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
) -> Result<Response, ApiError> {
    toggle(&app, &user, &id, ChatFlag::Archived).await
}

async fn toggle(
    app: &App,
    user: &store::User,
    id: &str,
    flag: ChatFlag,
) -> Result<Response, ApiError> {
    find(app, user, id).await?;
    let chat = app.store.toggle_chat_flag(id, flag).await?;
    respond(app, user, chat.ok_or_else(not_found)?).await
}
