//! Host tasks: what the host does for a call while its guest waits, such as sending a request.
//!
//! A host function could poll a request itself, but it runs on the guest's fiber, and a deep poll would
//! keep stack pages of the fiber in use while the guest waits. A Tokio task for each request would make two
//! threads wake each other. So one driver polls both in the guest's own task: the call and its host tasks.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinError;

use crate::guest_runtime::CpuMeter;

/// Starts host tasks. A [`HostTaskDriver`] polls them.
#[derive(Clone, Debug)]
pub(crate) struct HostTasks(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

/// Polls a call and its host tasks.
pub struct HostTaskDriver(mpsc::UnboundedReceiver<BoxFuture<'static, ()>>);

/// A host task, to be awaited. Dropping it drops the task.
#[derive(Debug)]
pub(crate) struct HostTask<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

impl HostTasks {
    pub(crate) fn new() -> (Self, HostTaskDriver) {
        // The number of requests of a job bounds the channel.
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), HostTaskDriver(receiver))
    }

    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> HostTask<T> {
        let (done, result) = oneshot::channel();
        let (task, abort) = abortable(task);
        let task = async move {
            if let Ok(value) = task.await {
                // Fails if the receiver was dropped: then the result is not needed.
                done.send(value).ok();
            }
        };
        // Fails if the driver has stopped: then the task is dropped, and awaiting it fails.
        self.0.send(Box::pin(task)).ok();
        HostTask { result, abort }
    }
}

impl HostTaskDriver {
    /// Polls the call and its host tasks until the call ends. `meter` counts the call's CPU time.
    pub async fn drive<T>(mut self, meter: CpuMeter, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let mut measured = poll_fn(|context| meter.measure(|| call.as_mut().poll(context)));
        let mut tasks = FuturesUnordered::new();
        loop {
            tokio::select! {
                result = &mut measured => return result,
                Some(task) = self.0.recv() => tasks.push(task),
                Some(()) = tasks.next() => {}
            }
        }
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
        "the host panicked; see its log".to_owned()
    } else {
        "the host aborted it".to_owned()
    }
}
