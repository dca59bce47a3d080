//! The upstream that a case scripts: two real servers on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::case::{At, Case, Script};
use super::play::Play;
use super::reply;

/// Time that connections have to end after the job; far more than they need.
const CLOSING: Duration = Duration::from_secs(5);

/// Both servers of a case. They end with [`Upstream::close`], or else when dropped.
pub(crate) struct Upstream {
    pub(crate) play: Arc<Play>,
    accepting: Vec<JoinHandle<(TcpListener, At)>>,
    /// Bound, but not listening: connections are refused.
    _nobody: Option<TcpSocket>,
}

impl Upstream {
    /// Starts both on free ports.
    pub(crate) async fn start(case: Arc<Case>) -> Result<Self> {
        let nobody = matches!(case.upstream, Script::Nobody);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listeners = vec![(TcpListener::bind(any_port).await?, At::Elsewhere)];
        let elsewhere = address(listeners.first().map(|(listener, _)| listener.local_addr()))?;
        let (upstream, refusing) = if nobody {
            let socket = TcpSocket::new_v4()?;
            socket.bind(any_port)?;
            (address(Some(socket.local_addr()))?, Some(socket))
        } else {
            let listener = TcpListener::bind(any_port).await?;
            let upstream = address(Some(listener.local_addr()))?;
            listeners.push((listener, At::Upstream));
            (upstream, None)
        };
        let play = Arc::new(Play::new(case, &upstream, &elsewhere));
        let accepting = listeners
            .into_iter()
            .map(|(listener, at)| tokio::spawn(accept(listener, at, play.clone())));
        Ok(Self {
            accepting: accepting.collect(),
            play,
            _nobody: refusing,
        })
    }

    /// Ends the servers once everything that was sent to them has been read. Call it when no
    /// connection is held any more.
    pub(crate) async fn close(mut self) {
        self.play.over.cancel();
        for accepting in std::mem::take(&mut self.accepting) {
            let Ok((listener, at)) = accepting.await else {
                continue;
            };
            // Connections that nobody has looked at yet.
            let Ok(listener) = listener.into_std() else {
                continue;
            };
            while let Ok((stream, _)) = listener.accept() {
                let stream = stream.set_nonblocking(true).map(|()| stream);
                if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                    self.play.tasks.spawn(serve(stream, at, self.play.clone()));
                }
            }
        }
        self.play.tasks.close();
        tokio::time::timeout(CLOSING, self.play.tasks.wait())
            .await
            .ok();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.play.over.cancel();
        for accepting in &self.accepting {
            accepting.abort();
        }
    }
}

fn address(address: Option<std::io::Result<SocketAddr>>) -> Result<String> {
    let address = address.context("the upstream has no address")??;
    Ok(format!("http://{address}"))
}

async fn accept(listener: TcpListener, at: At, play: Arc<Play>) -> (TcpListener, At) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = play.over.cancelled() => return (listener, at),
        };
        if let Ok((stream, _)) = accepted {
            play.tasks.spawn(serve(stream, at, play.clone()));
        }
    }
}

async fn serve(stream: TcpStream, at: At, play: Arc<Play>) {
    // Small pieces are sent as they are written.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request: Request<Incoming>| answer(request, at, play.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // An error is the engine hanging up, or a break that the case asked for.
    connection.with_upgrades().await.ok();
}

/// Answers one request. The error breaks the connection.
async fn answer(
    mut request: Request<Incoming>,
    at: At,
    play: Arc<Play>,
) -> Result<Response<Body>, Broken> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(Body::new(body), reply::MAX_REQUEST_BYTES).await;
    let Ok(body) = body else {
        // The engine hung up in the middle of it.
        return Err(Broken);
    };
    match play.arrived(at, &head, &body) {
        Some(place) => reply::give(play, place, &head, upgrade).await,
        None => Ok(reply::unexpected()),
    }
}

/// A connection that is to be broken.
#[derive(Debug, thiserror::Error)]
#[error("the case breaks the connection")]
pub(crate) struct Broken;
