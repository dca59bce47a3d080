//! Removes expired files, and orphaned bytes: those without a row.
//!
//! A mistake here destroys images. A database that was lost makes every file an orphan, a clock that is
//! wrong makes every file expired. So a sweep needs proof: the database and the stored files have the same
//! random id, the clock agrees with the times that the database has, and no more than a share of the files
//! is removed. Otherwise nothing is removed until an administrator confirms it.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use pinhole_ground::guard::Guard;

use super::Files;
use crate::store::{SweepTimes, now};

/// Time between two cleanups.
const INTERVAL: Duration = Duration::from_secs(3600);
/// Bytes without a row are orphaned after this time. Younger ones may be about to get their row.
const ORPHAN_AGE: Duration = Duration::from_secs(3600);
/// Rows and names that one step handles.
const BATCH: u16 = 200;
/// Orphaned objects that one sweep finds. Further ones wait for the next.
const MAX_ORPHANS: usize = 100_000;
/// The share of the files that one sweep removes without confirmation, as a divisor.
const SHARE_DIVISOR: u64 = 10;
/// Files that one sweep may remove in any case.
const MIN_SHARE: u64 = 100;
/// How far the clock may be behind the newest file and the last sweep.
const MAX_CLOCK_BEHIND_SECS: i64 = 3600;
/// How far the clock may be ahead of the last sweep.
const MAX_CLOCK_AHEAD_SECS: i64 = 30 * 24 * 3600;

/// Who has confirmed a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// No one: the sweep needs proof.
    None,
    /// An administrator, who has seen why a sweep was refused.
    Administrator,
}

/// What a sweep removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub expired: u64,
    pub orphaned: u64,
}

/// What a sweep would remove.
struct SweepPlan {
    /// Files created before this time are expired. `None` if files are stored without limit.
    oldest: Option<i64>,
    expired: u64,
    /// Names of orphaned objects.
    orphans: Vec<String>,
    /// The files of all users.
    files: u64,
}

impl SweepPlan {
    fn removals(&self) -> u64 {
        self.expired.saturating_add(self.orphans.len() as u64)
    }

    fn max_removals(&self) -> u64 {
        (self.files / SHARE_DIVISOR).max(MIN_SHARE)
    }
}

