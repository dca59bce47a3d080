//! One engine, for administrators: its versions, rights, bindings and history.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use pinhole_sandbox::{LogLevel, LogLine};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::jobs::VersionFigures;
use crate::releases::{EngineDetails, HistoryEntry};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};

/// Range of the figures.
const FIGURES_RANGE: Duration = Duration::from_hours(24);
/// Lines of the log.
const MAX_LOG_LINES: usize = 50;

/// An engine with its versions, its rights, its bindings, and what its versions did.
#[derive(Serialize, ToSchema)]
pub(super) struct EngineDescription {
    #[serde(flatten)]
    details: EngineDetails,
    /// The last 24 hours of each version that had a job since the server started.
    figures: Vec<VersionFigures>,
    /// The last lines that the component that serves has logged, the newest last.
    log: Vec<EngineLogLine>,
}

/// A line that an engine has logged.
#[derive(Serialize, ToSchema)]
pub(super) struct EngineLogLine {
    /// Counts the lines of this version since the server started.
    #[schema(minimum = 1)]
    pub(super) number: u64,
    /// Milliseconds since 1970.
    #[schema(minimum = 0)]
    pub(super) at_ms: u64,
    /// `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    level: LogLevel,
    /// The job that the engine worked on.
    job: String,
    text: String,
}

impl From<LogLine> for EngineLogLine {
    fn from(line: LogLine) -> Self {
        Self {
            number: line.number,
            at_ms: line.at_ms,
            level: line.level,
            job: line.job,
            text: line.text,
        }
    }
}

impl EngineDescription {
    fn new(details: EngineDetails, app: &App) -> Self {
        let versions = details.engine.versions.iter();
        let figures = versions.filter_map(|it| app.jobs.figures.version(&it.digest, FIGURES_RANGE));
        let serving = app.releases.engines().get(&details.engine.name).cloned();
        let mut log = serving.map_or_else(Vec::new, |it| it.log_lines(0));
        log.drain(..log.len().saturating_sub(MAX_LOG_LINES));
        Self {
            figures: figures.collect(),
            log: log.into_iter().map(EngineLogLine::from).collect(),
            details,
        }
    }
}

/// `GET /api/v1/engines/{name}`
#[utoipa::path(
    get,
    path = "/api/v1/engines/{name}",
    tag = "engines",
    operation_id = "describe_engine",
    summary = "Describe an engine: versions, rights, bindings, problems, figures and log. For administrators",
    params(("name" = String, Path, description = "Name of the engine.")),
    responses(
        (status = 200, description = "the engine", body = EngineDescription),
        (status = 404, description = "unknown engine"),
    ),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(name): Path<String>,
) -> Result<Json<EngineDescription>, ApiError> {
    let details = app.releases.details(&name, &app.jobs.snapshot()).await?;
    Ok(Json(EngineDescription::new(details, &app)))
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
