//! Which binding a user's job gets, and why.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::jobs::{Operation, Resolution};
use crate::web::auth::{self, Administrator};
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// A job that might be requested.
#[derive(Deserialize, ToSchema)]
pub(super) struct JobToResolve {
    /// Who requests it. Default: the caller.
    user_id: Option<String>,
    /// The language model of the chat, if it belongs to one.
    chat_model: Option<String>,
    /// Default: `generate`.
    operation: Option<Operation>,
    /// The engine or binding that the request names, if any.
    engine: Option<String>,
}

/// `POST /api/v1/bindings/resolve`
#[utoipa::path(
    post,
    path = "/api/v1/bindings/resolve",
    tag = "bindings",
    operation_id = "resolve_binding",
    summary = "Find the binding that a user's job gets, and why. For administrators",
    request_body = JobToResolve,
    responses(
        (status = 200, description = "the binding, its fallbacks, and why the others are not chosen", body = Resolution),
        (status = 404, description = "unknown user"),
    ),
)]
pub(super) async fn resolve(
    State(app): State<Arc<App>>,
    Administrator(caller): Administrator,
    Json(job): Json<JobToResolve>,
) -> Result<Json<Resolution>, ApiError> {
    let user = match job.user_id {
        None => caller,
        Some(id) => {
            let profile = app.store.user(&id).await?;
            let detail = "unknown user: use an id that GET /api/v1/users/ lists";
            let unknown = || ApiError::new(StatusCode::NOT_FOUND, detail);
            profile.ok_or_else(unknown)?.user
        }
    };
    let snapshot = app.jobs.complete_snapshot().await?;
    let model = job.chat_model.as_deref().filter(|model| !model.is_empty());
    let engine = job.engine.as_deref().filter(|engine| !engine.is_empty());
    let requester = auth::requester(&app, &snapshot, &user, model).await?;
    let operation = job.operation.unwrap_or_default();
    let resolution = snapshot.resolve(operation, engine, &requester);
    if !auth::may_create_images(&app, &user).await? || user.role == "pending" {
        return Ok(Json(Resolution {
            binding: None,
            reason: "the user may not create images: approve the account, or give the permission to the user's group"
                .to_owned(),
            fallbacks: Vec::new(),
            ..resolution
        }));
    }
    Ok(Json(resolution))
}
