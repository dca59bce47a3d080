//! Answers that go on by themselves: which there are, and Stop.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use http::StatusCode;
use http::header::HeaderMap;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth;
use super::error::ApiError;
use super::openapi::shape;
use crate::app::App;
use crate::chat::Turn;
use crate::chat::task::Full;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(stop))
        .routes(routes!(list))
        .routes(routes!(stop_chat))
}

/// Has a turn go on, and answers with the task that it is.
pub(super) fn start(app: Arc<App>, turn: Turn) -> Result<Json<Value>, ApiError> {
    let tasks = app.tasks.clone();
    let task_id = tasks.start(app, turn).map_err(|full| {
        let status = match full {
            Full::User => StatusCode::TOO_MANY_REQUESTS,
            Full::Server => StatusCode::SERVICE_UNAVAILABLE,
        };
        ApiError::new(status, full.to_string())
    })?;
    Ok(Json(json!({"status": true, "task_id": task_id})))
}

/// `POST /api/tasks/stop/{id}`
#[utoipa::path(
    post,
    path = "/api/tasks/stop/{id}",
    tag = "chat",
    operation_id = "stop_task",
    summary = "Stop an answer that is under way, and its picture",
    params(("id" = String, Path, description = "What the chat completion answered as `task_id`.")),
    responses(
        (status = 200, description = "it is stopped", body = shape::Stopped),
        (status = 404, description = "the caller has no such task, or it has ended"),
    ),
)]
async fn stop(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let id = named(id)?;
    match app.tasks.stop(&user.id, &id) {
        true => Ok(Json(
            json!({"status": true, "message": format!("task {id} is stopped")}),
        )),
        false => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "there is no such task of yours: it may have ended",
        )),
    }
}

/// `GET /api/tasks/chat/{chat_id}`
#[utoipa::path(
    get,
    path = "/api/tasks/chat/{chat_id}",
    tag = "chat",
    operation_id = "list_tasks",
    summary = "The caller's answers that are under way in a chat",
    params(("chat_id" = String, Path, description = "The chat.")),
    responses((status = 200, description = "none where nothing is under way", body = shape::Tasks)),
)]
async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let task_ids = app.tasks.of_chat(&user.id, &named(id)?);
    Ok(Json(json!({"task_ids": task_ids})))
}

/// `POST /api/tasks/chat/{chat_id}/stop`
#[utoipa::path(
    post,
    path = "/api/tasks/chat/{chat_id}/stop",
    tag = "chat",
    operation_id = "stop_tasks",
    summary = "Stop the caller's answers that are under way in a chat",
    params(("chat_id" = String, Path, description = "The chat.")),
    responses(
        (status = 200, description = "it is stopped", body = shape::Stopped),
        (status = 404, description = "the caller has no answer under way in this chat"),
    ),
)]
async fn stop_chat(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    match app.tasks.stop_chat(&user.id, &named(id)?) {
        0 => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "you have no answer under way in this chat",
        )),
        tasks => Ok(Json(
            json!({"status": true, "message": format!("{tasks} stopped")}),
        )),
    }
}

/// A name that is no text is nobody's.
fn named(id: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::not_found())?;
    Ok(id)
}
