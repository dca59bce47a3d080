//! What continues after a turn has ended: an upstream's work, or the turn's job in another process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pinhole_sandbox::{JobContext, Usage};
use tokio_util::sync::CancellationToken;

use crate::jobs::JobPlan;

/// What the user reads if the upstream may continue.
pub(super) const NOTE: &str =
    "Stopped. The upstream may still finish the image, and charge for it.";

/// What continues after a turn. Clones share it.
#[derive(Clone, Default)]
pub struct UpstreamWork(Arc<Mutex<Job>>);

/// The job of a turn.
#[derive(Default)]
struct Job {
    /// Of the running job, if its engine cannot stop the upstream.
    usage: Option<Arc<Usage>>,
    /// Cancelled when another process continues the job, or will.
    released: Option<CancellationToken>,
}

impl UpstreamWork {
    /// Waits for a job. If this future is dropped before, [`Self::may_continue`] tells what it left behind.
    pub(super) async fn wait_for<T>(
        &self,
        plan: &JobPlan,
        context: &JobContext,
        job: impl Future<Output = T>,
    ) -> T {
        if !plan.stops_upstream() {
            self.set(Some(context.usage.clone()));
        }
        let done = job.await;
        self.set(None);
        done
    }

    /// The turn has this job, whose token is cancelled when another process continues it.
    pub(super) fn set_job(&self, released: CancellationToken) {
        self.lock().released = Some(released);
    }

    /// True if another process continues the turn's job, and finishes the turn.
    pub(super) fn is_released(&self) -> bool {
        let job = self.lock();
        job.released
            .as_ref()
            .is_some_and(CancellationToken::is_cancelled)
    }

    /// True if a job was left that an upstream had started, and that nothing stops there.
    pub(super) fn may_continue(&self) -> bool {
        let job = self.lock();
        job.usage
            .as_ref()
            .is_some_and(|usage| usage.may_be_charged())
    }

    fn set(&self, usage: Option<Arc<Usage>>) {
        self.lock().usage = usage;
    }

    fn lock(&self) -> MutexGuard<'_, Job> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
