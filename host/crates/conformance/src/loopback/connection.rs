//! One connection of a fake upstream.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1::{self, Parts};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::message::{ResponseKind, SocketHandler, build, web_socket_response};
use super::prefixed::PrefixedStream;
use super::{RawStep, RecordedRequest, RequestHandler};

/// Maximum length of a request's body, in bytes: more than the host lets any engine send.
const MAX_BODY_BYTES: usize = 256 << 20;
/// Maximum length of a request's head, in bytes.
const MAX_HEAD_BYTES: usize = 2 << 20;
/// Maximum number of headers of a request.
const MAX_HEADERS: usize = 1000;

/// Serves a connection until one side closes it.
pub(super) async fn serve(stream: TcpStream, number: usize, handler: Arc<impl RequestHandler>) {
    // Each piece is sent when it is written.
    stream.set_nodelay(true).ok();
    let mut stream = PrefixedStream {
        prefix: Bytes::new(),
        stream,
    };
    loop {
        let Some((mut returned, takeover)) = serve_http(stream, number, handler.clone()).await
        else {
            return;
        };
        match takeover {
            Takeover::WebSocket(talk) => {
                let socket = WebSocketStream::from_raw_socket(returned, Role::Server, None);
                return talk(socket.await).await;
            }
            Takeover::Raw(steps) => match run_steps(&mut returned, steps).await {
                Ok(true) => stream = returned,
                // An error means that the client disconnected.
                Ok(false) | Err(_) => return,
            },
        }
    }
}

/// What uses the socket instead of hyper.
enum Takeover {
    WebSocket(SocketHandler),
    Raw(Vec<RawStep>),
}

/// Serves HTTP until a response takes over the socket, which is then returned, or to the end.
async fn serve_http(
    stream: PrefixedStream,
    number: usize,
    handler: Arc<impl RequestHandler>,
) -> Option<(PrefixedStream, Takeover)> {
    let slot = Mutex::new(None);
    let service = service_fn(|request| Box::pin(respond(request, number, handler.clone(), &slot)));
    let mut connection = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // Fails if the client disconnects, and on purpose if a response is raw or breaks off.
    let ended = poll_fn(|context| connection.poll_without_shutdown(context)).await;
    let Parts { io, read_buf, .. } = connection.into_parts();
    let mut returned = io.into_inner();
    match slot.into_inner().unwrap_or_else(PoisonError::into_inner) {
        // The client disconnected during the handshake.
        Some(Takeover::WebSocket(_)) if ended.is_err() => None,
        Some(takeover) => {
            let unread = [read_buf.as_ref(), returned.prefix.as_ref()].concat();
            returned.prefix = unread.into();
            Some((returned, takeover))
        }
        None => {
            if ended.is_ok() {
                returned.shutdown().await.ok();
            }
            None
        }
    }
}

/// Passes a request to the handler. The error makes hyper close or hand over the connection.
fn respond<H: RequestHandler>(
    request: Request<Incoming>,
    number: usize,
    handler: Arc<H>,
    slot: &Mutex<Option<Takeover>>,
) -> impl Future<Output = Result<Response<Body>, NotHttp>> {
    let (head, incoming) = request.into_parts();
    // Exists before the future is polled: hyper drops the future if the client disconnects.
    let mut unfinished = UnfinishedRequest {
        handler,
        request: Some(RecordedRequest::new(head, Bytes::new(), number)),
    };
    async move {
        let bytes = axum::body::to_bytes(Body::new(incoming), MAX_BODY_BYTES)
            .await
            .map_err(|_| NotHttp)?;
        let mut recorded = unfinished.request.take().ok_or(NotHttp)?;
        recorded.body = bytes;
        let request_headers = recorded.headers.clone();
        let take_over = |takeover| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(takeover);
        };
        match unfinished.handler.clone().respond(recorded).await.0 {
            ResponseKind::Http(response) => Ok(response),
            ResponseKind::Parts {
                status,
                headers,
                body,
            } => Ok(build(status, headers, body)),
            ResponseKind::WebSocket(talk) => {
                let response = web_socket_response(&request_headers);
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    take_over(Takeover::WebSocket(talk));
                }
                Ok(response)
            }
            ResponseKind::Raw(steps) => {
                take_over(Takeover::Raw(steps));
                Err(NotHttp)
            }
        }
    }
}

/// The response is not HTTP.
#[derive(Debug, thiserror::Error)]
#[error("the response is not HTTP")]
struct NotHttp;

/// A request whose body is incomplete. Reported as aborted if it is dropped with its request.
struct UnfinishedRequest<H: RequestHandler> {
    handler: Arc<H>,
    request: Option<RecordedRequest>,
}

impl<H: RequestHandler> Drop for UnfinishedRequest<H> {
    fn drop(&mut self) {
        if let Some(request) = self.request.take() {
            self.handler.request_aborted(request);
        }
    }
}

/// Runs the steps of a raw response. True if the connection can serve another request.
async fn run_steps(stream: &mut PrefixedStream, steps: Vec<RawStep>) -> io::Result<bool> {
    for step in steps {
        match step {
            RawStep::Send(bytes) => stream.write_all(&bytes).await?,
            RawStep::Flood(bytes) => loop {
                stream.write_all(&bytes).await?;
            },
            RawStep::Drip(bytes, pause) => loop {
                stream.write_all(&bytes).await?;
                tokio::time::sleep(pause).await;
            },
            RawStep::Hold => {
                tokio::io::copy(stream, &mut tokio::io::sink()).await?;
                return Ok(false);
            }
            RawStep::Close => return Ok(false),
        }
    }
    Ok(true)
}
