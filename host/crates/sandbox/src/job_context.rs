//! What a call is told from outside, and what it tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use pinhole_images::Image;

/// How far a job is. Each report replaces the one before.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// From 0 to 1.
    pub fraction: Option<f32>,
    /// Jobs in front of this one at the upstream.
    pub queue_position: Option<u32>,
    /// A short line for a person.
    pub note: Option<String>,
    /// What the picture looks like so far.
    pub preview: Option<Image>,
}

/// What a call is told from outside, and tells.
#[derive(Clone, Debug)]
pub struct JobContext {
    /// Names the job in logs.
    pub job: String,
    /// Whose share of the slots it takes; the server's own where nobody is named.
    pub user: Option<String>,
    /// Cancelled when the caller goes away or presses Stop.
    pub cancel: CancellationToken,
    /// Hears how far the job is.
    pub progress: watch::Sender<Progress>,
    /// Counts what the call uses.
    pub usage: Arc<Usage>,
}

impl JobContext {
    /// For a job of this name, with nobody listening yet.
    #[must_use]
    pub fn new(job: String) -> Self {
        Self {
            job,
            user: None,
            cancel: CancellationToken::new(),
            progress: watch::Sender::default(),
            usage: Arc::default(),
        }
    }
}

/// What a call has used so far.
#[derive(Debug, Default)]
pub struct Usage {
    requests: AtomicU64,
    entered_bytes: AtomicU64,
    orders: AtomicU64,
}

impl Usage {
    /// May an upstream have begun to make something, and charge for it?
    #[must_use]
    pub fn may_be_charged(&self) -> bool {
        self.orders.load(Ordering::Relaxed) > 0
    }

    /// Requests to upstreams, WebSockets included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes that were copied into the guest: its job, its settings and what host functions gave it.
    #[must_use]
    pub fn entered_bytes(&self) -> u64 {
        self.entered_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request that may have something made is about to be sent.
    pub(super) fn count_order(&self, makes: bool) {
        self.orders.fetch_add(makes.into(), Ordering::Relaxed);
    }

    /// The same request was not taken.
    pub(super) fn take_back_order(&self, makes: bool) {
        self.orders.fetch_sub(makes.into(), Ordering::Relaxed);
    }

    pub(super) fn count_entered(&self, bytes: usize) {
        self.entered_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
