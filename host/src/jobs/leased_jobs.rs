//! Jobs that survive their process: what is stored while they run, the leases that hold them, and how they change hands.
//!
//! A job whose process ends without a word would be lost, or its image ordered twice. So this process has a lease on
//! each of its jobs, and extends them all every 10 seconds. After a crash they expire, and another process, or the next
//! start of this one, takes the jobs (`taken_job`). A process that was only stalled learns from its next extension
//! which jobs it has lost: it drops them, and tells their upstreams nothing. Until then its writes change no row,
//! because they name an older attempt, and its engines order nothing, because the time to order has passed.

use std::collections::HashSet;
use std::time::Duration;

use pinhole_sandbox::JournalEntry;
use tokio::time::Instant;

use super::active_jobs::{ActiveJob, ActiveJobs};
use super::host_lease::{HEARTBEAT, HostLease};
use crate::crash_point::CrashPoint;
use crate::store::{JobAttempt, LeasedJob};

/// Time between two attempts to store what a job waits for.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// The lease of the process that ends the turns of others.
const REAPER: &str = "reaper";

impl ActiveJobs {
    /// The name of this process, if others continue its jobs.
    #[must_use]
    pub fn durable_host(&self) -> Option<&str> {
        self.lease.as_ref().map(|lease| lease.host.as_str())
    }

    /// Extends the leases of this process until the server shuts down. Failures are logged and retried.
    pub async fn extend_leases(self) {
        let Some(lease) = self.lease.clone() else {
            return;
        };
        let mut interval = tokio::time::interval(HEARTBEAT);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut unknown = HashSet::new();
        while !self.is_shutting_down() {
            interval.tick().await;
            while !self.is_shutting_down()
                && let Err(error) = self.extend_leases_once(&lease, &mut unknown).await
            {
                tracing::error!("cannot extend the leases of jobs, will retry: {error}");
                lease.miss_extension();
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
        }
    }

    /// `unknown` are the jobs of the last time that this process did not know.
    async fn extend_leases_once(
        &self,
        lease: &HostLease,
        unknown: &mut HashSet<String>,
    ) -> sqlx::Result<()> {
        let began = Instant::now();
        let known = self.stored_jobs();
        let leased = self.store.extend_leases(&lease.host).await?;
        for active in &known {
            let attempt = active.row.borrow().attempt;
            let is_same = |it: &&LeasedJob| it.id == active.context.job && it.attempt == attempt;
            match leased.iter().find(is_same) {
                Some(job) if job.is_stopped => active.stop.cancel(),
                Some(_) => {}
                None => self.lose(active),
            }
        }
        let before = std::mem::take(unknown);
        for job in leased
            .iter()
            .filter(|job| !self.lock().contains_key(&job.id))
        {
            // It may be about to start, or to end.
            if before.contains(&job.id) {
                self.hand_over_unknown(job).await?;
            } else {
                unknown.insert(job.id.clone());
            }
        }
        // After the lost jobs were released, or they could order.
        lease.extend(began);
        Ok(())
    }

    /// Another process has taken this job, unless it has just ended.
    fn lose(&self, active: &ActiveJob) {
        let id = active.context.job.as_str();
        if self.lock().contains_key(id) && active.row.borrow().state.is_active() {
            tracing::warn!(job = id, "job {id} was taken by another process");
            active.release();
        }
    }

    /// Hands over a job whose row this process does not know: its insertion seemed to fail.
    async fn hand_over_unknown(&self, job: &LeasedJob) -> sqlx::Result<()> {
        let attempt = JobAttempt {
            id: &job.id,
            attempt: job.attempt,
        };
        self.store.hand_over_job(attempt).await.map(|_| ())
    }

    /// The active jobs of this process that others can take.
    fn stored_jobs(&self) -> Vec<ActiveJob> {
        let jobs = self.lock();
        let stored = jobs.values().filter(|job| {
            job.stored.is_cancelled()
                && !job.released.is_cancelled()
                && job.row.borrow().host.is_some()
        });
        stored.cloned().collect()
    }

    /// Gives the jobs that can continue to other processes, without a word to their upstreams. The others run on.
    pub async fn hand_over(&self) {
        let jobs = self.stored_jobs();
        for active in jobs.iter().filter(|job| job.can_continue()) {
            active.release();
            let row = active.row.borrow().clone();
            match self.store.hand_over_job(row.attempt()).await {
                Ok(_) => tracing::info!(job = row.id, "job {} is handed over", row.id),
                // Its lease expires.
                Err(error) => tracing::warn!("cannot hand over job {}: {error}", row.id),
            }
        }
        if let Some(host) = self.durable_host()
            && let Err(error) = self.store.remove_host(host).await
        {
            tracing::warn!("cannot remove this process from the database: {error}");
        }
    }

    /// True if this process may take the jobs of others at this time.
    #[must_use]
    pub fn may_take(&self) -> bool {
        let lease = self.lease.as_ref();
        lease.is_some_and(|lease| lease.may_take(Instant::now()))
    }

    /// True if this process ends the turns of others at this time.
    pub async fn is_reaper(&self) -> sqlx::Result<bool> {
        match &self.lease {
            None => Ok(false),
            Some(_) if !self.store.is_shared() => Ok(true),
            Some(lease) => self.store.hold_lease(REAPER, &lease.host).await,
        }
    }

    /// Stores an entry of a job's journal; retries while the database cannot. Returns false if the job is no longer
    /// this process's.
    pub(super) async fn store_entry(&self, active: &ActiveJob, entry: &JournalEntry) -> bool {
        active.apply(entry);
        let row = active.row.borrow().clone();
        loop {
            let stored = match entry {
                JournalEntry::Order => self.store.mark_ordered(row.attempt()).await,
                JournalEntry::Note(note) => self.store.set_remembered(row.attempt(), note).await,
                JournalEntry::Component(_) => self.store.set_component(&row).await,
            };
            match stored {
                Ok(is_own) => {
                    reach(entry);
                    return is_own;
                }
                Err(error) => {
                    let id = &row.id;
                    tracing::warn!(
                        job = id,
                        "cannot store the state of job {id}, will retry: {error}"
                    );
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }
}

impl ActiveJob {
    /// Nothing was ordered, or the engine has noted how to find it.
    fn can_continue(&self) -> bool {
        let journal = self.context.journal.as_ref();
        let is_unordered = journal.is_some_and(|it| !it.has_order());
        let row = self.row.borrow();
        let has_note =
            self.context.memory.latest().is_some() || self.context.memory.earlier().is_some();
        row.state.is_active() && row.continuation.is_some() && (is_unordered || has_note)
    }
}

fn reach(entry: &JournalEntry) {
    match entry {
        JournalEntry::Order => CrashPoint::JobMarked.reach(""),
        JournalEntry::Note(_) => CrashPoint::JobNoted.reach(""),
        JournalEntry::Component(_) => {}
    }
}
