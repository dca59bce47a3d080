//! Takes the jobs of processes that have ended.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::App;
use crate::chat;
use crate::jobs::TakenJob;

/// Time between two looks for such jobs.
const INTERVAL: Duration = Duration::from_secs(5);
/// Jobs that one look takes. Further ones wait for the next, so that several processes share them.
pub const MAX_TAKEN_JOBS: usize = 20;

impl App {
    /// Takes the jobs of processes that have ended, and finishes their turns, until the server shuts down. Failures are
    /// logged and retried.
    pub async fn take_jobs(self: Arc<Self>) {
        let mut interval = tokio::time::interval(INTERVAL);
        let Some(host) = self.active_jobs.durable_host() else {
            return;
        };
        while !self.active_jobs.is_draining() {
            interval.tick().await;
            if let Err(error) = self.take_jobs_once(host).await {
                tracing::error!(
                    "cannot take the jobs of an earlier process, will retry: {error:#}"
                );
            }
        }
    }

    async fn take_jobs_once(self: &Arc<Self>, host: &str) -> Result<()> {
        // An earlier start may have left their images. To take such a job would lose them.
        self.files.store_spooled().await;
        if self.files.has_waiting_ends() {
            return Ok(());
        }
        if !self.active_jobs.may_take() {
            return Ok(());
        }
        // All hosts take jobs: to wait for the lease of one that has ended would add to the leases of its jobs.
        for _ in 0..MAX_TAKEN_JOBS {
            let Some(taken) = self.active_jobs.take(&self.jobs).await? else {
                break;
            };
            let app = self.clone();
            match taken {
                TakenJob::Continues(job) => self.active_jobs.spawn(async move {
                    if let Some(ended) = job.run().await {
                        chat::finish_turn(&app.chat, &ended).await;
                    }
                }),
                // Before the turns without a job get their error, which does not say that an upstream may charge.
                TakenJob::Ended(ended) => chat::finish_turn(&app.chat, &ended).await,
            }
        }
        let is_reaper = self.active_jobs.is_reaper().await;
        if !is_reaper.context("cannot read who ends turns")? {
            return Ok(());
        }
        let failed = self.store.fail_interrupted_turns(host).await;
        failed.context("cannot report interrupted chat turns")?;
        Ok(())
    }
}
