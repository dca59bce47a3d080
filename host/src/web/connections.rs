//! The connections of clients.
//!
//! A server that accepts every connection and waits for it without end can be stopped by one client: with
//! connections that send nothing, half a head, or that never read the response. So connections are limited in
//! number, one IP address has a part of them, and each wait has a limit:
//!
//! | wait | limit | by |
//! |---|---|---|
//! | for the next request | `idle_time` | hyper |
//! | for the rest of its head | `head_time` | [`ClientStream`] |
//! | for its body | `body_rate`, `body_time` | [`super::request_body`] |
//! | for the client to read the response, also on a WebSocket | `response_rate` | [`ClientStream`] |
//!
//! hyper reads the requests of a connection one after the other, and reads no further than its buffer before it
//! has sent the response. Requests that a client sends in advance wait in the buffers of the network.
//!
//! The handlers of event streams and WebSockets detect clients that are gone by their pings; TCP keepalive does
//! so for the other long responses.

mod client_stream;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pinhole_ground::guard::Guard;
use pinhole_ground::shares::{Share, Shares, SharesFull};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::held_body::hold;
use crate::app::App;
use crate::clients::ConnectionLimits;
use client_stream::{ClientStream, RequestCount};

/// Silence after which TCP asks whether the peer still exists.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
/// Time between further questions; after several without a response, the connection ends.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Memory of a connection for what it reads, and for what it writes, in bytes.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// Bytes that the system accepts before it sends them. With more, a slow client would read for minutes before
/// the server could write again, and look like one that does not read.
#[cfg(target_os = "linux")]
const MAX_UNSENT_BYTES: u32 = 128 << 10;
/// Wait after an error of the listener, such as too many open files.
const ACCEPT_RETRY: Duration = Duration::from_secs(1);
/// What a client gets for whom there is no connection left.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 5\r\n\
    content-type: application/json\r\ncontent-length: 62\r\n\r\n\
    {\"detail\":\"the server has too many connections: retry later\"}\n";

/// Serves clients until shutdown is requested, then completes the running requests.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) {
    let server = Server::new(&app, shutdown);
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = server.shutdown.cancelled() => break,
        };
        match server.admit(&app, peer) {
            Ok(share) => {
                let serving = server.clone().serve_connection(stream, peer, share);
                connections.spawn(serving);
            }
            Err(_) => {
                // A client that does not read has to do without a reason.
                stream.try_write(BUSY).ok();
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Accepts the next connection.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        // The client was faster to leave.
        let is_of_client = matches!(
            error.kind(),
            ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionRefused
        );
        if !is_of_client {
            tracing::error!("cannot accept a connection, will retry: {error}");
            tokio::time::sleep(ACCEPT_RETRY).await;
        }
    }
}

/// What all connections share.
#[derive(Clone)]
struct Server {
    router: Router,
    limits: ConnectionLimits,
    connections: Arc<Shares<IpAddr>>,
    shutdown: CancellationToken,
}

impl Server {
    fn new(app: &Arc<App>, shutdown: CancellationToken) -> Self {
        let limits = app.clients.limits;
        Self {
            // Prepares all routes now, instead of for each request.
            router: super::router(app.clone()).with_state(()),
            limits,
            connections: Shares::new(
                Guard::ClientConnections.limit(limits.max_connections),
                Guard::ClientConnections.limit(limits.max_connections_per_ip),
            ),
            shutdown,
        }
    }

    fn admit(&self, app: &App, peer: SocketAddr) -> Result<Share<IpAddr>, SharesFull> {
        let client = app.clients.proxies.connection_ip(peer.ip());
        self.connections.take(client.share_key())
    }

    async fn serve_connection(self, stream: TcpStream, peer: SocketAddr, share: Share<IpAddr>) {
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_TIME)
            .with_interval(KEEPALIVE_INTERVAL);
        let socket = SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive).ok();
        #[cfg(target_os = "linux")]
        socket.set_tcp_notsent_lowat(MAX_UNSENT_BYTES).ok();
        let requests = Arc::new(RequestCount::default());
        let stream = ClientStream::new(stream, &self.limits, requests.clone(), share);
        let router = TowerToHyperService::new(self.router);
        let service = service_fn(move |request| respond(&router, &requests, peer, request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper counts from the end of the last response.
            .header_read_timeout(self.limits.idle_time)
            .max_header_size(self.limits.max_head_bytes)
            .max_buf_size(MAX_BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection of {peer} ended: {error}");
        }
    }
}

/// Responds to one request.
fn respond(
    router: &TowerToHyperService<Router>,
    requests: &Arc<RequestCount>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response, Infallible>> + use<> {
    let running = requests.start();
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router.call(request);
    async move {
        let response = response.await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            running.upgrade();
            return Ok(response);
        }
        Ok(hold(response, running))
    }
}
