//! Watches new versions while they serve, and rolls them back if they fail.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::verdict::{Counts, Reason, Verdict, judge};
use super::{ReleaseError, Releases, track};
use crate::jobs::{OutcomeClass, OutcomeLog};
use crate::store::{EngineResult, TrackRow, now};

/// Time for which outcomes are collected before a verdict.
const BATCH_TIME: Duration = Duration::from_millis(200);
/// Time after which a verdict is made without a job, and outcomes are written.
const IDLE_TIME: Duration = Duration::from_secs(15);
/// How long the jobs of the version before count if all users have the new one, in seconds.
const COMPARED_SECS: i64 = 7 * 24 * 60 * 60;

/// Another host may come to the same verdict first.
fn not_moved<T>(changed: Result<T, ReleaseError>) -> Result<(), ReleaseError> {
    match changed {
        Ok(_) | Err(ReleaseError::Moved) => Ok(()),
        Err(error) => Err(error),
    }
}

impl Releases {
    /// Watches new versions again and again. Never returns.
    pub async fn watch(self: Arc<Self>) {
        let Some(publisher) = self.publisher.get() else {
            return;
        };
        let outcomes = &publisher.jobs.outcomes;
        loop {
            let is_rollout = self.rows().tracks.values().any(|it| it.candidate.is_some());
            if is_rollout {
                tokio::time::timeout(IDLE_TIME, outcomes.added()).await.ok();
                tokio::time::sleep(BATCH_TIME).await;
            } else {
                tokio::time::sleep(IDLE_TIME).await;
            }
            if let Err(error) = self.judge_rollouts(outcomes).await {
                tracing::error!("cannot judge new versions of engines: {error:#}");
                // A database that is out of reach pauses verdicts.
                tokio::time::sleep(IDLE_TIME).await;
            }
        }
    }

    /// Writes the outcomes of finished jobs, and moves each rollout on that has a verdict. Outcomes that cannot be
    /// written count later.
    pub async fn judge_rollouts(&self, outcomes: &OutcomeLog) -> Result<()> {
        let taken = outcomes.take();
        if !taken.is_empty() {
            let results = taken.iter().map(|(digest, class, ended)| EngineResult {
                digest: digest.clone(),
                outcome: class.name().to_owned(),
                jobs: i64::try_from(ended.jobs).unwrap_or(i64::MAX),
                own_ms: i64::try_from(ended.own_time.as_millis()).unwrap_or(i64::MAX),
            });
            let results: Vec<_> = results.collect();
            if let Err(error) = self.store.add_engine_results(&results).await {
                outcomes.restore(taken);
                return Err(error).context("cannot write the results of jobs");
            }
        }
        let rows = self.rows();
        let rollouts = rows
            .tracks
            .into_values()
            .filter(|it| it.candidate.is_some());
        for track in rollouts {
            self.judge_rollout(track).await?;
        }
        Ok(())
    }

    async fn judge_rollout(&self, track: TrackRow) -> Result<()> {
        let Some(candidate) = &track.candidate else {
            return Ok(());
        };
        let since = track.changed_at;
        let is_watch = track.percent >= track::ALL_USERS;
        let stable_since = if is_watch {
            now() - COMPARED_SECS
        } else {
            since
        };
        let mut new = self.counts(candidate, since).await?;
        if is_watch {
            // No job of the other version shows at the same time whether the upstream fails.
            new.upstream_failures = 0;
        }
        let old = self.counts(&track.current, stable_since).await?;
        let elapsed = u64::try_from(now() - since).unwrap_or_default();
        let elapsed = Duration::from_secs(elapsed);
        match judge(&self.rules, &new, &old, track.percent, elapsed) {
            Verdict::Undecided => Ok(()),
            Verdict::RollBack(reason) => self.roll_back_candidate(&track, &reason).await,
            Verdict::NextStep | Verdict::Done => {
                if !self.is_on_all_hosts(candidate).await? {
                    return Ok(());
                }
                let _changes = self.changes.lock().await;
                if self.is_unchanged(&track) {
                    not_moved(self.advance(track, "").await)?;
                }
                Ok(())
            }
        }
    }

    async fn roll_back_candidate(&self, track: &TrackRow, reason: &Reason) -> Result<()> {
        let _changes = self.changes.lock().await;
        if self.is_unchanged(track) {
            let why = reason.to_string();
            not_moved(self.roll_back_now(&track.engine, None, &why, "").await)?;
        }
        Ok(())
    }

    /// True if the track has not changed meanwhile.
    fn is_unchanged(&self, track: &TrackRow) -> bool {
        let state = self.lock();
        let now = state.rows.tracks.get(&track.engine);
        now.is_some_and(|it| it.revision == track.revision)
    }

    async fn counts(&self, digest: &str, since: i64) -> Result<Counts> {
        let results = self.store.engine_results(digest, since).await;
        let results = results.context("cannot read the results of jobs")?;
        let mut counts = Counts::default();
        for result in results {
            let jobs = u64::try_from(result.jobs).unwrap_or_default();
            counts.jobs += jobs;
            counts.own_time += Duration::from_millis(u64::try_from(result.own_ms).unwrap_or(0));
            match OutcomeClass::parse(&result.outcome) {
                Some(OutcomeClass::Crash) => {
                    counts.crashes += jobs;
                    counts.own_failures += jobs;
                }
                Some(OutcomeClass::Own) => counts.own_failures += jobs,
                Some(OutcomeClass::Upstream) => counts.upstream_failures += jobs,
                _ => {}
            }
        }
        Ok(counts)
    }
}
