//! Changes of an engine by an administrator. Each is in the engine's history, with the administrator's name.

use std::sync::Arc;

use axum::extract::State;
use pinhole_ground::text::is_plain;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::uninterrupted;
use crate::app::App;
use crate::releases::{EngineDetails, EngineStatus, InstallReport, ReleaseError, Releases};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path, Query};

/// Length of a reason, in bytes.
const MAX_REASON_BYTES: usize = 500;

/// Which version is to serve again, and why.
#[derive(Deserialize, ToSchema)]
pub(super) struct Rollback {
    /// The digest of the version, or its beginning. By default the one that served before.
    to: Option<String>,
    /// For the history: one line.
    #[schema(max_length = 500)]
    why: Option<String>,
}

/// The component that the administrator has reviewed.
#[derive(Deserialize, ToSchema)]
pub(super) struct Approval {
    /// SHA-256 of the component, in hexadecimal.
    digest: String,
}

/// Requests that an engine may send from now on, or no longer.
#[derive(Deserialize, ToSchema)]
pub(super) struct RequestChanges {
    /// Such as `api POST /images/`.
    #[serde(default)]
    allow: Vec<String>,
    #[serde(default)]
    deny: Vec<String>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RemoveOptions {
    /// Also if a setting needs the engine.
    force: Option<bool>,
    /// Stops its running jobs, and responds when they have ended. By default they finish.
    now: Option<bool>,
}

/// Makes a change to its end, and returns the engine after it.
async fn changed<F>(
    app: &App,
    name: String,
    change: impl FnOnce(Arc<Releases>, String) -> F,
) -> Result<Json<EngineStatus>, ApiError>
where
    F: Future<Output = Result<(), ReleaseError>> + Send + 'static,
{
    uninterrupted(change(app.releases.clone(), name.clone())).await?;
    Ok(Json(app.releases.status_of(&name)))
}

/// `POST /api/v1/engines/{name}/rollback`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/rollback",
    tag = "engines",
    operation_id = "roll_engine_back",
    summary = "Let an earlier version of an engine serve again. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    request_body = Rollback,
    responses(
        (status = 200, description = "the engine", body = EngineStatus),
        (status = 404, description = "unknown engine or version"),
        (status = 409, description = "there is no earlier version, or this one serves"),
    ),
)]
pub(super) async fn roll_back(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Json(Rollback { to, why }): Json<Rollback>,
) -> Result<Json<EngineStatus>, ApiError> {
    let why = why.unwrap_or_default();
    if !is_plain(&why, MAX_REASON_BYTES) {
        let detail = format!("why must be one line of at most {MAX_REASON_BYTES} bytes");
        return Err(ApiError::invalid("why", detail));
    }
    changed(&app, name, |releases, name| async move {
        let to = to.as_deref();
        let rolled_back = releases.roll_back(&name, to, &why, &user.name);
        rolled_back.await.map(drop)
    })
    .await
}

/// `POST /api/v1/engines/{name}/pin`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/pin",
    tag = "engines",
    operation_id = "pin_engine",
    summary = "Let only a person change the version of an engine. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the engine", body = EngineStatus),
        (status = 404, description = "unknown engine"),
    ),
)]
pub(super) async fn pin(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
) -> Result<Json<EngineStatus>, ApiError> {
    set_pinned(&app, name, true, user.name).await
}

/// `POST /api/v1/engines/{name}/unpin`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/unpin",
    tag = "engines",
    operation_id = "unpin_engine",
    summary = "Let files of the engine directory change the version of an engine again. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the engine", body = EngineStatus),
        (status = 404, description = "unknown engine"),
    ),
)]
pub(super) async fn unpin(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
) -> Result<Json<EngineStatus>, ApiError> {
    set_pinned(&app, name, false, user.name).await
}

async fn set_pinned(
    app: &App,
    name: String,
    is_pinned: bool,
    by: String,
) -> Result<Json<EngineStatus>, ApiError> {
    changed(app, name, |releases, name| async move {
        releases.set_pinned(&name, is_pinned, &by).await
    })
    .await
}

