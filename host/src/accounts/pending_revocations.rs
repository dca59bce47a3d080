//! Sessions that were revoked while the database could not be written.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions that wait. Beyond this number, a revocation fails if it cannot be stored.
const MAX_PENDING: usize = 100_000;

/// Ids of revoked sessions, with their expiry.
#[derive(Debug, Default)]
pub(super) struct PendingRevocations {
    expiry_by_id: Mutex<HashMap<String, i64>>,
}

impl PendingRevocations {
    /// Revokes a session in this process. Returns false if too many wait already.
    #[must_use]
    pub(super) fn add(&self, session_id: &str, expires_at: i64) -> bool {
        let mut pending = self.lock();
        if pending.len() >= MAX_PENDING {
            return false;
        }
        pending.insert(session_id.to_owned(), expires_at);
        true
    }

    /// Forgets a session whose revocation is stored.
    pub(super) fn remove(&self, session_id: &str) {
        self.lock().remove(session_id);
    }

    pub(super) fn contains(&self, session_id: &str) -> bool {
        self.lock().contains_key(session_id)
    }

    /// All sessions that wait.
    pub(super) fn all(&self) -> Vec<(String, i64)> {
        let pending = self.lock();
        pending.iter().map(|(id, at)| (id.clone(), *at)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, i64>> {
        self.expiry_by_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
