//! Guest runtimes: a call starts on the interactive runtime and moves to a low-priority one after 20 ms
//! of CPU time.
//!
//! Guests never run on the server's own runtime, so a busy guest delays no socket and no timer. Most calls
//! need a few milliseconds of CPU time. A call that needs more continues on the background runtime, whose
//! threads have a low priority: it uses the CPU time that is left over, and short calls do not wait for it.
//!
//! [`CpuMeter`] counts the CPU time of one call. Every poll of the call runs inside [`CpuMeter::measure`].

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use pinhole_ground::low_priority::LOW_PRIORITY;
use rustix::process::setpriority_process;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::AbortOnDropHandle;

/// CPU time that a call can use on the interactive runtime.
const MAX_INTERACTIVE: Duration = Duration::from_millis(20);
/// Bytes that the host reads or decodes at once for a call on the interactive runtime.
const MAX_INTERACTIVE_BYTES: usize = 8 << 20;

/// The runtimes of guests.
pub(super) struct GuestRuntimes {
    interactive: GuestRuntime,
    background: GuestRuntime,
}

impl GuestRuntimes {
    pub(super) fn new() -> Result<Self> {
        let mut interactive = Builder::new_multi_thread();
        interactive.thread_name("guest");
        let mut background = Builder::new_multi_thread();
        background.thread_name("guest-low").on_thread_start(|| {
            // On Linux a priority belongs to a thread. If it is refused, guests run without it.
            setpriority_process(None, LOW_PRIORITY).ok();
        });
        Ok(Self {
            interactive: GuestRuntime::start(interactive)?,
            background: GuestRuntime::start(background)?,
        })
    }

    /// For short work of the host.
    pub(super) fn interactive(&self) -> &Handle {
        self.interactive.handle()
    }

    /// For long calls.
    fn background(&self) -> &Handle {
        self.background.handle()
    }

    /// Runs a call whose CPU time `meter` counts. The inner error is a panic of the host.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        call: BoxFuture<'static, T>,
        meter: CpuMeter,
    ) -> JoinHandle<Result<T, JoinError>> {
        let background = self.background().clone();
        self.interactive().spawn(async move {
            match run_interactive(call, &meter).await {
                Interactive::Done(result) => Ok(result),
                Interactive::Demoted(call) => AbortOnDropHandle::new(background.spawn(call)).await,
            }
        })
    }
}

/// The state of a call when it leaves the interactive runtime.
enum Interactive<T> {
    Done(T),
    /// It needs more CPU time.
    Demoted(BoxFuture<'static, T>),
}

async fn run_interactive<T>(call: BoxFuture<'static, T>, meter: &CpuMeter) -> Interactive<T> {
    let mut call = Some(call);
    poll_fn(|context| {
        let Some(mut running) = call.take() else {
            return Poll::Pending;
        };
        if let Poll::Ready(result) = running.as_mut().poll(context) {
            return Poll::Ready(Interactive::Done(result));
        }
        if meter.needs_background() {
            // The background runtime polls the call again, so no wake-up is lost.
            return Poll::Ready(Interactive::Demoted(running));
        }
        call = Some(running);
        Poll::Pending
    })
    .await
}

/// Counts the CPU time of one call, host functions included. Clones share one count.
#[derive(Clone, Debug, Default)]
pub struct CpuMeter {
    nanos: Arc<AtomicU64>,
    long_work_ahead: Arc<AtomicBool>,
}

impl CpuMeter {
    /// The CPU time counted so far.
    #[must_use]
    pub fn used(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    /// Does the work on this thread and counts its CPU time.
    pub fn measure<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_cpu_time();
        let result = work();
        let nanos = thread_cpu_time().saturating_sub(before).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        result
    }

    /// Moves the call to the background runtime if the host is about to read or decode many bytes for it,
    /// because that work cannot be interrupted.
    pub(crate) async fn yield_before(&self, bytes: usize) {
        if bytes > MAX_INTERACTIVE_BYTES && !self.needs_background() {
            self.long_work_ahead.store(true, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    fn needs_background(&self) -> bool {
        self.used() > MAX_INTERACTIVE || self.long_work_ahead.load(Ordering::Relaxed)
    }
}

/// CPU time of this thread. Other work on a busy machine does not count.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A runtime that can be dropped anywhere.
struct GuestRuntime(Option<Runtime>);

impl GuestRuntime {
    fn start(mut builder: Builder) -> Result<Self> {
        let runtime = builder
            .enable_all()
            .build()
            .context("cannot start the guest runtimes")?;
        Ok(Self(Some(runtime)))
    }
}

impl std::ops::Deref for GuestRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        match &self.0 {
            Some(runtime) => runtime,
            None => unreachable!("only `drop` removes the runtime"),
        }
    }
}

impl Drop for GuestRuntime {
    fn drop(&mut self) {
        // A server that is dropped in an async context cannot wait for guests.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Computes in steps until the meter shows this time. Returns the name of the last thread.
    async fn compute(meter: CpuMeter, until: Duration) -> String {
        while meter.used() < until {
            meter.measure(|| (0..100_000).fold(0_u64, |sum, n| std::hint::black_box(sum + n)));
            tokio::task::yield_now().await;
        }
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn guest_runtimes_move_long_call_to_low_priority() {
        let runtimes = GuestRuntimes::new().unwrap();
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let run = |until| {
            let meter = CpuMeter::default();
            let call = compute(meter.clone(), until).map(move |thread| (thread, priority()));
            runtimes.spawn(call.boxed(), meter)
        };
        let short_call = run(Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(short_call, ("guest".to_owned(), priority()));
        let long_call = run(MAX_INTERACTIVE * 2).await.unwrap().unwrap();
        assert_eq!(long_call, ("guest-low".to_owned(), LOW_PRIORITY));
    }

    #[tokio::test]
    async fn cpu_meter_moves_call_to_background_before_long_work() {
        let runtimes = GuestRuntimes::new().unwrap();
        for (bytes, expected) in [
            (MAX_INTERACTIVE_BYTES, "guest"),
            (MAX_INTERACTIVE_BYTES + 1, "guest-low"),
        ] {
            let meter = CpuMeter::default();
            let meter_of_call = meter.clone();
            let call = async move {
                meter_of_call.yield_before(bytes).await;
                std::thread::current().name().unwrap_or_default().to_owned()
            };
            let thread = runtimes.spawn(call.boxed(), meter).await.unwrap().unwrap();
            assert_eq!(thread, expected);
        }
    }

    #[tokio::test]
    async fn guest_runtimes_abort_call_on_either_runtime() {
        let runtimes = GuestRuntimes::new().unwrap();
        let (alive, aborted) = tokio::sync::oneshot::channel::<()>();
        let meter = CpuMeter::default();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let meter_of_call = meter.clone();
        let call = async move {
            let _alive = alive;
            compute(meter_of_call, MAX_INTERACTIVE * 2).await;
            started.send(()).ok();
            std::future::pending::<()>().await;
        };
        let task = runtimes.spawn(call.boxed(), meter);
        has_started.await.unwrap();
        task.abort();
        assert!(aborted.await.is_err());
    }
}
