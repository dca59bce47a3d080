//! Where guests compute: beside each other while they are quick, behind everybody once they take long.
//!
//! Guests never run on the server's own runtime, so busy ones hold up no socket and no timer. A call
//! that has computed for longer than most ever need goes on at a low priority, on a runtime for such
//! calls: it has the time that nobody else wants, and keeps no short job waiting.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::BoxFuture;
use rustix::process::setpriority_process;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::task::AbortOnDropHandle;

/// Time that a call may compute beside the quick ones.
const MAX_QUICK: Duration = Duration::from_millis(20);
/// What the host reads and decodes at once for a call beside the quick ones, in bytes.
const MAX_QUICK_BYTES: usize = 8 << 20;
/// Pieces of work that block, such as decoding a mask, done for guests at the same time.
const MAX_BLOCKING: usize = 4;
/// As Linux counts it, from 0 to 19: enough to stand behind the server and the quick ones, which have
/// some nine times the weight, and still get on beside other busy programs.
const LOW_PRIORITY: i32 = 10;

/// The runtimes that guests have.
pub(super) struct Lanes {
    quick: Lane,
    long: Lane,
}

impl Lanes {
    pub(super) fn new() -> Result<Self> {
        let quick = Builder::new_multi_thread()
            .thread_name("guest")
            .enable_all()
            .build();
        let long = Builder::new_multi_thread()
            .thread_name("long guest")
            .max_blocking_threads(MAX_BLOCKING)
            .on_thread_start(|| {
                // On Linux a priority is a thread's own. Where it is refused, guests run all the same.
                setpriority_process(None, LOW_PRIORITY).ok();
            })
            .enable_all()
            .build();
        let lane = |runtime: std::io::Result<Runtime>| {
            let runtime = runtime.context("cannot start the guests' runtimes")?;
            anyhow::Ok(Lane(Some(runtime)))
        };
        Ok(Self {
            quick: lane(quick)?,
            long: lane(long)?,
        })
    }

    /// For what is not a guest's own computing.
    pub(super) fn quick(&self) -> &Handle {
        self.quick.handle()
    }

    /// For work of the host that a guest asks for and that takes long.
    pub(super) fn long(&self) -> &Handle {
        self.long.handle()
    }

    /// Runs a call, which adds to `computed` while it does. The error is a panic of the host.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        call: BoxFuture<'static, T>,
        computed: Computed,
    ) -> JoinHandle<Result<T, JoinError>> {
        let long = self.long().clone();
        self.quick().spawn(async move {
            match while_quick(call, &computed).await {
                Stage::Done(result) => Ok(result),
                Stage::Long(call) => AbortOnDropHandle::new(long.spawn(call)).await,
            }
        })
    }
}

/// How far a call has come beside the quick ones.
enum Stage<T> {
    Done(T),
    Long(BoxFuture<'static, T>),
}

async fn while_quick<T>(call: BoxFuture<'static, T>, computed: &Computed) -> Stage<T> {
    let mut call = Some(call);
    poll_fn(|context| {
        let Some(mut running) = call.take() else {
            return Poll::Pending;
        };
        if let Poll::Ready(result) = running.as_mut().poll(context) {
            return Poll::Ready(Stage::Done(result));
        }
        if computed.is_long() {
            // Polled anew where it goes on, so no wake-up is lost.
            return Poll::Ready(Stage::Long(running));
        }
        call = Some(running);
        Poll::Pending
    })
    .await
}

/// Time that a call has computed, host functions included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Computed {
    nanos: Arc<AtomicU64>,
    /// It is about to.
    will_be_long: Arc<AtomicBool>,
}

impl Computed {
    pub(crate) fn so_far(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }

    fn is_long(&self) -> bool {
        self.so_far() > MAX_QUICK || self.will_be_long.load(Ordering::Relaxed)
    }

    /// Comes before the host reads or decodes so much at once: a call goes behind the others first
    /// where that takes long, for nothing interrupts it.
    pub(crate) async fn make_way(&self, bytes: usize) {
        if bytes > MAX_QUICK_BYTES && !self.is_long() {
            self.will_be_long.store(true, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    /// Does something on this thread, and counts it.
    pub(crate) fn count<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let done = work();
        let nanos = thread_time().saturating_sub(before).as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        done
    }
}

/// CPU time of this thread: other work on a busy machine does not count.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// A runtime that can be dropped anywhere.
struct Lane(Option<Runtime>);

impl std::ops::Deref for Lane {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        match &self.0 {
            Some(runtime) => runtime,
            None => unreachable!("the runtime is taken only when dropped"),
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Waiting for guests is not possible where a server is being dropped: let them end alone.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Computes in steps until it has computed this long; says on which thread it ended.
    async fn busy(computed: Computed, until: Duration) -> String {
        while computed.so_far() < until {
            computed.count(|| (0..100_000).fold(0_u64, |sum, n| std::hint::black_box(sum + n)));
            tokio::task::yield_now().await;
        }
        std::thread::current().name().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_call_that_computes_for_long_goes_on_at_a_low_priority() {
        let lanes = Lanes::new().unwrap();
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let ran = |until| {
            let computed = Computed::default();
            let call = busy(computed.clone(), until).map(move |thread| (thread, priority()));
            lanes.spawn(call.boxed(), computed)
        };
        let (thread, quick) = ran(Duration::ZERO).await.unwrap().unwrap();
        assert_eq!((thread.as_str(), quick), ("guest", priority()));
        let (thread, long) = ran(MAX_QUICK * 2).await.unwrap().unwrap();
        assert_eq!((thread.as_str(), long), ("long guest", LOW_PRIORITY));
    }

    #[tokio::test]
    async fn a_call_goes_behind_the_others_before_long_work() {
        let lanes = Lanes::new().unwrap();
        for (bytes, expected) in [
            (MAX_QUICK_BYTES, "guest"),
            (MAX_QUICK_BYTES + 1, "long guest"),
        ] {
            let computed = Computed::default();
            let inner = computed.clone();
            let call = async move {
                inner.make_way(bytes).await;
                std::thread::current().name().unwrap_or_default().to_owned()
            };
            let thread = lanes.spawn(call.boxed(), computed).await.unwrap().unwrap();
            assert_eq!(thread, expected);
        }
    }

    #[tokio::test]
    async fn a_call_that_is_aborted_ends_wherever_it_is() {
        let lanes = Lanes::new().unwrap();
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let computed = Computed::default();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let inner = computed.clone();
        let call = async move {
            let _alive = alive;
            busy(inner, MAX_QUICK * 2).await;
            begun.send(()).ok();
            std::future::pending::<()>().await;
        };
        let task = lanes.spawn(call.boxed(), computed);
        has_begun.await.unwrap();
        task.abort();
        assert!(ended.await.is_err());
    }
}
