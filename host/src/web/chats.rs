//! Stored chats, for their owners and for administrators.

mod chat_response;
mod flags;
mod lists;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use pinhole_ground::memory::MemoryLease;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::User;
use super::error::{ApiError, Rejection};
use super::extractors::{Json, Path};
use super::json_body::JsonLimits;
use crate::app::App;
use crate::chat_copy::{
    CHAT_BOUNDS, ChatCopy, CopyError, MAX_CHAT_BYTES, MAX_MESSAGE_BYTES, check_id,
};
use crate::event::{Event, EventTarget};
use crate::store::{self, ChatRow, MAX_CHATS, MessageText, SaveOutcome};
use chat_response::{ChatResponse, chat_parts};

/// Length of the texts of a chat that is sent in one piece, in bytes.
const MAX_BUFFERED_BYTES: usize = 64 << 10;

/// Limits of a client's copy of a chat.
const CHAT_JSON: JsonLimits = JsonLimits {
    max_bytes: MAX_CHAT_BYTES,
    bounds: CHAT_BOUNDS,
};

/// Chat to store. Other fields, such as a folder, are ignored.
#[derive(Deserialize, ToSchema)]
struct ChatForm {
    chat: ChatCopy,
}

impl From<CopyError> for ApiError {
    fn from(error: CopyError) -> Self {
        if error.is_too_long {
            Self::too_long(error.field, error.message)
        } else {
            Self::invalid(error.field, error.message)
        }
    }
}

/// Clients write the first path with a slash at the end and without.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(lists::list, delete_all))
        .route("/api/v1/chats", get(lists::list).delete(delete_all))
        .routes(routes!(lists::list_alias))
        .routes(routes!(lists::pinned))
        .routes(routes!(lists::archived))
        .routes(routes!(lists::search))
        .routes(routes!(lists::found::find))
        .routes(routes!(lists::export))
        .routes(routes!(lists::export_archived))
        .routes(routes!(lists::all_tags))
        .routes(routes!(create))
        .routes(routes!(describe, save, delete))
        .routes(routes!(set_content))
        .routes(routes!(flags::is_pinned))
        .routes(routes!(flags::pin))
        .routes(routes!(flags::archive))
        .routes(routes!(tags))
        .layer(Extension(CHAT_JSON))
}

/// `POST /api/v1/chats/new`
#[utoipa::path(
    post,
    path = "/api/v1/chats/new",
    tag = "chats",
    operation_id = "create_chat",
    summary = "Store a new chat",
    request_body = ChatForm,
    responses((status = 200, description = "the chat", body = ChatResponse)),
)]
async fn create(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(form): Json<ChatForm>,
) -> Result<Response, ApiError> {
    app.files.require_disk(0)?;
    let quota = app.files.quota(&user);
    match app
        .store
        .add_chat(&user.id, form.chat.into_store()?, quota)
        .await?
    {
        SaveOutcome::Saved(chat) => respond(&app, &user, *chat).await,
        SaveOutcome::Missing => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("you have {MAX_CHATS} chats, the maximum: delete one first"),
        )),
        SaveOutcome::TooLong => Err(too_long()),
        SaveOutcome::OverQuota => Err(over_quota()),
    }
}

/// `GET /api/v1/chats/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/chats/{id}",
    tag = "chats",
    operation_id = "chat",
    summary = "Return a chat with all its messages. A chat of another user is not found (401)",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat", body = ChatResponse)),
)]
async fn describe(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
) -> Result<Response, ApiError> {
    let chat = find(&app, &user, &id).await?;
    respond(&app, &user, chat).await
}

/// `POST /api/v1/chats/{id}`
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}",
    tag = "chats",
    operation_id = "save_chat",
    summary = "Store a client's copy of a chat. Content that the server generated remains, even if the copy omits it",
    params(("id" = String, Path)),
    request_body = ChatForm,
    responses((status = 200, description = "the chat", body = ChatResponse)),
)]
async fn save(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
    body: Result<Json<ChatForm>, Rejection>,
) -> Result<Response, ApiError> {
    find(&app, &user, &id).await?;
    let Json(form) = body?;
    app.files.require_disk(0)?;
    let quota = app.files.quota(&user);
    // The stored messages are read, to write only what differs.
    let lease = lease_content(&app, &user, &id).await?;
    let outcome = app
        .store
        .save_chat(&id, form.chat.into_store()?, quota)
        .await?;
    drop(lease);
    match outcome {
        SaveOutcome::Saved(chat) => respond(&app, &user, *chat).await,
        SaveOutcome::Missing => Err(not_found()),
        SaveOutcome::TooLong => Err(too_long()),
        SaveOutcome::OverQuota => Err(over_quota()),
    }
}

#[derive(Deserialize, ToSchema)]
struct MessageForm {
    content: String,
}

