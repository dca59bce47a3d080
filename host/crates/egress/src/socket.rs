//! WebSockets, over connections that are checked as those for requests are.

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{
    Error as SocketError, Message, client::IntoClientRequest, error::CapacityError,
};

use super::resolve::Refused;
use super::{CONNECT_TIMEOUT, Destination, Error};
use pinhole_ground::guard::Guard;

/// Length of one WebSocket message, in bytes.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// Length of one frame of a message, in bytes.
const MAX_FRAME_BYTES: usize = 24 << 20;
/// Messages that one WebSocket may bring, pings among them.
const MAX_MESSAGES: usize = 100_000;
/// Bytes that may wait to be sent: an upstream that takes nothing holds up no more.
const MAX_UNSENT_BYTES: usize = 16 << 20;

/// A WebSocket to an upstream.
pub struct Socket {
    stream: WebSocketStream<Box<dyn Connection>>,
    origin: String,
    messages: usize,
}

/// A message that an upstream sent.
#[derive(Debug)]
pub enum Received {
    /// Words.
    Text(bytes::Bytes),
    /// Anything else.
    Binary(bytes::Bytes),
}

/// A connection, with or without TLS.
trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

impl Destination {
    /// Opens a WebSocket at a path.
    pub async fn connect(&self, path: &str, deadline: Instant) -> Result<Socket, Error> {
        let mut url = self.join(path)?;
        let secure = url.scheme() == "https";
        let scheme = if secure { "wss" } else { "ws" };
        let host = url.host_str().unwrap_or_default().to_owned();
        let port = url.port_or_known_default().unwrap_or_default();
        url.set_scheme(scheme)
            .map_err(|()| Error::request(format!("{host} cannot carry a WebSocket")))?;
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|error| Error::request(error.to_string()))?;
        self.credential.add_to(request.headers_mut());
        let opening = async {
            let stream = self.dial(&host, port).await?;
            let stream: Box<dyn Connection> = match secure {
                true => Box::new(self.secure(&host, stream).await?),
                false => Box::new(stream),
            };
            let config = WebSocketConfig::default()
                .max_message_size(Some(Guard::MessageBytes.limit(MAX_MESSAGE_BYTES)))
                .max_frame_size(Some(Guard::FrameBytes.limit(MAX_FRAME_BYTES)))
                .max_write_buffer_size(MAX_UNSENT_BYTES);
            tokio_tungstenite::client_async_with_config(request, stream, Some(config))
                .await
                .map_err(|error| match error {
                    SocketError::Http(response) => Error::Connect(format!(
                        "{host} refused the WebSocket with status {}",
                        response.status()
                    )),
                    other => Error::Connect(format!("no WebSocket to {host}:{port}: {other}")),
                })
        };
        let deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let (stream, _) = timeout_at(deadline, opening)
            .await
            .map_err(|_| Error::Timeout)??;
        Ok(Socket {
            stream,
            origin: self.origin(),
            messages: 0,
        })
    }

    /// A connection to an address that was checked.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = self.guard.resolve(bare, port).await.map_err(|error| {
            match error.downcast::<Refused>() {
                Ok(refused) => Error::address(refused.to_string()),
                Err(error) => Error::Connect(format!("cannot find {host}: {error}")),
            }
        })?;
        #[expect(clippy::disallowed_methods, reason = "this is the egress")]
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|error| Error::Connect(format!("cannot connect to {host}:{port}: {error}")))?;
        stream.set_nodelay(true).ok();
        Ok(stream)
    }

    async fn secure(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Error> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = rustls::pki_types::ServerName::try_from(bare.to_owned())
            .map_err(|error| Error::address(error.to_string()))?;
        tokio_rustls::TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| Error::Connect(format!("no TLS with {host}: {error}")))
    }
}

impl Socket {
    /// Sends words.
    pub async fn send(&mut self, text: String) -> Result<(), Error> {
        let sent = self.stream.send(Message::text(text)).await;
        sent.map_err(|error| self.broken(error))
    }

    /// The next message; `None` when the upstream has closed the socket. Fails when a message is too
    /// long, or one too many. Nothing is lost where the future is dropped.
    pub async fn receive(&mut self) -> Result<Option<Received>, Error> {
        loop {
            let message = match self.stream.next().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(self.broken(error)),
                Some(Ok(message)) => message,
            };
            self.count()?;
            match message {
                Message::Text(text) => return Ok(Some(Received::Text(text.into()))),
                Message::Binary(bytes) => return Ok(Some(Received::Binary(bytes))),
                Message::Close(_) => return Ok(None),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    fn count(&mut self) -> Result<(), Error> {
        self.messages += 1;
        match self.messages > Guard::SocketMessages.limit(MAX_MESSAGES) {
            true => Err(self.unusable(&format!("more than {MAX_MESSAGES} messages"))),
            false => Ok(()),
        }
    }

    fn broken(&self, error: SocketError) -> Error {
        match error {
            SocketError::Capacity(CapacityError::MessageTooLong { max_size, .. }) => {
                self.unusable(&format!("a message or frame of more than {max_size} bytes"))
            }
            SocketError::WriteBufferFull(_) => Error::Unusable(format!(
                "{} takes nothing: more than {MAX_UNSENT_BYTES} bytes wait to be sent to it",
                self.origin
            )),
            other => Error::Broken(format!("{} broke the WebSocket: {other}", self.origin)),
        }
    }

    fn unusable(&self, what: &str) -> Error {
        Error::Unusable(format!("{} sent {what} over a WebSocket", self.origin))
    }
}
