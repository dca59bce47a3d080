//! The HTTP client of one upstream, with connections that stay open.
//!
//! Every image costs a request here, so what it costs counts. A connection belongs to one request at a time, and the
//! request's own task polls it. Clients with a task for each connection wake a task for each step of a request.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::connector::{Connector, Stream};
use crate::error::{Error, root_cause};

/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections of one client.
const MAX_IDLE_CONNECTIONS: usize = 32;

type Request = http::Request<Full<Bytes>>;
type Connection = http1::Connection<TokioIo<Stream>, Full<Bytes>>;

/// Sends requests to one host and port. Clones share the idle connections.
#[derive(Clone)]
pub(crate) struct HttpClient {
    pub(crate) connector: Connector,
    idle: Arc<IdleConnections>,
}

/// An open connection without a request, or with the one that it belongs to.
struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    connection: Connection,
    /// The connection has ended.
    is_closed: bool,
}

/// The body of a response, with its connection.
pub(crate) struct ResponseBody {
    body: Incoming,
    /// `None` after the end of the body.
    connection: Option<Box<HttpConnection>>,
    idle: Arc<IdleConnections>,
}

/// The idle connections of a client.
#[derive(Default)]
struct IdleConnections(Mutex<IdleList>);

#[derive(Default)]
struct IdleList {
    /// With the time since which each is idle, oldest first.
    connections: Vec<(Box<HttpConnection>, Instant)>,
    /// A task closes those that are idle for too long.
    is_watched: bool,
}

impl HttpClient {
    pub(crate) fn new(connector: Connector) -> Self {
        Self {
            connector,
            idle: Arc::default(),
        }
    }

    /// Sends a request and waits for the head of its response. The request's URI is the path and the query.
    pub(crate) async fn send(
        &self,
        mut request: Request,
        deadline: Instant,
    ) -> Result<http::Response<ResponseBody>, Error> {
        while let Some(connection) = self.idle.take() {
            match connection.send(request).await {
                Ok(sent) => return Ok(self.response(sent)),
                // The upstream closed the connection before anything was sent.
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(dropped(&error)),
            }
        }
        // Connecting needs a large future, which is not held while the request waits.
        let connection = Box::pin(HttpConnection::open(&self.connector, deadline)).await?;
        match connection.send(request).await {
            Ok(sent) => Ok(self.response(sent)),
            Err((error, _)) => Err(dropped(&error)),
        }
    }

    fn response(
        &self,
        (response, connection): (http::Response<Incoming>, Box<HttpConnection>),
    ) -> http::Response<ResponseBody> {
        response.map(|body| {
            let mut body = ResponseBody {
                body,
                connection: Some(connection),
                idle: self.idle.clone(),
            };
            if body.body.is_end_stream() {
                body.release();
            }
            body
        })
    }
}

fn dropped(error: &hyper::Error) -> Error {
    Error::Disconnected(format!("dropped the connection: {}", root_cause(error)))
}

impl HttpConnection {
    async fn open(connector: &Connector, deadline: Instant) -> Result<Box<Self>, Error> {
        let stream = connector.connect(deadline).await?;
        #[expect(clippy::disallowed_methods, reason = "this is the egress")]
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| dropped(&error))?;
        Ok(Box::new(Self {
            sender,
            connection,
            is_closed: false,
        }))
    }

    /// Sends a request. If it fails before anything was sent, the error contains the request.
    async fn send(
        mut self: Box<Self>,
        request: Request,
    ) -> Result<(http::Response<Incoming>, Box<Self>), (hyper::Error, Option<Request>)> {
        let mut sending = std::pin::pin!(self.sender.try_send_request(request));
        let result = std::future::poll_fn(|context| {
            self.poll_io(context);
            sending.as_mut().poll(context)
        })
        .await;
        match result {
            Ok(response) => Ok((response, self)),
            Err(mut error) => {
                let unsent = error.take_message();
                Err((error.into_error(), unsent))
            }
        }
    }

    /// Can another request be sent? Notices if the upstream has closed the connection.
    fn is_usable(&mut self) -> bool {
        self.poll_io(&mut Context::from_waker(Waker::noop()));
        !self.is_closed && self.sender.is_ready()
    }

    /// Reads and writes. If that fails, the response or its body has the error.
    fn poll_io(&mut self, context: &mut Context<'_>) {
        if !self.is_closed {
            self.is_closed = Pin::new(&mut self.connection).poll(context).is_ready();
        }
    }
}

impl ResponseBody {
    /// The next chunk of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> hyper::Result<Option<Bytes>> {
        std::future::poll_fn(|context| self.poll_chunk(context)).await
    }

    fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<Option<Bytes>>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Ok(None));
        };
        loop {
            connection.poll_io(context);
            let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
            match frame.transpose()? {
                // Trailers are ignored.
                Some(frame) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Poll::Ready(Ok(Some(chunk)));
                    }
                }
                None => break,
            }
        }
        self.release();
        Poll::Ready(Ok(None))
    }

    /// Length of the rest of the body in bytes, if it is known.
    pub(crate) fn exact_length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The connection is free for another request.
    fn release(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle.put(connection);
        }
    }
}

