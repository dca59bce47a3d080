//! The row of a job.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::database::Row;
use super::job_leases::JobAttempt;

pub(super) const COLUMNS: &str = "jobs.id, user_id, origin, chat_id, message_id, operation, state, request, binding, engine,
    engine_version, digest, ordered, result, error, idempotency_key, request_hash, jobs.created_at, started_at,
    ended_at, duration_ms, attempt, host, continuation";

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It is accepted, and waits for a slot.
    Waiting,
    /// The engine works.
    Running,
    /// It has images.
    Done,
    Failed,
    /// A user stopped it.
    Cancelled,
    /// The server stopped while it was active.
    Interrupted,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRow {
    /// Ascends with the time of its creation.
    pub id: String,
    pub user_id: String,
    /// `api` or `chat`.
    pub origin: String,
    pub chat_id: Option<String>,
    pub message_id: Option<String>,
    /// `generate` or `edit`.
    pub operation: String,
    pub state: JobState,
    /// JSON without image bytes.
    pub request: Option<String>,
    pub binding: String,
    pub engine: String,
    pub engine_version: String,
    /// SHA-256 of the engine's component, in hexadecimal.
    pub digest: String,
    /// An upstream may have started to generate.
    pub ordered: bool,
    /// JSON: the files and what the engine says about them.
    pub result: String,
    /// JSON.
    pub error: Option<String>,
    pub idempotency: Option<Idempotency>,
    /// Seconds since 1970.
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    /// From the start to the end.
    pub duration_ms: Option<i64>,
    /// How often a host took the job, from 1.
    pub attempt: i64,
    /// The host that runs the job; `None` if no other one continues it.
    pub host: Option<String>,
    /// JSON: what continues the job, in addition to its request. `None` if it cannot be done again.
    pub continuation: Option<String>,
}

/// What recognizes a repeated request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// The client's.
    pub key: String,
    /// SHA-256 of the request's body, in hexadecimal.
    pub request_hash: String,
}

/// A page of jobs, newest first.
#[derive(Clone, Copy, Debug)]
pub struct JobFilter<'a> {
    /// `None`: of all users.
    pub user_id: Option<&'a str>,
    /// `None`: of all bindings.
    pub binding: Option<&'a str>,
    pub states: &'a [JobState],
    /// Only jobs that are older than this one.
    pub before: Option<&'a str>,
    pub limit: u32,
}

impl JobState {
    pub const ALL: [Self; 6] = [
        Self::Waiting,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
    ];

    /// The name in the database and in requests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Waiting | Self::Running)
    }
}

impl JobRow {
    /// The attempt that writes of this row are for.
    #[must_use]
    pub fn attempt(&self) -> JobAttempt<'_> {
        JobAttempt {
            id: &self.id,
            attempt: self.attempt,
        }
    }

    /// Length of the texts whose length varies, in bytes.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let texts = [self.request.as_ref(), self.error.as_ref()];
        self.result.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

pub(super) fn job_from_row(row: &Row) -> sqlx::Result<JobRow> {
    let state: String = row.try_get("state")?;
    let key: Option<String> = row.try_get("idempotency_key")?;
    let request_hash: Option<String> = row.try_get("request_hash")?;
    Ok(JobRow {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        origin: row.try_get("origin")?,
        chat_id: row.try_get("chat_id")?,
        message_id: row.try_get("message_id")?,
        operation: row.try_get("operation")?,
        state: JobState::parse(&state).unwrap_or(JobState::Interrupted),
        request: row.try_get("request")?,
        binding: row.try_get("binding")?,
        engine: row.try_get("engine")?,
        engine_version: row.try_get("engine_version")?,
        digest: row.try_get("digest")?,
        ordered: row.try_get_flag("ordered")?,
        result: row.try_get("result")?,
        error: row.try_get("error")?,
        idempotency: key
            .zip(request_hash)
            .map(|(key, request_hash)| Idempotency { key, request_hash }),
        created_at: row.try_get("created_at")?,
        started_at: row.try_get("started_at")?,
        ended_at: row.try_get("ended_at")?,
        duration_ms: row.try_get("duration_ms")?,
        attempt: row.try_get("attempt")?,
        host: row.try_get("host")?,
        continuation: row.try_get("continuation")?,
    })
}
