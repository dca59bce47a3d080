//! Stored chats, for their owners and for administrators.

mod answer;
mod copy;
mod lists;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::routing::get;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth;
use super::error::{ApiError, json_body};
use super::openapi::shape::Done;
use crate::app::App;
use crate::chat::event::{Event, Place};
use crate::store::{Chat, ChatMark, MAX_CHATS, Saved};
use answer::Answer;
use copy::{Form, MAX_MESSAGE_BYTES, check_id};

/// Length of a client's copy of a chat, in bytes.
const MAX_CHAT_BYTES: usize = 16 << 20;

/// Every route of chats.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(lists::list, delete_all))
        .route("/api/v1/chats", get(lists::list).delete(delete_all))
        .routes(routes!(lists::list_too))
        .routes(routes!(lists::pinned))
        .routes(routes!(lists::archived))
        .routes(routes!(lists::search))
        .routes(routes!(lists::all))
        .routes(routes!(lists::all_archived))
        .routes(routes!(lists::all_tags))
        .routes(routes!(create))
        .routes(routes!(show, save, delete))
        .routes(routes!(set_content))
        .routes(routes!(is_pinned))
        .routes(routes!(pin))
        .routes(routes!(archive))
        .routes(routes!(tags))
        .layer(DefaultBodyLimit::max(MAX_CHAT_BYTES))
}

#[derive(Deserialize, ToSchema)]
#[schema(as = MessageForm)]
struct MessageForm {
    content: String,
}

/// `POST /api/v1/chats/new`
#[utoipa::path(
    post,
    path = "/api/v1/chats/new",
    tag = "chats",
    operation_id = "create_chat",
    summary = "Keep a chat",
    request_body = Form,
    responses((status = 200, description = "the chat", body = Answer)),
)]
async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let form: Form = json_body(request).await?;
    match app
        .store
        .add_chat(&user.id, form.checked()?)
        .await
        .map_err(failed)?
    {
        Saved::Chat(chat) => answer(&app, *chat).await,
        Saved::Missing => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("you have {MAX_CHATS} chats, as many as there may be: delete one first"),
        )),
        Saved::TooLong => Err(too_long()),
    }
}

/// `GET /api/v1/chats/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/chats/{id}",
    tag = "chats",
    operation_id = "chat",
    summary = "A chat with all its messages. Somebody else's is not found (401)",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat", body = Answer)),
)]
async fn show(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Answer>, ApiError> {
    let Path(id) = id.map_err(nameless)?;
    let chat = find(&app, &headers, &id).await?;
    answer(&app, chat).await
}

/// `POST /api/v1/chats/{id}`: the client's copy, in which what was made here need not be.
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}",
    tag = "chats",
    operation_id = "save_chat",
    summary = "Save a client's copy of a chat; what was made here stays where the copy lacks it",
    params(("id" = String, Path)),
    request_body = Form,
    responses((status = 200, description = "the chat", body = Answer)),
)]
async fn save(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    let Path(id) = id.map_err(nameless)?;
    find(&app, &headers, &id).await?;
    let form: Form = json_body(request).await?;
    match app
        .store
        .save_chat(&id, form.checked()?)
        .await
        .map_err(failed)?
    {
        Saved::Chat(chat) => answer(&app, *chat).await,
        Saved::Missing => Err(not_found()),
        Saved::TooLong => Err(too_long()),
    }
}

/// `POST /api/v1/chats/{id}/messages/{message_id}`: another content, which its owner's clients hear.
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}/messages/{message_id}",
    tag = "chats",
    operation_id = "set_message_content",
    summary = "Set a message's content; a message that is not there is added",
    params(("id" = String, Path), ("message_id" = String, Path)),
    request_body = MessageForm,
    responses((status = 200, description = "the chat", body = Answer)),
)]
async fn set_content(
    State(app): State<Arc<App>>,
    ids: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Answer>, ApiError> {
    let Path((id, message_id)) = ids.map_err(nameless)?;
    check_id("a message's id", &message_id)?;
    let owner = find(&app, &headers, &id).await?.user_id;
    let MessageForm { content } = json_body(request).await?;
    if content.len() > MAX_MESSAGE_BYTES {
        let detail = format!("the content is longer than the {MAX_MESSAGE_BYTES} bytes allowed");
        return Err(ApiError::too_long("content", detail));
    }
    let value = Value::from(content);
    let saved = app.store.set_content(&id, &message_id, &value).await;
    if !saved.map_err(failed)? {
        return Err(too_long());
    }
    app.events.emit(Event {
        user_id: owner,
        place: Place {
            chat_id: Some(id.clone()),
            message_id: message_id.clone(),
        },
        kind: "chat:message",
        data: json!({"chat_id": id, "message_id": message_id, "content": value}),
    });
    let chat = app.store.chat(&id).await.map_err(failed)?;
    answer(&app, chat.ok_or_else(not_found)?).await
}

/// `DELETE /api/v1/chats/{id}`: with its files.
#[utoipa::path(
    delete,
    path = "/api/v1/chats/{id}",
    tag = "chats",
    operation_id = "delete_chat",
    summary = "Delete a chat with the pictures that are in no other",
    params(("id" = String, Path)),
    responses((status = 200, description = "it is gone", body = Done)),
)]
async fn delete(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    let Path(id) = id.map_err(nameless)?;
    find(&app, &headers, &id).await?;
    let deleted = app.files.delete_chat(&id).await;
    match deleted.map_err(|error| ApiError::internal(&error))? {
        true => Ok(Json(true)),
        false => Err(not_found()),
    }
}

