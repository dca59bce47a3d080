//! Tasks: turns that continue after their request, and their cancellation.

use std::sync::Arc;

use axum::extract::Path;
use axum::extract::State;
use axum::extract::rejection::PathRejection;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::User;
use super::error::ApiError;
use super::extractors::Json;
use crate::app::App;
use crate::chat::Turn;
use crate::chat::task::{StartError, StopOutcome};

/// Retry delay of a client whose task another host runs, in milliseconds.
const STOP_RETRY_MS: u64 = 1_000;

/// A turn that continues after its request.
#[derive(Serialize, ToSchema)]
pub(super) struct Task {
    status: bool,
    /// Id with which the task can be stopped.
    task_id: String,
}

/// Turns of a chat that continue after their request.
#[derive(Serialize, ToSchema)]
pub(super) struct Tasks {
    status: bool,
    /// Ids with which the tasks can be stopped.
    task_ids: Vec<String>,
    /// The chat, which is new if the request named none.
    chat_id: String,
}

#[derive(Serialize, ToSchema)]
struct TaskList {
    task_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Stopped {
    status: bool,
    /// For a person.
    message: String,
}

impl Stopped {
    fn new(message: String) -> Json<Self> {
        Json(Self {
            status: true,
            message,
        })
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        let status = match error {
            StartError::UserLimit => StatusCode::TOO_MANY_REQUESTS,
            StartError::ServerLimit => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(stop))
        .routes(routes!(list))
        .routes(routes!(stop_chat))
}

/// Starts a turn as a task.
pub(super) fn start(app: &App, turn: Turn) -> Result<Task, ApiError> {
    let ids = app.tasks.start(&app.chat, vec![turn])?;
    Ok(Task {
        status: true,
        task_id: ids.into_iter().collect(),
    })
}

/// Starts the turns of a chat as tasks: all of them or none.
pub(super) fn start_all(app: &App, chat_id: String, turns: Vec<Turn>) -> Result<Tasks, ApiError> {
    Ok(Tasks {
        status: true,
        task_ids: app.tasks.start(&app.chat, turns)?,
        chat_id,
    })
}

/// `POST /api/tasks/stop/{id}`
#[utoipa::path(
    post,
    path = "/api/tasks/stop/{id}",
    tag = "chat",
    operation_id = "stop_task",
    summary = "Stop a task and its image job",
    params(("id" = String, Path, description = "`task_id` in the response of the chat completion.")),
    responses(
        (status = 200, description = "the task is stopped", body = Stopped),
        (status = 404, description = "the caller has no such running task"),
        (status = 503, description = "another host runs the task, and does not respond"),
    ),
)]
async fn stop(
    State(app): State<Arc<App>>,
    User(user): User,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Stopped>, ApiError> {
    let id = readable(id)?;
    match app.tasks.stop(&user.id, &id).await {
        StopOutcome::Stopped => Ok(Stopped::new(format!("task {id} is stopped"))),
        StopOutcome::Unknown => {
            let detail = "you have no such running task";
            Err(ApiError::new(StatusCode::NOT_FOUND, detail))
        }
        StopOutcome::Unconfirmed => {
            let detail = "the host that runs this task does not respond: retry";
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(ApiError::retry_later(status, detail, STOP_RETRY_MS))
        }
    }
}

/// `GET /api/tasks/chat/{chat_id}`
#[utoipa::path(
    get,
    path = "/api/tasks/chat/{chat_id}",
    tag = "chat",
    operation_id = "list_tasks",
    summary = "List the caller's running tasks of a chat",
    params(("chat_id" = String, Path, description = "Id of the chat.")),
    responses((status = 200, description = "the running tasks; may be empty", body = TaskList)),
)]
async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
    chat_id: Result<Path<String>, PathRejection>,
) -> Result<Json<TaskList>, ApiError> {
    let task_ids = app.tasks.of_chat(&user.id, &readable(chat_id)?).await;
    Ok(Json(TaskList { task_ids }))
}

/// `POST /api/tasks/chat/{chat_id}/stop`
#[utoipa::path(
    post,
    path = "/api/tasks/chat/{chat_id}/stop",
    tag = "chat",
    operation_id = "stop_tasks",
    summary = "Stop the caller's running tasks of a chat",
    params(("chat_id" = String, Path, description = "Id of the chat.")),
    responses(
        (status = 200, description = "the tasks are stopped", body = Stopped),
        (status = 404, description = "the caller has no running task in this chat"),
    ),
)]
async fn stop_chat(
    State(app): State<Arc<App>>,
    User(user): User,
    chat_id: Result<Path<String>, PathRejection>,
) -> Result<Json<Stopped>, ApiError> {
    let stopped = app.tasks.stop_chat(&user.id, &readable(chat_id)?).await;
    if stopped == 0 {
        let detail = "you have no running task in this chat";
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(Stopped::new(format!("{stopped} stopped")))
}

/// An id that is not UTF-8 names nothing.
fn readable(id: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::not_found())?;
    Ok(id)
}
