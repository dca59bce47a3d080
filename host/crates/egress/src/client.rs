//! The HTTP client of image URLs, and the one function through which every HTTP response arrives.

use http::StatusCode;
use http::header::HeaderMap;
use pinhole_ground::guard::Guard;
use reqwest::redirect;
use rustls::ClientConfig;
use tokio::time::timeout_at;

use crate::address_policy::AddressPolicy;
use crate::connector::CONNECT_TIMEOUT;
use crate::error::{Error, find_refusal, root_cause};
use crate::response::{Body, Limits, Response};

/// Names the server to upstreams.
pub(crate) const USER_AGENT: &str = concat!("pinhole/", env!("CARGO_PKG_VERSION"));

/// A client for images at any host, and the policy that its connections obey. It retains no connection, so that none
/// serves another job.
#[derive(Clone)]
pub(crate) struct GuardedClient {
    pub(crate) client: reqwest::Client,
    pub(crate) policy: AddressPolicy,
}

impl GuardedClient {
    pub(crate) fn new(tls: &ClientConfig, policy: AddressPolicy) -> reqwest::Result<Self> {
        Ok(Self {
            client: build_client(tls, policy.clone())?,
            policy,
        })
    }
}

/// A client without redirects, proxy, cookies and retries, whose connections obey the policy.
#[expect(clippy::disallowed_methods, reason = "this is the egress")]
fn build_client(tls: &ClientConfig, policy: AddressPolicy) -> reqwest::Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(redirect_policy())
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(policy)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .user_agent(USER_AGENT);
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

/// The head and the body of a response.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
}

/// Sends one request and waits for the head of its response. Every HTTP request passes here.
///
/// Until the head arrives, only the deadline counts: generating an image takes minutes.
pub(crate) async fn exchange(
    sending: impl Future<Output = Result<Received, Error>> + Unpin,
    limits: Limits,
) -> Result<Response, Error> {
    let received = timeout_at(limits.deadline, sending)
        .await
        .map_err(|_| Error::Timeout)??;
    Response::new(received, limits).map_err(Error::Unusable)
}

impl GuardedClient {
    /// Requests a URL.
    pub(crate) async fn get(&self, url: ::url::Url) -> Result<Received, Error> {
        let sent = self.client.get(url).send().await;
        let response = sent.map_err(|error| classify_failure(&error))?;
        Ok(Received {
            status: response.status(),
            headers: response.headers().clone(),
            body: Body::OfUrl(response),
        })
    }
}

fn classify_failure(error: &reqwest::Error) -> Error {
    if let Some(refusal) = find_refusal(error) {
        return Error::denied_address(refusal.clone());
    }
    if error.is_timeout() {
        return Error::Connect("did not accept a connection in time".to_owned());
    }
    if error.is_connect() {
        return Error::Connect(format!("cannot be reached: {}", root_cause(error)));
    }
    Error::Disconnected(format!("dropped the connection: {}", root_cause(error)))
}
