//! The audit log: one line for each refusal, in the server's log and in files of the data directory,
//! and a count for the metrics.
//!
//! Recording never blocks. A line that the file's queue cannot accept is dropped and counted. Of the
//! refusals of one kind that one user causes, the first in a period are logged one by one; see `flood`.
//! So one user can neither hide what others caused nor push it out of the files; see `file`.

mod actor;
mod counters;
mod file;
mod flood;
mod rotation;
mod search;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;
use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::guard::Guard;
use crate::text::plain;

use counters::Counters;
use file::LogFile;
use flood::FloodControl;

pub use actor::Actor;
pub use rotation::AuditRetention;
pub use search::{AuditCursor, AuditFilter, AuditPage, InvalidCursor};

/// Length of a message in bytes; a longer one is cut.
const MAX_MESSAGE_BYTES: usize = 1000;
/// Length of the name of an engine, a job or a user in bytes.
const MAX_NAME_BYTES: usize = 100;

/// What was refused. The list is closed, because it labels a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// A component that may not become an engine.
    Admission,
    /// A request that the engine's grant does not cover.
    Grant,
    /// An IP address, or a spelling of a host, that no connection may use.
    Address,
    /// A request with an unusable header, path, body or count.
    Request,
    /// A response that is too long, too slow or invalid.
    Answer,
    /// A secret that an upstream or an engine returned; it was redacted.
    Secret,
    /// A limit of a call.
    Limit,
    /// An engine that crashed.
    Crash,
    /// An image that is invalid or exceeds a limit.
    Picture,
    /// A sign-in, a key or a session that is not accepted.
    Access,
}

impl RefusalKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Admission,
        Self::Grant,
        Self::Address,
        Self::Request,
        Self::Answer,
        Self::Secret,
        Self::Limit,
        Self::Crash,
        Self::Picture,
        Self::Access,
    ];

    /// Stable name: a label of the metrics and a value of the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Grant => "grant",
            Self::Address => "address",
            Self::Request => "request",
            Self::Answer => "answer",
            Self::Secret => "secret",
            Self::Limit => "limit",
            Self::Crash => "crash",
            Self::Picture => "picture",
            Self::Access => "access",
        }
    }
}

/// One line of the audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// UTC, RFC 3339.
    pub time: String,
    /// The name of a [`RefusalKind`].
    pub kind: String,
    /// The name of the [`Guard`] that refused; empty if no single guard did.
    #[serde(default)]
    pub guard: String,
    /// The engine, or a component's file name; may be empty.
    pub engine: String,
    /// The job; may be empty.
    pub job: String,
    /// The user who caused it, or the IP address of a client that did not authenticate; empty for the
    /// server itself.
    pub user: String,
    /// One sentence for the operator.
    #[serde(rename = "what")]
    pub message: String,
}

impl Entry {
    fn new(event: &Event<'_>) -> Self {
        Self {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            kind: event.kind.name().to_owned(),
            guard: event.guard.map_or("", Guard::name).to_owned(),
            engine: plain(event.engine, MAX_NAME_BYTES),
            job: plain(event.job, MAX_NAME_BYTES),
            user: plain(&event.actor.to_string(), MAX_NAME_BYTES),
            message: plain(event.message, MAX_MESSAGE_BYTES),
        }
    }
}

/// A refusal to record.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// What was refused.
    pub kind: RefusalKind,
    /// The guard that refused, if one did.
    pub guard: Option<Guard>,
    /// Who caused it.
    pub actor: Actor<'a>,
    /// The engine, or a component's file name; may be empty.
    pub engine: &'a str,
    /// The job; may be empty.
    pub job: &'a str,
    /// One sentence for the operator, with hosts and limits by name and without secrets.
    pub message: &'a str,
}

/// Records refusals. Clones share one log.
///
/// When the last clone is dropped, the file is written to its end and closed.
#[derive(Clone, Default)]
pub struct AuditLog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    flood: Arc<Mutex<FloodControl>>,
    counters: Arc<Counters>,
    file: Option<LogFile>,
}

/// A line to write.
struct Line {
    kind: RefusalKind,
    entry: Entry,
}

impl AuditLog {
    /// Opens the log of a data directory. [`Self::default`] has no file.
    pub fn open(data: &Dir, retention: AuditRetention) -> Result<Self> {
        let mut shared = Shared::default();
        let (flood, counters) = (shared.flood.clone(), shared.counters.clone());
        shared.file = Some(LogFile::open(data, retention, flood, counters)?);
        Ok(Self(Arc::new(shared)))
    }

    /// Records a refusal.
    pub fn record(&self, event: &Event<'_>) {
        self.0.counters.count_refusal(event.kind, event.guard);
        let now = Instant::now();
        // No line is written while the lock is held.
        let (summaries, is_logged) = {
            let mut flood = locked(&self.0.flood);
            (flood.expired(now), flood.admits(event, now))
        };
        self.0.write_all(summaries);
        if is_logged {
            self.0.write(Line::new(event));
        } else {
            self.0.counters.count_dropped(event.kind);
        }
    }

