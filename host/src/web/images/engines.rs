//! `GET /api/v1/images/engines`: the engines that the setting of the default engine may name.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

#[derive(Serialize, ToSchema)]
pub(super) struct ImageEngine {
    /// The name in settings and requests.
    name: String,
    can_edit: bool,
}

#[utoipa::path(
    get,
    path = "/api/v1/images/engines",
    tag = "images",
    operation_id = "list_engines",
    summary = "List the engines and their named configurations. For administrators",
    responses((status = 200, description = "the engines, by name", body = [ImageEngine])),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<Vec<ImageEngine>>, ApiError> {
    let snapshot = app.jobs.complete_snapshot().await?;
    let engines = snapshot.bindings().map(|binding| ImageEngine {
        name: binding.name.clone(),
        can_edit: binding.component.description.abilities.edit,
    });
    Ok(Json(engines.collect()))
}
