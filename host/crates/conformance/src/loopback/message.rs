//! Requests and responses of a fake upstream.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::header::{
    CONNECTION, CONTENT_TYPE, HeaderMap, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::Value;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::prefixed::PrefixedStream;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// Such as `POST`.
    pub method: Method,
    /// Path and query; the whole request target if it has no path.
    pub target: String,
    /// Names are in lower case.
    pub headers: HeaderMap,
    /// Empty if the client disconnected before the body was complete.
    pub body: Bytes,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl RecordedRequest {
    pub(super) fn new(head: Parts, body: Bytes, connection: usize) -> Self {
        let target = match head.uri.path_and_query() {
            Some(target) => target.to_string(),
            None => head.uri.to_string(),
        };
        Self {
            method: head.method,
            target,
            headers: head.headers,
            body,
            connection,
        }
    }

    /// Method and target: `GET /models`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The text of a header; empty if it is absent or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The body as JSON; `null` if it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The request line and the headers as text, a line for each.
    #[must_use]
    pub fn head(&self) -> String {
        let mut head = format!("{} HTTP/1.1\r\n", self.line());
        for (name, value) in &self.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head
    }
}

/// The server's end of a WebSocket.
pub type WebSocket = WebSocketStream<PrefixedStream>;

pub(super) type SocketHandler =
    Box<dyn FnOnce(WebSocket) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// What a fake upstream sends for a request.
pub struct FakeResponse(pub(super) ResponseKind);

pub(super) enum ResponseKind {
    /// A response built from parts; errors appear when it is sent.
    Parts {
        status: u16,
        headers: Vec<(String, String)>,
        body: Body,
    },
    Http(Response<Body>),
    WebSocket(SocketHandler),
    Raw(Vec<RawStep>),
}

/// One action on the socket of a request, in place of an HTTP response.
#[derive(Clone, Debug)]
pub enum RawStep {
    /// Sends these bytes.
    Send(Bytes),
    /// Sends these bytes again and again until the client disconnects.
    Flood(Bytes),
    /// The same, with a pause after each time.
    Drip(Bytes, Duration),
    /// Sends nothing, and holds the connection open until the client disconnects.
    Hold,
    /// Closes the connection. Without it, the connection waits for another request.
    Close,
}

impl FakeResponse {
    /// The response to a request that a case does not expect.
    pub(crate) fn unexpected_request() -> Self {
        Self::typed(
            500,
            "text/plain; charset=utf-8",
            "the case does not expect this request",
        )
    }

    /// A JSON body.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::typed(status, "application/json", body.to_string())
    }

    /// A body with a media type.
    #[must_use]
    pub fn typed(status: u16, media_type: &str, body: impl Into<Body>) -> Self {
        Self(ResponseKind::Parts {
            status,
            headers: vec![(CONTENT_TYPE.to_string(), media_type.to_owned())],
            body: body.into(),
        })
    }

    /// Adds a header. Raw and WebSocket responses have none.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let ResponseKind::Parts { headers, .. } = &mut self.0 {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    /// Accepts a WebSocket. A request that is no handshake gets status 400.
    #[must_use]
    pub fn web_socket<F>(handler: impl FnOnce(WebSocket) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self(ResponseKind::WebSocket(Box::new(|socket| {
            Box::pin(handler(socket))
        })))
    }

    /// Runs these steps on the socket, without HTTP.
    #[must_use]
    pub const fn raw(steps: Vec<RawStep>) -> Self {
        Self(ResponseKind::Raw(steps))
    }

    /// Closes the connection without a response.
    #[must_use]
    pub fn disconnect() -> Self {
        Self::raw(vec![RawStep::Close])
    }
}

impl From<Response<Body>> for FakeResponse {
    fn from(response: Response<Body>) -> Self {
        Self(ResponseKind::Http(response))
    }
}

impl RawStep {
    /// A response with a content length: `response("200 OK", "content-type: text/plain\r\n", "…")`.
    #[must_use]
    pub fn response(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        Self::Send([head.as_bytes(), body].concat().into())
    }

    /// A JSON response with status 200.
    #[must_use]
    pub fn json(value: &Value) -> Self {
        let headers = "content-type: application/json\r\n";
        Self::response("200 OK", headers, value.to_string())
    }
}

/// A response of these parts; a plain one with the error if they are invalid.
pub(super) fn build(status: u16, headers: Vec<(String, String)>, body: Body) -> Response<Body> {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(name, value);
    }
    builder.body(body).unwrap_or_else(|error| {
        let text = format!("the fake response is invalid: {error}");
        with_status(StatusCode::INTERNAL_SERVER_ERROR, text.into())
    })
}

/// The response to a WebSocket handshake; status 400 for any other request.
pub(super) fn web_socket_response(request_headers: &HeaderMap) -> Response<Body> {
    let Some(key) = request_headers.get(SEC_WEBSOCKET_KEY) else {
        let text = "this is not a WebSocket handshake";
        return with_status(StatusCode::BAD_REQUEST, text.into());
    };
    let accept = derive_accept_key(key.as_bytes());
    let headers = [
        (CONNECTION, "upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_ACCEPT, accept.as_str()),
    ]
    .map(|(name, value)| (name.to_string(), value.to_owned()));
    let status = StatusCode::SWITCHING_PROTOCOLS.as_u16();
    build(status, headers.into(), Body::empty())
}

fn with_status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
