//! The CPU time of a call, and the slices in which it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// Time that a call can run at once in the task of its request.
const REQUEST_SLICE: Duration = Duration::from_millis(1);
/// Time that a call can run at once on a guest runtime. Then other guests run.
const GUEST_SLICE: Duration = Duration::from_millis(5);
/// CPU time that a call can use on the interactive runtime.
pub(crate) const MAX_INTERACTIVE: Duration = Duration::from_millis(20);
/// Bytes that the host reads or decodes at once for a call on the interactive runtime.
pub(crate) const MAX_INTERACTIVE_BYTES: usize = 8 << 20;

/// CPU time on a guest runtime after which a call counts as one that computes.
pub(crate) const COMPUTING: Duration = Duration::from_millis(1);
/// How long the calls of a component start on the guest runtimes after one has computed.
const RECENT: Duration = Duration::from_secs(10);

/// When a call of a component has computed last. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct LastComputing(Arc<Mutex<Option<Instant>>>);

impl LastComputing {
    /// Of a component that is not known yet: its calls start on the guest runtimes.
    pub(crate) fn unknown() -> Self {
        let unknown = Self::default();
        unknown.record();
        unknown
    }

    fn record(&self) {
        *self.lock() = Some(real_time());
    }

    pub(crate) fn is_recent(&self) -> bool {
        self.lock().is_some_and(|last| last.elapsed() < RECENT)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the CPU time of one call, host functions included. Clones share one count.
#[derive(Clone, Debug)]
pub struct CpuMeter(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    nanos: AtomicU64,
    created: Instant,
    /// Nanoseconds from `created` to the start of the current slice.
    slice_start: AtomicU64,
    is_on_guest_runtime: AtomicBool,
    /// Nanoseconds that were counted before the call moved to a guest runtime.
    nanos_before: AtomicU64,
    long_work_ahead: AtomicBool,
    last_computing: LastComputing,
}

impl CpuMeter {
    /// The meter of a call of a component.
    pub(crate) fn new(last_computing: LastComputing) -> Self {
        Self(Arc::new(Shared {
            nanos: AtomicU64::new(0),
            created: real_time(),
            slice_start: AtomicU64::new(0),
            is_on_guest_runtime: AtomicBool::new(false),
            nanos_before: AtomicU64::new(0),
            long_work_ahead: AtomicBool::new(false),
            last_computing,
        }))
    }

    pub(crate) fn last_computing(&self) -> &LastComputing {
        &self.0.last_computing
    }

    /// The CPU time counted so far.
    #[must_use]
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.0.nanos.load(Ordering::Relaxed))
    }

    /// Does the work on this thread and counts its CPU time.
    pub fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu_time();
        let result = work();
        self.count(thread_cpu_time().saturating_sub(before));
        result
    }

    /// Polls the call and counts its time.
    ///
    /// In a request's task the clock on the wall counts, which is read without a system call. A thread that the system
    /// interrupts counts more than it computes, but at most until the call leaves the task.
    pub(crate) fn measure_poll<T>(&self, poll: impl FnOnce() -> T) -> T {
        if self.is_on_guest_runtime() {
            let result = self.measure(poll);
            let before = Duration::from_nanos(self.0.nanos_before.load(Ordering::Relaxed));
            if self.used().saturating_sub(before) >= COMPUTING {
                self.0.last_computing.record();
            }
            return result;
        }
        let started = real_time();
        let result = poll();
        self.count(started.elapsed());
        result
    }

    /// A slice of the call begins.
    pub(crate) fn start_slice(&self) {
        let start = nanos(self.0.created.elapsed());
        self.0.slice_start.store(start, Ordering::Relaxed);
    }

    /// Must the call let others run?
    pub(crate) fn is_slice_used(&self) -> bool {
        let slice = if self.is_on_guest_runtime() {
            GUEST_SLICE
        } else {
            REQUEST_SLICE
        };
        let start = Duration::from_nanos(self.0.slice_start.load(Ordering::Relaxed));
        self.0.created.elapsed() >= start + slice
    }

    /// Must the call leave the task of its request?
    pub(crate) fn needs_guest_runtime(&self) -> bool {
        self.is_slice_used() || self.needs_background()
    }

    /// The call leaves the task of its request.
    pub(crate) fn enter_guest_runtime(&self) {
        let nanos = self.0.nanos.load(Ordering::Relaxed);
        self.0.nanos_before.store(nanos, Ordering::Relaxed);
        self.0.is_on_guest_runtime.store(true, Ordering::Relaxed);
    }

    fn is_on_guest_runtime(&self) -> bool {
        self.0.is_on_guest_runtime.load(Ordering::Relaxed)
    }

    /// Moves the call to the background runtime if the host is about to read or decode many bytes for it,
    /// because that work cannot be interrupted.
    pub(crate) async fn yield_before(&self, bytes: usize) {
        if bytes > MAX_INTERACTIVE_BYTES && !self.needs_background() {
            self.0.long_work_ahead.store(true, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn needs_background(&self) -> bool {
        self.used() > MAX_INTERACTIVE || self.0.long_work_ahead.load(Ordering::Relaxed)
    }

    fn count(&self, time: Duration) {
        self.0.nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A test that pauses Tokio's clock does not stop the time of guests.
#[expect(clippy::disallowed_methods, reason = "guests run in real time")]
fn real_time() -> Instant {
    Instant::now()
}

/// CPU time of this thread. Other work on a busy machine does not count.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
