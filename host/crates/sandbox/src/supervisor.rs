//! The supervisor of a call: its slot, its deadline, and its cancellation.
//!
//! A guest that never returns must not hold its slot, and a caller that disconnects must not leave a guest
//! running. A call waits for a slot, then runs as a task on the guest runtimes and holds the slot until the
//! task ends. If the job is cancelled, the deadline passes, or the caller drops its future, the engine is
//! cancelled: pending host functions return, and the engine has the grace period to ask its upstream to stop.
//! Then the task is aborted, wherever it is. A guest that only computes notices nothing until then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinError, JoinHandle};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::guest_runtime::CpuMeter;
use crate::host_task::describe_crash;
use crate::job_context::{JobContext, Progress};
use crate::limits::Limits;
use crate::orphan_request::Place;
use crate::sandbox::Sandbox;
use pinhole_ground::fair_queue::{JobGroup, Permit, QueuedJob, WaitingJob};

/// The work of a call, and the meter of its CPU time.
pub(crate) struct GuestWork<T> {
    pub(crate) future: BoxFuture<'static, Result<T, Error>>,
    pub(crate) meter: CpuMeter,
    /// Receives the call's slot.
    pub(crate) place: Place,
}

/// Runs one call within its time.
pub(crate) struct Supervisor<'a> {
    sandbox: &'a Arc<Sandbox>,
    context: &'a JobContext,
    group: Option<JobGroup<'a>>,
    limits: &'a Limits,
    started: Instant,
}

/// A guest task. The inner errors are a panic of the host, and the failure of the call.
type GuestTask<T> = JoinHandle<Result<Result<T, Error>, JoinError>>;

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

    /// Waits for a slot, and runs the call until it ends or is stopped.
    pub(crate) async fn run<T: Send + 'static>(&self, work: GuestWork<T>) -> Result<T, Error> {
        let GuestWork {
            future,
            meter,
            place,
        } = work;
        place.set(self.acquire_slot().await?).ok();
        // The guest runtimes stop with the sandbox. They must run until the engine has asked its upstream to
        // stop, even if the server is dropped before.
        let sandbox = self.sandbox.clone();
        let call = async move {
            let result = future.await;
            drop((place, sandbox));
            result
        };
        let task = self.sandbox.guest_runtimes.spawn(Box::pin(call), meter);
        self.wait(task).await
    }

    async fn acquire_slot(&self) -> Result<Permit, Error> {
        let wall = self.limits.wall;
        let job = QueuedJob {
            user: self.context.user.as_deref(),
            group: self.group,
        };
        let acquire = self
            .sandbox
            .queue
            .acquire_reporting(job, |waiting| self.report_waiting(waiting));
        tokio::select! {
            acquired = timeout_at(self.started + wall, acquire) => match acquired {
                Ok(slot) => Ok(slot?),
                Err(Elapsed { .. }) => Err(Error::Busy(wall)),
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

    async fn wait<T>(&self, mut task: GuestTask<T>) -> Result<T, Error> {
        let Limits { wall, grace, .. } = *self.limits;
        let cancel_on_drop = CancelOnDrop {
            task: task.abort_handle(),
            cancel: self.context.cancel.clone(),
            grace,
            runtime: self.sandbox.guest_runtimes.interactive().clone(),
        };
        let deadline = self.started + self.limits.enforced_wall();
        let joined = tokio::select! {
            joined = timeout_at(deadline, &mut task) => joined.map_err(|_| Error::Deadline(wall))?,
            () = self.context.cancel.cancelled() => {
                match timeout_at(Instant::now() + grace, &mut task).await {
                    Ok(joined) => joined,
                    Err(Elapsed { .. }) => {
                        cancel_on_drop.task.abort();
                        return Err(Error::cancelled());
                    }
                }
            }
        };
        match joined {
            Ok(Ok(result)) => result,
            Ok(Err(crash)) | Err(crash) => Err(Error::Crashed(describe_crash(&crash))),
        }
    }
}

/// Cancels a guest that still runs when this is dropped, because its caller disconnected or its deadline
/// passed, and aborts it after the grace period.
struct CancelOnDrop {
    task: AbortHandle,
    cancel: CancellationToken,
    grace: Duration,
    runtime: Handle,
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        if self.task.is_finished() {
            return;
        }
        self.cancel.cancel();
        let (task, grace) = (self.task.clone(), self.grace);
        self.runtime.spawn(async move {
            tokio::time::sleep(grace).await;
            task.abort();
        });
    }
}
