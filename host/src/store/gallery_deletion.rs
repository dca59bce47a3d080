//! Deletion of images with a time in which it can be undone.
//!
//! The row and the bytes of a deleted file remain until that time is over. Until then the row has a time of
//! deletion, and only the statements of this file, of the cleanup and of the removal of a user read it.

use pinhole_ground::guard::Guard;

use super::database::{Connection, query};
use super::gallery::push_own_ids;
use super::storage::storage_use;
use super::{Store, now};

/// What a deletion did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// The ids of the files that were deleted.
    pub ids: Vec<String>,
    /// Seconds since 1970.
    pub deleted_at: i64,
}

/// The result of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreOutcome {
    /// As many files are back.
    Restored(u64),
    /// The user would occupy more space than the quota, and than before the deletion. Nothing is changed.
    OverQuota,
}

impl Store {
    /// Deletes images of a user until [`Self::restore_files`] or [`Self::remove_deleted_files`]. Accepts a few
    /// hundred ids.
    pub async fn delete_files_of(&self, user_id: &str, ids: &[String]) -> sqlx::Result<Deletion> {
        let deleted_at = now();
        if ids.is_empty() {
            return Ok(Deletion {
                ids: Vec::new(),
                deleted_at,
            });
        }
        let mut transaction = self.begin_removal().await?;
        let use_before = use_before(&mut transaction, user_id).await?;
        let update =
            query("UPDATE files SET deleted_at = $1, use_before = $2 WHERE deleted_at IS NULL")
                .bind(deleted_at)
                .bind(use_before);
        let deleted_ids = push_own_ids(update, user_id, ids)
            .push(" RETURNING id")
            .fetch_values(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Deletion {
            ids: deleted_ids,
            deleted_at,
        })
    }

    /// Restores files of a user that were deleted at this time or later. `quota` is in bytes. Accepts a few
    /// hundred ids.
    pub async fn restore_files(
        &self,
        user_id: &str,
        ids: &[String],
        since: i64,
        quota: Option<u64>,
    ) -> sqlx::Result<RestoreOutcome> {
        if ids.is_empty() {
            return Ok(RestoreOutcome::Restored(0));
        }
        let mut transaction = self.begin().await?;
        let update = query("UPDATE files SET deleted_at = NULL WHERE deleted_at >= $1").bind(since);
        let restored: Vec<i64> = push_own_ids(update, user_id, ids)
            .push(" RETURNING use_before")
            .fetch_values(&mut *transaction)
            .await?;
        if let Some(quota) = quota
            && let Some(use_before) = restored.iter().max()
        {
            let used = storage_use(&mut transaction, user_id).await?.total();
            let allowed = quota.max(u64::try_from(*use_before).unwrap_or_default());
            if Guard::UserStorage.applies(used > allowed) {
                return Ok(RestoreOutcome::OverQuota);
            }
        }
        transaction.commit().await?;
        Ok(RestoreOutcome::Restored(restored.len() as u64))
    }

    /// Removes the rows of files that were deleted before this time. Returns their ids.
    pub async fn remove_deleted_files(&self, before: i64, limit: u32) -> sqlx::Result<Vec<String>> {
        let due: Option<i64> = query("SELECT deleted_at FROM files WHERE deleted_at < $1 LIMIT 1")
            .bind(before)
            .fetch_optional_value(&self.database)
            .await?;
        if due.is_none() {
            return Ok(Vec::new());
        }
        let mut transaction = self.begin_removal().await?;
        let ids = query(
            "DELETE FROM files
             WHERE id IN (SELECT id FROM files WHERE deleted_at < $1 ORDER BY deleted_at LIMIT $2)
             RETURNING id",
        )
        .bind(before)
        .bind(i64::from(limit))
        .fetch_values(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ids)
    }
}

/// What the user may occupy again after a restore: what they occupy now, or occupied before an earlier
/// deletion that can be undone. So an undone deletion never fails for a quota that was exceeded before, and
/// no user occupies more by deleting, storing and restoring.
async fn use_before(connection: &mut Connection, user_id: &str) -> sqlx::Result<i64> {
    let earlier: Option<i64> =
        query("SELECT MAX(use_before) FROM files WHERE user_id = $1 AND deleted_at IS NOT NULL")
            .bind(user_id)
            .fetch_value(&mut *connection)
            .await?;
    let used = storage_use(connection, user_id).await?.total();
    let used = i64::try_from(used).unwrap_or(i64::MAX);
    Ok(used.max(earlier.unwrap_or_default()))
}