/// `POST /api/v1/chats/{id}/messages/{message_id}`. The owner's clients receive an event.
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}/messages/{message_id}",
    tag = "chats",
    operation_id = "set_message_content",
    summary = "Set the content of a message, which is created if it does not exist",
    params(("id" = String, Path), ("message_id" = String, Path)),
    request_body = MessageForm,
    responses((status = 200, description = "the chat", body = ChatResponse)),
)]
async fn set_content(
    State(app): State<Arc<App>>,
    Path((id, message_id)): Path<(String, String)>,
    User(user): User,
    body: Result<Json<MessageForm>, Rejection>,
) -> Result<Response, ApiError> {
    check_id("messages", "the message id", &message_id)?;
    let chat = find(&app, &user, &id).await?;
    let Json(MessageForm { content }) = body?;
    if content.len() > MAX_MESSAGE_BYTES {
        let detail = format!("content is longer than {MAX_MESSAGE_BYTES} bytes");
        return Err(ApiError::too_long("content", detail));
    }
    app.files
        .require_text_room(&user, content.len() as u64)
        .await?;
    let content = Value::from(content);
    if !app.store.set_content(&id, &message_id, &content).await? {
        return Err(too_long());
    }
    app.events.emit(Event {
        target: EventTarget {
            user_id: chat.user_id,
            chat_id: Some(id.clone()),
            message_id: message_id.clone(),
        },
        kind: "chat:message",
        data: json!({"chat_id": id, "message_id": message_id, "content": content}),
    });
    let changed = app.store.chat(&id).await?.ok_or_else(not_found)?;
    respond(&app, &user, changed).await
}

/// `DELETE /api/v1/chats/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/chats/{id}",
    tag = "chats",
    operation_id = "delete_chat",
    summary = "Delete a chat and the images that no other chat contains",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat is deleted", content_type = "application/json", body = bool)),
)]
async fn delete(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
) -> Result<Json<bool>, ApiError> {
    find(&app, &user, &id).await?;
    if !app.files.delete_chat(&id).await? {
        return Err(not_found());
    }
    Ok(Json(true))
}

/// `DELETE /api/v1/chats/`
#[utoipa::path(
    delete,
    path = "/api/v1/chats/",
    tag = "chats",
    operation_id = "delete_chats",
    summary = "Delete all of the caller's chats and their images",
    responses((status = 200, description = "the chats are deleted", content_type = "application/json", body = bool)),
)]
async fn delete_all(State(app): State<Arc<App>>, User(user): User) -> Result<Json<bool>, ApiError> {
    app.files.delete_chats(&user.id).await?;
    Ok(Json(true))
}

/// `GET /api/v1/chats/{id}/tags`
#[utoipa::path(
    get,
    path = "/api/v1/chats/{id}/tags",
    tag = "chats",
    operation_id = "chat_tags",
    summary = "Return an empty list: chats have no tags",
    params(("id" = String, Path)),
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn tags(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    User(user): User,
) -> Result<Json<Vec<Value>>, ApiError> {
    find(&app, &user, &id).await?;
    Ok(Json(Vec::new()))
}

/// The chat, if the user owns it or is an administrator.
async fn find(app: &App, user: &store::User, id: &str) -> Result<ChatRow, ApiError> {
    match app.store.chat(id).await? {
        Some(chat) if chat.user_id == user.id || user.role == "admin" => Ok(chat),
        _ => Err(not_found()),
    }
}

/// Counts the content of a stored chat while it is read: its texts, and as much again for the rows.
async fn lease_content(
    app: &App,
    user: &store::User,
    chat_id: &str,
) -> Result<MemoryLease, ApiError> {
    let bytes = app.store.chat_bytes(chat_id).await?;
    let share = app.memory.of(Some(&user.id));
    Ok(share.lease(bytes.saturating_mul(2)).await?)
}

/// The parts of a chat's JSON. They count what they hold.
async fn load_parts(
    app: &App,
    user: &store::User,
    chat: ChatRow,
) -> Result<ChatJson<impl Iterator<Item = Bytes> + Send + use<>>, ApiError> {
    let mut lease = lease_content(app, user, &chat.id).await?;
    let content = app.store.chat_content(&chat.id).await?;
    let content = content.ok_or_else(not_found)?;
    let length = content.length();
    let messages = content.messages.iter();
    // A part is a copy of one message.
    let longest = messages.map(MessageText::length).max().unwrap_or(0);
    lease.shrink_to(length.saturating_add(longest));
    let parts = chat_parts(chat, content, lease);
    let parts = parts.map_err(|error| ApiError::internal(&error.into()))?;
    Ok(ChatJson { parts, length })
}

/// A chat's JSON in parts, and the length of the stored texts in it.
struct ChatJson<T> {
    parts: T,
    length: usize,
}

async fn respond(app: &App, user: &store::User, chat: ChatRow) -> Result<Response, ApiError> {
    let ChatJson { mut parts, length } = load_parts(app, user, chat).await?;
    let body = if length <= MAX_BUFFERED_BYTES {
        let json = parts.by_ref().fold(Vec::new(), |mut json, part| {
            json.extend_from_slice(&part);
            json
        });
        Body::from(json)
    } else {
        Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)))
    };
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Open WebUI's text and status, for unknown chats and for those of other users.
fn not_found() -> ApiError {
    let detail = "We could not find what you're looking for :/";
    ApiError::new(StatusCode::UNAUTHORIZED, detail)
}

pub(super) fn over_quota() -> ApiError {
    let detail = "your files and chats occupy all the space that you may use: delete some first";
    ApiError::too_long("chat", detail)
}

pub(super) fn too_long() -> ApiError {
    let detail = format!("the chat has too many messages or is longer than {MAX_CHAT_BYTES} bytes");
    ApiError::too_long("chat", detail)
}
