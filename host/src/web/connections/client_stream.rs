//! The stream of a client's connection, with limits on how slow the client may be.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use pinhole_ground::guard::Guard;
use pinhole_ground::shares::Share;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::clients::ConnectionLimits;
use crate::web::pace::Pace;

/// What a client gets whose request's head is incomplete.
const HEAD_TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A client's connection. Reading fails if the head of a request takes too long, and writing fails if the
/// client does not read.
pub(super) struct ClientStream {
    stream: TcpStream,
    requests: Arc<RequestCount>,
    head_time: Duration,
    /// The head that is arriving.
    head: Option<Head>,
    /// Of the bytes that the client reads.
    pace: Pace,
    /// Counted as long as the stream exists, also as a WebSocket.
    _share: Share<IpAddr>,
}

/// A head that is incomplete.
struct Head {
    /// The state of [`RequestCount`] when its first byte arrived.
    state: u64,
    deadline: Instant,
    /// Created when the server waits: most heads arrive at once.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Counts the starts and the ends of a connection's requests, so it is even while the server waits for a
/// request.
#[derive(Default)]
pub(super) struct RequestCount(AtomicU64);

/// A request that is running. Dropping it ends the request.
pub(super) struct RunningRequest(Arc<RequestCount>);

impl RequestCount {
    /// The head of a request is complete.
    pub(super) fn start(self: &Arc<Self>) -> RunningRequest {
        self.0.fetch_add(1, Ordering::Relaxed);
        RunningRequest(self.clone())
    }

    /// The state while the server waits for a request.
    fn waiting_state(&self) -> Option<u64> {
        let state = self.0.load(Ordering::Relaxed);
        state.is_multiple_of(2).then_some(state)
    }
}

impl RunningRequest {
    /// The connection has become a WebSocket: no request follows.
    pub(super) fn upgrade(self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl ClientStream {
    pub(super) fn new(
        stream: TcpStream,
        limits: &ConnectionLimits,
        requests: Arc<RequestCount>,
        share: Share<IpAddr>,
    ) -> Self {
        Self {
            _share: share,
            stream,
            requests,
            head_time: limits.head_time,
            head: None,
            // A response has no limit in total.
            pace: Pace::new(limits.response_rate, Duration::MAX),
        }
    }

    /// Bytes have arrived. True if they belong to a head that takes too long.
    fn is_head_late(&mut self) -> bool {
        let Some(state) = self.requests.waiting_state() else {
            self.head = None;
            return false;
        };
        let now = Instant::now();
        match &self.head {
            Some(head) if head.state == state => head.deadline <= now,
            _ => {
                self.head = Some(Head {
                    state,
                    deadline: now + self.head_time,
                    timer: None,
                });
                false
            }
        }
    }

    /// No bytes have arrived. Ready if a head takes too long.
    fn poll_head_timeout(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let state = self.requests.waiting_state();
        self.head.take_if(|head| Some(head.state) != state);
        let Some(head) = &mut self.head else {
            return Poll::Pending;
        };
        let deadline = head.deadline;
        let timer = head
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        timer.as_mut().poll(context)
    }

    /// Limits how long the client does not read.
    fn paced(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            self.pace.advance(*result.as_ref().unwrap_or(&0));
            return Poll::Ready(result);
        }
        if Guard::ResponseRate.applies(self.pace.poll_too_slow(context).is_ready()) {
            return Poll::Ready(Err(timed_out("the client does not read its response")));
        }
        Poll::Pending
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let length_before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        let is_late = if read.is_pending() {
            this.poll_head_timeout(context).is_ready()
        } else {
            buffer.filled().len() > length_before && this.is_head_late()
        };
        if Guard::HeadTime.applies(is_late) {
            this.stream.try_write(HEAD_TOO_SLOW).ok();
            return Poll::Ready(Err(timed_out("the head of the request takes too long")));
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.paced(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.paced(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when everything is written: the client has caught up.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.pause();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn timed_out(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, reason)
}
