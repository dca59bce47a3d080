//! What a call has done for it while its guest waits.
//!
//! A host function could poll a request itself, but it runs on the guest's fiber: whatever polling
//! needs of the stack stays taken while the guest waits. A task for each request would have two
//! threads wake each other. So the guest's own task polls both, the guest and its errands.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, BoxFuture, abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::guest_runtime::Computed;

/// Takes errands in.
#[derive(Clone, Debug)]
pub(super) struct Errands(mpsc::UnboundedSender<BoxFuture<'static, ()>>);

/// Carries errands out.
pub(super) struct Runner(mpsc::UnboundedReceiver<BoxFuture<'static, ()>>);

/// The result of one errand, to be awaited. Dropping it drops the errand.
#[derive(Debug)]
pub(super) struct Errand<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

/// Both ends.
pub(super) fn errands() -> (Errands, Runner) {
    // Bounded by the number of requests that a job may make.
    let (sender, receiver) = mpsc::unbounded_channel();
    (Errands(sender), Runner(receiver))
}

impl Errands {
    /// Has a future polled beside the guest.
    pub(super) fn run<T: Send + 'static>(
        &self,
        errand: impl Future<Output = T> + Send + 'static,
    ) -> Errand<T> {
        let (done, result) = oneshot::channel();
        let (errand, abort) = abortable(errand);
        let errand = async move {
            if let Ok(value) = errand.await {
                // Nobody waits any more: then nobody needs the result.
                done.send(value).ok();
            }
        };
        // Where the guest's task has ended, the errand is dropped with its sender, and awaiting fails.
        self.0.send(Box::pin(errand)).ok();
        Errand { result, abort }
    }
}

impl Runner {
    /// Polls the call, whose time is counted, and its errands until the call ends.
    pub(super) async fn beside<T>(
        mut self,
        computed: Computed,
        call: impl Future<Output = T>,
    ) -> T {
        let mut call = std::pin::pin!(call);
        let mut call = poll_fn(|context| computed.count(|| call.as_mut().poll(context)));
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                result = &mut call => return result,
                Some(errand) = self.0.recv() => running.push(errand),
                Some(()) = running.next() => {}
            }
        }
    }
}

impl<T> Future for Errand<T> {
    type Output = Result<T, oneshot::error::RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(context)
    }
}

impl<T> Drop for Errand<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}
