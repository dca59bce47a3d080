//! The audit log: one line for each refusal, in the server's log and in a file of the data directory,
//! and a count for the metrics.
//!
//! Recording never blocks. A line that the file's queue cannot accept is dropped and counted. Of the
//! refusals that one job repeats, only the first are logged one by one; see `flood`.

mod file;
mod flood;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;
use cap_std::fs::Dir;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::guard::Guard;
use crate::metrics;
use crate::text::plain;

use file::{LogFile, LogSender};
use flood::FloodControl;

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
}

impl RefusalKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Admission,
        Self::Grant,
        Self::Address,
        Self::Request,
        Self::Answer,
        Self::Secret,
        Self::Limit,
        Self::Crash,
        Self::Picture,
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
    /// The user who started the job, if known; may be empty.
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
            user: String::new(),
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
    state: Arc<Mutex<State>>,
    /// In the order of [`RefusalKind::ALL`].
    counts: [AtomicU64; RefusalKind::ALL.len()],
    file: Option<LogFile>,
}

#[derive(Default)]
struct State {
    flood: FloodControl,
    /// The user of each job that runs.
    job_users: HashMap<String, String>,
    sender: Option<LogSender>,
}

impl AuditLog {
    /// Opens the log of a data directory. [`Self::default`] has no file.
    pub fn open(data: &Dir) -> Result<Self> {
        let state = Arc::new(Mutex::new(State::default()));
        let file = LogFile::open(data, state.clone())?;
        locked(&state).sender = Some(file.sender());
        Ok(Self(Arc::new(Shared {
            state,
            counts: Default::default(),
            file: Some(file),
        })))
    }

    /// Records a refusal.
    pub fn record(&self, event: &Event<'_>) {
        let Event {
            kind, engine, job, ..
        } = *event;
        metrics::count_refusal(kind.name());
        if let Some(count) = self.0.counts.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let now = Instant::now();
        let mut state = locked(&self.0.state);
        let admitted = state.flood.admits(flood::Key::new(kind, engine, job), now);
        let summaries = state.flood.expired(now);
        state.write_all(&summaries);
        if admitted {
            state.write(&Entry::new(event));
        }
    }

    /// The number of refusals of a kind, or of all kinds, since the log was opened.
    #[must_use]
    pub fn count(&self, kind: Option<RefusalKind>) -> u64 {
        RefusalKind::ALL
            .into_iter()
            .zip(&self.0.counts)
            .filter(|(each, _)| kind.is_none_or(|kind| kind == *each))
            .map(|(_, count)| count.load(Ordering::Relaxed))
            .sum()
    }

    /// The newest entries of a kind, or of all kinds, newest first; empty without a file.
    ///
    /// Includes every refusal recorded before the call. Blocks while it reads.
    pub fn newest(&self, kind: Option<RefusalKind>, max: usize) -> Result<Vec<Entry>> {
        match &self.0.file {
            Some(file) => file.newest(kind, max),
            None => Ok(Vec::new()),
        }
    }

    /// Names the user of a job in all its entries, until the result is dropped.
    #[must_use]
    pub fn attribute(&self, job: &str, user: &str) -> Attribution {
        let job = plain(job, MAX_NAME_BYTES);
        let user = plain(user, MAX_NAME_BYTES);
        locked(&self.0.state).job_users.insert(job.clone(), user);
        Attribution {
            state: self.0.state.clone(),
            job,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        let summaries = state.flood.summaries();
        state.write_all(&summaries);
        state.sender = None;
    }
}

/// A job that runs. Dropping it logs the refusals of the job that were only counted.
pub struct Attribution {
    state: Arc<Mutex<State>>,
    job: String,
}

impl Drop for Attribution {
    fn drop(&mut self) {
        let mut state = locked(&self.state);
        let summaries = state.flood.finish(&self.job);
        state.write_all(&summaries);
        state.job_users.remove(&self.job);
    }
}

impl State {
    fn write_all(&self, entries: &[Entry]) {
        entries.iter().for_each(|entry| self.write(entry));
    }

    fn write(&self, entry: &Entry) {
        let Entry {
            kind,
            guard,
            engine,
            job,
            message,
            ..
        } = entry;
        warn!(target: "pinhole::audit", kind, guard, engine, job, "{message}");
        if let Some(sender) = &self.sender {
            sender.send(Entry {
                user: self.job_users.get(job).cloned().unwrap_or_default(),
                ..entry.clone()
            });
        }
    }
}

fn locked(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
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
        let log = AuditLog::open(&data).unwrap();
        let clone = log.clone();
        let attribution = clone.attribute("j", "u");
        clone.record(&Event {
            kind: RefusalKind::Address,
            guard: Some(Guard::PrivateAddress),
            engine: "e",
            job: "j",
            message: "m",
        });
        assert_eq!(log.count(None), 1);
        assert_eq!(log.count(Some(RefusalKind::Limit)), 0);
        let newest = log.newest(None, 10).unwrap();
        assert_eq!(newest.len(), 1);
        assert_eq!(
            (newest[0].guard.as_str(), newest[0].user.as_str()),
            ("private-address", "u")
        );
        drop((log, clone));
        drop(attribution);
        let written = data.read_to_string("audit.jsonl").unwrap();
        assert_eq!(written.lines().count(), 1);
    }
}
