//! The HTTP client of the bucket that stores the server's files.
//!
//! The operator names the bucket by configuration, and no guest, upstream or user chooses any part of a host. So the
//! IP address policy of upstreams does not apply: the bucket may be private, and the credentials of a role come from
//! the cloud's metadata service. Like any client of this crate it uses no proxy and follows no redirect. The caller
//! decides about retries, and limits the time of a request and the length of its response.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body;

use crate::client::USER_AGENT;
use crate::connector::CONNECT_TIMEOUT;
use crate::error::root_cause;
use crate::tls::system_client_config;

/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections.
const MAX_IDLE_CONNECTIONS: usize = 32;

/// Sends requests to the server's bucket. Clones share its connections.
#[derive(Clone, Debug)]
pub struct BucketClient(reqwest::Client);

/// Why a request to the bucket, or its response, failed. The text is for the operator and names no URL.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct BucketRequestError {
    pub failure: BucketFailure,
    reason: String,
}

/// What a retry may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketFailure {
    /// There was no connection, so nothing was sent.
    Connect,
    /// The connection ended while it was used.
    Interrupted,
    Other,
}

impl BucketClient {
    /// Loads the system's certificate authorities.
    #[expect(clippy::disallowed_methods, reason = "this is the egress")]
    pub fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(system_client_config()?)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self(client))
    }

    /// Sends a request and waits for the head of its response.
    pub async fn send<B>(
        &self,
        request: http::Request<B>,
    ) -> Result<
        http::Response<impl Body<Data = Bytes, Error = BucketRequestError> + Send + Sync + use<B>>,
        BucketRequestError,
    >
    where
        B: Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let request = request.map(reqwest::Body::wrap).try_into();
        let request = request.map_err(BucketRequestError::new)?;
        let sent = self.0.execute(request).await;
        let response =
            http::Response::<reqwest::Body>::from(sent.map_err(BucketRequestError::new)?);
        Ok(response.map(|body| body.map_err(BucketRequestError::new)))
    }
}

impl BucketRequestError {
    fn new(error: reqwest::Error) -> Self {
        let cause = root_cause(&error);
        let (failure, reason) = if error.is_connect() && error.is_timeout() {
            let reason = "it did not accept a connection in time".to_owned();
            (BucketFailure::Connect, reason)
        } else if error.is_connect() {
            (
                BucketFailure::Connect,
                format!("it cannot be reached: {cause}"),
            )
        } else if is_interrupted(&error) {
            let reason = format!("it dropped the connection: {cause}");
            (BucketFailure::Interrupted, reason)
        } else {
            (BucketFailure::Other, format!("a request failed: {cause}"))
        };
        Self { failure, reason }
    }
}

/// Did the connection end?
fn is_interrupted(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(http) = inner.downcast_ref::<hyper::Error>()
            && (http.is_closed() || http.is_incomplete_message() || http.is_body_write_aborted())
        {
            return true;
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>()
            && matches!(
                io.kind(),
                ErrorKind::ConnectionAborted
                    | ErrorKind::ConnectionReset
                    | ErrorKind::BrokenPipe
                    | ErrorKind::UnexpectedEof
            )
        {
            return true;
        }
        cause = inner.source();
    }
    false
}
