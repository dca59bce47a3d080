//! What the server repeats while it runs.

use std::sync::Arc;
use std::time::Duration;

use super::App;

/// Time between two attempts to store what could not be stored.
const INTERVAL: Duration = Duration::from_secs(5);
/// Time between two times when the last uses of keys and sessions are stored.
const USE_INTERVAL: Duration = Duration::from_secs(60);

impl App {
    /// Stores when keys and sessions were last used. Never returns.
    pub async fn store_last_uses(self: Arc<Self>) {
        let mut interval = tokio::time::interval(USE_INTERVAL);
        loop {
            interval.tick().await;
            self.store.store_last_uses().await;
        }
    }

    /// Retries what failed because the database was busy, the disk full or files exhausted, and removes images
    /// whose deletion can no longer be undone. Never returns.
    pub async fn maintain(self: Arc<Self>) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            self.files.store_spooled().await;
            self.files.remove_deleted().await;
            self.accounts.store_revocations().await;
            self.active_jobs.store_ends().await;
            self.files.restore_ballast().await;
        }
    }
}
