//! A job that runs without a waiting client.

use std::sync::Arc;
use std::time::Duration;

use pinhole_ground::memory::MemoryLease;
use pinhole_ground::shares::Share;
use pinhole_sandbox::{Edit, JobContext};
use tokio::sync::oneshot;

use super::Jobs;
use super::active_jobs::{AcceptError, ActiveJobs, NewJob, NewJobOrigin};
use super::job_run::JobRun;
use super::plan::{JobPlan, Operation};
use super::request::JobRequest;
use crate::files::Files;
use crate::store::{Idempotency, JobRow, Store, User};

/// How long a job waits until the engine begins. Its own time limit counts from then on.
const MAX_QUEUE_TIME: Duration = Duration::from_hours(6);

/// A job that was checked, and runs without a waiting client.
pub struct BackgroundJob {
    pub jobs: Arc<Jobs>,
    pub active_jobs: ActiveJobs,
    pub files: Files,
    pub store: Store,
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
            files,
            store,
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
        let job = jobs.run(&plan, request, edit, &context);
        let Some(result) = run.follow(Box::pin(job)).await else {
            return run.cancel().await;
        };
        drop(memory);
        match result {
            Err(error) => run.fail(&error).await,
            Ok(completed) => match completed.save(&files, &store, &user, None).await {
                Ok(rows) => run.finish(&completed, &rows).await,
                Err(error) => {
                    let id = &context.job;
                    tracing::error!(job = id, "cannot store the images of job {id}: {error:#}");
                    run.fail_to_store().await;
                }
            },
        }
    }
}
