//! A call while it runs: in the task of its request until it computes, then on the guest runtimes.
//!
//! Most calls compute for microseconds between waits. On a runtime of their own, each wait would cost two threads
//! that wake each other. But a guest that computes must not hold a thread of the server. So the request's own task
//! polls the call, and after its first full slice (1 ms) it continues on the guest runtimes: a guest holds a thread
//! of the server once, for one slice. A component whose calls have computed recently starts there, so that many new
//! calls of it hold no threads either.
//!
//! A call that is dropped before it ends was cancelled. It continues on the guest runtimes for the grace period, so
//! that the engine can ask its upstream to stop. If another process continues the job, the call ends at once instead.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::cpu_meter::CpuMeter;
use crate::error::Error;
use crate::guest_runtime::GuestRuntimes;
use crate::host_task::{PANICKED, describe_crash};

/// The work of a call, and the meter of its CPU time.
pub(crate) struct GuestWork<T> {
    pub(crate) future: BoxFuture<'static, Result<T, Error>>,
    pub(crate) meter: CpuMeter,
}

/// What ends a call early.
#[derive(Clone)]
pub(crate) struct CallStop {
    pub(crate) cancel: CancellationToken,
    /// Ends the call at once when it is dropped.
    pub(crate) detach: CancellationToken,
}

/// A call that runs. Dropping it cancels the job.
pub(crate) struct RunningCall<T: Send + 'static> {
    location: Location<T>,
    meter: CpuMeter,
    runtimes: Arc<GuestRuntimes>,
    stop: CallStop,
    grace: Duration,
}

/// Where a call runs.
enum Location<T> {
    /// In the task that polls [`RunningCall`].
    Request(BoxFuture<'static, Result<T, Error>>),
    /// On the guest runtimes. The errors are a panic of the host.
    Guests(JoinHandle<Result<Result<T, Error>, JoinError>>),
    Ended,
}

impl<T: Send + 'static> RunningCall<T> {
    pub(crate) fn new(
        work: GuestWork<T>,
        runtimes: Arc<GuestRuntimes>,
        stop: CallStop,
        grace: Duration,
    ) -> Self {
        let GuestWork { future, meter } = work;
        let starts_with_guests = meter.last_computing().is_recent();
        let mut call = Self {
            location: Location::Request(future),
            meter,
            runtimes,
            stop,
            grace,
        };
        if starts_with_guests {
            call.move_to_guests();
        }
        call
    }

    /// Aborts the call now, without a grace period.
    pub(crate) fn abort(mut self) {
        self.abort_now();
    }

    fn abort_now(&mut self) {
        if let Location::Guests(task) = &self.location {
            task.abort();
        }
        self.location = Location::Ended;
    }

    fn move_to_guests(&mut self) {
        match std::mem::replace(&mut self.location, Location::Ended) {
            Location::Request(call) => {
                let task = self.runtimes.spawn(call, self.meter.clone());
                self.location = Location::Guests(task);
            }
            other => self.location = other,
        }
    }
}

impl<T: Send + 'static> Future for RunningCall<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Location::Request(call) = &mut self.location {
            let polled = catch_panic(|| call.as_mut().poll(context));
            match polled {
                Ok(Poll::Pending) if self.meter.needs_guest_runtime() => self.move_to_guests(),
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(result)) => {
                    self.location = Location::Ended;
                    return Poll::Ready(result);
                }
                Err(_) => {
                    self.location = Location::Ended;
                    return Poll::Ready(Err(Error::Crashed(PANICKED.to_owned())));
                }
            }
        }
        let Location::Guests(task) = &mut self.location else {
            return Poll::Pending;
        };
        let joined = ready!(task.poll_unpin(context));
        self.location = Location::Ended;
        Poll::Ready(match joined {
            Ok(Ok(result)) => result,
            Ok(Err(crash)) | Err(crash) => Err(Error::Crashed(describe_crash(&crash))),
        })
    }
}

/// The panic hook has logged the location.
fn catch_panic<R>(work: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
}

