//! Polls the history and the queue until the job has ended.

use pinhole_sdk::upstream::Error as UpstreamError;
use pinhole_sdk::{Error, ErrorKind, Progress, job};
use serde_json::{Map, Value};

use crate::error;
use crate::wire::{self, HistoryEntry, request_json};

/// Time between two polls, at first and at most.
const POLL_INTERVAL_MS: u32 = 500;
const MAX_POLL_INTERVAL_MS: u32 = 2_000;
/// Number of consecutive polls without the job after which it is lost. One poll may fall between the
/// queue and the history.
const MAX_ABSENT_POLLS: u32 = 2;
/// Number of consecutive polls that may fail: a server takes a moment to restart.
const MAX_FAILED_POLLS: u32 = 8;
/// Maximum delay that a busy server, or a proxy in front of it, can ask for.
const MAX_REQUESTED_DELAY_MS: u64 = 60_000;

enum JobState {
    Ended(HistoryEntry),
    /// With the number of jobs before it, 0 if it runs.
    Queued(u32),
    Absent,
}

/// Waits until the history has the job. After the socket has reported its end, the first poll finds it.
pub(super) fn wait_for_history(prompt_id: &str) -> Result<HistoryEntry, Error> {
    let mut interval_ms = POLL_INTERVAL_MS;
    let (mut absent, mut failed) = (0, 0);
    loop {
        let mut requested_delay_ms = 0;
        match request_state(prompt_id) {
            Ok(JobState::Ended(entry)) => return Ok(entry),
            Ok(JobState::Queued(position)) => {
                (absent, failed) = (0, 0);
                report_position(position);
            }
            Ok(JobState::Absent) => absent += 1,
            Err(error) if is_permanent(&error) || failed >= MAX_FAILED_POLLS => return Err(error),
            Err(error) => {
                failed += 1;
                requested_delay_ms = error.retry_after_ms.unwrap_or(0);
            }
        }
        if absent >= MAX_ABSENT_POLLS {
            return Err(error::lost_job());
        }
        let requested_ms = requested_delay_ms.min(MAX_REQUESTED_DELAY_MS);
        let requested_ms = u32::try_from(requested_ms).unwrap_or(u32::MAX);
        if !job::sleep(interval_ms.max(requested_ms)) {
            return Err(UpstreamError::Cancelled.into());
        }
        interval_ms = (interval_ms + interval_ms / 2).min(MAX_POLL_INTERVAL_MS);
    }
}

/// Whether the job has ended, or is neither in the history nor in the queue.
pub(super) fn is_job_over(prompt_id: &str) -> bool {
    matches!(
        request_state(prompt_id),
        Ok(JobState::Ended(_) | JobState::Absent)
    )
}

/// What the server has of a job that an earlier attempt may have queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Ended,
    Queued,
    Absent,
}

/// Looks for a job in the history and the queue. One look may fall between both.
pub(super) fn find(prompt_id: &str) -> Result<Presence, Error> {
    for look in 0..MAX_ABSENT_POLLS {
        if look > 0 && !job::sleep(POLL_INTERVAL_MS) {
            return Err(UpstreamError::Cancelled.into());
        }
        match request_state(prompt_id)? {
            JobState::Ended(_) => return Ok(Presence::Ended),
            JobState::Queued(_) => return Ok(Presence::Queued),
            JobState::Absent => {}
        }
    }
    Ok(Presence::Absent)
}

/// The number of jobs before ours, 0 if it runs; `None` if that is not known.
pub(super) fn queue_position(prompt_id: &str) -> Option<u32> {
    let queue: Value = request_json(wire::QUEUE).ok()?;
    wire::queue_position(&queue, prompt_id)
}

fn request_state(prompt_id: &str) -> Result<JobState, Error> {
    let history: Map<String, Value> = request_json(&wire::history_path(prompt_id))?;
    if let Some(entry) = HistoryEntry::take(history, prompt_id)? {
        return Ok(JobState::Ended(entry));
    }
    let queue: Value = request_json(wire::QUEUE)?;
    Ok(wire::queue_position(&queue, prompt_id).map_or(JobState::Absent, JobState::Queued))
}

/// Whether another poll would fail in the same way.
fn is_permanent(error: &Error) -> bool {
    !matches!(
        error.kind,
        ErrorKind::Unavailable | ErrorKind::Upstream | ErrorKind::RateLimited
    )
}

fn report_position(position: u32) {
    let progress = Progress {
        fraction: None,
        queue_position: (position > 0).then_some(position),
        note: (position == 0).then(|| "running".to_owned()),
    };
    job::report(&progress, None);
}
