//! A job that another process began, or an earlier start of this one, and that this process has taken.
//!
//! Whether an upstream may have received an order decides what happens:
//!
//! - Nothing was ordered: the job is done again, with the engine that serves now.
//! - It was ordered, and the engine noted how to find the order: the engine gets its note, in the version that wrote it.
//! - It was ordered without a note: the job is interrupted. Ordering again could be charged twice.

use std::sync::Arc;

use anyhow::{Context, Result};
use pinhole_ground::memory::MemoryLease;
use pinhole_sandbox::{Edit, JobContext};

use super::Jobs;
use super::active_jobs::ActiveJobs;
use super::background_job::{JOB_BYTES, MAX_QUEUE_TIME};
use super::completed_job::ImageOrigin;
use super::continuation::{Continuation, LoadError};
use super::job_record::{ErrorRecord, RequestRecord};
use super::job_run::{EndedJob, JobRun};
use super::plan::{JobPlan, Operation};
use super::request::JobRequest;
use crate::event::JOB;
use crate::store::{ClaimedJob, JobRow, JobState, User};

/// Processes that may end while an engine works on a job. A job that ends its server must not end them all.
pub const MAX_CRASHES: i64 = 3;

/// A job that this process has taken.
pub enum TakenJob {
    Continues(Box<ContinuedJob>),
    Ended(Box<EndedJob>),
}

/// A job that continues here.
pub struct ContinuedJob {
    jobs: Arc<Jobs>,
    run: JobRun,
    user: User,
    plan: JobPlan,
    request: JobRequest,
    edit: Option<Edit>,
    continuation: Continuation,
    memory: MemoryLease,
}

/// Why a job does not continue.
enum Obstacle {
    /// It may have been ordered, and cannot be found again.
    Interrupted,
    Failed(ErrorRecord),
    Cancelled,
    /// Another attempt may succeed.
    Temporary(anyhow::Error),
}

impl From<anyhow::Error> for Obstacle {
    fn from(error: anyhow::Error) -> Self {
        Self::Temporary(error)
    }
}

impl From<LoadError> for Obstacle {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Missing => Self::Failed(ErrorRecord {
                message: "an image to edit is missing after a restart of the server".to_owned(),
                code: "interrupted".to_owned(),
                hint: Some("start it again".to_owned()),
            }),
            LoadError::Temporary(error) => Self::Temporary(error),
        }
    }
}

impl From<super::Error> for Obstacle {
    fn from(error: super::Error) -> Self {
        Self::Failed(ErrorRecord::new(&error))
    }
}

impl ActiveJobs {
    /// Takes the oldest job whose lease has expired. `None` if no lease has.
    pub async fn take(&self, jobs: &Arc<Jobs>) -> Result<Option<TakenJob>> {
        let Some(host) = self.durable_host() else {
            return Ok(None);
        };
        let claimed = self.store.claim_job(host).await;
        let Some(claimed) = claimed.context("cannot take a job")? else {
            return Ok(None);
        };
        let mut row = claimed.row.clone();
        match self.prepare(jobs, claimed).await {
            Ok(continued) => {
                tracing::info!(
                    job = row.id,
                    "job {} continues: attempt {}",
                    row.id,
                    row.attempt
                );
                return Ok(Some(TakenJob::Continues(Box::new(continued))));
            }
            Err(Obstacle::Temporary(error)) => {
                let handed_over = self.store.hand_over_job(row.attempt()).await;
                handed_over.context("cannot hand over a job")?;
                return Err(error.context(format!("cannot continue job {}", row.id)));
            }
            Err(Obstacle::Interrupted) => row.set_interrupted(),
            Err(Obstacle::Failed(error)) => row.set_ended(JobState::Failed, &error),
            Err(Obstacle::Cancelled) => row.set_cancelled(row.ordered),
        }
        let (id, state) = (&row.id, row.state.name());
        tracing::warn!(job = id, "job {id} of an earlier process is {state}");
        self.end_taken(&row).await;
        Ok(Some(TakenJob::Ended(Box::new(EndedJob {
            row,
            files: Vec::new(),
        }))))
    }

    async fn end_taken(&self, row: &JobRow) {
        self.store_end(row).await;
        let record = serde_json::to_value(self.record(row)).unwrap_or_default();
        self.events_of(row).emit(JOB, record);
    }

