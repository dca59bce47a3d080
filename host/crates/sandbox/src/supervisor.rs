//! The supervisor of a call: its slot, its deadline, and its cancellation.
//!
//! A guest that never returns must not hold its slot, and a caller that disconnects must not leave a guest
//! running. A call waits for a slot, then runs as a [`RunningCall`] and holds the slot until it ends. If the job is
//! cancelled, the deadline passes, or the caller drops its future, the engine is cancelled: pending host functions
//! return, and the engine has the grace period to ask its upstream to stop. Then the call is aborted, wherever it
//! is. A guest that only computes notices nothing until then.

use std::sync::Arc;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

use crate::error::Error;
use crate::job_context::{JobContext, Progress};
use crate::limits::Limits;
use crate::orphan_request::Place;
use crate::running_call::{CallStop, GuestWork, RunningCall};
use crate::sandbox::Sandbox;
use pinhole_ground::fair_queue::{JobGroup, Permit, QueuedJob, WaitingJob};

/// Runs one call within its time.
pub(crate) struct Supervisor<'a> {
    sandbox: &'a Arc<Sandbox>,
    context: &'a JobContext,
    group: Option<JobGroup<'a>>,
    limits: &'a Limits,
    started: Instant,
}

impl<'a> Supervisor<'a> {
    pub(crate) fn new(
        sandbox: &'a Arc<Sandbox>,
        context: &'a JobContext,
        group: Option<JobGroup<'a>>,
        limits: &'a Limits,
    ) -> Self {
        Self {
            sandbox,
            context,
            group,
            limits,
            started: Instant::now(),
        }
    }

    /// Waits for a slot, and runs the call until it ends or is stopped. `place` receives the slot.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: GuestWork<T>,
        place: Place,
    ) -> Result<T, Error> {
        place.set(self.acquire_slot().await?).ok();
        self.context.usage.record_start();
        // The guest runtimes stop with the sandbox. They must run until the engine has asked its upstream to
        // stop, even if the server is dropped before.
        let sandbox = self.sandbox.clone();
        let future = work.future;
        let call = async move {
            let result = future.await;
            drop((place, sandbox));
            result
        };
        let work = GuestWork {
            future: Box::pin(call),
            ..work
        };
        self.wait(work).await
    }

    async fn acquire_slot(&self) -> Result<Permit, Error> {
        let max_wait = self.context.queue_time.unwrap_or(self.limits.wall);
        let job = QueuedJob {
            user: self.context.user.as_deref(),
            group: self.group,
        };
        let acquire = self
            .sandbox
            .queue
            .acquire_reporting(job, |waiting| self.report_waiting(waiting));
        tokio::select! {
            acquired = timeout_at(self.started + max_wait, acquire) => match acquired {
                Ok(slot) => Ok(slot?),
                Err(Elapsed { .. }) => Err(Error::Busy(max_wait)),
            },
            () = self.context.cancel.cancelled() => Err(Error::cancelled()),
        }
    }

    /// Reports that the job waits here, or no longer.
    fn report_waiting(&self, waiting: Option<WaitingJob>) {
        let note = |job: WaitingJob| {
            job.is_behind_lingering
                .then(|| "waiting: the upstream still works on a cancelled job".to_owned())
        };
        self.context.progress.send_replace(Progress {
            queue_position: waiting.map(|it| u32::try_from(it.jobs_ahead).unwrap_or(u32::MAX)),
            note: waiting.and_then(note),
            ..Progress::default()
        });
    }

    async fn wait<T: Send + 'static>(&self, work: GuestWork<T>) -> Result<T, Error> {
        let Limits { wall, grace, .. } = *self.limits;
        let (cancel, runtimes) = (&self.context.cancel, self.sandbox.guest_runtimes.clone());
        let stop = CallStop {
            cancel: cancel.clone(),
            detach: self.context.detach.clone(),
        };
        let mut call = RunningCall::new(work, runtimes, stop, grace);
        let started = match self.context.queue_time {
            Some(_) => Instant::now(),
            None => self.started,
        };
        let deadline = started + self.limits.enforced_wall();
        tokio::select! {
            biased;
            ended = timeout_at(deadline, &mut call) => {
                return ended.unwrap_or(Err(Error::Deadline(wall)));
            }
            () = cancel.cancelled() => {}
        }
        match timeout_at(Instant::now() + grace, &mut call).await {
            Ok(result) => result,
            Err(Elapsed { .. }) => {
                call.abort();
                Err(Error::cancelled())
            }
        }
    }
}