    /// The number of refusals of a kind, or of all kinds, since the log was opened.
    #[must_use]
    pub fn count(&self, kind: Option<RefusalKind>) -> u64 {
        self.0.counters.refusals(kind)
    }

    /// How many of these have no line of their own: repetitions, and lines that could not be written.
    #[must_use]
    pub fn dropped(&self, kind: Option<RefusalKind>) -> u64 {
        self.0.counters.dropped(kind)
    }

    /// The guards that made these refusals, and how many.
    pub fn guard_counts(&self, kind: Option<RefusalKind>) -> impl Iterator<Item = (Guard, u64)> {
        self.0.counters.guards(kind)
    }

    /// The newest entries of a kind, or of all kinds, newest first; empty without a file.
    ///
    /// Includes every refusal recorded before the call. Blocks while it reads.
    pub fn newest(&self, kind: Option<RefusalKind>, max: usize) -> Result<Vec<Entry>> {
        let filter = AuditFilter {
            kind,
            ..AuditFilter::default()
        };
        Ok(self.search(&filter, None, max)?.entries)
    }

    /// Entries before the cursor, newest first, as far as the files reach; none without a file.
    ///
    /// Includes every refusal recorded before the call. Blocks while it reads.
    pub fn search(
        &self,
        filter: &AuditFilter,
        cursor: Option<AuditCursor>,
        max: usize,
    ) -> Result<AuditPage> {
        match &self.0.file {
            Some(file) => file.search(filter, cursor, max),
            None => Ok(AuditPage::default()),
        }
    }
}

impl Shared {
    fn write_all(&self, lines: Vec<Line>) {
        lines.into_iter().for_each(|line| self.write(line));
    }

    fn write(&self, line: Line) {
        line.log();
        if let Some(file) = &self.file {
            file.send(line);
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let summaries = locked(&self.flood).summaries();
        self.write_all(summaries);
    }
}

impl Line {
    fn new(event: &Event<'_>) -> Self {
        Self {
            kind: event.kind,
            entry: Entry::new(event),
        }
    }

    /// Writes it to the server's log.
    fn log(&self) {
        let Entry {
            kind,
            guard,
            engine,
            job,
            user,
            message,
            ..
        } = &self.entry;
        warn!(target: "pinhole::audit", kind, guard, engine, job, user, "{message}");
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_kinds_are_indexed_in_declaration_order() {
        for (index, kind) in RefusalKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index, "{}", kind.name());
        }
    }

    #[test]
    fn audit_log_writes_guard_and_user_and_closes_with_its_last_clone() {
        let directory = tempfile::tempdir().unwrap();
        let data = crate::data_dir::open(directory.path()).unwrap();
        let log = AuditLog::open(&data, AuditRetention::default()).unwrap();
        let clone = log.clone();
        clone.record(&Event {
            kind: RefusalKind::Address,
            guard: Some(Guard::PrivateAddress),
            actor: Actor::User("u"),
            engine: "e",
            job: "j",
            message: "m",
        });
        assert_eq!(log.count(None), 1);
        assert_eq!(log.count(Some(RefusalKind::Limit)), 0);
        for (kind, expected) in [
            (None, &[(Guard::PrivateAddress, 1)][..]),
            (Some(RefusalKind::Address), &[(Guard::PrivateAddress, 1)]),
            (Some(RefusalKind::Limit), &[]),
        ] {
            let guards: Vec<_> = log.guard_counts(kind).collect();
            assert_eq!(guards, expected, "{kind:?}");
        }
        let newest = log.newest(None, 10).unwrap();
        assert_eq!(newest.len(), 1);
        assert_eq!(
            (newest[0].guard.as_str(), newest[0].user.as_str()),
            ("private-address", "u")
        );
        drop((log, clone));
        let written = data.read_to_string("audit.jsonl").unwrap();
        assert_eq!(written.lines().count(), 1);
    }

    /// The figure of the guide `operating.md`.
    #[test]
    fn one_user_fills_the_files_in_more_than_five_days_at_worst() {
        let retention = AuditRetention::default();
        let lines_per_period = RefusalKind::ALL.len() * (flood::MAX_LINES + 1);
        let bytes_per_period = (lines_per_period * rotation::MAX_LINE_BYTES) as u64;
        let periods = retention.max_bytes / bytes_per_period;
        let days = periods * flood::PERIOD.as_secs() / (24 * 3600);
        assert!(days >= 5, "{days}");
    }

    #[test]
    fn longest_line_is_within_its_limit() {
        let quotes = "\"".repeat(2 * MAX_MESSAGE_BYTES);
        let entry = Entry::new(&Event {
            kind: RefusalKind::Admission,
            guard: Some(Guard::PictureFramePixels),
            actor: Actor::User(&quotes),
            engine: &quotes,
            job: &quotes,
            message: &quotes,
        });
        let length = serde_json::to_vec(&entry).unwrap().len() + 1;
        assert!(length <= rotation::MAX_LINE_BYTES, "{length}");
    }
}
