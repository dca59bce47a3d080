//! Installation of a component that is sent, or that is in the engine directory.

use std::sync::Arc;

use axum::extract::{FromRequest, Request, State};
use http::StatusCode;
use pinhole_ground::audit::{Actor, Event, RefusalKind};
use pinhole_sandbox::MAX_COMPONENT_BYTES;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::uninterrupted;
use crate::app::App;
use crate::config::Strategy;
use crate::releases::{Install, InstallReport, ReleaseError, UpdateReport};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Query};
use crate::web::json_body::read_bytes;
use crate::web::request_memory::RequestMemory;

/// Length of a component, in bytes.
const MAX_BYTES: usize = MAX_COMPONENT_BYTES as usize;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InstallOptions {
    /// How it replaces the version that serves. Default: `PINHOLE_ROLLOUT`.
    #[param(inline)]
    strategy: Option<StrategyName>,
    /// Also installs a version that was rolled back, and replaces a pinned one.
    force: Option<bool>,
    /// The prompt of a job that it carries out before it serves. An upstream may charge for it.
    probe: Option<String>,
}

/// How a version replaces another one.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum StrategyName {
    Watch,
    Canary,
}

impl From<StrategyName> for Strategy {
    fn from(name: StrategyName) -> Self {
        match name {
            StrategyName::Watch => Self::Watch,
            StrategyName::Canary => Self::Canary,
        }
    }
}

/// The bytes of a component, counted in the caller's memory until the response is sent.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
pub(super) struct ComponentBody(Vec<u8>);

impl<S: Sync> FromRequest<S> for ComponentBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let memory = RequestMemory::of(request.extensions())?;
        let mut lease = memory.share().request();
        let bytes = read_bytes(request, MAX_BYTES, &mut lease).await?;
        memory.hold(lease);
        if bytes.is_empty() {
            let detail = "the body is empty: send the bytes of a component";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
        }
        Ok(Self(bytes))
    }
}

/// `POST /api/v1/engines/install`
#[utoipa::path(
    post,
    path = "/api/v1/engines/install",
    tag = "engines",
    operation_id = "install_engine",
    summary = "Install a component: a new engine, or a new version of one. For administrators",
    params(InstallOptions),
    request_body(content = ComponentBody, content_type = "application/octet-stream", description = "The component. Its own description names the engine."),
    responses(
        (status = 200, description = "the component serves, or waits for approval", body = InstallReport),
        (status = 400, description = "the component is refused; nothing has changed"),
        (status = 409, description = "the engine is pinned, or this version was rolled back"),
        (status = 429, description = "the user's other requests use too much memory; retry later"),
        (status = 503, description = "the server's memory is in use; retry later"),
    ),
)]
pub(super) async fn install(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Query(options): Query<InstallOptions>,
    ComponentBody(bytes): ComponentBody,
) -> Result<Json<InstallReport>, ApiError> {
    let install = Install {
        bytes,
        by: user.name,
        strategy: options.strategy.map(Strategy::from),
        is_forced: options.force.unwrap_or_default(),
        probe: options.probe,
    };
    let installed = app.releases.install(install).await;
    if let Err(ReleaseError::Refused { subject, refusal }) = &installed {
        app.audit.record(&Event {
            kind: RefusalKind::Admission,
            guard: refusal.guard,
            actor: Actor::User(&user.id),
            engine: "",
            job: "",
            message: &format!("{subject} {}", refusal.reason),
        });
    }
    Ok(Json(installed?))
}

/// `POST /api/v1/engines/update`
#[utoipa::path(
    post,
    path = "/api/v1/engines/update",
    tag = "engines",
    operation_id = "update_engines",
    summary = "Look at the engine directory now, also at files that were refused. For administrators",
    responses(
        (status = 200, description = "the engines that have changed, and the files that are refused", body = UpdateReport),
        (status = 409, description = "the server is still starting its engines"),
    ),
)]
pub(super) async fn update(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<UpdateReport>, ApiError> {
    let releases = app.releases.clone();
    let report = uninterrupted(async move { releases.update().await });
    Ok(Json(report.await?))
}