impl<T: Send + 'static> Drop for RunningCall<T> {
    fn drop(&mut self) {
        let is_running = match &self.location {
            Location::Request(_) => true,
            Location::Guests(task) => !task.is_finished(),
            Location::Ended => false,
        };
        if !is_running {
            return;
        }
        if self.stop.detach.is_cancelled() {
            return self.abort_now();
        }
        self.stop.cancel.cancel();
        self.move_to_guests();
        let Location::Guests(task) = std::mem::replace(&mut self.location, Location::Ended) else {
            return;
        };
        let (abort, grace) = (task.abort_handle(), self.grace);
        self.runtimes.interactive().spawn(async move {
            tokio::time::timeout(grace, task).await.ok();
            abort.abort();
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::cpu_meter::{COMPUTING, LastComputing};

    const GRACE: Duration = Duration::from_secs(5);

    struct Fixture {
        runtimes: Arc<GuestRuntimes>,
        last_computing: LastComputing,
        cancel: CancellationToken,
        detach: CancellationToken,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                runtimes: Arc::new(GuestRuntimes::new().unwrap()),
                last_computing: LastComputing::default(),
                cancel: CancellationToken::new(),
                detach: CancellationToken::new(),
            }
        }

        /// A call that runs as a guest with this meter.
        fn call<T, F>(&self, future: impl FnOnce(CpuMeter) -> F) -> RunningCall<T>
        where
            T: Send,
            F: Future<Output = T> + Send + 'static,
        {
            let meter = CpuMeter::new(self.last_computing.clone());
            let future = future(meter.clone()).map(Ok);
            let (_, driver) = crate::host_task::HostTasks::new();
            let work = GuestWork {
                future: driver.drive(meter.clone(), Box::pin(future)).boxed(),
                meter,
            };
            let stop = CallStop {
                cancel: self.cancel.clone(),
                detach: self.detach.clone(),
            };
            RunningCall::new(work, self.runtimes.clone(), stop, GRACE)
        }
    }

    fn thread_name() -> String {
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    /// Computes for one slice, and gives way.
    async fn compute(meter: CpuMeter) {
        while !meter.is_slice_used() {
            std::hint::spin_loop();
        }
        tokio::task::yield_now().await;
    }

    #[tokio::test]
    async fn call_that_waits_stays_in_the_task_of_its_request() {
        let fixture = Fixture::new();
        let here = thread_name();
        let call = fixture.call(async |_| {
            tokio::time::sleep(Duration::from_millis(20)).await;
            thread_name()
        });
        assert_eq!(call.await.unwrap(), here);
    }

    #[tokio::test]
    async fn call_that_computes_moves_and_later_calls_start_there() {
        let fixture = Fixture::new();
        let call = fixture.call(async |meter| {
            compute(meter.clone()).await;
            let name = thread_name();
            while meter.used() < COMPUTING * 4 {
                compute(meter.clone()).await;
            }
            name
        });
        assert_eq!(call.await.unwrap(), "guest");
        let next = fixture.call(async |_| thread_name());
        assert_eq!(next.await.unwrap(), "guest");
        let other = Fixture::new();
        let of_other_component = other.call(async |_| thread_name());
        assert_eq!(of_other_component.await.unwrap(), thread_name());
    }

    #[tokio::test]
    async fn dropped_call_is_cancelled_and_continues_for_the_grace_period() {
        let fixture = Fixture::new();
        let (told, has_told) = oneshot::channel();
        let cancel = fixture.cancel.clone();
        let mut call = fixture.call(async move |_| {
            cancel.cancelled().await;
            told.send(thread_name()).ok();
        });
        assert!(futures_util::poll!(&mut call).is_pending());
        drop(call);
        assert!(fixture.cancel.is_cancelled());
        assert_eq!(has_told.await.unwrap(), "guest");
    }

    #[tokio::test]
    async fn detached_call_ends_at_once_and_is_not_cancelled() {
        let fixture = Fixture::new();
        let (held, ended) = oneshot::channel::<()>();
        let mut call = fixture.call(async move |_| {
            std::future::pending::<()>().await;
            drop(held);
        });
        assert!(futures_util::poll!(&mut call).is_pending());
        fixture.detach.cancel();
        drop(call);
        assert!(ended.await.is_err());
        assert!(!fixture.cancel.is_cancelled());
    }

    #[tokio::test]
    async fn panic_of_a_call_is_an_error() {
        let fixture = Fixture::new();
        let call: RunningCall<()> = fixture.call(async |_| panic!("of a test"));
        let error = call.await.unwrap_err();
        assert!(matches!(error, Error::Crashed(reason) if reason == PANICKED));
    }
}
