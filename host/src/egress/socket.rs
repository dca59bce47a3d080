//! WebSockets, over connections that are checked as those for requests are.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, client::IntoClientRequest};

use super::resolve::{self, Refused};
use super::{CONNECT_TIMEOUT, Destination, Error};

/// Length of one WebSocket message, in bytes.
const MAX_MESSAGE_BYTES: usize = 32 << 20;

/// A WebSocket to an upstream.
pub type Socket = WebSocketStream<Box<dyn Connection>>;

/// A connection, with or without TLS.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}
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
            .map_err(|()| Error::Denied(format!("{host} cannot carry a WebSocket")))?;
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|error| Error::Denied(error.to_string()))?;
        self.credential.add_to(request.headers_mut());
        let opening = async {
            let stream = self.dial(&host, port).await?;
            let stream: Box<dyn Connection> = match secure {
                true => Box::new(self.secure(&host, stream).await?),
                false => Box::new(stream),
            };
            let config = WebSocketConfig::default()
                .max_message_size(Some(MAX_MESSAGE_BYTES))
                .max_frame_size(Some(MAX_MESSAGE_BYTES));
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
        let (socket, _) = timeout_at(deadline, opening)
            .await
            .map_err(|_| Error::Timeout)??;
        Ok(socket)
    }

    /// A connection to an address that was checked.
    async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = resolve::resolve(bare, port, self.private)
            .await
            .map_err(|error| match error.downcast::<Refused>() {
                Ok(refused) => Error::Denied(refused.to_string()),
                Err(error) => Error::Connect(format!("cannot find {host}: {error}")),
            })?;
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
            .map_err(|error| Error::Denied(error.to_string()))?;
        tokio_rustls::TlsConnector::from(self.tls.clone())
            .connect(name, stream)
            .await
            .map_err(|error| Error::Connect(format!("no TLS with {host}: {error}")))
    }
}
