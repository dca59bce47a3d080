//! A job with a row, from its acceptance to its end.

use pinhole_ground::shares::Share;
use pinhole_sandbox::JobContext;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::active_jobs::{ActiveJob, ActiveJobs};
use super::completed_job::CompletedJob;
use super::error::Error;
use super::job_record::{ErrorRecord, result_json};
use super::plan::JobPlan;
use super::progress::ProgressEvents;
use crate::event::MessageEvents;
use crate::store::{FileRow, JobRow, JobState, now};

/// A job with a row. Dropping it records that it was cancelled, or interrupted by the shutdown of the server.
#[derive(Debug)]
pub struct JobRun {
    jobs: ActiveJobs,
    active: ActiveJob,
    events: MessageEvents,
    /// The context to run the job with. Its name is the job's id.
    pub context: JobContext,
    started: Option<Instant>,
    has_upstream: bool,
    stops_upstream: bool,
    is_accepted: bool,
    has_ended: bool,
    /// The place among the active jobs of the jobs API.
    pub place: Option<Share<String>>,
}

impl JobRun {
    pub(super) fn new(
        jobs: ActiveJobs,
        active: ActiveJob,
        events: MessageEvents,
        plan: &JobPlan,
    ) -> Self {
        let description = &plan.binding.component.description;
        Self {
            jobs,
            context: active.context.clone(),
            active,
            events,
            started: None,
            has_upstream: !description.upstreams.is_empty(),
            stops_upstream: plan.stops_upstream(),
            is_accepted: false,
            has_ended: false,
            place: None,
        }
    }

    /// The row exists.
    pub(super) fn set_accepted(&mut self) {
        self.is_accepted = true;
        self.active.emit(&self.events);
    }

    /// The row does not exist, and dropping this does nothing.
    pub(super) fn abandon(&mut self) {
        self.has_ended = true;
    }

    /// The row as it is now.
    #[must_use]
    pub fn row(&self) -> JobRow {
        self.active.row.borrow().clone()
    }

    /// Waits for the engine, emits its progress, and records its start. `None` if a user stopped the job.
    pub async fn follow<T>(&mut self, job: impl Future<Output = T>) -> Option<T> {
        let (context, events) = (self.context.clone(), self.events.clone());
        let (stop, id) = (self.active.stop.clone(), context.job.clone());
        let decoder = self.jobs.decoder.clone();
        let progress = ProgressEvents {
            events: &events,
            context: &context,
            job_id: Some(&id),
            decoder: &decoder,
        };
        let start = async {
            context.usage.wait_for_start().await;
            self.record_start();
            std::future::pending().await
        };
        tokio::select! {
            biased;
            done = job => Some(done),
            () = stop.cancelled() => None,
            never = start => never,
            never = progress.emit() => never,
        }
    }

    fn record_start(&mut self) {
        self.started = Some(Instant::now());
        self.active.row.send_modify(|row| {
            row.state = JobState::Running;
            row.started_at = Some(now());
            row.ordered = self.has_upstream;
        });
        self.active.emit(&self.events);
        let (store, row) = (self.jobs.store.clone(), self.row());
        self.jobs.tracker.spawn(async move {
            if let Err(error) = store.start_job(&row).await {
                tracing::warn!("cannot store the start of job {}: {error}", row.id);
            }
        });
    }

    /// The job has images, which are stored.
    pub async fn finish(mut self, completed: &CompletedJob, files: &[FileRow]) {
        let mut row = self.ended_row(JobState::Done);
        row.binding.clone_from(&completed.binding);
        row.engine.clone_from(&completed.engine);
        row.engine_version.clone_from(&completed.engine_version);
        row.digest.clone_from(&completed.digest);
        row.result = result_json(completed, files);
        self.end(row).await;
    }

    /// The job has failed.
    pub async fn fail(mut self, error: &Error) {
        let row = if error.is_shutdown() {
            self.unfinished_row(true)
        } else {
            let mut row = self.ended_row(JobState::Failed);
            row.error = serde_json::to_string(&ErrorRecord::new(error)).ok();
            row
        };
        self.end(row).await;
    }

    /// The images exist, but cannot be stored.
    pub async fn fail_to_store(mut self) {
        let mut row = self.ended_row(JobState::Failed);
        let error = json!({"message": "the image could not be stored", "code": "internal"});
        row.error = Some(error.to_string());
        self.end(row).await;
    }

    /// A user has stopped the job, or the server.
    pub async fn cancel(mut self) {
        let row = self.unfinished_row(self.jobs.is_shutting_down());
        self.end(row).await;
    }

    /// The row of a job that ended before it had a result.
    fn unfinished_row(&mut self, is_shutdown: bool) -> JobRow {
        if is_shutdown {
            let mut row = self.ended_row(JobState::Running);
            row.set_interrupted();
            return row;
        }
        let mut row = self.ended_row(JobState::Cancelled);
        let works_on = row.ordered && !self.stops_upstream;
        let hint = works_on
            .then(|| "the upstream may still finish the image, and charge for it".to_owned());
        let error = ErrorRecord {
            message: "the job was stopped".to_owned(),
            code: "cancelled".to_owned(),
            hint,
        };
        row.error = serde_json::to_string(&error).ok();
        row
    }

    /// The row at the end, with this state.
    fn ended_row(&mut self, state: JobState) -> JobRow {
        // A short job ends before it is seen to begin.
        if self.started.is_none() && self.context.usage.has_started() {
            self.record_start();
        }
        let mut row = self.row();
        row.state = match row.state {
            // It never began.
            JobState::Waiting if state == JobState::Running => JobState::Waiting,
            _ => state,
        };
        row.ordered = self.context.usage.may_be_charged();
        row.ended_at = Some(now());
        row.duration_ms = self
            .started
            .map(|started| i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX));
        row
    }

    /// Stores the end, even if the caller drops this future.
    async fn end(&mut self, row: JobRow) {
        let ending = self.ending(row);
        self.jobs.tracker.spawn(ending).await.ok();
    }

    /// Stores the end, then tells clients.
    fn ending(&mut self, row: JobRow) -> impl Future<Output = ()> + use<> {
        self.has_ended = true;
        let (jobs, active, events) = (self.jobs.clone(), self.active.clone(), self.events.clone());
        let (is_accepted, place) = (self.is_accepted, self.place.take());
        async move {
            let stored = row.clone();
            // The job is listed as ended when clients hear of it, and is found until it is.
            jobs.store_end(&stored).await;
            active.row.send_replace(row);
            drop(place);
            if is_accepted {
                active.emit(&events);
            }
        }
    }
}

impl Drop for JobRun {
    fn drop(&mut self) {
        // Without a runtime, the process ends.
        if self.has_ended || Handle::try_current().is_err() {
            return;
        }
        let row = self.unfinished_row(self.jobs.is_shutting_down());
        let ending = self.ending(row);
        self.jobs.tracker.spawn(ending);
    }
}
