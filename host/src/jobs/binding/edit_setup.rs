//! Whether editing is set up, as far as the engine or an edit has shown.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Time after which a finding is checked again: the upstream may have what it lacked.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Whether an engine lacks settings for editing, for jobs whose request names no model.
///
/// Engines can edit if they implement it, but some also need a setting, or a model of their upstream. Without
/// this memory, each turn of a chat would ask the engine, or upload an image in vain. It belongs to a snapshot
/// of the settings, so a change of them starts an empty one.
#[derive(Debug, Default)]
pub(in crate::jobs) struct EditSetup(Mutex<Option<Finding>>);

#[derive(Clone, Copy, Debug)]
struct Finding {
    found_at: Instant,
    is_missing: bool,
}

impl EditSetup {
    /// The engine refused an edit for lack of settings.
    pub(in crate::jobs) async fn set_missing(&self) {
        *self.0.lock().await = Some(Finding::now(true));
    }

    /// The last finding, or the result of this check if that does not exist or is too old.
    pub(in crate::jobs) async fn is_missing(&self, check: impl Future<Output = bool>) -> bool {
        // Locked during the check: concurrent callers wait for its result.
        let mut found = self.0.lock().await;
        if let Some(finding) = found.filter(|finding| finding.is_fresh(Instant::now())) {
            return finding.is_missing;
        }
        let finding = Finding::now(check.await);
        *found = Some(finding);
        finding.is_missing
    }
}

impl Finding {
    fn now(is_missing: bool) -> Self {
        Self {
            found_at: Instant::now(),
            is_missing,
        }
    }

    fn is_fresh(self, now: Instant) -> bool {
        now.saturating_duration_since(self.found_at) < MAX_AGE
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn edit_setup_is_checked_once_for_concurrent_callers() {
        for is_missing in [true, false] {
            let (setup, checks) = (EditSetup::default(), AtomicUsize::new(0));
            let find = || {
                setup.is_missing(async {
                    checks.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    is_missing
                })
            };
            let found = join_all((0..50).map(|_| find())).await;
            assert_eq!(found, [is_missing; 50]);
            assert_eq!(checks.load(Ordering::Relaxed), 1);
            // An edit knows better.
            setup.set_missing().await;
            assert!(find().await);
        }
    }

    #[test]
    fn finding_ages() {
        let finding = Finding::now(true);
        let is_fresh_after = |age| finding.is_fresh(finding.found_at + age);
        assert!(is_fresh_after(MAX_AGE - Duration::from_secs(1)));
        assert!(!is_fresh_after(MAX_AGE));
    }
}
