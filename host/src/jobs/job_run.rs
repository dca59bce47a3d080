//! A job with a row, from its acceptance to its end.

use pinhole_ground::shares::Share;
use pinhole_sandbox::{JobContext, JournalEntry, PendingEntry};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::active_jobs::{ActiveJob, ActiveJobs};
use super::completed_job::{CompletedJob, ImageOrigin};
use super::error::Error;
use super::job_record::{ErrorRecord, result_json};
use super::plan::JobPlan;
use super::progress::ProgressEvents;
use crate::crash_point::CrashPoint;
use crate::event::MessageEvents;
use crate::files::SaveError;
use crate::store::{FileRow, JobRow, JobState, User, now};

/// A job with a row. Dropping it records that it was cancelled, or interrupted by the shutdown of the server.
pub struct JobRun {
    jobs: ActiveJobs,
    active: ActiveJob,
    /// What the job waits for until it is stored.
    entries: Option<mpsc::Receiver<PendingEntry>>,
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

/// How following a job ended.
#[derive(Debug)]
pub enum Followed<T> {
    Done(T),
    /// A user has stopped the job.
    Stopped,
    /// Another process continues the job, or will.
    Released,
}

/// The end of a job.
#[derive(Clone, Debug)]
pub struct EndedJob {
    pub row: JobRow,
    /// Its stored images.
    pub files: Vec<FileRow>,
}

impl JobRun {
    pub(super) fn new(
        jobs: ActiveJobs,
        active: ActiveJob,
        entries: Option<mpsc::Receiver<PendingEntry>>,
        events: MessageEvents,
        plan: &JobPlan,
    ) -> Self {
        let description = &plan.binding.component.description;
        Self {
            jobs,
            context: active.context.clone(),
            active,
            entries,
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
    pub(super) fn set_stored(&self) {
        self.active.stored.cancel();
    }

    /// The job is listed from now on.
    pub(super) fn set_accepted(&mut self) {
        self.is_accepted = true;
        self.active.emit(&self.events);
    }

    /// The row does not exist, and dropping this does nothing.
    pub(super) fn abandon(&mut self) {
        self.jobs.remove(&self.context.job);
        self.has_ended = true;
    }

    /// The row as it is now.
    #[must_use]
    pub fn row(&self) -> JobRow {
        self.active.row.borrow().clone()
    }

    /// Cancelled when another process continues the job, or will.
    #[must_use]
    pub fn released(&self) -> CancellationToken {
        self.active.released.clone()
    }

    /// Waits for the engine, emits its progress, and stores its start and what it must not lose.
    pub async fn follow<T>(&mut self, job: impl Future<Output = T>) -> Followed<T> {
        let (context, events) = (self.context.clone(), self.events.clone());
        let (active, id) = (self.active.clone(), context.job.clone());
        let (jobs, mut entries) = (self.jobs.clone(), self.entries.take());
        let progress = ProgressEvents {
            events: &events,
            context: &context,
            job_id: Some(&id),
            decoder: &jobs.decoder,
        };
        let start = async {
            context.usage.wait_for_start().await;
            self.record_start();
            std::future::pending().await
        };
        let store_entries = async {
            while let Some(entries) = &mut entries
                && let Some(pending) = entries.recv().await
            {
                if !jobs.store_entry(&active, &pending.entry).await {
                    return;
                }
                pending.confirm();
            }
            std::future::pending().await
        };
        tokio::select! {
            biased;
            done = job => Followed::Done(done),
            () = active.stop.cancelled() => Followed::Stopped,
            () = active.released.cancelled() => Followed::Released,
            () = store_entries => {
                active.release();
                Followed::Released
            }
            never = start => never,
            never = progress.emit() => never,
        }
    }

    /// Runs a job to its end, and stores its images. `None` if another process continues it.
    pub async fn complete(
        mut self,
        job: impl Future<Output = Result<CompletedJob, Error>>,
        user: &User,
        origin: Option<ImageOrigin<'_>>,
    ) -> Option<EndedJob> {
        let without_files = |row| EndedJob {
            row,
            files: Vec::new(),
        };
        match self.follow(job).await {
            Followed::Released => None,
            Followed::Stopped => self.cancel().await.map(without_files),
            Followed::Done(Err(error)) => self.fail(&error).await.map(without_files),
            Followed::Done(Ok(completed)) => match self.save(&completed, user, origin).await {
                Ok(ended) => Some(ended),
                Err((SaveError::Taken, _)) => None,
                Err((SaveError::Other(_), row)) => row.map(|row| without_files(*row)),
            },
        }
    }

    fn record_start(&mut self) {
        self.started = Some(Instant::now());
        // With a journal, the first order is marked.
        let may_order = self.has_upstream && self.context.journal.is_none();
        self.active.row.send_modify(|row| {
            row.state = JobState::Running;
            row.started_at = Some(now());
            row.ordered |= may_order;
        });
        self.active.emit(&self.events);
        let (store, row) = (self.jobs.store.clone(), self.row());
        self.jobs.tracker.spawn(async move {
            if let Err(error) = store.start_job(&row).await {
                tracing::warn!("cannot store the start of job {}: {error}", row.id);
            }
            CrashPoint::JobStarted.reach("");
        });
    }

    /// Stores the images of the job together with its end, and ends it.
    ///
    /// The error has the row of the end, unless another process has taken the job.
    pub async fn save(
        mut self,
        completed: &CompletedJob,
        user: &User,
        origin: Option<ImageOrigin<'_>>,
    ) -> Result<EndedJob, (SaveError, Option<Box<JobRow>>)> {
        CrashPoint::JobMade.reach("");
        let mut row = self.ended_row(JobState::Done);
        row.binding.clone_from(&completed.binding);
        row.engine.clone_from(&completed.engine);
        row.engine_version.clone_from(&completed.engine_version);
        row.digest.clone_from(&completed.digest);
        // Without a row, no other process can take the job.
        let is_stored = self.active.stored.is_cancelled();
        let end_of = |files: &[FileRow]| {
            let result = result_json(completed, files);
            is_stored.then(|| JobRow {
                result,
                request: None,
                ..row.clone()
            })
        };
        let (files, store) = (self.jobs.files.clone(), self.jobs.store.clone());
        match completed
            .save_with_end(&files, &store, user, origin, end_of)
            .await
        {
            Ok(saved) => {
                CrashPoint::JobEnded.reach("");
                row.result = result_json(completed, &saved.rows);
                let storing = match (is_stored, saved.is_waiting) {
                    (false, _) => EndStoring::Now,
                    (true, false) => EndStoring::Done,
                    (true, true) => EndStoring::WithImages,
                };
                self.end(row.clone(), storing).await;
                Ok(EndedJob {
                    row,
                    files: saved.rows,
                })
            }
            Err(SaveError::Taken) => {
                self.active.release();
                Err((SaveError::Taken, None))
            }
            Err(error) => {
                let id = &completed.job;
                tracing::error!(job = id, "cannot store the images of job {id}: {error:#}");
                let failure =
                    json!({"message": "the image could not be stored", "code": "internal"});
                row.state = JobState::Failed;
                row.error = Some(failure.to_string());
                self.end(row.clone(), EndStoring::Now).await;
                Err((error, Some(Box::new(row))))
            }
        }
    }

    /// The job has failed. Returns its row, unless another process continues the job.
    pub async fn fail(mut self, error: &Error) -> Option<JobRow> {
        let journal = self.context.journal.as_ref();
        let ordered_again = journal.is_some_and(|it| it.has_refused_order());
        let row = if error.is_shutdown() || ordered_again {
            self.unfinished_row(true)
        } else {
            let mut row = self.ended_row(JobState::Failed);
            row.error = serde_json::to_string(&ErrorRecord::new(error)).ok();
            row
        };
        self.end_unless_released(row).await
    }

    /// A user has stopped the job, or the server. Returns its row, unless another process continues the job.
    pub async fn cancel(mut self) -> Option<JobRow> {
        let row = self.unfinished_row(self.jobs.is_shutting_down());
        self.end_unless_released(row).await
    }

    async fn end_unless_released(&mut self, row: JobRow) -> Option<JobRow> {
        if self.active.released.is_cancelled() {
            return None;
        }
        self.end(row.clone(), EndStoring::Now).await;
        Some(row)
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
        row.set_cancelled(works_on);
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
    async fn end(&mut self, row: JobRow, storing: EndStoring) {
        let ending = self.ending(row, storing);
        self.jobs.tracker.spawn(ending).await.ok();
    }

    /// Stores the end, then tells clients.
    fn ending(&mut self, row: JobRow, storing: EndStoring) -> impl Future<Output = ()> + use<> {
        self.has_ended = true;
        let (jobs, active, events) = (self.jobs.clone(), self.active.clone(), self.events.clone());
        let (is_accepted, place) = (self.is_accepted, self.place.take());
        async move {
            // The job is listed as ended when clients hear of it, and is found until it is.
            let is_own = match storing {
                EndStoring::Now => jobs.store_end(&row).await || !active.stored.is_cancelled(),
                EndStoring::Done => {
                    jobs.delete_images(&row).await;
                    jobs.remove(&row.id);
                    true
                }
                EndStoring::WithImages => true,
            };
            drop(place);
            // Another process has taken the job, or has ended it.
            if !is_own {
                return;
            }
            active.row.send_replace(row);
            if is_accepted {
                active.emit(&events);
            }
        }
    }
}

/// Who stores the end of a job.
#[derive(Clone, Copy, Debug)]
enum EndStoring {
    Now,
    /// It was stored together with the images.
    Done,
    /// It is stored together with the images, which wait in the spool.
    WithImages,
}

impl ActiveJob {
    /// The job is no longer this process's: its call ends, and its upstream is not asked to stop.
    pub(super) fn release(&self) {
        if let Some(journal) = &self.context.journal {
            journal.close();
        }
        self.context.detach.cancel();
        self.released.cancel();
    }

    /// Changes the row by an entry of the journal.
    pub(super) fn apply(&self, entry: &JournalEntry) {
        self.row.send_modify(|row| match entry {
            JournalEntry::Order => row.ordered = true,
            JournalEntry::Note(_) => {}
            JournalEntry::Component(component) => {
                row.binding.clone_from(&component.binding);
                row.engine.clone_from(&component.engine);
                row.engine_version.clone_from(&component.version);
                row.digest.clone_from(&component.digest);
            }
        });
    }
}

impl Drop for JobRun {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if self.active.released.is_cancelled() {
            return self.jobs.remove(&self.context.job);
        }
        // Without a runtime, the process ends.
        if Handle::try_current().is_err() {
            return;
        }
        let row = self.unfinished_row(self.jobs.is_shutting_down());
        let ending = self.ending(row, EndStoring::Now);
        self.jobs.tracker.spawn(ending);
    }
}
