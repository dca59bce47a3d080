//! Whether editing is set up, as far as an edit has shown.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Time after which an engine that lacks settings for editing is tried again: the upstream may have what
/// it lacked.
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// When an engine last refused an edit for lack of settings.
///
/// Engines can edit if they implement it, but some also need a setting, or a model of their upstream. Only
/// an edit shows that. Without this memory, each turn of a chat would upload an image in vain.
#[derive(Debug, Default)]
pub(in crate::jobs) struct EditSetup(Mutex<Option<Instant>>);

impl EditSetup {
    /// The engine lacks settings for editing.
    pub(in crate::jobs) fn set_missing(&self, now: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    pub(in crate::jobs) fn is_missing(&self, now: Instant) -> bool {
        let refused = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refused.is_some_and(|since| now.saturating_duration_since(since) < RETRY_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_settings_are_forgotten_after_a_while() {
        let (setup, now) = (EditSetup::default(), Instant::now());
        assert!(!setup.is_missing(now));
        setup.set_missing(now);
        assert!(setup.is_missing(now + RETRY_AFTER - Duration::from_secs(1)));
        assert!(!setup.is_missing(now + RETRY_AFTER));
    }
}
