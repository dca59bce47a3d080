//! What was refused, and to whom: a line for the operator each time, in the server's log and in the
//! audit log of the data folder, and a count for the metrics.
//!
//! Nobody waits here: a line that the audit log cannot take at once is dropped and counted, and of
//! what one job does again and again only the first lines are told one by one.

mod file;
mod flood;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::metrics;
use crate::text::plain;

use file::Lines;
use flood::Flood;

pub use file::Log;

/// Length of a sentence, in bytes; what is longer is cut.
const MAX_WHAT_BYTES: usize = 1000;
/// Length of a name of an engine, a job or a user, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// What kind of thing was refused. A closed list: it labels a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A component that may not become an engine.
    Admission,
    /// A request that the engine's grant does not cover.
    Grant,
    /// An address, or a host's spelling, that no connection may go to.
    Address,
    /// A request that cannot be sent as it is: its header, its path, its body, its count.
    Request,
    /// An upstream's answer that is too long, too slow or no answer at all.
    Answer,
    /// A secret that came back, and was taken out.
    Secret,
    /// A limit of a call.
    Limit,
    /// An engine that crashed.
    Crash,
    /// A picture that is none, or not within its limits.
    Picture,
}

impl Kind {
    /// All of them.
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

    /// Its label.
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
pub struct Line {
    /// When, in UTC, as RFC 3339 says it.
    pub time: String,
    /// The name of its [`Kind`].
    pub kind: String,
    /// The engine, or the file of a component; empty where there is none.
    pub engine: String,
    /// The job, empty where there is none.
    pub job: String,
    /// Whose job it is, as far as that is known, else empty.
    pub user: String,
    /// One sentence.
    pub what: String,
}

/// What the process knows of refusals.
struct Noted {
    flood: Flood,
    /// Whose the jobs are that are under way.
    users: HashMap<String, String>,
    /// Where lines go: the log of each data folder that is open. A server has one.
    logs: Vec<Lines>,
}

static NOTED: Mutex<Option<Noted>> = Mutex::new(None);
/// In the order of [`Kind::ALL`].
static COUNTS: [AtomicU64; Kind::ALL.len()] = [const { AtomicU64::new(0) }; Kind::ALL.len()];

/// Notes a refusal. `what` is one sentence for the operator, with hosts and limits by name, and
/// without secrets; `job` is empty where there is none.
pub fn refused(kind: Kind, engine: &str, job: &str, what: &str) {
    metrics::count_refusal(kind);
    if let Some(count) = COUNTS.get(kind as usize) {
        count.fetch_add(1, Ordering::Relaxed);
    }
    let now = Instant::now();
    let told = with_noted(|noted| {
        let key = flood::Key::new(kind, engine, job);
        let more = noted.flood.ended(now);
        (noted.flood.tells(key, now), more)
    });
    let (tells, more) = told;
    more.iter().for_each(tell);
    if tells {
        tell(&Line::new(kind, engine, job, what));
    }
}

/// How many refusals of a kind, or of all, there were since the process was started.
#[must_use]
pub fn count(kind: Option<Kind>) -> u64 {
    let counted = Kind::ALL.into_iter().zip(&COUNTS);
    let wanted = counted.filter(|(each, _)| kind.is_none_or(|kind| kind == *each));
    wanted.map(|(_, count)| count.load(Ordering::Relaxed)).sum()
}

/// Tells how often what is no longer told one by one has happened: of what has ended, or of all.
fn tell_counted(all: bool) {
    let more = with_noted(|noted| match all {
        true => noted.flood.all(),
        false => noted.flood.ended(Instant::now()),
    });
    more.iter().for_each(tell);
}

fn tell(line: &Line) {
    let Line {
        kind,
        engine,
        job,
        what,
        ..
    } = line;
    warn!(target: "pinhole::audit", kind, engine, job, "{what}");
    with_noted(|noted| {
        let mut line = line.clone();
        line.user = noted.users.get(&line.job).cloned().unwrap_or_default();
        noted.logs.iter().for_each(|log| log.push(&line));
    });
}

fn with_noted<T>(work: impl FnOnce(&mut Noted) -> T) -> T {
    let mut noted: MutexGuard<'_, Option<Noted>> =
        NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    work(noted.get_or_insert_with(|| Noted {
        flood: Flood::default(),
        users: HashMap::new(),
        logs: Vec::new(),
    }))
}

/// A job that is under way; when it is dropped, what was only counted of the job is told.
pub(crate) struct Asked {
    job: String,
}

/// From now on lines of this job say whose it is.
pub(crate) fn asked_by(job: &str, user: &str) -> Asked {
    let job = plain(job, MAX_NAME_BYTES);
    let user = plain(user, MAX_NAME_BYTES);
    with_noted(|noted| noted.users.insert(job.clone(), user));
    Asked { job }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let more = with_noted(|noted| noted.flood.end(&self.job));
        more.iter().for_each(tell);
        with_noted(|noted| noted.users.remove(&self.job));
    }
}

impl Line {
    fn new(kind: Kind, engine: &str, job: &str, what: &str) -> Self {
        Self {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            kind: kind.name().to_owned(),
            engine: plain(engine, MAX_NAME_BYTES),
            job: plain(job, MAX_NAME_BYTES),
            user: String::new(),
            what: plain(what, MAX_WHAT_BYTES),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_at_its_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{}", kind.name());
        }
    }
}
