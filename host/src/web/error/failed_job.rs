//! The response about a failed job.

use http::StatusCode;

use pinhole_ground::guard::Guard;
use pinhole_sandbox::contract::ErrorKind;

use super::{ApiError, MEMORY_FULL_RETRY_MS, QUEUE_FULL_RETRY_MS};
use crate::jobs;

/// Retry delay sent to a client whose job waited for engines that are still being compiled, in milliseconds.
const STARTING_RETRY_MS: u64 = 5000;

impl ApiError {
    /// The failure of an ended job, whose code is the name of a kind, or the upstream's own.
    pub(in crate::web) fn of_ended_job(code: &str, detail: &str) -> Self {
        let kind = ErrorKind::parse(code).unwrap_or(ErrorKind::Upstream);
        let mut error = Self::new(status_of(kind), detail);
        error.code = Some(code.to_owned());
        error.without_retry()
    }
}

impl From<jobs::Error> for ApiError {
    fn from(error: jobs::Error) -> Self {
        let status = if matches!(error, jobs::Error::Disabled(_)) {
            StatusCode::FORBIDDEN
        } else {
            status_of(error.kind())
        };
        let mut api = Self::new(status, error.to_string());
        api.code = Some(error.kind().name().to_owned());
        api.forbids_retry = error.forbids_retry();
        match error {
            jobs::Error::Invalid { field, .. } | jobs::Error::Unsupported { field, .. } => {
                api.param = Some(field.into_owned());
            }
            jobs::Error::Engine { source, .. } => match *source {
                pinhole_sandbox::Error::Engine { error: cause, .. } => {
                    api.code = cause.code.or(api.code);
                    api.param = cause.field;
                    api.retry_after_ms = cause.retry_after_ms;
                }
                pinhole_sandbox::Error::QueueFull(_) => {
                    api.retry_after_ms = Some(QUEUE_FULL_RETRY_MS)
                }
                pinhole_sandbox::Error::MemoryFull(full) => return full.into(),
                pinhole_sandbox::Error::Limit(refusal)
                    if refusal.guard == Some(Guard::MemoryOfAll) =>
                {
                    api.retry_after_ms = Some(MEMORY_FULL_RETRY_MS);
                }
                _ => {}
            },
            jobs::Error::Starting => api.retry_after_ms = Some(STARTING_RETRY_MS),
            jobs::Error::QueueFull(_) => api.retry_after_ms = Some(QUEUE_FULL_RETRY_MS),
            jobs::Error::RateLimited { retry_after } => {
                api.retry_after_ms = Some(retry_after.as_millis().try_into().unwrap_or(u64::MAX));
            }
            jobs::Error::MemoryFull(full) => return full.into(),
            jobs::Error::Disabled(_) => {}
        }
        api
    }
}

/// The status of a failed job.
fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::Invalid | ErrorKind::Blocked | ErrorKind::NotFound | ErrorKind::Unsupported => {
            StatusCode::BAD_REQUEST
        }
        ErrorKind::RateLimited | ErrorKind::Quota => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        // The server's credential and permissions at the upstream are not the client's fault.
        ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::OutOfMemory
        | ErrorKind::Cancelled
        | ErrorKind::Upstream
        | ErrorKind::Protocol => StatusCode::BAD_GATEWAY,
    }
}
