//! A fake upstream: an HTTP/1.1 and WebSocket server on loopback whose responses a handler decides.
//!
//! hyper parses requests and writes ordinary responses. A response of [`RawStep`]s bypasses hyper: its
//! bytes go to the socket unchanged, so that a test can violate the protocol.

mod connection;
mod message;
mod prefixed;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

pub use message::{FakeResponse, RawStep, RecordedRequest, WebSocket};

/// How long connections may take to finish after [`LoopbackServer::close`].
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Decides the responses of a [`LoopbackServer`]. A closure is a handler.
pub trait RequestHandler: Send + Sync + 'static {
    /// Responds to a request. Dropped when the client disconnects.
    fn respond(
        self: Arc<Self>,
        request: RecordedRequest,
    ) -> impl Future<Output = FakeResponse> + Send;

    /// Called instead of [`Self::respond`] if the client disconnects before the body is complete.
    fn request_aborted(&self, _request: RecordedRequest) {}
}

impl<F, R> RequestHandler for F
where
    F: Fn(RecordedRequest) -> R + Send + Sync + 'static,
    R: Future<Output = FakeResponse> + Send,
{
    async fn respond(self: Arc<Self>, request: RecordedRequest) -> FakeResponse {
        self(request).await
    }
}

/// The number of connections.
#[derive(Clone, Copy, Debug, Default)]
struct ConnectionCounts {
    accepted: usize,
    open: usize,
}

/// An HTTP server on a free port of 127.0.0.1. Dropping it closes all connections.
pub struct LoopbackServer {
    address: SocketAddr,
    connections: Connections,
    stop: CancellationToken,
    accepting: AbortOnDropHandle<()>,
}

/// The connections of a server, and how to start one.
#[derive(Clone)]
struct Connections {
    tasks: TaskTracker,
    counts: Arc<watch::Sender<ConnectionCounts>>,
    /// Aborts the connections.
    abort: CancellationToken,
}

impl LoopbackServer {
    /// Listens on a free port.
    pub async fn bind(handler: impl RequestHandler) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let connections = Connections {
            tasks: TaskTracker::new(),
            counts: Arc::default(),
            abort: CancellationToken::new(),
        };
        let stop = CancellationToken::new();
        let accepting = accept(
            listener,
            Arc::new(handler),
            connections.clone(),
            stop.clone(),
        );
        Ok(Self {
            address,
            connections,
            stop,
            accepting: AbortOnDropHandle::new(tokio::spawn(accepting)),
        })
    }

    /// The IP address and port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Such as `http://127.0.0.1:4711`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The number of connections accepted so far.
    #[must_use]
    pub fn accepted_connections(&self) -> usize {
        self.connections.counts.borrow().accepted
    }

    /// Waits until no connection is open.
    pub async fn wait_until_idle(&self) {
        let mut counts = self.connections.counts.subscribe();
        // The sender lives as long as `self`.
        counts.wait_for(|counts| counts.open == 0).await.ok();
    }

    /// Stops accepting, and waits until the clients have closed their connections.
    ///
    /// Connections that the system has accepted but the server has not seen are served too.
    pub async fn close(mut self) {
        self.stop.cancel();
        (&mut self.accepting).await.ok();
        self.connections.tasks.close();
        tokio::time::timeout(CLOSE_TIMEOUT, self.connections.tasks.wait())
            .await
            .ok();
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.connections.abort.cancel();
    }
}

impl Connections {
    fn serve(&self, stream: TcpStream, handler: Arc<impl RequestHandler>) {
        let mut number = 0;
        self.counts.send_modify(|counts| {
            number = counts.accepted;
            counts.accepted += 1;
            counts.open += 1;
        });
        let open = OpenConnection(self.counts.clone());
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = connection::serve(stream, number, handler) => {}
                () = abort.cancelled() => {}
            }
            drop(open);
        });
    }
}

/// Counts a connection as open until it is dropped.
struct OpenConnection(Arc<watch::Sender<ConnectionCounts>>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.send_modify(|counts| counts.open -= 1);
    }
}

async fn accept(
    listener: TcpListener,
    handler: Arc<impl RequestHandler>,
    connections: Connections,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        if let Ok((stream, _)) = accepted {
            connections.serve(stream, handler.clone());
        }
    }
    // Connections that the runtime has not reported yet.
    let Ok(backlog) = listener.into_std() else {
        return;
    };
    while let Ok((accepted, _)) = backlog.accept() {
        let stream = accepted
            .set_nonblocking(true)
            .and_then(|()| TcpStream::from_std(accepted));
        if let Ok(stream) = stream {
            connections.serve(stream, handler.clone());
        }
    }
}
