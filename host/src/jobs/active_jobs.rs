//! Jobs that have a row, while they are active: their state, how they are stopped, and their events.
//!
//! The row is written when the job is accepted, when the engine begins, and at the end. A database that cannot write
//! the end must not make an ended job look active, so the end stays here until it is stored
//! ([`ActiveJobs::store_ends`]). What a process leaves behind is interrupted by the next one
//! ([`ActiveJobs::interrupt_old`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pinhole_ground::shares::{Share, Shares, SharesFull};
use pinhole_images::Decoder;
use pinhole_sandbox::JobContext;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::job_record::{ErrorRecord, JobRecord, ProgressRecord, empty_result};
use super::job_run::JobRun;
use super::plan::{JobPlan, Operation};
use crate::event::{EventTarget, Events, JOB, MessageEvents};
use crate::store::{Idempotency, JobRow, JobState, Store, User, now};

/// Active jobs of one user that the jobs API accepts.
pub const MAX_ACTIVE_JOBS: usize = 100;
/// Active jobs of all users that the jobs API accepts.
pub const MAX_ALL_ACTIVE_JOBS: usize = 4_000;
/// Time between two removals of old jobs.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);

/// The active jobs. Clones share them.
#[derive(Clone, Debug)]
pub struct ActiveJobs {
    pub(super) store: Store,
    events: Events,
    pub(super) decoder: Decoder,
    jobs: Arc<Mutex<HashMap<String, ActiveJob>>>,
    pub(super) tracker: TaskTracker,
    places: Arc<Shares<String>>,
    /// Cancelled when the server shuts down: a job without a result was interrupted.
    shutdown: CancellationToken,
    last_id_ms: Arc<AtomicU64>,
}

/// A job while it is active, and after its end until that is stored.
#[derive(Clone, Debug)]
pub(super) struct ActiveJob {
    pub(super) row: watch::Sender<JobRow>,
    pub(super) context: JobContext,
    /// Cancelled when a user stops the job.
    pub(super) stop: CancellationToken,
}

/// A job to accept.
pub struct NewJob<'a> {
    pub user: &'a User,
    pub origin: NewJobOrigin<'a>,
    pub plan: &'a JobPlan,
    pub operation: Operation,
    /// The request as JSON, if it is stored.
    pub request: Option<String>,
    pub idempotency: Option<Idempotency>,
}

/// Who requests a job.
#[derive(Clone, Copy, Debug)]
pub enum NewJobOrigin<'a> {
    Api,
    /// A message of a chat, which may not be stored.
    Chat {
        chat_id: Option<&'a str>,
        message_id: &'a str,
    },
}

/// Why a job was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("you have too many active jobs (limit {MAX_ACTIVE_JOBS}): wait for one, or stop it")]
    UserLimit,
    #[error("the server has too many active jobs: retry later")]
    ServerLimit,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("cannot store a job")]
    Store(#[from] sqlx::Error),
    /// The user's earlier request with the same idempotency key started this job.
    #[error("the job exists")]
    Exists(Box<JobRow>),
}

impl ActiveJobs {
    #[must_use]
    pub fn new(store: Store, events: Events, decoder: Decoder) -> Self {
        Self {
            store,
            events,
            decoder,
            jobs: Arc::default(),
            tracker: TaskTracker::new(),
            places: Shares::new(MAX_ALL_ACTIVE_JOBS, MAX_ACTIVE_JOBS),
            shutdown: CancellationToken::new(),
            last_id_ms: Arc::default(),
        }
    }

    /// A place among the active jobs of the jobs API.
    pub fn take_place(&self, user: &User) -> Result<Share<String>, AcceptError> {
        if self.is_shutting_down() {
            return Err(AcceptError::ShuttingDown);
        }
        self.places
            .take(Some(user.id.clone()))
            .map_err(|full| match full {
                SharesFull::Key => AcceptError::UserLimit,
                SharesFull::Total => AcceptError::ServerLimit,
            })
    }

