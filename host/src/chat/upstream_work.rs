//! What an upstream does for a turn, and may continue after the turn was stopped.

use std::sync::{Arc, Mutex, PoisonError};

use pinhole_sandbox::{JobContext, Usage};

use crate::jobs::JobPlan;

/// What the user reads if the upstream may continue.
pub(super) const NOTE: &str =
    "Stopped. The upstream may still finish the image, and charge for it.";

/// The running job of a turn, if its engine cannot stop the upstream.
#[derive(Clone, Default)]
pub struct UpstreamWork(Arc<Mutex<Option<Arc<Usage>>>>);

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

    /// True if a job was left that an upstream had started, and that nothing stops there.
    pub(super) fn may_continue(&self) -> bool {
        let usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usage.as_ref().is_some_and(|usage| usage.may_be_charged())
    }

    fn set(&self, usage: Option<Arc<Usage>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = usage;
    }
}
