//! Removes expired files, and orphaned bytes: those without a row.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;

use super::Files;
use crate::store::now;

/// Time between two cleanups.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Bytes without a row are orphaned after this time. Younger ones may be about to get their row.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Rows and names that one step handles.
const BATCH: u16 = 200;

impl Files {
    /// Cleans up now and then hourly. Never returns. Failures are logged and retried.
    pub async fn clean_up_hourly(self, retention: Option<Duration>) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            if let Err(error) = self.clean_up(retention).await {
                tracing::error!("cannot clean up files, will retry: {error:#}");
            }
        }
    }

    /// Removes files older than `retention`, if it is set, and orphaned bytes, which a crash between
    /// the write of the bytes and of the row leaves behind.
    pub async fn clean_up(&self, retention: Option<Duration>) -> Result<()> {
        let expired = match retention {
            Some(retention) => self.remove_expired(retention).await?,
            None => 0,
        };
        let orphans = self.remove_orphans().await?;
        if expired + orphans > 0 {
            tracing::info!("removed {expired} expired and {orphans} orphaned file(s)");
        }
        Ok(())
    }

    async fn remove_expired(&self, retention: Duration) -> Result<usize> {
        let oldest = now().saturating_sub_unsigned(retention.as_secs());
        let mut removed = 0;
        loop {
            let ids = self
                .store
                .file_ids_before(oldest, BATCH.into())
                .await
                .context("cannot list expired files of the database")?;
            if ids.is_empty() {
                return Ok(removed);
            }
            for id in &ids {
                self.delete(id).await?;
            }
            removed += ids.len();
        }
    }

    async fn remove_orphans(&self) -> Result<usize> {
        let oldest = SystemTime::now() - ORPHAN_AGE;
        let failure = "cannot list the directory of files";
        let batches = self.objects.names_before(oldest, BATCH.into()).await;
        let mut batches = std::pin::pin!(batches.context(failure)?);
        let mut removed = 0;
        while let Some(names) = batches.try_next().await.context(failure)? {
            let ids: HashSet<_> = names.iter().filter_map(|name| file_id(name)).collect();
            let existing = self.store.existing_file_ids(&ids).await;
            let existing = existing.context("cannot look up files in the database")?;
            for name in names {
                if file_id(&name).is_some_and(|id| existing.contains(&id)) {
                    continue;
                }
                match self.objects.delete(&name).await {
                    Ok(()) => removed += 1,
                    Err(error) => tracing::error!("cannot remove orphaned file {name}: {error}"),
                }
            }
        }
        Ok(removed)
    }
}

/// The id of the file that an object belongs to. `None` for a temporary object.
fn file_id(name: &str) -> Option<String> {
    let id = name.split('.').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}
