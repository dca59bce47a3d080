//! The audit log, for administrators.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use pinhole_ground::audit::{AuditCursor, AuditFilter, Entry, InvalidCursor, RefusalKind};
use pinhole_ground::text::plain;

use super::auth::Administrator;
use super::error::ApiError;
use super::extractors::{Json, Query};
use crate::app::App;

/// Entries in one response.
const MAX_ENTRIES: usize = 1000;
const DEFAULT_ENTRIES: usize = 100;
/// The last time of a filter: the end of the year 9999, in seconds since 1970.
const MAX_TIME_SECS: u64 = 253_402_300_799;
/// Length of a kind that an error repeats, in bytes.
const MAX_KIND_BYTES: usize = 100;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct AuditQuery {
    /// Number of entries. Default: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `admission`, `grant`, `address`, `request`, `answer`, `secret`, `limit`, `crash`, `picture`
    /// or `access`. Default: all.
    kind: Option<String>,
    /// The engine, or a component's file name. Default: all.
    engine: Option<String>,
    /// The id of a user, or the IP address of a client. Default: all.
    user: Option<String>,
    /// Entries of this time and later, in seconds since 1970.
    since: Option<u64>,
    /// Entries before this time, in seconds since 1970.
    before: Option<u64>,
    /// `next` of the response before.
    cursor: Option<String>,
}

impl AuditQuery {
    fn filter(&self) -> Result<AuditFilter, ApiError> {
        Ok(AuditFilter {
            kind: self.kind.as_deref().map(parse_kind).transpose()?,
            engine: self.engine.clone(),
            user: self.user.clone(),
            since: parse_time("since", self.since)?,
            before: parse_time("before", self.before)?,
        })
    }

    fn cursor(&self) -> Result<Option<AuditCursor>, ApiError> {
        let cursor = self.cursor.as_deref().map(str::parse).transpose();
        cursor.map_err(|InvalidCursor| {
            let detail = "cursor is invalid: send `next` of the response before, or omit it";
            ApiError::invalid("cursor", detail)
        })
    }
}

/// A time that a filter compares with.
fn parse_time(name: &str, secs: Option<u64>) -> Result<Option<SystemTime>, ApiError> {
    let Some(secs) = secs else { return Ok(None) };
    if secs > MAX_TIME_SECS {
        let detail =
            format!("{name} must be a time in seconds since 1970, at most {MAX_TIME_SECS}");
        return Err(ApiError::invalid(name, detail));
    }
    Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(secs)))
}

#[derive(Serialize, ToSchema)]
struct Refusals {
    /// Number of refusals since the server started, including those that are not logged one by one.
    #[schema(minimum = 0)]
    counted: u64,
    /// Number of these that have no line of their own: repetitions, and lines that could not be written.
    #[schema(minimum = 0)]
    dropped: u64,
    /// Number of these by the guard that refused, if a single one did.
    guards: BTreeMap<&'static str, u64>,
    /// Entries of the audit log, newest first. A page may have fewer than `limit`, or none, and a next one.
    lines: Vec<Refusal>,
    /// For the parameter `cursor` of the next request; `null` at the oldest entry.
    #[schema(required = true)]
    next: Option<String>,
}

/// Entry of the audit log.
#[derive(Serialize, ToSchema)]
struct Refusal {
    /// UTC, RFC 3339.
    refused_at: String,
    kind: String,
    /// The guard that refused, as listed in `docs/concepts/threat-model.md`; may be empty.
    guard: String,
    /// The engine, or a component's file name; may be empty.
    engine: String,
    /// May be empty.
    job: String,
    /// The user who caused it, or the IP address of a client that did not authenticate; empty for the server
    /// itself.
    user: String,
    /// One sentence for the operator.
    message: String,
}

impl From<Entry> for Refusal {
    fn from(entry: Entry) -> Self {
        Self {
            refused_at: entry.time,
            kind: entry.kind,
            guard: entry.guard,
            engine: entry.engine,
            job: entry.job,
            user: entry.user,
            message: entry.message,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(list))
}

/// `GET /api/v1/audit`
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "server",
    operation_id = "list_refusals",
    summary = "List refusals of engines, upstreams and components, newest first. For administrators",
    params(AuditQuery),
    responses((status = 200, description = "the number of refusals and the newest entries", body = Refusals)),
)]
async fn list(
    State(app): State<Arc<App>>,
    _: Administrator,
    Query(query): Query<AuditQuery>,
) -> Result<Json<Refusals>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_ENTRIES);
    if !(1..=MAX_ENTRIES).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_ENTRIES}");
        return Err(ApiError::invalid("limit", detail));
    }
    let (filter, cursor) = (query.filter()?, query.cursor()?);
    let kind = filter.kind;
    let (counted, dropped) = (app.audit.count(kind), app.audit.dropped(kind));
    let guards = app.audit.guard_counts(kind);
    let guards = guards.map(|(guard, count)| (guard.name(), count)).collect();
    let search = move || app.audit.search(&filter, cursor, limit);
    let page = tokio::task::spawn_blocking(search)
        .await
        .map_err(anyhow::Error::new)??;
    let lines = page.entries.into_iter().map(Refusal::from).collect();
    Ok(Json(Refusals {
        counted,
        dropped,
        guards,
        lines,
        next: page.next.map(|next| next.to_string()),
    }))
}

fn parse_kind(name: &str) -> Result<RefusalKind, ApiError> {
    let mut kinds = RefusalKind::ALL.into_iter();
    let Some(kind) = kinds.find(|kind| kind.name() == name) else {
        let names = RefusalKind::ALL.map(RefusalKind::name).join(", ");
        let name = plain(name, MAX_KIND_BYTES);
        let detail = format!("kind is {name}: it must be one of {names}");
        return Err(ApiError::invalid("kind", detail));
    };
    Ok(kind)
}
