//! Host tasks: what the host does for a call while its guest waits, such as sending a request.
//!
//! A host function could poll a request itself, but it runs on the guest's fiber, and a deep poll would
//! keep stack pages of the fiber in use while the guest waits. A Tokio task for each request would make two
//! threads wake each other. So one driver polls both in the guest's own task: the call and its host tasks.
//!
//! The driver polls the call only after it was woken. If the call or a host task is woken while the driver polls, the
//! driver polls again and does not return to Tokio, which would wake another thread.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::{AbortHandle, BoxFuture, FutureExt, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;
use tokio::task::JoinError;
use tokio::task::coop::has_budget_remaining;

use crate::cpu_meter::CpuMeter;

/// The reason of a crash, without the panic's message.
pub(crate) const PANICKED: &str = "the host panicked; see its log";

/// Starts host tasks. A [`HostTaskDriver`] polls them.
#[derive(Clone, Default)]
pub(crate) struct HostTasks(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

/// Polls a call and its host tasks.
pub struct HostTaskDriver(HostTasks);

/// A host task, to be awaited. Dropping it drops the task.
#[derive(Debug)]
pub(crate) struct HostTask<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

impl HostTasks {
    pub(crate) fn new() -> (Self, HostTaskDriver) {
        let tasks = Self::default();
        (tasks.clone(), HostTaskDriver(tasks))
    }

    /// Called only while the call is polled: the driver looks for new tasks afterwards.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> HostTask<T> {
        let (done, result) = oneshot::channel();
        let (task, abort) = abortable(task);
        // An `async` block that awaits the task would have room for it twice.
        let task = task.map(|ended| {
            if let Ok(value) = ended {
                // Fails if the receiver was dropped: then the result is not needed.
                done.send(value).ok();
            }
        });
        // The number of requests of a job bounds the list.
        self.lock().push(Box::pin(task));
        HostTask { result, abort }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<BoxFuture<'static, ()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HostTaskDriver {
    /// Polls the call and its host tasks until the call ends. `meter` counts the call's CPU time.
    pub async fn drive<T>(self, meter: CpuMeter, mut call: impl Future<Output = T> + Unpin) -> T {
        let mut tasks = FuturesUnordered::new();
        let task_waker = Arc::<TaskWaker>::default();
        let call_waker = Arc::new(CallWaker {
            is_woken: AtomicBool::new(true),
            task: task_waker.clone(),
        });
        let (waker_of_call, waker_of_tasks) = (
            Waker::from(call_waker.clone()),
            Waker::from(task_waker.clone()),
        );
        poll_fn(move |context| {
            meter.start_slice();
            task_waker.start(context.waker());
            loop {
                if call_waker.is_woken.swap(false, Ordering::AcqRel) {
                    let mut context_of_call = Context::from_waker(&waker_of_call);
                    let polled = meter.measure_poll(|| call.poll_unpin(&mut context_of_call));
                    if polled.is_ready() {
                        return polled;
                    }
                    tasks.extend(self.0.lock().drain(..));
                }
                let mut context_of_tasks = Context::from_waker(&waker_of_tasks);
                while let Poll::Ready(Some(())) = tasks.poll_next_unpin(&mut context_of_tasks) {}
                let can_continue = has_budget_remaining() && !meter.is_slice_used();
                if !task_waker.continues(can_continue) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// Wakes the Tokio task, unless its driver polls at the moment and notices it by itself.
#[derive(Default)]
struct TaskWaker {
    parent: AtomicWaker,
    /// [`IDLE`], [`POLLING`] or [`WOKEN`].
    state: AtomicU8,
}

/// The driver does not poll.
const IDLE: u8 = 0;
/// The driver polls.
const POLLING: u8 = 1;
/// The driver polls, and was woken since it began to.
const WOKEN: u8 = 2;

/// Wakes the driver for the call, and not for a host task.
struct CallWaker {
    is_woken: AtomicBool,
    task: Arc<TaskWaker>,
}

impl TaskWaker {
    /// The driver begins to poll.
    fn start(&self, parent: &Waker) {
        self.parent.register(parent);
        self.state.store(POLLING, Ordering::Release);
    }

    /// The driver has polled. Must it poll again? If it was woken and cannot, Tokio will poll it.
    fn continues(&self, can_continue: bool) -> bool {
        let stopped =
            self.state
                .compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire);
        if stopped.is_ok() {
            return false;
        }
        if can_continue {
            self.state.store(POLLING, Ordering::Release);
            return true;
        }
        self.state.store(IDLE, Ordering::Release);
        self.parent.wake();
        false
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken =
            self.state
                .compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if woken == Err(IDLE) {
            self.parent.wake();
        }
    }
}

impl Wake for CallWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<T> Future for HostTask<T> {
    type Output = Result<T, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context)
    }
}

impl<T> Drop for HostTask<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Describes a Tokio task that failed, without its panic message, which may quote a guest or an upstream.
pub(crate) fn describe_crash(crash: &JoinError) -> String {
    if crash.is_panic() {
        PANICKED.to_owned()
    } else {
        "the host aborted it".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use super::*;
    use crate::cpu_meter::LastComputing;

    async fn drive<T>(call: impl AsyncFnOnce(HostTasks) -> T) -> T {
        let (tasks, driver) = HostTasks::new();
        driver
            .drive(CpuMeter::new(LastComputing::default()), pin!(call(tasks)))
            .await
    }

    #[tokio::test]
    async fn driver_polls_tasks_that_a_call_awaits_starts_later_or_drops() {
        let sum = drive(async |tasks| {
            let dropped = tasks.spawn(std::future::pending::<u32>());
            let first = tasks.spawn(std::future::ready(1)).await.unwrap();
            let pair = [tasks.spawn(slow(2)), tasks.spawn(slow(4))];
            let [second, third] = pair.map(|task| async { task.await.unwrap() });
            drop(dropped);
            first + second.await + third.await
        });
        assert_eq!(sum.await, 7);
    }

    async fn slow(value: u32) -> u32 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        value
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn driver_loses_no_wake_up_from_another_thread() {
        for round in 0..1000 {
            let received = drive(async |tasks| {
                let (sender, receiver) = oneshot::channel();
                let sending = tokio::spawn(async move { sender.send(round) });
                let value = tasks.spawn(receiver).await.unwrap().unwrap();
                sending.await.unwrap().unwrap();
                value
            });
            assert_eq!(received.await, round);
        }
    }

    #[tokio::test]
    async fn driver_gives_way_when_the_slice_is_used() {
        let polls = std::sync::atomic::AtomicU32::new(0);
        let call = async |_| {
            // A call that wakes itself without end.
            poll_fn(|context| {
                polls.fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            })
            .await;
        };
        let endless = tokio::time::timeout(Duration::from_millis(5), drive(call));
        assert!(endless.await.is_err());
        assert!(polls.load(Ordering::Relaxed) > 1);
    }
}
