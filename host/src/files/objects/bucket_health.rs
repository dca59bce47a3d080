//! Whether a bucket can be used: requests fail at once while it is lost, and one success ends that.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::bucket_error::BucketError;

/// Time between two health checks.
pub(in crate::files) const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Time of a health check with its retries.
pub(in crate::files) const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// Failures in succession after which a bucket is lost: about 30 seconds.
pub(in crate::files) const MAX_CHECK_FAILURES: u32 = 3;

/// What the last health checks and writes have shown.
#[derive(Debug, Default)]
pub(super) struct BucketHealth {
    /// In succession.
    failures: AtomicU32,
    is_lost: AtomicBool,
    /// A write failed, so only a write shows that the bucket works again.
    has_write_failed: AtomicBool,
}

impl BucketHealth {
    /// Fails while the bucket is lost.
    pub(super) fn require_available(&self) -> Result<(), BucketError> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(BucketError::lost());
        }
        Ok(())
    }

    /// Must the next check write?
    pub(super) fn needs_write(&self) -> bool {
        self.has_write_failed.load(Ordering::Relaxed)
    }

    /// A check or a write succeeded.
    pub(super) fn record_success(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.has_write_failed.store(false, Ordering::Relaxed);
        if self.is_lost.swap(false, Ordering::Relaxed) {
            tracing::info!("the bucket of the files can be used again");
        }
    }

    /// A check or a write failed.
    pub(super) fn record_failure(&self, error: &BucketError, was_write: bool) {
        if was_write {
            self.has_write_failed.store(true, Ordering::Relaxed);
        }
        let failures = self
            .failures
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1);
        if failures >= MAX_CHECK_FAILURES && !self.is_lost.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "{error}: no images are made and none can be read until it can be used; the server tries again every {} seconds",
                CHECK_INTERVAL.as_secs()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::objects::bucket_error::BucketProblem;

    #[test]
    fn bucket_is_lost_after_failures_in_succession_and_recovers_with_one_success() {
        let health = BucketHealth::default();
        let error = BucketError::new(BucketProblem::Other, "a request failed");
        for _ in 1..MAX_CHECK_FAILURES {
            health.record_failure(&error, true);
        }
        assert!(health.require_available().is_ok() && health.needs_write());
        health.record_success();
        assert!(!health.needs_write());
        for _ in 0..MAX_CHECK_FAILURES {
            assert!(health.require_available().is_ok());
            health.record_failure(&error, false);
        }
        assert!(health.require_available().is_err());
        health.record_success();
        assert!(health.require_available().is_ok());
    }
}
