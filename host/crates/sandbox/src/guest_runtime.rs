//! Guest runtimes: for calls that compute.
//!
//! A call that computes longer than a slice leaves the server's own runtime (see
//! [`running_call`](crate::running_call)), so a busy guest delays no socket and no timer. It continues on the
//! interactive runtime. If it needs more than 20 ms of CPU time, it continues on the background runtime, whose
//! threads have a low priority: it uses the CPU time that is left over, and short calls do not wait for it.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use pinhole_ground::low_priority::LOW_PRIORITY;
use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::AbortOnDropHandle;

use crate::cpu_meter::CpuMeter;

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
        meter.enter_guest_runtime();
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
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;
    use crate::cpu_meter::{LastComputing, MAX_INTERACTIVE, MAX_INTERACTIVE_BYTES};

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
            let meter = CpuMeter::new(LastComputing::default());
            let call = compute(meter.clone(), until).map(move |thread| (thread, priority()));
            runtimes.spawn(call.boxed(), meter)
        };
        let short_call = run(Duration::ZERO).await.unwrap().unwrap();
        assert_eq!(short_call, ("guest".to_owned(), priority()));
        let long_call = run(MAX_INTERACTIVE * 2).await.unwrap().unwrap();
        assert_eq!(long_call, ("guest-low".to_owned(), LOW_PRIORITY));
    }

    #[tokio::test]
    async fn guest_runtimes_move_call_to_background_before_long_work() {
        let runtimes = GuestRuntimes::new().unwrap();
        for (bytes, expected) in [
            (MAX_INTERACTIVE_BYTES, "guest"),
            (MAX_INTERACTIVE_BYTES + 1, "guest-low"),
        ] {
            let meter = CpuMeter::new(LastComputing::default());
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
        let meter = CpuMeter::new(LastComputing::default());
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
