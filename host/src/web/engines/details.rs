//! One engine, for administrators: its versions, rights, bindings and history.

use std::sync::Arc;

use axum::extract::State;

use crate::app::App;
use crate::releases::{EngineDetails, HistoryEntry};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};

/// `GET /api/v1/engines/{name}`
#[utoipa::path(
    get,
    path = "/api/v1/engines/{name}",
    tag = "engines",
    operation_id = "describe_engine",
    summary = "Describe an engine: versions, rights, bindings and problems. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the engine", body = EngineDetails),
        (status = 404, description = "unknown engine"),
    ),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<EngineDetails>, ApiError> {
    Ok(Json(app.releases.details(&name, &app.jobs.snapshot())?))
}

/// `GET /api/v1/engines/{name}/history`
#[utoipa::path(
    get,
    path = "/api/v1/engines/{name}/history",
    tag = "engines",
    operation_id = "list_engine_history",
    summary = "List what happened to an engine, newest first. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the newest entries", body = [HistoryEntry]),
        (status = 404, description = "unknown engine"),
    ),
)]
pub(super) async fn history(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<Vec<HistoryEntry>>, ApiError> {
    let entries = app.releases.history(&name).await?;
    Ok(Json(entries.into_iter().map(HistoryEntry::from).collect()))
}
