//! What the server repeats while it runs.

use std::sync::Arc;
use std::time::Duration;

use super::App;

/// Time between two attempts to store what could not be stored.
const INTERVAL: Duration = Duration::from_secs(5);

impl App {
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
