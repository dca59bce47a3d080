//! Verification of an engine: its settings, its upstream and its credential. Nothing is changed.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use pinhole_sandbox::EngineReport;
use pinhole_sandbox::contract::{ErrorKind, Placement};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::valid_json::{Fields, FromFields, ValidJson};
use crate::app::App;
use crate::jobs::{Error, Operation};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Query};

/// A base URL that is not configured yet.
#[derive(Deserialize, ToSchema)]
pub(super) struct UrlToVerify {
    /// Name of the engine.
    engine: String,
    /// Base URL of the engine's upstream.
    url: String,
    /// Credential for this URL. The configured credential is never sent to it.
    key: Option<String>,
}

impl FromFields for UrlToVerify {
    fn from_fields(fields: &mut Fields) -> Result<Self, ApiError> {
        fields.parse()
    }
}

/// `GET /api/v1/images/config/url/verify`
#[utoipa::path(
    get,
    path = "/api/v1/images/config/url/verify",
    tag = "images",
    operation_id = "verify_engine",
    summary = "Verify the configured engine. For administrators",
    responses(
        (status = 200, description = "the engine works", content_type = "application/json", body = bool),
        (status = 400, description = "the engine does not work; `reason` says why"),
        (status = 429, description = "too many verifications in a minute"),
    ),
)]
pub(super) async fn verify_configured(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
) -> Result<Json<bool>, ApiError> {
    app.jobs.count_verification(&user.id)?;
    let detail = "Oops! The URL you provided is invalid. Please double-check and try again.";
    let snapshot = app
        .jobs
        .snapshot_for(Operation::Generate, None, None)
        .await?;
    let outcome = async {
        let binding = snapshot.operator_binding(None)?;
        app.jobs.verify(binding).await
    };
    respond(outcome.await, detail)
}

/// `POST /api/v1/images/verify`
#[utoipa::path(
    post,
    path = "/api/v1/images/verify",
    tag = "images",
    operation_id = "verify_address",
    summary = "Verify an engine at a URL that is not configured yet. For administrators",
    request_body = UrlToVerify,
    responses(
        (status = 200, description = "the engine works at this URL", content_type = "application/json", body = bool),
        (status = 422, description = "fields of the body are invalid"),
        (status = 429, description = "too many verifications in a minute"),
    ),
)]
pub(super) async fn verify_url(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    ValidJson(UrlToVerify { engine, url, key }): ValidJson<UrlToVerify>,
) -> Result<Json<bool>, ApiError> {
    app.jobs.count_verification(&user.id)?;
    let key = key.filter(|key| !key.is_empty());
    let snapshot = app
        .jobs
        .snapshot_for(Operation::Generate, Some(&engine), None)
        .await?;
    let binding = match snapshot.binding(&engine) {
        Some(binding) if !binding.component.description.upstreams.is_empty() => binding,
        _ => {
            let detail = "Unsupported image engine";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
        }
    };
    let outcome = app.jobs.verify_at(binding, &url, key.as_deref()).await;
    let detail = "The URL you provided is invalid. Please double-check and try again.";
    respond(outcome, detail)
}

/// The engine to verify.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EngineToVerify {
    /// Name of the engine or binding; without it, the one that the settings choose.
    engine: Option<String>,
}

/// What a verification found.
#[derive(Serialize, ToSchema)]
pub(super) struct VerificationReport {
    /// Name of the engine or binding.
    engine: String,
    /// Software, version and devices of the upstream.
    server: Option<String>,
    /// Where the values of a job go.
    rows: Vec<PlacementRow>,
    /// What the settings do not do, although jobs are possible.
    problems: Vec<String>,
}

/// Where a value of a job goes.
#[derive(Serialize, ToSchema)]
pub(in crate::web) struct PlacementRow {
    /// Key of the setting that holds the document.
    setting: String,
    /// Name of the value, such as `prompt`.
    role: String,
    /// Id of the document's node.
    node: String,
    /// The node's title or class.
    title: String,
    /// Name of the node's input.
    input: String,
    /// The document's own value.
    value: String,
}

impl From<Placement> for PlacementRow {
    fn from(row: Placement) -> Self {
        let Placement {
            setting,
            role,
            node,
            title,
            input,
            value,
        } = row;
        Self {
            setting,
            role,
            node,
            title,
            input,
            value,
        }
    }
}

/// `GET /api/v1/images/verification`
#[utoipa::path(
    get,
    path = "/api/v1/images/verification",
    tag = "images",
    operation_id = "describe_verification",
    summary = "Verify an engine, and describe where the values of a job go. For administrators",
    params(EngineToVerify),
    responses(
        (status = 200, description = "the engine works", content_type = "application/json", body = VerificationReport),
        (status = 400, description = "the engine does not work; `detail` says why"),
        (status = 429, description = "too many verifications in a minute"),
    ),
)]
pub(super) async fn describe_verification(
    State(app): State<Arc<App>>,
    Administrator(user): Administrator,
    Query(EngineToVerify { engine }): Query<EngineToVerify>,
) -> Result<Json<VerificationReport>, ApiError> {
    app.jobs.count_verification(&user.id)?;
    let snapshot = app
        .jobs
        .snapshot_for(Operation::Generate, engine.as_deref(), None)
        .await?;
    let binding = snapshot.operator_binding(engine.as_deref())?;
    let found = app.jobs.verify(binding).await.map_err(|error| {
        failure(error, |error| {
            ApiError::new(StatusCode::BAD_REQUEST, error.to_string())
        })
    })?;
    Ok(Json(VerificationReport {
        engine: binding.name.clone(),
        server: found.server,
        rows: found.rows.into_iter().map(PlacementRow::from).collect(),
        problems: found.problems,
    }))
}

/// The engine's own reason, followed by Open WebUI's text if the URL may be the cause.
fn respond(
    outcome: Result<EngineReport, Error>,
    text_of_url: &str,
) -> Result<Json<bool>, ApiError> {
    let Err(error) = outcome else {
        return Ok(Json(true));
    };
    Err(failure(error, |error| {
        let reason = error.to_string();
        let detail = if may_be_url(error) {
            format!("{reason}. {text_of_url}")
        } else {
            reason.clone()
        };
        ApiError::new(StatusCode::BAD_REQUEST, detail).because(reason)
    }))
}

/// Logs why a verification failed. A shutdown is reported as such, and another error as `to_response` does.
fn failure(error: Error, to_response: impl FnOnce(&Error) -> ApiError) -> ApiError {
    tracing::warn!("engine verification failed: {}", error.for_operator());
    if error.is_shutdown() {
        return error.into();
    }
    to_response(&error)
}

fn may_be_url(error: &Error) -> bool {
    let is_of_url = matches!(error, Error::Invalid { field, .. } if field == "url");
    let kind = error.kind();
    is_of_url
        || matches!(
            kind,
            ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Protocol | ErrorKind::NotFound
        )
}