    /// Accepts a job: writes its row, and tells the user's clients. The job of a chat runs even if its row cannot be
    /// written, because its image must not be lost.
    pub async fn add(&self, new: NewJob<'_>) -> Result<JobRun, AcceptError> {
        let new_row = self.new_row(&new);
        let target = EventTarget {
            user_id: new_row.user_id.clone(),
            chat_id: new_row.chat_id.clone(),
            message_id: new_row
                .message_id
                .clone()
                .unwrap_or_else(|| new_row.id.clone()),
        };
        let active = ActiveJob {
            context: JobContext::new(new_row.id.clone()),
            row: watch::Sender::new(new_row),
            stop: CancellationToken::new(),
        };
        let events = self.events.for_message(target);
        // From here on, dropping it ends the row.
        let mut run = JobRun::new(self.clone(), active.clone(), events, new.plan);
        let row = active.row.borrow().clone();
        // A request that finds the row must find the job, or it could not stop it.
        self.lock().insert(row.id.clone(), active);
        match self.store.add_job(&row).await {
            Ok(None) => {}
            Ok(Some(existing)) => {
                self.lock().remove(&row.id);
                run.abandon();
                return Err(AcceptError::Exists(Box::new(existing)));
            }
            Err(error) if matches!(new.origin, NewJobOrigin::Api) => {
                self.lock().remove(&row.id);
                run.abandon();
                return Err(error.into());
            }
            Err(error) => tracing::error!("cannot store job {}, it runs anyway: {error}", row.id),
        }
        run.set_accepted();
        Ok(run)
    }

    fn new_row(&self, new: &NewJob<'_>) -> JobRow {
        let component = &new.plan.binding.component;
        let (origin, chat_id, message_id) = match new.origin {
            NewJobOrigin::Api => ("api", None, None),
            NewJobOrigin::Chat {
                chat_id,
                message_id,
            } => ("chat", chat_id, Some(message_id)),
        };
        JobRow {
            id: self.new_id(),
            user_id: new.user.id.clone(),
            origin: origin.to_owned(),
            chat_id: chat_id.map(str::to_owned),
            message_id: message_id.map(str::to_owned),
            operation: new.operation.name().to_owned(),
            state: JobState::Waiting,
            request: new.request.clone(),
            binding: new.plan.binding.name.clone(),
            engine: new.plan.binding.engine().to_owned(),
            engine_version: component.description.version.clone(),
            digest: component.digest.clone(),
            ordered: false,
            result: empty_result(),
            error: None,
            idempotency: new.idempotency.clone(),
            created_at: now(),
            started_at: None,
            ended_at: None,
            duration_ms: None,
        }
    }

