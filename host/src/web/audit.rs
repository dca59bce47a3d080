//! What was refused, for administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::header::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth;
use super::error::ApiError;
use crate::app::App;
use pinhole_ground::audit::{RefusalKind, Entry};
use pinhole_ground::text::plain;

/// Lines that one answer tells.
const MAX_LINES: usize = 1000;
const DEFAULT_LINES: usize = 100;
/// Length of a kind that an error repeats, in bytes.
const MAX_KIND_BYTES: usize = 100;

/// Which lines to tell.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Wanted {
    /// 100 where it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// One of `admission`, `grant`, `address`, `request`, `answer`, `secret`, `limit`, `crash` and
    /// `picture`; all where it is not said.
    kind: Option<String>,
}

/// What was refused.
#[derive(Serialize, ToSchema)]
struct Refusals {
    /// How many of these there were since the server was started, those too that were only counted.
    #[schema(minimum = 0)]
    counted: u64,
    /// The newest of those in the audit log, newest first.
    lines: Vec<Refusal>,
}

/// One line of the audit log.
#[derive(Serialize, ToSchema)]
struct Refusal {
    /// In UTC, as RFC 3339 says it.
    refused_at: String,
    kind: String,
    /// The guard that refused, as `docs/concepts/threat-model.md` lists it; may be empty.
    guard: String,
    /// The engine, or the file of a component; empty where there is none.
    engine: String,
    /// Empty where there is none.
    job: String,
    /// Whose job it is, as far as that is known, else empty.
    user: String,
    /// One sentence, for an operator.
    message: String,
}

/// The one route.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(refusals))
}

/// `GET /api/v1/audit`
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "server",
    operation_id = "list_refusals",
    summary = "What engines, upstreams and components were refused, newest first. For administrators",
    params(Wanted),
    responses((status = 200, description = "how many there were, and the newest", body = Refusals)),
)]
async fn refusals(
    State(app): State<Arc<App>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Refusals>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let Query(Wanted { limit, kind }) =
        wanted.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let limit = limit.unwrap_or(DEFAULT_LINES);
    if !(1..=MAX_LINES).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_LINES}");
        return Err(ApiError::invalid("limit", detail));
    }
    let kind = kind.as_deref().map(find).transpose()?;
    let counted = app.audit.count(kind);
    let reading = tokio::task::spawn_blocking(move || app.audit.newest(kind, limit));
    let lines = reading.await.map_err(anyhow::Error::new).flatten();
    let lines = lines.map_err(|error| ApiError::internal(&error))?;
    let lines = lines.into_iter().map(Refusal::from).collect();
    Ok(Json(Refusals { counted, lines }))
}

fn find(name: &str) -> Result<RefusalKind, ApiError> {
    let found = RefusalKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| {
        let names = RefusalKind::ALL.map(RefusalKind::name).join(", ");
        let name = plain(name, MAX_KIND_BYTES);
        ApiError::invalid("kind", format!("kind is {name}: it must be one of {names}"))
    })
}

impl From<Entry> for Refusal {
    fn from(line: Entry) -> Self {
        Self {
            refused_at: line.time,
            kind: line.kind,
            engine: line.engine,
            job: line.job,
            user: line.user,
            guard: line.guard,
            message: line.message,
        }
    }
}
