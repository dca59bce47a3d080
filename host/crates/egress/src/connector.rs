//! Connects to the host and port of a base URL, with or without TLS.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use pinhole_ground::guard::Refusal;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower_service::Service;

use crate::address_policy::AddressPolicy;
use crate::error::{Error, find_refusal, root_cause};

/// Time to connect, including TLS.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection with or without TLS.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Opens connections to one host and port, whose IP addresses obey the policy.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector<AddressPolicy>,
    uri: Uri,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    pub(crate) fn new(
        base: &Url,
        policy: AddressPolicy,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, Refusal> {
        let origin = base.origin().ascii_serialization();
        let uri = origin
            .parse()
            .map_err(|error| format!("{origin} is no base URL: {error}"))?;
        let tls = if base.scheme() == "https" {
            let host = base.host_str().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let name = ServerName::try_from(host.to_owned())
                .map_err(|error| format!("{host} cannot have a certificate: {error}"))?;
            Some((TlsConnector::from(tls), name))
        } else {
            None
        };
        let mut tcp = HttpConnector::new_with_resolver(policy);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        Ok(Self { tcp, uri, tls })
    }

    /// Opens a connection. The error does not name the host.
    pub(crate) async fn connect(&self, deadline: Instant) -> Result<Stream, Error> {
        let connect_deadline = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        match timeout_at(connect_deadline, self.open()).await {
            Ok(opened) => opened,
            Err(_) if connect_deadline == deadline => Err(Error::Timeout),
            Err(_) => Err(Error::Connect(
                "did not accept a connection in time".to_owned(),
            )),
        }
    }

    async fn open(&self) -> Result<Stream, Error> {
        let connected = self.tcp.clone().call(self.uri.clone()).await;
        let stream = connected
            .map_err(|error| unreachable_host(&error))?
            .into_inner();
        let Some((connector, name)) = &self.tls else {
            return Ok(Either::Left(stream));
        };
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream
            .map_err(|error| Error::Connect(format!("cannot start TLS: {}", root_cause(&error))))?;
        Ok(Either::Right(Box::new(stream)))
    }
}

fn unreachable_host(error: &(dyn StdError + 'static)) -> Error {
    match find_refusal(error) {
        Some(refusal) => Error::denied_address(refusal.clone()),
        None => Error::Connect(format!("cannot be reached: {}", root_cause(error))),
    }
}
