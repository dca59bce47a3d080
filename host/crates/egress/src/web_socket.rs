//! WebSockets over connections that obey the destination's address policy.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pinhole_ground::guard::Guard;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as ProtocolError, Message as Frame};

use crate::connector::CONNECT_TIMEOUT;
use crate::destination::{Destination, Request};
use crate::error::Error;

/// Length of a message in bytes.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// Length of a frame of a message in bytes.
const MAX_FRAME_BYTES: usize = 24 << 20;
/// Messages that one WebSocket may deliver, including pings.
const MAX_MESSAGES: usize = 100_000;
/// Time without a message after which a ping is sent. Proxies close a WebSocket that is idle, nginx after 60
/// seconds.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Consecutive pings without a response or another frame after which the connection counts as broken.
const MAX_UNANSWERED_PINGS: u32 = 3;
/// Bytes that wait to be sent to an upstream that does not read.
const MAX_UNSENT_BYTES: usize = 16 << 20;

/// An open WebSocket to an upstream.
pub struct WebSocket {
    stream: WebSocketStream<Box<dyn Connection>>,
    origin: String,
    message_count: usize,
    liveness: Liveness,
}

/// Whether the upstream still responds.
struct Liveness {
    ping_interval: Duration,
    ping_at: Instant,
    unanswered_pings: u32,
}

/// A message from an upstream.
#[derive(Debug)]
pub enum Message {
    Text(Bytes),
    Binary(Bytes),
}

/// A TCP connection, with or without TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Destination {
    /// Opens a WebSocket at a path below the base URL.
    pub async fn connect(&self, path: &str, deadline: Instant) -> Result<WebSocket, Error> {
        let request = Request {
            path: path.to_owned(),
            ..Request::default()
        };
        let authorized = self
            .authorize(self.join(path)?, &self.host, request, deadline)
            .await?;
        let (mut url, headers) = (authorized.url, authorized.headers);
        let is_secure = url.scheme() == "https";
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        url.set_scheme(if is_secure { "wss" } else { "ws" })
            .map_err(|()| Error::denied_request(format!("{host} cannot carry a WebSocket")))?;
        let mut handshake = url
            .as_str()
            .into_client_request()
            // The error could quote the query, which may carry the key.
            .map_err(|_| Error::denied_request(format!("the URL of {host} cannot be requested")))?;
        handshake.headers_mut().extend(headers);
        let open = async {
            let opened = self.client.connector.connect(deadline).await;
            let connection = opened.map_err(|error| {
                error
                    .with_origin(&self.origin())
                    .with_private_remedy(|| self.remedy.clone())
            })?;
            let connection: Box<dyn Connection> = Box::new(connection);
            let config = WebSocketConfig::default()
                .max_message_size(Some(Guard::MessageBytes.limit(MAX_MESSAGE_BYTES)))
                .max_frame_size(Some(Guard::FrameBytes.limit(MAX_FRAME_BYTES)))
                .max_write_buffer_size(MAX_UNSENT_BYTES);
            tokio_tungstenite::client_async_with_config(handshake, connection, Some(config))
                .await
                .map_err(|error| match error {
                    ProtocolError::Http(response) => Error::Connect(format!(
                        "{host} refused the WebSocket with status {}",
                        response.status()
                    )),
                    other => {
                        Error::Connect(format!("cannot open a WebSocket to {host}:{port}: {other}"))
                    }
                })
        };
        let connect_deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let (stream, _) = timeout_at(connect_deadline, open)
            .await
            .map_err(|_| Error::Timeout)??;
        Ok(WebSocket {
            stream,
            origin: self.origin(),
            message_count: 0,
            liveness: Liveness::new(PING_INTERVAL),
        })
    }
}

impl Liveness {
    fn new(ping_interval: Duration) -> Self {
        Self {
            ping_interval,
            ping_at: Instant::now() + ping_interval,
            unanswered_pings: 0,
        }
    }
}

impl WebSocket {
    /// Sends a text message.
    pub async fn send(&mut self, text: String) -> Result<(), Error> {
        self.stream
            .send(Frame::text(text))
            .await
            .map_err(|error| self.classify_failure(error))
    }

