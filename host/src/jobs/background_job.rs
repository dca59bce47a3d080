//! A job that runs without a waiting client.

use std::sync::Arc;
use std::time::Duration;

use pinhole_ground::memory::MemoryLease;
use pinhole_ground::shares::Share;
use pinhole_sandbox::{Edit, JobContext};
use tokio::sync::oneshot;

use super::Jobs;
use super::active_jobs::{AcceptError, ActiveJobs, NewJob, NewJobOrigin};
use super::continuation::Continuation;
use super::job_run::JobRun;
use super::plan::{JobPlan, Operation};
use super::request::JobRequest;
use crate::store::{Idempotency, JobRow, User};

/// How long a job waits until the engine begins. Its own time limit counts from then on.
pub(super) const MAX_QUEUE_TIME: Duration = Duration::from_hours(6);

/// Memory of an active job, in addition to the texts of its request, in bytes.
pub const JOB_BYTES: usize = 16 << 10;

/// A job that was checked, and runs without a waiting client.
pub struct BackgroundJob {
    pub jobs: Arc<Jobs>,
    pub active_jobs: ActiveJobs,
    pub user: User,
    pub plan: JobPlan,
    pub request: JobRequest,
    /// The request as JSON.
    pub record: String,
    /// Prepared sources.
    pub edit: Option<Edit>,
    pub idempotency: Option<Idempotency>,
    pub place: Share<String>,
    /// Counts the request.
    pub memory: MemoryLease,
}

impl BackgroundJob {
    /// Starts the job. Returns its row once it is accepted, even if the caller drops this future.
    pub async fn start(self) -> Result<JobRow, AcceptError> {
        let (accepted, result) = oneshot::channel();
        let tracker = self.active_jobs.tracker.clone();
        tracker.spawn(async move { Box::pin(self.accept_and_run(accepted)).await });
        result.await.unwrap_or(Err(AcceptError::ShuttingDown))
    }

    async fn accept_and_run(self, accepted: oneshot::Sender<Result<JobRow, AcceptError>>) {
        let operation = Operation::of(self.edit.as_ref());
        let new = NewJob {
            user: &self.user,
            origin: NewJobOrigin::Api,
            plan: &self.plan,
            operation,
            request: Some(self.record.clone()),
            edit: self.edit.as_ref(),
            continuation: Continuation::default(),
            idempotency: self.idempotency.clone(),
        };
        // A client that is gone asks for the job later.
        match self.active_jobs.add(new).await {
            Ok(run) => {
                accepted.send(Ok(run.row())).ok();
                self.run(run).await;
            }
            Err(error) => {
                accepted.send(Err(error)).ok();
            }
        }
    }

    async fn run(self, mut run: JobRun) {
        let Self {
            jobs,
            user,
            plan,
            request,
            edit,
            place,
            memory,
            ..
        } = self;
        run.place = Some(place);
        let context = JobContext {
            queue_time: Some(MAX_QUEUE_TIME),
            ..run.context.clone()
        };
        let job = async {
            let result = jobs.run(&plan, request, edit, &context).await;
            drop(memory);
            result
        };
        run.complete(Box::pin(job), &user, None).await;
    }
}
