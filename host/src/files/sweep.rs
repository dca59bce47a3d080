//! What nobody needs any more is removed: files whose time is over, and bytes without a row.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;

use super::Files;
use crate::store::now;

/// How often.
const PERIOD: Duration = Duration::from_secs(3600);
/// Younger bytes may still get their row.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Rows and names looked at in one step.
const BATCH: u16 = 200;

impl Files {
    /// Sweeps now and then once an hour, for ever. What fails is logged and tried again.
    pub async fn keep_swept(self, retention: Option<Duration>) {
        let mut period = tokio::time::interval(PERIOD);
        loop {
            period.tick().await;
            if let Err(error) = self.sweep(retention).await {
                tracing::error!("files are left over until they are swept again: {error:#}");
            }
        }
    }

    /// Removes files older than `retention`, if that is set, and bytes that have had no row for an
    /// hour: what a crash between the two left.
    pub async fn sweep(&self, retention: Option<Duration>) -> Result<()> {
        let expired = match retention {
            Some(retention) => self.sweep_expired(retention).await?,
            None => 0,
        };
        let orphans = self.sweep_orphans().await?;
        if expired + orphans > 0 {
            tracing::info!(
                "removed {expired} files whose time was over and {orphans} that belonged to nothing"
            );
        }
        Ok(())
    }

    async fn sweep_expired(&self, retention: Duration) -> Result<usize> {
        let oldest = now().saturating_sub_unsigned(retention.as_secs());
        let mut removed = 0;
        loop {
            let ids = self.store.files_before(oldest, BATCH.into()).await;
            let ids = ids.context("cannot look for old files in the database")?;
            if ids.is_empty() {
                return Ok(removed);
            }
            for id in &ids {
                self.delete(id).await?;
            }
            removed += ids.len();
        }
    }

    async fn sweep_orphans(&self) -> Result<usize> {
        let oldest = SystemTime::now() - ORPHAN_AGE;
        let listed = self.objects.list_before(oldest, BATCH.into()).await;
        let named = "cannot list the folder of files";
        let mut listed = std::pin::pin!(listed.context(named)?);
        let mut removed = 0;
        while let Some(names) = listed.try_next().await.context(named)? {
            let ids: HashSet<_> = names.iter().filter_map(|name| owner(name)).collect();
            let known = self.store.known_files(&ids).await;
            let known = known.context("cannot look for files in the database")?;
            for name in names {
                if owner(&name).is_none_or(|id| !known.contains(&id)) {
                    match self.objects.delete(&name).await {
                        Ok(()) => removed += 1,
                        Err(error) => tracing::error!("cannot remove {name} of no file: {error}"),
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// The id of the file that a name in the folder belongs to. `None` for what was never finished.
fn owner(name: &str) -> Option<String> {
    let id = name.split('.').next()?;
    Some(id.to_owned()).filter(|id| !id.is_empty())
}
