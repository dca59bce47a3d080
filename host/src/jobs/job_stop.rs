//! Stops of jobs, whichever host runs them.
//!
//! The host of a job learns of a stop from the job's row when it extends its leases. With Redis, a command tells it at
//! once.

use super::active_jobs::{ActiveJob, ActiveJobs};

impl ActiveJobs {
    /// Stops a job of any host, if it is active.
    pub async fn stop(&self, id: &str) -> sqlx::Result<()> {
        if self.stop_own(None, id) {
            return Ok(());
        }
        if let Some(lease) = &self.lease {
            let stopped = self.store.request_stop(&lease.host, Some(id), None);
            stopped.await?;
        }
        if let Some(cluster) = self.events.cluster() {
            cluster.stop_task(id, None).await;
        }
        Ok(())
    }

    /// Stops a job of this host; if a user is named, only a job of this user. Returns false if it does not exist.
    #[must_use]
    pub fn stop_own(&self, user_id: Option<&str>, id: &str) -> bool {
        let jobs = self.lock();
        let is_of = |job: &&ActiveJob| user_id.is_none_or(|it| job.row.borrow().user_id == it);
        let job = jobs.get(id).filter(is_of);
        job.inspect(|job| job.stop.cancel()).is_some()
    }

    /// Stops all jobs of a user, or of all users, on all hosts. Returns the number of those that were not stopped before.
    pub async fn stop_all(&self, user_id: Option<&str>) -> sqlx::Result<usize> {
        let own = self.stop_all_own(user_id);
        let marked = match &self.lease {
            Some(lease) => self.store.request_stop(&lease.host, None, user_id).await?,
            None => 0,
        };
        let stopped = match self.events.cluster() {
            Some(cluster) => cluster.stop_jobs(user_id).await,
            None => 0,
        };
        // Both count the jobs of other hosts.
        let marked = usize::try_from(marked).unwrap_or(usize::MAX);
        Ok(own.saturating_add(marked.max(stopped)))
    }

    /// The same for the jobs of this host.
    #[must_use]
    pub fn stop_all_own(&self, user_id: Option<&str>) -> usize {
        let jobs = self.lock();
        let stopped = jobs.values().filter(|job| {
            let row = job.row.borrow();
            row.state.is_active()
                && user_id.is_none_or(|id| row.user_id == id)
                && !job.stop.is_cancelled()
        });
        stopped.inspect(|job| job.stop.cancel()).count()
    }
}