/// `POST /api/v1/engines/{name}/promote`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/promote",
    tag = "engines",
    operation_id = "promote_engine",
    summary = "Let all users have the new version of an engine, and watch it no longer. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the engine", body = EngineStatus),
        (status = 404, description = "unknown engine"),
        (status = 409, description = "the engine has no new version"),
    ),
)]
pub(super) async fn promote(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
) -> Result<Json<EngineStatus>, ApiError> {
    changed(&app, name, |releases, name| async move {
        releases.promote(&name, &user.name).await.map(drop)
    })
    .await
}

/// `POST /api/v1/engines/{name}/abort`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/abort",
    tag = "engines",
    operation_id = "abort_engine",
    summary = "Drop the new version of an engine: the one that is watched, or waits for approval. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the engine", body = EngineStatus),
        (status = 404, description = "unknown engine"),
        (status = 409, description = "the engine has no new version"),
    ),
)]
pub(super) async fn abort(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
) -> Result<Json<EngineStatus>, ApiError> {
    changed(&app, name, |releases, name| async move {
        releases.abort(&name, &user.name).await.map(drop)
    })
    .await
}

/// `POST /api/v1/engines/{name}/grant`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/grant",
    tag = "engines",
    operation_id = "grant_engine",
    summary = "Grant the rights that the pending version of an engine declares. It serves at once. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    request_body = Approval,
    responses(
        (status = 200, description = "the version serves", body = InstallReport),
        (status = 404, description = "unknown engine"),
        (status = 409, description = "nothing waits for approval"),
    ),
)]
pub(super) async fn grant(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Json(Approval { digest }): Json<Approval>,
) -> Result<Json<InstallReport>, ApiError> {
    let releases = app.releases.clone();
    let change = uninterrupted(async move {
        let digest = digest.strip_prefix("sha256:").unwrap_or(&digest);
        releases.approve(&name, Some(digest), &user.name).await
    });
    Ok(Json(change.await?))
}

/// `POST /api/v1/engines/{name}/requests`
#[utoipa::path(
    post,
    path = "/api/v1/engines/{name}/requests",
    tag = "engines",
    operation_id = "change_engine_requests",
    summary = "Allow or deny single requests of an engine. Jobs that start from then on obey. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    request_body = RequestChanges,
    responses(
        (status = 200, description = "the engine", body = EngineDetails),
        (status = 404, description = "unknown engine"),
        (status = 409, description = "the engine has no grant yet"),
    ),
)]
pub(super) async fn change_requests(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Json(RequestChanges { allow, deny }): Json<RequestChanges>,
) -> Result<Json<EngineDetails>, ApiError> {
    let (releases, engine) = (app.releases.clone(), name.clone());
    uninterrupted(async move {
        let by = &user.name;
        releases.change_requests(&engine, &allow, &deny, by).await
    })
    .await?;
    Ok(Json(
        app.releases.details(&name, &app.jobs.snapshot()).await?,
    ))
}

/// `DELETE /api/v1/engines/{name}`
#[utoipa::path(
    delete,
    path = "/api/v1/engines/{name}",
    tag = "engines",
    operation_id = "remove_engine",
    summary = "Stop an engine. Its grant, newest versions and history stay. For administrators",
    params(("name" = String, Path, description = "Name of the engine."), RemoveOptions),
    responses(
        (status = 200, description = "the engine, of which no version serves", body = EngineStatus),
        (status = 404, description = "unknown engine"),
        (status = 409, description = "a setting needs the engine, and `force` is not set"),
    ),
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Path(name): Path<String>,
    Query(RemoveOptions { force, now }): Query<RemoveOptions>,
) -> Result<Json<EngineStatus>, ApiError> {
    if !force.unwrap_or_default() {
        ReleaseError::refuse_if_needed(&name, &app.jobs.snapshot().settings_that_need(&name))?;
    }
    let jobs = now.unwrap_or_default().then(|| app.jobs.clone());
    changed(&app, name, |releases, name| async move {
        releases.remove(&name, &user.name).await?;
        if let Some(jobs) = jobs {
            jobs.stop_engine(&name).await;
        }
        Ok(())
    })
    .await
}