    /// A UUID of version 7, higher than those before.
    fn new_id(&self) -> String {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = since_epoch.map_or(0, |it| u64::try_from(it.as_millis()).unwrap_or(0));
        let next = |last: u64| now_ms.max(last.saturating_add(1));
        let last = self
            .last_id_ms
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| Some(next(it)));
        let ms = next(last.unwrap_or_else(|last| last));
        let random = uuid::Uuid::new_v4().into_bytes();
        let (_, random) = random.split_last_chunk().unwrap_or((&[], &[0; 10]));
        let id = uuid::Builder::from_unix_timestamp_millis(ms, random).into_uuid();
        id.to_string()
    }

    /// A job of any user, as its owner sees it.
    pub async fn find(&self, id: &str) -> sqlx::Result<Option<JobRecord>> {
        let active = self.lock().get(id).cloned();
        if let Some(active) = active {
            return Ok(Some(active.record(true)));
        }
        let row = self.store.job(id).await?;
        Ok(row.as_ref().map(JobRecord::new))
    }

    /// The job of this row, which may have gone on since the row was read.
    #[must_use]
    pub fn record(&self, row: &JobRow) -> JobRecord {
        let active = self.lock().get(&row.id).cloned();
        active.map_or_else(|| JobRecord::new(row), |it| it.record(false))
    }

    /// Waits until a job has ended, at most this long.
    pub async fn wait(&self, id: &str, timeout: Duration) {
        let Some(active) = self.lock().get(id).cloned() else {
            return;
        };
        let mut rows = active.row.subscribe();
        // The entry does not end the wait if the job is gone.
        drop(active);
        let ended = rows.wait_for(|row| !row.state.is_active());
        tokio::time::timeout(timeout, ended).await.ok();
    }

    /// Stops a job, if it is active.
    pub fn stop(&self, id: &str) {
        if let Some(active) = self.lock().get(id) {
            active.stop.cancel();
        }
    }

    /// Stops all jobs of a user, or of all users. Returns the number of those that were not stopped before.
    pub fn stop_all(&self, user_id: Option<&str>) -> usize {
        let jobs = self.lock();
        let stopped = jobs.values().filter(|job| {
            let row = job.row.borrow();
            row.state.is_active()
                && user_id.is_none_or(|id| row.user_id == id)
                && !job.stop.is_cancelled()
        });
        stopped.inspect(|job| job.stop.cancel()).count()
    }

    /// From now on, no job is accepted, and one that ends without a result was interrupted.
    pub fn start_shutdown(&self) {
        self.shutdown.cancel();
        self.tracker.close();
    }

    /// Waits until the jobs have ended and are stored. Start the shutdown before.
    pub async fn wait_for_end(&self) {
        self.tracker.wait().await;
    }

    pub(super) fn is_shutting_down(&self) -> bool {
        self.shutdown.is_cancelled()
    }

    /// Stores the ends of jobs that could not be stored before.
    pub async fn store_ends(&self) {
        let rows: Vec<JobRow> = {
            let jobs = self.lock();
            let rows = jobs.values().map(|job| job.row.borrow());
            let ended = rows.filter(|row| !row.state.is_active());
            ended.map(|row| row.clone()).collect()
        };
        for row in rows {
            self.store_end(&row).await;
        }
    }

    /// Stores how a job ended. The job stays here if that fails.
    pub(super) async fn store_end(&self, row: &JobRow) {
        match self.store.end_job(row).await {
            Ok(()) => {
                self.lock().remove(&row.id);
            }
            Err(error) => {
                tracing::error!(
                    "cannot store the end of job {}, will retry: {error}",
                    row.id
                );
            }
        }
    }

    /// Interrupts the jobs that an earlier process left behind. For the start of a server. Returns their number.
    pub async fn interrupt_old(&self) -> sqlx::Result<usize> {
        let rows = self.store.active_jobs().await?;
        let count = rows.len();
        for mut row in rows {
            row.set_interrupted();
            self.store.end_job(&row).await?;
        }
        Ok(count)
    }

    /// Removes old jobs now and then hourly. Never returns. Failures are logged and retried.
    pub async fn clean_up_hourly(self) {
        let mut interval = tokio::time::interval(CLEANUP_INTERVAL);
        loop {
            interval.tick().await;
            if let Err(error) = self.store.remove_old_jobs(now()).await {
                tracing::error!("cannot remove old jobs, will retry: {error}");
            }
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, HashMap<String, ActiveJob>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActiveJob {
    fn record(&self, with_preview: bool) -> JobRecord {
        let mut record = JobRecord::new(&self.row.borrow());
        if record.state.is_active() {
            let progress = self.context.progress.borrow().clone();
            record.progress = Some(ProgressRecord::new(progress, with_preview));
        }
        record
    }

    /// Tells the user's clients the job's state.
    pub(super) fn emit(&self, events: &MessageEvents) {
        let record = self.record(false);
        events.emit(JOB, serde_json::to_value(record).unwrap_or_default());
    }
}

impl JobRow {
    /// The server stopped while the job was active.
    pub(super) fn set_interrupted(&mut self) {
        let (message, hint) = match (self.state, self.ordered) {
            (JobState::Waiting, _) => (
                "the server was restarted before this job began",
                "start it again",
            ),
            (_, true) => (
                "the server was restarted while this job ran. Its upstream may have generated the image, and may charge for it",
                "look at the upstream before you start it again",
            ),
            (_, false) => (
                "the server was restarted while this job ran",
                "start it again",
            ),
        };
        let error = ErrorRecord {
            message: message.to_owned(),
            code: "interrupted".to_owned(),
            hint: Some(hint.to_owned()),
        };
        self.error = serde_json::to_string(&error).ok();
        self.state = JobState::Interrupted;
        self.ended_at = Some(now());
    }
}
