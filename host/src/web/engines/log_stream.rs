//! The log of an engine as server-sent events, for administrators.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::future::select_all;
use futures_util::{FutureExt, Stream, stream};
use http::StatusCode;
use http::header::HeaderMap;
use pinhole_sandbox::{Component, EngineLog, LogLevel, LogLine};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::IntoParams;

use super::details::EngineLogLine;
use crate::app::{App, MAX_LOG_STREAMS};
use crate::web::auth::LiveAdministrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Path, Query};

/// Versions whose logs a stream reads. A further one replaces the oldest.
const MAX_VERSIONS: usize = 4;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LogOptions {
    /// Also sends the lines that the engine logs from now on. By default the stream ends with the last line.
    follow: Option<bool>,
    /// The least level: `debug`, `info`, `warn` or `error`. Default: `debug`.
    #[param(value_type = Option<String>)]
    level: Option<LogLevel>,
}

/// A line in a stream.
#[derive(Serialize)]
struct StreamedLine {
    /// SHA-256 of the component that logged it, in hexadecimal.
    digest: String,
    #[serde(flatten)]
    line: EngineLogLine,
}

/// `GET /api/v1/engines/{name}/log`. The stream ends when the caller's key or session becomes invalid, when the caller
/// is no longer an administrator, and when the server shuts down.
#[utoipa::path(
    get,
    path = "/api/v1/engines/{name}/log",
    tag = "engines",
    operation_id = "stream_engine_log",
    summary = "Stream the last lines that the versions of an engine that serve have logged, and new ones. For administrators",
    params(
        ("name" = String, Path, description = "Name of the engine."),
        LogOptions,
        ("Last-Event-ID" = Option<String>, Header, description = "Id of the last line that the client received."),
    ),
    responses(
        (status = 200, description = "lines as JSON, each with an id: `digest`, `number`, `at_ms`, `level`, `job` and `text`", content_type = "text/event-stream", body = String),
        (status = 404, description = "unknown engine"),
        (status = 503, description = "the server has too many open streams of logs"),
    ),
)]
pub(super) async fn stream_log(
    State(app): State<Arc<App>>,
    administrator: LiveAdministrator,
    Path(name): Path<String>,
    Query(LogOptions { follow, level }): Query<LogOptions>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    app.releases.status(&name)?;
    let permit = app.log_streams.clone().try_acquire_owned().map_err(|_| {
        let detail =
            format!("too many open streams of logs (limit {MAX_LOG_STREAMS}): close one and retry");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let last_id = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let log_stream = LogStream {
        snapshots: app.jobs.follow_snapshots(),
        app,
        administrator,
        engine: name,
        least_level: level.unwrap_or(LogLevel::Debug),
        is_following: follow.unwrap_or_default(),
        resumed: last_id.and_then(parse_id),
        versions: VecDeque::new(),
        unsent: VecDeque::new(),
        _permit: permit,
    };
    let events = stream::unfold(log_stream, async |mut state| {
        let event = state.next().await?;
        Some((Ok(event), state))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// State of a stream.
struct LogStream {
    app: Arc<App>,
    administrator: LiveAdministrator,
    engine: String,
    least_level: LogLevel,
    is_following: bool,
    /// Digest and number of the line after which a client resumes.
    resumed: Option<(String, u64)>,
    snapshots: watch::Receiver<()>,
    /// The versions that serve, and some that did, because jobs may still run with them.
    versions: VecDeque<FollowedVersion>,
    unsent: VecDeque<StreamedLine>,
    _permit: OwnedSemaphorePermit,
}

struct FollowedVersion {
    digest: String,
    log: Arc<EngineLog>,
    /// Changes with each line.
    last_number: watch::Receiver<u64>,
    read_number: u64,
}

impl LogStream {
    /// The next line. `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(line) = self.unsent.pop_front() {
                let id = format!("{}-{}", line.digest, line.line.number);
                return Event::default().id(id).json_data(line).ok();
            }
            self.add_versions();
            self.read_lines();
            if !self.unsent.is_empty() {
                if !self.administrator.is_valid(&self.app).await {
                    return None;
                }
                continue;
            }
            if !self.is_following {
                return None;
            }
            tokio::select! {
                () = line_written(&mut self.versions) => {}
                // The server itself has the sender.
                _ = self.snapshots.changed() => {}
                () = self.administrator.wait_until_invalid() => return None,
                () = self.app.jobs.stopped() => return None,
            }
        }
    }

    /// Follows the versions that serve now.
    fn add_versions(&mut self) {
        let engines = self.app.releases.engines();
        let serving: Vec<&Arc<Component>> = match engines.rollout(&self.engine) {
            Some(rollout) => vec![&rollout.stable, &rollout.candidate],
            None => engines.get(&self.engine).into_iter().collect(),
        };
        for component in serving {
            let log = component.log();
            let is_followed = |it: &FollowedVersion| Arc::ptr_eq(&it.log, log);
            if self.versions.iter().any(is_followed) {
                continue;
            }
            if self.versions.len() >= MAX_VERSIONS {
                self.versions.pop_front();
            }
            let last_number = log.follow();
            let resumed = self.resumed.as_ref();
            let resumed = resumed.filter(|(digest, _)| *digest == component.digest);
            let is_known = |number: &u64| *number <= *last_number.borrow();
            self.versions.push_back(FollowedVersion {
                digest: component.digest.clone(),
                log: log.clone(),
                // The numbers of an earlier server are others.
                read_number: resumed
                    .map(|(_, number)| *number)
                    .filter(is_known)
                    .unwrap_or(0),
                last_number,
            });
        }
    }

    /// Reads the new lines of all versions, in the order of their times.
    fn read_lines(&mut self) {
        let mut lines = Vec::new();
        for version in &mut self.versions {
            let new: Vec<LogLine> = version.log.lines_since(version.read_number);
            if let Some(last) = new.last() {
                version.read_number = last.number;
            }
            let wanted = new.into_iter().filter(|it| it.level >= self.least_level);
            lines.extend(wanted.map(|line| StreamedLine {
                digest: version.digest.clone(),
                line: line.into(),
            }));
        }
        lines.sort_by_key(|it| it.line.at_ms);
        self.unsent.extend(lines);
    }
}

/// Waits for a line of any version.
async fn line_written(versions: &mut VecDeque<FollowedVersion>) {
    let changed = versions
        .iter_mut()
        .map(|it| it.last_number.changed().boxed());
    let changed: Vec<_> = changed.collect();
    if changed.is_empty() {
        return std::future::pending().await;
    }
    // The version has the sender.
    select_all(changed).await.0.ok();
}

/// Parses the id of a line: digest and number.
fn parse_id(id: &str) -> Option<(String, u64)> {
    let (digest, number) = id.split_once('-')?;
    Some((digest.to_owned(), number.parse().ok()?))
}
