//! A user's gallery: deletion that can be undone, and the removal of the bytes afterwards.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{BATCH, Files, NoRoom};
use crate::store::{Deletion, RestoreOutcome, User, now};

/// Time in which a deletion can be undone.
pub const UNDO_TIME: Duration = Duration::from_secs(30);

impl Files {
    /// Deletes images of the user. They can be restored until the returned time, in seconds since 1970.
    pub async fn delete_with_undo(&self, user: &User, ids: &[String]) -> Result<(usize, i64)> {
        let deletion = self.store.delete_files_of(&user.id, ids).await;
        let Deletion {
            ids: deleted,
            deleted_at,
        } = deletion.context("cannot delete images of the database")?;
        for id in &deleted {
            // The row exists, so nothing of the file waits.
            self.spool.remove_file(id);
        }
        Ok((
            deleted.len(),
            deleted_at.saturating_add_unsigned(UNDO_TIME.as_secs()),
        ))
    }

    /// Restores images of the user, if they were deleted a short time ago. Returns their number. Fails if the
    /// user would then exceed the quota.
    pub async fn restore(&self, user: &User, ids: &[String]) -> Result<u64, NoRoom> {
        let quota = self.quota(user);
        let restored = self
            .store
            .restore_files(&user.id, ids, oldest_undo(), quota);
        let outcome = restored.await;
        match outcome.context("cannot restore images of the database")? {
            RestoreOutcome::Restored(number) => Ok(number),
            RestoreOutcome::OverQuota => Err(self.quota_exceeded(user).await?),
        }
    }

    /// Removes the images whose deletion can no longer be undone, also those that an earlier process left.
    /// Logs a failure; the next call retries.
    pub async fn remove_deleted(&self) {
        loop {
            let removed = self.store.remove_deleted_files(oldest_undo(), BATCH).await;
            let ids = match removed {
                Ok(ids) if ids.is_empty() => return,
                Ok(ids) => ids,
                Err(error) => {
                    tracing::warn!("cannot remove deleted images, will retry: {error}");
                    return;
                }
            };
            for id in ids {
                self.delete_bytes(&id).await;
            }
        }
    }
}

/// The oldest time of a deletion that can be undone.
fn oldest_undo() -> i64 {
    now().saturating_sub_unsigned(UNDO_TIME.as_secs())
}
