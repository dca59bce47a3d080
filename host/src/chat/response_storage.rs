//! Responses that cannot be stored at once. A message without an end would look active for as long as the process runs.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::Trouble;

/// Time between two attempts.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a response is retried. After a restart, its message gets an error instead.
const MAX_TIME: Duration = Duration::from_hours(1);

/// The attempts to store a response.
pub(super) struct StorageAttempts {
    start: Instant,
}

impl StorageAttempts {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Waits until the next attempt, after one that failed. Returns false if another one would fail too.
    pub(super) async fn wait(&self, error: &sqlx::Error) -> bool {
        if Trouble::of(error).is_none() || self.start.elapsed() > MAX_TIME {
            return false;
        }
        tokio::time::sleep(INTERVAL).await;
        true
    }
}
