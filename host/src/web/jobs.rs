//! The jobs API: images that are made without a waiting client.

mod list;
mod new_job;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth::{ImageCreator, User};
use super::error::ApiError;
use super::extractors::{Json, Path, Query};
use super::source_images::EDIT_JSON;
use crate::app::App;
use crate::jobs::{AcceptError, JobRecord};
use crate::store::{self, Idempotency, JobRow};

use new_job::{JobBody, NewJobRequest};

/// How long a request may wait for the end of a job, in seconds.
const MAX_WAIT_SECS: u64 = 60;
/// How long the response to a stop waits for the end of the job.
const MAX_STOP_TIME: Duration = Duration::from_secs(5);
/// Retry delay of a client with too many active jobs, in milliseconds.
const LIMIT_RETRY_MS: u64 = 5_000;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(create).layer(Extension(EDIT_JSON)))
        .routes(routes!(list::list))
        .routes(routes!(describe, stop))
        .routes(routes!(stop_all))
}

impl From<AcceptError> for ApiError {
    fn from(error: AcceptError) -> Self {
        let limit = |status| Self::retry_later(status, error.to_string(), LIMIT_RETRY_MS);
        match error {
            AcceptError::UserLimit => limit(StatusCode::TOO_MANY_REQUESTS),
            AcceptError::ServerLimit => limit(StatusCode::SERVICE_UNAVAILABLE),
            AcceptError::ShuttingDown => Self::draining(),
            AcceptError::Store(ours) => ours.into(),
            AcceptError::Exists(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
        }
    }
}

/// `POST /api/v1/jobs`
#[utoipa::path(
    post,
    path = "/api/v1/jobs",
    tag = "jobs",
    operation_id = "create_job",
    summary = "Generate or edit images without waiting for them. With sources it is an edit",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeated request with the same key and body within 24 hours gets the same job. At most 200 bytes.")),
    request_body = NewJobRequest,
    responses(
        (status = 200, description = "the job that an earlier request with this key started", body = JobRecord),
        (status = 202, description = "the job, which is accepted", body = JobRecord),
        (status = 403, description = "the operation is disabled, or the user lacks the permission"),
        (status = 413, description = "the user's storage is full"),
        (status = 422, description = "an earlier request with this key has another body"),
        (status = 429, description = "the user has sent too many requests, or has too many active jobs"),
        (status = 502, description = "the engine's settings are wrong"),
        (status = 503, description = "the server has too many active jobs, or the engine is unavailable"),
        (status = 507, description = "the server's disk is full"),
    ),
)]
async fn create(
    State(app): State<Arc<App>>,
    ImageCreator(user): ImageCreator,
    body: JobBody,
) -> Result<(StatusCode, Json<JobRecord>), ApiError> {
    let idempotency = body.idempotency.clone();
    if let Some(Idempotency { key, .. }) = &idempotency
        && let Some(row) = app.store.job_by_key(&user.id, key).await?
    {
        return repeat(&app, &row, idempotency.as_ref());
    }
    match new_job::start(&app, user, body).await? {
        Ok(row) => Ok((StatusCode::ACCEPTED, Json(JobRecord::accepted(&row)))),
        Err(AcceptError::Exists(row)) => repeat(&app, &row, idempotency.as_ref()),
        Err(error) => Err(error.into()),
    }
}

/// The response to a repeated request.
fn repeat(
    app: &App,
    row: &JobRow,
    requested: Option<&Idempotency>,
) -> Result<(StatusCode, Json<JobRecord>), ApiError> {
    if row.idempotency.as_ref() != requested {
        return Err(ApiError::other_body());
    }
    Ok((StatusCode::OK, Json(app.active_jobs.record(row))))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wait {
    /// Seconds to wait for the end of the job.
    #[param(minimum = 0, maximum = 60)]
    wait: Option<u64>,
}

/// `GET /api/v1/jobs/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "describe_job",
    summary = "Return a job, with its progress and unfinished image while it is active. Waits for its end if requested",
    params(("id" = String, Path, description = "Id of the job."), Wait),
    responses(
        (status = 200, description = "the job", body = JobRecord),
        (status = 404, description = "no such job, or a job of another user"),
    ),
)]
async fn describe(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
    Query(Wait { wait }): Query<Wait>,
) -> Result<Json<JobRecord>, ApiError> {
    let secs = wait.unwrap_or(0);
    if secs > MAX_WAIT_SECS {
        let detail = format!("wait must be a number from 0 to {MAX_WAIT_SECS}");
        return Err(ApiError::invalid("wait", detail));
    }
    let job = find(&app, &user, &id).await?;
    if secs == 0 || !job.state.is_active() {
        return Ok(Json(job));
    }
    app.active_jobs.wait(&id, Duration::from_secs(secs)).await;
    Ok(Json(find(&app, &user, &id).await?))
}

/// `DELETE /api/v1/jobs/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/jobs/{id}",
    tag = "jobs",
    operation_id = "stop_job",
    summary = "Stop a job, also at its upstream if the engine can. Changes nothing if it has ended",
    params(("id" = String, Path, description = "Id of the job.")),
    responses(
        (status = 200, description = "the job", body = JobRecord),
        (status = 404, description = "no such job, or a job of another user"),
    ),
)]
async fn stop(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<JobRecord>, ApiError> {
    let job = find(&app, &user, &id).await?;
    if !job.state.is_active() {
        return Ok(Json(job));
    }
    app.active_jobs.stop(&id).await?;
    app.active_jobs.wait(&id, MAX_STOP_TIME).await;
    Ok(Json(find(&app, &user, &id).await?))
}

/// Whose jobs to stop. By default those of the caller.
#[derive(Deserialize, ToSchema)]
struct StopRequest {
    /// For administrators: the jobs of this user.
    user_id: Option<String>,
    /// For administrators: the jobs of all users.
    all: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct StoppedJobs {
    /// The number of jobs.
    #[schema(minimum = 0)]
    stopped: usize,
}

/// `POST /api/v1/jobs/stop`
#[utoipa::path(
    post,
    path = "/api/v1/jobs/stop",
    tag = "jobs",
    operation_id = "stop_jobs",
    summary = "Stop all active jobs of the caller. Administrators can stop those of another user, or of all",
    request_body = StopRequest,
    responses(
        (status = 200, description = "the jobs are being stopped", body = StoppedJobs),
        (status = 403, description = "the jobs of other users, and the caller is not an administrator"),
    ),
)]
async fn stop_all(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(StopRequest { user_id, all }): Json<StopRequest>,
) -> Result<Json<StoppedJobs>, ApiError> {
    let is_all = all.unwrap_or(false);
    if is_all && user_id.is_some() {
        let detail = "send either all or user_id";
        return Err(ApiError::invalid("all", detail));
    }
    let is_others = is_all || user_id.as_ref().is_some_and(|id| *id != user.id);
    if is_others && user.role != "admin" {
        return Err(ApiError::prohibited());
    }
    let of_user = user_id.as_deref().unwrap_or(&user.id);
    let of_one = (!is_all).then_some(of_user);
    let stopped = app.active_jobs.stop_all(of_one).await?;
    Ok(Json(StoppedJobs { stopped }))
}

/// The job, if the user may see it, as they see it.
async fn find(app: &App, user: &store::User, id: &str) -> Result<JobRecord, ApiError> {
    let found = app.active_jobs.find(id).await?;
    let visible = found.filter(|job| job.is_visible_to(user));
    let job =
        visible.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "you have no such job"))?;
    Ok(job.for_viewer(user))
}
