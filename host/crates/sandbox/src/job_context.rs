//! The context of a job: its name and user, cancellation, progress and usage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{SetOnce, watch};
use tokio_util::sync::CancellationToken;

use pinhole_ground::audit::Actor;
use pinhole_images::Image;

use crate::job_journal::JobJournal;
use crate::traffic_recorder::TrafficRecorder;

/// The progress of a job. Each report replaces the previous one, but a report without a preview leaves the
/// latest preview.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: Option<f32>,
    /// Jobs ahead of this one at the upstream.
    pub queue_position: Option<u32>,
    /// A short line for a user.
    pub note: Option<String>,
    /// The latest unfinished image.
    pub preview: Option<Image>,
}

/// Connects a job to its caller.
#[derive(Clone, Debug)]
pub struct JobContext {
    /// Names the job in logs.
    pub job: String,
    /// The user whose share of the slots the job uses. `None` is the server itself.
    pub user: Option<String>,
    /// How long the job waits for a slot before its time begins. `None`: waiting counts.
    pub queue_time: Option<Duration>,
    /// Cancelled when the caller disconnects or stops the job.
    pub cancel: CancellationToken,
    /// Cancelled when another process continues the job: dropping the call then ends it at once, and its upstream is
    /// not asked to stop.
    pub detach: CancellationToken,
    /// Receives the job's progress.
    pub progress: watch::Sender<Progress>,
    /// Cancelled if the job was cancelled, but its upstream cannot be stopped and continues.
    pub works_on: CancellationToken,
    /// Counts what the job uses.
    pub usage: Arc<Usage>,
    /// What the engine stores with the job.
    pub memory: JobMemory,
    /// The entries that are stored before the engine continues. `None` for a job that no other process continues.
    pub journal: Option<JobJournal>,
    /// Records the traffic of the job. `None` records nothing.
    pub recorder: Option<TrafficRecorder>,
}

impl JobContext {
    /// A job of this name, of the server itself.
    #[must_use]
    pub fn new(job: String) -> Self {
        Self {
            job,
            user: None,
            queue_time: None,
            cancel: CancellationToken::new(),
            detach: CancellationToken::new(),
            progress: watch::Sender::default(),
            works_on: CancellationToken::new(),
            usage: Arc::default(),
            memory: JobMemory::default(),
            journal: None,
            recorder: None,
        }
    }

    /// Who caused the refusals of the job.
    #[must_use]
    pub fn actor(&self) -> Actor<'_> {
        Actor::of_job(self.user.as_deref())
    }
}

/// The text that an engine stores with a job, for a later attempt to carry it out.
#[derive(Clone, Debug, Default)]
pub struct JobMemory {
    /// From an earlier attempt.
    earlier: Option<Arc<str>>,
    latest: watch::Sender<Option<Arc<str>>>,
}

impl JobMemory {
    /// The memory of an attempt after another one stored this text.
    #[must_use]
    pub fn after(text: Option<&str>) -> Self {
        Self {
            earlier: text.map(Into::into),
            latest: watch::Sender::default(),
        }
    }

    /// What an earlier attempt stored.
    #[must_use]
    pub fn earlier(&self) -> Option<&str> {
        self.earlier.as_deref()
    }

    /// What this attempt has stored so far.
    #[must_use]
    pub fn latest(&self) -> Option<Arc<str>> {
        self.latest.borrow().clone()
    }

    pub(super) fn remember(&self, text: String) {
        self.latest.send_replace(Some(text.into()));
    }
}

/// What a job has used so far.
#[derive(Debug, Default)]
pub struct Usage {
    requests: AtomicU64,
    entered_bytes: AtomicU64,
    billable_requests: AtomicU64,
    accepts_cancellation: AtomicBool,
    started: SetOnce<()>,
}

impl Usage {
    /// The usage of an attempt after one that may have ordered.
    #[must_use]
    pub fn after_order() -> Self {
        Self {
            billable_requests: AtomicU64::new(1),
            ..Self::default()
        }
    }

    /// Waits until the engine works on the job: it has a slot.
    pub async fn wait_for_start(&self) {
        self.started.wait().await;
    }

    /// True once the engine works on the job.
    #[must_use]
    pub fn has_started(&self) -> bool {
        self.started.initialized()
    }

    /// Records that the job has a slot. A further attempt changes nothing.
    pub(super) fn record_start(&self) {
        self.started.set(()).ok();
    }

    /// True if an upstream may have started to generate, and may charge for it.
    #[must_use]
    pub fn may_be_charged(&self) -> bool {
        self.billable_requests.load(Ordering::Relaxed) > 0
    }

    /// Requests to upstreams, WebSockets included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes that were copied into the guest: the job, the settings and the results of host functions.
    #[must_use]
    pub fn entered_bytes(&self) -> u64 {
        self.entered_bytes.load(Ordering::Relaxed)
    }

    /// True if the upstream accepted a request that the engine sent after the job was cancelled.
    pub(super) fn accepts_cancellation(&self) -> bool {
        self.accepts_cancellation.load(Ordering::Relaxed)
    }

    pub(super) fn record_accepted_cancellation(&self) {
        self.accepts_cancellation.store(true, Ordering::Relaxed);
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn add_billable_request(&self) {
        self.billable_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Corrects [`Self::add_billable_request`]: the upstream refused the request.
    pub(super) fn remove_billable_request(&self) {
        self.billable_requests.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn count_entered(&self, bytes: usize) {
        self.entered_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