    /// The next message; `None` after the upstream closed the WebSocket. Fails if a message is too long,
    /// there are too many, or the upstream does not respond to pings. Pings are sent only while this waits.
    /// Cancel-safe: dropping the future loses no message.
    pub async fn receive(&mut self) -> Result<Option<Message>, Error> {
        loop {
            let received = match timeout_at(self.liveness.ping_at, self.stream.next()).await {
                Ok(received) => received,
                Err(_) => {
                    self.ping().await?;
                    continue;
                }
            };
            let frame = match received {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.classify_failure(error)),
                Some(Ok(frame)) => frame,
            };
            self.liveness = Liveness::new(self.liveness.ping_interval);
            self.message_count += 1;
            Guard::SocketMessages
                .refuse_if(self.message_count > MAX_MESSAGES, || {
                    self.describe(&format!("more than {MAX_MESSAGES} messages"))
                })
                .map_err(Error::Unusable)?;
            match frame {
                Frame::Text(text) => return Ok(Some(Message::Text(text.into()))),
                Frame::Binary(bytes) => return Ok(Some(Message::Binary(bytes))),
                Frame::Close(_) => return Ok(None),
                Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => {}
            }
        }
    }

    /// Sends a ping. Fails if the upstream responded to none of the last ones.
    async fn ping(&mut self) -> Result<(), Error> {
        if self.liveness.unanswered_pings >= MAX_UNANSWERED_PINGS {
            return Err(Error::Disconnected(format!(
                "{} did not respond to {MAX_UNANSWERED_PINGS} pings over the WebSocket",
                self.origin
            )));
        }
        self.liveness.unanswered_pings += 1;
        self.liveness.ping_at = Instant::now() + self.liveness.ping_interval;
        self.stream
            .send(Frame::Ping(Bytes::new()))
            .await
            .map_err(|error| self.classify_failure(error))
    }

    fn classify_failure(&self, error: ProtocolError) -> Error {
        match error {
            ProtocolError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                let guard = if max_size == MAX_FRAME_BYTES {
                    Guard::FrameBytes
                } else {
                    Guard::MessageBytes
                };
                let excess = format!("a message or frame of more than {max_size} bytes");
                Error::Unusable(guard.refuse(self.describe(&excess)))
            }
            ProtocolError::WriteBufferFull(_) => Error::Unusable(
                format!(
                    "{} does not read from the WebSocket: more than {MAX_UNSENT_BYTES} bytes wait \
                     to be sent",
                    self.origin
                )
                .into(),
            ),
            other => Error::Disconnected(format!("{} broke the WebSocket: {other}", self.origin)),
        }
    }

    fn describe(&self, excess: &str) -> String {
        format!("{} sent {excess} over a WebSocket", self.origin)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    /// A WebSocket that is pinged at once when it is silent, and the connection of its upstream.
    async fn web_socket() -> (WebSocket, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let connection: Box<dyn Connection> = Box::new(ours);
        let socket = WebSocket {
            stream: WebSocketStream::from_raw_socket(connection, Role::Client, None).await,
            origin: "http://upstream".to_owned(),
            message_count: 0,
            liveness: Liveness::new(Duration::from_millis(1)),
        };
        (socket, theirs)
    }

    #[tokio::test]
    async fn silent_web_socket_stays_open_while_its_upstream_responds_to_pings() {
        let (mut socket, connection) = web_socket().await;
        let upstream = async {
            let mut upstream =
                WebSocketStream::from_raw_socket(connection, Role::Server, None).await;
            for _ in 0..4 * MAX_UNANSWERED_PINGS {
                let frame = upstream.next().await.unwrap().unwrap();
                assert!(frame.is_ping(), "{frame}");
            }
            upstream.send(Frame::text("late")).await.unwrap();
            upstream
        };
        let (received, _upstream) = tokio::join!(socket.receive(), upstream);
        assert!(matches!(received, Ok(Some(Message::Text(text))) if text == "late"));
    }

    #[tokio::test]
    async fn web_socket_fails_if_its_upstream_responds_to_no_ping() {
        let (mut socket, _connection) = web_socket().await;
        let error = socket.receive().await.unwrap_err();
        assert!(
            error.to_string().contains("did not respond to 3 pings"),
            "{error}"
        );
    }
}