impl IdleConnections {
    fn take(&self) -> Option<Box<HttpConnection>> {
        loop {
            // The one that was used last is the most likely to be open.
            let (mut connection, _) = self.lock().connections.pop()?;
            if connection.is_usable() {
                return Some(connection);
            }
        }
    }

    fn put(self: &Arc<Self>, mut connection: Box<HttpConnection>) {
        if !connection.is_usable() {
            return;
        }
        let mut idle = self.lock();
        if idle.connections.len() >= MAX_IDLE_CONNECTIONS {
            return;
        }
        idle.connections.push((connection, Instant::now()));
        if !idle.is_watched {
            idle.is_watched = true;
            tokio::spawn(close_idle(Arc::downgrade(self)));
        }
    }

    /// Closes the connections that are idle for too long. Returns false if none is left.
    fn close_old(&self) -> bool {
        let mut idle = self.lock();
        idle.connections
            .retain(|(_, since)| since.elapsed() < IDLE_TIMEOUT);
        idle.is_watched = !idle.connections.is_empty();
        idle.is_watched
    }

    fn lock(&self) -> MutexGuard<'_, IdleList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close_idle(idle: Weak<IdleConnections>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
        if !idle.upgrade().is_some_and(|idle| idle.close_old()) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::address_policy::AddressPolicy;
    use crate::tls::system_client_config;

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

    /// An upstream that responds on each connection with these texts, one for each request, and then closes it.
    struct Upstream {
        client: HttpClient,
        connections: Arc<AtomicUsize>,
    }

    async fn upstream(responses: &'static [&'static str]) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let connections = Arc::<AtomicUsize>::default();
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(respond(stream, responses));
            }
        });
        let policy = AddressPolicy {
            allows_private: true,
            nat64: Arc::default(),
        };
        let tls = Arc::new(system_client_config().unwrap());
        let connector = Connector::new(&base.parse().unwrap(), policy, tls).unwrap();
        Upstream {
            client: HttpClient::new(connector),
            connections,
        }
    }

    async fn respond(mut stream: TcpStream, responses: &[&str]) {
        for response in responses {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else {
                    return;
                };
                head.push(byte);
            }
            stream.write_all(response.as_bytes()).await.unwrap();
        }
    }

    impl Upstream {
        async fn send(&self) -> Result<http::Response<ResponseBody>, Error> {
            let request = http::Request::get("/x")
                .header("host", "h")
                .body(Full::default())
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(10);
            self.client.send(request, deadline).await
        }

        /// The body of a response, or why it broke off.
        async fn text(&self) -> Result<String, String> {
            let mut body = self
                .send()
                .await
                .map_err(|error| error.to_string())?
                .into_body();
            let mut text = Vec::new();
            while let Some(chunk) = body.chunk().await.map_err(|error| error.to_string())? {
                text.extend_from_slice(&chunk);
            }
            Ok(String::from_utf8(text).unwrap())
        }

        async fn assert_texts(&self, expected: &[&str], connections: usize) {
            for text in expected {
                assert_eq!(self.text().await.unwrap(), *text);
            }
            assert_eq!(self.connections.load(Ordering::SeqCst), connections);
        }
    }

    #[tokio::test]
    async fn http_client_reuses_a_connection_after_the_whole_body() {
        let upstream = upstream(&[OK, OK, OK]).await;
        upstream.assert_texts(&["hi", "hi", "hi"], 1).await;
    }

    #[tokio::test]
    async fn http_client_reads_chunks_trailers_and_empty_bodies() {
        const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nx: y\r\n\r\n";
        const EMPTY: &str = "HTTP/1.1 204 No Content\r\n\r\n";
        const INFORMED: &str = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nd";
        let upstream = upstream(&[CHUNKED, EMPTY, INFORMED]).await;
        upstream.assert_texts(&["abc", "", "d"], 1).await;
    }

    #[tokio::test]
    async fn http_client_opens_another_connection_if_the_upstream_closed_the_idle_one() {
        let upstream = upstream(&[OK]).await;
        for connections in 1..=3 {
            upstream.assert_texts(&["hi"], connections).await;
            // The next request finds the connection closed.
            while upstream.client.idle.take().is_some() {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn http_client_retains_no_connection_that_ends_or_has_an_unread_body() {
        const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
        let closing = upstream(&[LAST, OK]).await;
        closing.assert_texts(&["hi", "hi"], 2).await;
        let unread = upstream(&[OK, OK]).await;
        drop(unread.send().await.unwrap());
        unread.assert_texts(&["hi"], 2).await;
    }

    #[tokio::test]
    async fn http_client_sends_no_request_twice_that_an_upstream_has_read() {
        let broken = upstream(&["HTTP/1.1 200"]).await;
        let error = broken.text().await.unwrap_err();
        assert!(error.starts_with("dropped the connection"), "{error}");
        assert_eq!(broken.connections.load(Ordering::SeqCst), 1);
        let cut = upstream(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi"]).await;
        assert!(cut.text().await.is_err());
        assert_eq!(cut.connections.load(Ordering::SeqCst), 1);
    }
}
