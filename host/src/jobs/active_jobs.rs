//! Jobs that have a row, while they are active: their state, how they are stopped, and their events.
//!
//! The row is written when the job is accepted, when the engine begins, and at the end. A database that cannot write
//! the end must not make an ended job look active, so the end stays here until it is stored
//! ([`ActiveJobs::store_ends`]). What a process leaves behind is continued by another one (`leased_jobs`), or
//! interrupted by the next ([`ActiveJobs::interrupt_old`]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pinhole_ground::shares::{Share, Shares, SharesFull};
use pinhole_images::Decoder;
use pinhole_sandbox::{Edit, JobContext, JobJournal, JobMemory, Usage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::continuation::Continuation;
use super::host_lease::HostLease;
use super::job_record::{JobRecord, ProgressRecord, empty_result};
use super::job_run::JobRun;
use super::plan::{JobPlan, Operation};
use crate::crash_point::CrashPoint;
use crate::event::{EventTarget, Events, JOB, MessageEvents};
use crate::files::Files;
use crate::store::{Idempotency, JobRow, JobState, Store, User, now};

/// Active jobs of one user that the jobs API accepts.
pub const MAX_ACTIVE_JOBS: usize = 100;
/// Active jobs of all users that the jobs API accepts.
pub const MAX_ALL_ACTIVE_JOBS: usize = 4_000;
/// Time between two removals of old jobs.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(3600);
/// Time between two looks at the row of a job of another host.
const ROW_INTERVAL: Duration = Duration::from_millis(250);

/// The active jobs. Clones share them.
#[derive(Clone)]
pub struct ActiveJobs {
    pub(super) store: Store,
    pub(super) files: Files,
    pub(super) events: Events,
    pub(super) decoder: Decoder,
    /// The jobs that another host continues if this one ends. `None`: none does.
    pub(super) lease: Option<Arc<HostLease>>,
    jobs: Arc<Mutex<HashMap<String, ActiveJob>>>,
    pub(super) tracker: TaskTracker,
    places: Arc<Shares<String>>,
    /// Cancelled when the server is about to shut down: no job is accepted.
    drain: CancellationToken,
    /// Cancelled when the server shuts down: a job without a result was interrupted.
    shutdown: CancellationToken,
    /// The number of active jobs.
    count: watch::Sender<usize>,
    last_id_ms: Arc<AtomicU64>,
}

/// A job while it is active, and after its end until that is stored.
#[derive(Clone, Debug)]
pub(super) struct ActiveJob {
    pub(super) row: watch::Sender<JobRow>,
    pub(super) context: JobContext,
    /// Cancelled when a user stops the job.
    pub(super) stop: CancellationToken,
    /// Cancelled when the job is no longer this process's.
    pub(super) released: CancellationToken,
    /// The row exists.
    pub(super) stored: CancellationToken,
}

/// A job to accept.
pub struct NewJob<'a> {
    pub user: &'a User,
    pub origin: NewJobOrigin<'a>,
    pub plan: &'a JobPlan,
    pub operation: Operation,
    /// The request as JSON, if it is stored.
    pub request: Option<String>,
    /// Prepared sources.
    pub edit: Option<&'a Edit>,
    /// What another process needs in addition to the request. Its images are those of `edit`.
    pub continuation: Continuation,
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
    /// `durable_host` is the name of this process if others continue its jobs.
    #[must_use]
    pub fn new(files: Files, store: Store, events: Events, durable_host: Option<String>) -> Self {
        Self {
            decoder: files.decoder().clone(),
            store,
            files,
            events,
            lease: durable_host.map(|host| Arc::new(HostLease::new(host))),
            jobs: Arc::default(),
            tracker: TaskTracker::new(),
            places: Shares::new(MAX_ALL_ACTIVE_JOBS, MAX_ACTIVE_JOBS),
            drain: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            count: watch::Sender::new(0),
            last_id_ms: Arc::default(),
        }
    }

    /// A place among the active jobs of the jobs API.
    pub fn take_place(&self, user: &User) -> Result<Share<String>, AcceptError> {
        if self.is_draining() {
            return Err(AcceptError::ShuttingDown);
        }
        self.places
            .take(Some(user.id.clone()))
            .map_err(|full| match full {
                SharesFull::Key => AcceptError::UserLimit,
                SharesFull::Total => AcceptError::ServerLimit,
            })
    }

    /// Accepts a job: writes its row, and tells the user's clients. If no other process continues jobs, the job of a chat
    /// runs even if its row cannot be written, because its image must not be lost.
    pub async fn add(&self, new: NewJob<'_>) -> Result<JobRun, AcceptError> {
        // A turn that was accepted before may have a job.
        let is_turn = matches!(new.origin, NewJobOrigin::Chat { .. });
        if self.is_shutting_down() || (self.is_draining() && !is_turn) {
            return Err(AcceptError::ShuttingDown);
        }
        let mut new_row = self.new_row(&new);
        if self.lease.is_some() && new.request.is_some() {
            new_row.continuation = self.store_continuation(&new_row.id, &new).await;
        }
        // From here on, dropping it ends the row.
        let mut run = self.insert(new_row, new.plan, None);
        let row = run.row();
        match self.store.add_job(&row).await {
            Ok(None) => run.set_stored(),
            Ok(Some(existing)) => {
                self.delete_images(&row).await;
                run.abandon();
                return Err(AcceptError::Exists(Box::new(existing)));
            }
            Err(error) if matches!(new.origin, NewJobOrigin::Api) => {
                self.delete_images(&row).await;
                run.abandon();
                return Err(error.into());
            }
            // Its row may exist, and then another process would order the image again. Dropping `run` ends the row.
            Err(error) if self.lease.is_some() => return Err(error.into()),
            Err(error) => tracing::error!("cannot store job {}, it runs anyway: {error}", row.id),
        }
        run.set_accepted();
        CrashPoint::JobAccepted.reach("");
        Ok(run)
    }

    /// Adds a job to the active ones, whose row exists or is about to. `earlier_note` is what an attempt that may have
    /// ordered has noted.
    pub(super) fn insert(&self, row: JobRow, plan: &JobPlan, earlier_note: Option<&str>) -> JobRun {
        let id = row.id.clone();
        let events = self.events_of(&row);
        let mut context = JobContext::new(id.clone());
        let mut entries = None;
        if let Some(lease) = self.lease.as_ref().filter(|_| row.host.is_some()) {
            let (journal, receiver) = JobJournal::new(lease.until(), earlier_note);
            context.journal = Some(journal);
            entries = Some(receiver);
        }
        if earlier_note.is_some() {
            context.memory = JobMemory::after(earlier_note);
            context.usage = Arc::new(Usage::after_order());
        }
        let active = ActiveJob {
            context,
            row: watch::Sender::new(row),
            stop: CancellationToken::new(),
            released: CancellationToken::new(),
            stored: CancellationToken::new(),
        };
        // A request that finds the row must find the job, or it could not stop it.
        let mut jobs = self.lock();
        jobs.insert(id, active.clone());
        self.count.send_replace(jobs.len());
        drop(jobs);
        JobRun::new(self.clone(), active, entries, events, plan)
    }

    pub(super) fn remove(&self, id: &str) {
        let mut jobs = self.lock();
        jobs.remove(id);
        self.count.send_replace(jobs.len());
    }

    pub(super) fn events_of(&self, row: &JobRow) -> MessageEvents {
        self.events.for_message(EventTarget {
            user_id: row.user_id.clone(),
            chat_id: row.chat_id.clone(),
            message_id: row.message_id.clone().unwrap_or_else(|| row.id.clone()),
        })
    }

    /// Stores what continues a job in another process. Without that, the job runs, and ends with this process.
    async fn store_continuation(&self, id: &str, new: &NewJob<'_>) -> Option<String> {
        let mut continuation = new.continuation.clone();
        if let Some(edit) = new.edit
            && let Err(error) = continuation.put_images(&self.files, id, edit).await
        {
            tracing::warn!("cannot store the images that job {id} edits: {error}");
            continuation.delete_images(&self.files, id).await;
            return None;
        }
        serde_json::to_string(&continuation).ok()
    }

    /// Removes the stored images of a job that has ended.
    pub(super) async fn delete_images(&self, row: &JobRow) {
        if let Some(continuation) = Continuation::of(row) {
            continuation.delete_images(&self.files, &row.id).await;
        }
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
            attempt: 1,
            host: self.lease.as_ref().map(|lease| lease.host.clone()),
            continuation: None,
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
        tokio::time::timeout(timeout, self.wait_here_or_elsewhere(id))
            .await
            .ok();
    }

    async fn wait_here_or_elsewhere(&self, id: &str) {
        loop {
            let rows = self.lock().get(id).map(|active| active.row.subscribe());
            if let Some(mut rows) = rows {
                // Fails if another process has taken the job.
                if rows.wait_for(|row| !row.state.is_active()).await.is_ok() {
                    return;
                }
            } else {
                let found = self.store.job(id).await;
                let has_ended = found.is_ok_and(|row| row.is_none_or(|row| !row.state.is_active()));
                if has_ended || !self.others_may_run() {
                    return;
                }
                tokio::time::sleep(ROW_INTERVAL).await;
            }
        }
    }

    /// True if another process, or a later attempt of this one, may run a job that is not active here.
    fn others_may_run(&self) -> bool {
        self.lease.is_some() || self.store.is_shared() || self.events.cluster().is_some()
    }

    /// From now on, no job is accepted.
    pub fn start_drain(&self) {
        self.drain.cancel();
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits until no job is active.
    pub async fn wait_until_idle(&self) {
        self.count
            .subscribe()
            .wait_for(|count| *count == 0)
            .await
            .ok();
    }

    /// From now on, a job that ends without a result was interrupted.
    pub fn start_shutdown(&self) {
        self.drain.cancel();
        self.shutdown.cancel();
        self.tracker.close();
    }

    /// Runs a task that the shutdown waits for.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(task);
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
            // The images of the spool store it.
            if !self.files.has_end_of(&row.id) {
                self.store_end(&row).await;
            }
        }
    }

    /// Stores how a job ended. The job stays here if that fails. Returns false if the row was not this attempt's.
    pub(super) async fn store_end(&self, row: &JobRow) -> bool {
        match self.store.end_job(row).await {
            Ok(is_ended) => {
                self.delete_images(row).await;
                self.remove(&row.id);
                is_ended
            }
            Err(error) => {
                tracing::error!(
                    "cannot store the end of job {}, will retry: {error}",
                    row.id
                );
                true
            }
        }
    }

    /// Interrupts the jobs of an earlier process that no process continues. For the start of a server. Returns their
    /// number.
    pub async fn interrupt_old(&self) -> sqlx::Result<usize> {
        let mut rows = self.store.active_jobs().await?;
        // The images of the spool store the end of their job.
        rows.retain(|row| !self.files.has_end_of(&row.id));
        rows.retain(|row| self.lease.is_none() || row.host.is_none());
        let count = rows.len();
        for mut row in rows {
            row.set_interrupted();
            self.store.end_job(&row).await?;
            self.delete_images(&row).await;
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
