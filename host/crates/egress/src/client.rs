//! HTTP clients, and the one function through which every HTTP request leaves.

use std::error::Error as StdError;
use std::time::Duration;

use pinhole_ground::guard::{Guard, Refusal};
use reqwest::redirect;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};

use crate::address_policy::AddressPolicy;
use crate::error::{Error, root_cause};
use crate::response::Response;

/// Time to connect, including TLS.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A client, and the policy that its connections obey.
#[derive(Clone)]
pub(crate) struct GuardedClient {
    pub(crate) client: reqwest::Client,
    pub(crate) policy: AddressPolicy,
}

impl GuardedClient {
    pub(crate) fn new(
        tls: &ClientConfig,
        policy: AddressPolicy,
        max_idle_connections: usize,
    ) -> reqwest::Result<Self> {
        Ok(Self {
            client: build_client(tls, policy.clone(), max_idle_connections)?,
            policy,
        })
    }
}

/// A client without redirects, proxy, cookies and retries, whose connections obey the policy.
#[expect(clippy::disallowed_methods, reason = "this is the egress")]
pub(crate) fn build_client(
    tls: &ClientConfig,
    policy: AddressPolicy,
    max_idle_connections: usize,
) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(redirect_policy())
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(policy)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(max_idle_connections)
        .user_agent(concat!("pinhole/", env!("CARGO_PKG_VERSION")));
    if Guard::Proxy.applies(true) {
        builder = builder.no_proxy();
    }
    builder.build()
}

fn redirect_policy() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        if Guard::Redirects.applies(true) {
            return attempt.stop();
        }
        redirect::Policy::default().redirect(attempt)
    })
}

/// Sends one request and waits for the head of its response. Every HTTP request leaves here.
///
/// Until the head arrives, only the deadline counts: generating an image takes minutes.
pub(crate) async fn exchange(
    request: reqwest::RequestBuilder,
    max_bytes: usize,
    deadline: Instant,
    silence: Duration,
) -> Result<Response, Error> {
    let response = timeout_at(deadline, request.send())
        .await
        .map_err(|_| Error::Timeout)?
        .map_err(classify_failure)?;
    Response::new(response, max_bytes, deadline, silence).map_err(Error::Unusable)
}

fn classify_failure(error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refusal) = inner.downcast_ref::<Refusal>() {
            return Error::denied_address(refusal.clone());
        }
        cause = inner.source();
    }
    if error.is_timeout() {
        return Error::Connect("did not accept a connection in time".to_owned());
    }
    if error.is_connect() {
        return Error::Connect(format!("cannot be reached: {}", root_cause(&error)));
    }
    Error::Disconnected(format!("dropped the connection: {}", root_cause(&error)))
}