impl Files {
    /// Cleans up now and then hourly. Never returns. Failures are logged and retried.
    pub async fn clean_up_hourly(self, retention: Option<Duration>) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            match self.clean_up(retention, Confirmation::None).await {
                Ok(Sweep { expired, orphaned }) if expired + orphaned > 0 => {
                    tracing::info!("removed {expired} expired and {orphaned} orphaned file(s)");
                }
                Ok(_) => {}
                Err(error) => tracing::error!("cannot clean up files, will retry: {error:#}"),
            }
        }
    }

    /// Removes files older than `retention`, if it is set, and orphaned bytes, which a crash between
    /// the write of the bytes and of the row leaves behind. Fails and removes nothing if the sweep lacks
    /// proof and confirmation.
    pub async fn clean_up(
        &self,
        retention: Option<Duration>,
        confirmation: Confirmation,
    ) -> Result<Sweep> {
        let plan = self.plan_sweep(retention).await?;
        if confirmation == Confirmation::Administrator {
            self.identity.adopt(&self.store).await?;
        } else if Guard::SweepProof.applies(plan.removals() > 0) {
            self.require_proof(&plan).await?;
        }
        let sweep = Sweep {
            expired: self.remove_expired(&plan).await?,
            orphaned: self.remove_orphans(&plan.orphans).await,
        };
        let recorded = self.store.set_last_sweep(now()).await;
        recorded.context("cannot record the time of the sweep in the database")?;
        Ok(sweep)
    }

    async fn plan_sweep(&self, retention: Option<Duration>) -> Result<SweepPlan> {
        let oldest = retention.map(|age| now().saturating_sub_unsigned(age.as_secs()));
        let failure = "cannot count the files of the database";
        let expired = match oldest {
            Some(oldest) => self.store.count_files_before(oldest).await,
            None => Ok(0),
        };
        Ok(SweepPlan {
            oldest,
            expired: expired.context(failure)?,
            orphans: self.find_orphans().await?,
            files: self
                .store
                .count_files_before(i64::MAX)
                .await
                .context(failure)?,
        })
    }

    /// Fails unless the database belongs to the files, the clock is plausible, and only a share of
    /// the files would be removed.
    async fn require_proof(&self, plan: &SweepPlan) -> Result<()> {
        let removals = plan.removals();
        let reason = if !self.identity.agrees(&self.store).await? {
            format!("the {} belongs to another database", self.identity.place())
        } else if let Some(reason) = clock_problem(self.store.sweep_times().await?, now()) {
            reason
        } else if removals > plan.max_removals() {
            let max = plan.max_removals();
            format!("one sweep removes at most {max} files")
        } else {
            return Ok(());
        };
        anyhow::bail!(
            "{} expired and {} orphaned file(s) are not removed: {reason}. Check PINHOLE_DATA and the clock, \
             then run `pinhole files sweep --confirm`",
            plan.expired,
            plan.orphans.len()
        )
    }

    async fn remove_expired(&self, plan: &SweepPlan) -> Result<u64> {
        let Some(oldest) = plan.oldest else {
            return Ok(0);
        };
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
            removed += ids.len() as u64;
        }
    }

    /// The names of old objects whose file has no row and is not about to get one.
    async fn find_orphans(&self) -> Result<Vec<String>> {
        let oldest = SystemTime::now() - ORPHAN_AGE;
        let failure = "cannot list the stored files";
        let batches = self.objects.list(BATCH.into()).await;
        let mut batches = std::pin::pin!(batches.context(failure)?);
        let mut orphans = Vec::new();
        while let Some(mut entries) = batches.try_next().await.context(failure)? {
            entries.retain(|entry| entry.modified < oldest);
            let names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
            let ids: HashSet<_> = names.iter().filter_map(|name| file_id(name)).collect();
            let existing = self.store.existing_file_ids(&ids).await;
            let existing = existing.context("cannot look up files in the database")?;
            // Their sources have the job's id.
            let jobs = self.store.active_job_ids(&ids).await;
            let jobs = jobs.context("cannot look up jobs in the database")?;
            let is_orphan = |name: &String| {
                !file_id(name).is_some_and(|id| {
                    existing.contains(&id) || jobs.contains(&id) || self.spool.contains(&id)
                })
            };
            orphans.extend(names.into_iter().filter(is_orphan));
            if orphans.len() >= MAX_ORPHANS {
                break;
            }
        }
        Ok(orphans)
    }

    async fn remove_orphans(&self, names: &[String]) -> u64 {
        let mut removed = 0;
        for name in names {
            match self.objects.delete(name).await {
                Ok(()) => removed += 1,
                Err(error) => tracing::error!("cannot remove orphaned file {name}: {error}"),
            }
        }
        removed
    }
}

/// Why the clock is not believed, if it is not.
fn clock_problem(times: SweepTimes, now: i64) -> Option<String> {
    let latest = times.newest_file.max(times.last_sweep)?;
    if now < latest.saturating_sub(MAX_CLOCK_BEHIND_SECS) {
        return Some("the clock is behind the newest file or the last sweep".to_owned());
    }
    let last_sweep = times.last_sweep?;
    if now > latest.saturating_add(MAX_CLOCK_AHEAD_SECS) {
        let days = (now - last_sweep) / (24 * 3600);
        return Some(format!("the clock is {days} days ahead of the last sweep"));
    }
    None
}

/// The id of the file that an object belongs to. `None` for a temporary object.
fn file_id(name: &str) -> Option<String> {
    let id = name.split('.').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_SECS: i64 = 24 * 3600;

    #[test]
    fn clock_problem_names_clocks_that_are_behind_or_far_ahead() {
        let day = |days: i64| days * DAY_SECS;
        let (first, other) = (Some(day(100)), Some(day(110)));
        for (name, newest_file, last_sweep, now, is_believed) in [
            ("new database", None, None, 0, true),
            ("no sweep yet", first, None, day(300), true),
            ("same day", first, other, day(110), true),
            ("a month later", first, other, day(139), true),
            ("behind the sweep", first, other, day(109), false),
            ("behind the file", other, first, day(109), false),
            ("behind the only file", first, None, 0, false),
            ("far ahead", first, other, day(141), false),
        ] {
            let times = SweepTimes {
                newest_file,
                last_sweep,
            };
            assert_eq!(clock_problem(times, now).is_none(), is_believed, "{name}");
        }
    }
}