    async fn prepare(
        &self,
        jobs: &Arc<Jobs>,
        claimed: ClaimedJob,
    ) -> Result<ContinuedJob, Obstacle> {
        let ClaimedJob {
            row,
            remembered,
            crashes,
            is_stopped,
        } = claimed;
        if is_stopped {
            return Err(Obstacle::Cancelled);
        }
        if crashes >= MAX_CRASHES {
            return Err(Obstacle::Failed(ErrorRecord {
                message: format!("the server ended {crashes} times while this job ran"),
                code: "crashed".to_owned(),
                hint: row
                    .ordered
                    .then(|| "look at the upstream before you start it again".to_owned()),
            }));
        }
        // Without an order, the engine begins from the start.
        let note = remembered.filter(|_| row.ordered);
        let can_continue = !row.ordered || note.is_some();
        let record = row.request.as_deref();
        let record = record.and_then(|json| serde_json::from_str::<RequestRecord>(json).ok());
        let continuation = Continuation::of(&row).filter(|_| can_continue);
        let (Some(record), Some(continuation)) = (record, continuation) else {
            return Err(Obstacle::Interrupted);
        };
        let profile = self.store.user(&row.user_id).await;
        let profile = profile.context("cannot read a user")?;
        let user = profile.ok_or(Obstacle::Interrupted)?.user;
        let plan = self.plan(jobs, &user, &row, &continuation, &record).await?;
        let bytes = row.text_bytes().saturating_mul(4).saturating_add(JOB_BYTES);
        let memory = self.files.memory_of(&user).lease(bytes).await;
        let memory = memory.context("cannot load a job")?;
        let edit = continuation
            .load_edit(&self.files, &row.id, &user, &record)
            .await?;
        let place = self.take_place(&user).ok();
        let mut run = self.insert(row, &plan, note.as_deref());
        run.place = place;
        run.set_stored();
        run.set_accepted();
        Ok(ContinuedJob {
            jobs: jobs.clone(),
            run,
            user,
            plan,
            request: record.to_request().0,
            edit,
            continuation,
            memory,
        })
    }

    /// The plan of a job that continues. After an order, it has the component that ordered.
    async fn plan(
        &self,
        jobs: &Jobs,
        user: &User,
        row: &JobRow,
        continuation: &Continuation,
        record: &RequestRecord,
    ) -> Result<JobPlan, Obstacle> {
        let (request, engine) = record.to_request();
        let snapshot = jobs.complete_snapshot().await;
        let snapshot = snapshot.context("the engines are not ready")?;
        let chat_model = continuation.chat_model.as_deref();
        let requester = snapshot.requester(user, chat_model, &self.store).await;
        let requester = requester.context("cannot read the groups of a user")?;
        let model = request.model.as_deref();
        if row.ordered {
            let mut versions = snapshot.versions_of(&row.engine, &row.digest);
            let binding = versions.find(|it| it.name == row.binding).cloned();
            let binding = binding.ok_or(Obstacle::Interrupted)?;
            return Ok(JobPlan::with_binding(
                snapshot.clone(),
                binding,
                requester,
                model,
            ));
        }
        let operation = if row.operation == Operation::Edit.name() {
            Operation::Edit
        } else {
            Operation::Generate
        };
        Ok(JobPlan::new(
            snapshot,
            operation,
            engine.as_deref(),
            model,
            requester,
        )?)
    }
}

impl ContinuedJob {
    /// Runs the job to its end. `None` if another process has taken it.
    pub async fn run(self) -> Option<EndedJob> {
        let Self {
            jobs,
            run,
            user,
            plan,
            request,
            edit,
            continuation,
            memory,
        } = self;
        let context = JobContext {
            queue_time: Some(MAX_QUEUE_TIME),
            ..run.context.clone()
        };
        let row = run.row();
        let written_prompt = continuation
            .has_written_prompt
            .then(|| request.prompt.clone());
        let origin = row.message_id.as_deref().map(|message_id| ImageOrigin {
            chat_id: row.chat_id.as_deref(),
            message_id,
            prompt: written_prompt.as_deref(),
        });
        let job = async {
            let mut result = jobs.run(&plan, request, edit, &context).await;
            if let Ok(completed) = &mut result {
                completed.warnings.extend(continuation.warning);
            }
            drop(memory);
            result
        };
        run.complete(Box::pin(job), &user, origin).await
    }
}