/// `DELETE /api/v1/chats/`: all of the caller's, with their files.
#[utoipa::path(
    delete,
    path = "/api/v1/chats/",
    tag = "chats",
    operation_id = "delete_chats",
    summary = "Delete all of the caller's chats with their pictures",
    responses((status = 200, description = "they are gone", body = Done)),
)]
async fn delete_all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let deleted = app.files.delete_chats(&user.id).await;
    deleted.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(true))
}

/// `GET /api/v1/chats/{id}/pinned`
#[utoipa::path(
    get,
    path = "/api/v1/chats/{id}/pinned",
    tag = "chats",
    operation_id = "chat_is_pinned",
    summary = "Is a chat at the top?",
    params(("id" = String, Path)),
    responses((status = 200, description = "whether it is", content_type = "application/json", body = bool)),
)]
async fn is_pinned(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    let Path(id) = id.map_err(nameless)?;
    Ok(Json(find(&app, &headers, &id).await?.pinned))
}

/// `POST /api/v1/chats/{id}/pin`
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}/pin",
    tag = "chats",
    operation_id = "pin_chat",
    summary = "Put a chat at the top, or back among the others",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat", body = Answer)),
)]
async fn pin(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Answer>, ApiError> {
    toggle(&app, id, &headers, ChatMark::Pinned).await
}

/// `POST /api/v1/chats/{id}/archive`
#[utoipa::path(
    post,
    path = "/api/v1/chats/{id}/archive",
    tag = "chats",
    operation_id = "archive_chat",
    summary = "Put a chat away, or back among the others",
    params(("id" = String, Path)),
    responses((status = 200, description = "the chat", body = Answer)),
)]
async fn archive(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Answer>, ApiError> {
    toggle(&app, id, &headers, ChatMark::Archived).await
}

async fn toggle(
    app: &App,
    id: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
    mark: ChatMark,
) -> Result<Json<Answer>, ApiError> {
    let Path(id) = id.map_err(nameless)?;
    find(app, headers, &id).await?;
    let chat = app.store.toggle_chat(&id, mark).await.map_err(failed)?;
    answer(app, chat.ok_or_else(not_found)?).await
}

/// `GET /api/v1/chats/{id}/tags`: none, since there are no tags.
#[utoipa::path(
    get,
    path = "/api/v1/chats/{id}/tags",
    tag = "chats",
    operation_id = "chat_tags",
    summary = "A chat's tags: none, since there are no tags",
    params(("id" = String, Path)),
    responses((status = 200, description = "an empty list", body = [Value])),
)]
async fn tags(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    let Path(id) = id.map_err(nameless)?;
    find(&app, &headers, &id).await?;
    Ok(Json(Vec::new()))
}

/// A chat that the caller may have: an own one, or any for an administrator.
async fn find(app: &App, headers: &HeaderMap, id: &str) -> Result<Chat, ApiError> {
    let user = auth::user(app, headers).await?;
    let chat = app.store.chat(id).await.map_err(failed)?;
    chat.filter(|chat| chat.user_id == user.id || user.role == "admin")
        .ok_or_else(not_found)
}

async fn answer(app: &App, chat: Chat) -> Result<Json<Answer>, ApiError> {
    let messages = app.store.messages(&chat.id).await.map_err(failed)?;
    Ok(Json(Answer::new(chat, messages)))
}

/// As Open WebUI says it of chats, with this status, for what is not there and for what is somebody
/// else's.
fn not_found() -> ApiError {
    let detail = "We could not find what you're looking for :/";
    ApiError::new(StatusCode::UNAUTHORIZED, detail)
}

fn too_long() -> ApiError {
    let detail = format!(
        "the chat would have more messages or more than the {MAX_CHAT_BYTES} bytes allowed"
    );
    ApiError::too_long("chat", detail)
}

fn nameless(rejection: PathRejection) -> ApiError {
    ApiError::new(rejection.status(), rejection.body_text())
}

fn failed(error: sqlx::Error) -> ApiError {
    ApiError::internal(&error.into())
}
