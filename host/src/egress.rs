//! The one way out: every byte that leaves the process on somebody's behalf goes through here.
//!
//! A [`Destination`] is one upstream as an administrator granted it: its base URL, its credential,
//! and a connection pool of its own, so that a connection never serves another grant.
//! [`Destination::send`] and [`Destination::connect`] are the doors for requests and WebSockets,
//! [`Egress::fetch`] the one for the address of a finished picture; all meet in `exchange`.

mod address;
mod resolve;
mod secret;
mod socket;
mod spelling;

use std::error::Error as StdError;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use rustls::ClientConfig;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use resolve::{Checked, Refused};
use spelling::{check_path, parse_base, parse_url};

pub use secret::Credential;
pub use socket::Socket;

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections kept for one destination.
const MAX_IDLE: usize = 32;
/// Headers that a request may bring besides the host's own.
const MAX_HEADERS: usize = 32;
/// Length of one header's value, in bytes.
const MAX_HEADER_BYTES: usize = 8 * 1024;
/// Redirects followed for the address of a finished picture.
const MAX_HOPS: usize = 3;
/// Why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The grant does not cover it. The text is for the operator.
    #[error("{0}")]
    Denied(String),
    /// No connection: nothing was sent. The text is for the operator.
    #[error("{0}")]
    Connect(String),
    /// A connection that broke: nobody knows what was received. The text is for the operator.
    #[error("{0}")]
    Broken(String),
    /// The deadline passed.
    #[error("no answer in time")]
    Timeout,
    /// The answer is longer than allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
}

/// What makes destinations: the TLS configuration that all of them share.
#[derive(Clone, Debug)]
pub struct Egress {
    tls: Arc<ClientConfig>,
    public: reqwest::Client,
}

/// One upstream as an administrator granted it.
pub struct Destination {
    base: Url,
    private: bool,
    credential: Credential,
    client: reqwest::Client,
    tls: Arc<ClientConfig>,
}

/// What to send to a destination.
#[derive(Debug, Default)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Appended to the base URL; begins with `/` and may carry a query.
    pub path: String,
    /// Only those that [`refuse_header`] lets pass.
    pub headers: HeaderMap,
    /// The body's type.
    pub content_type: Option<HeaderValue>,
    /// The body.
    pub body: Bytes,
}

/// The head of an answer, with the body still to come.
#[derive(Debug)]
pub struct Response {
    /// The status; redirects arrive as they are.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// Length of the body, where the upstream tells.
    pub length: Option<usize>,
    body: reqwest::Response,
    max_bytes: usize,
    seen: usize,
    deadline: Instant,
}

impl Egress {
    /// Reads the system's certificate authorities. Without any, only `http` upstreams work.
    pub fn new() -> anyhow::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
        };
        let tls = match builder()?.with_platform_verifier() {
            Ok(builder) => builder.with_no_client_auth(),
            Err(error) => {
                tracing::warn!("no system certificates ({error}): https upstreams will be refused");
                builder()?
                    .with_root_certificates(rustls::RootCertStore::empty())
                    .with_no_client_auth()
            }
        };
        let public = client(&tls, false)?;
        Ok(Self {
            tls: Arc::new(tls),
            public,
        })
    }

    /// Opens a destination. `private` says that an administrator's setting names this host and
    /// port, which permits addresses of this machine and of the operator's networks.
    ///
    /// Fails on a base URL that is not plainly `http(s)://host[:port][/path]`, and on an address
    /// that may not be reached.
    pub fn destination(
        &self,
        base: &str,
        private: bool,
        credential: Credential,
    ) -> Result<Destination, String> {
        let base = parse_base(base)?;
        check_literal(&base, private).map_err(|refused| refused.to_string())?;
        let client = client(&self.tls, private).map_err(|error| error.to_string())?;
        Ok(Destination {
            base,
            private,
            credential,
            client,
            tls: self.tls.clone(),
        })
    }

    /// Fetches the address of a finished picture, without credentials, over at most three
    /// redirects that are each checked again. An address at one of the `granted` destinations'
    /// own host and port is asked there.
    pub async fn fetch(
        &self,
        address: &str,
        granted: &[&Destination],
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let mut next = parse_url(address).map_err(Error::Denied)?;
        for _ in 0..=MAX_HOPS {
            let home = granted
                .iter()
                .find(|home| home.base.origin() == next.origin());
            let client = home.map_or(&self.public, |home| &home.client);
            let private = home.is_some_and(|home| home.private);
            check_literal(&next, private).map_err(|refused| Error::Denied(refused.to_string()))?;
            let request = client.get(next.clone());
            let mut response = exchange(request, max_bytes, deadline).await?;
            match response.status {
                status if status.is_success() => return response.bytes().await,
                status if status.is_redirection() => {
                    let target = response
                        .headers
                        .get(LOCATION)
                        .and_then(|to| to.to_str().ok());
                    let target = target
                        .and_then(|to| next.join(to).ok())
                        .ok_or_else(|| Error::Denied(format!("{next} redirects to nowhere")))?;
                    next = parse_url(target.as_str()).map_err(Error::Denied)?;
                }
                status => {
                    let host = next.host_str().unwrap_or_default();
                    return Err(Error::Connect(format!(
                        "{host} answered with status {status}"
                    )));
                }
            }
        }
        Err(Error::Denied(format!("more than {MAX_HOPS} redirects")))
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Destination({})", self.base)
    }
}

impl Destination {
    /// Scheme, host and port, for the operator.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Sends a request and waits for the head of the answer, whatever its status.
    pub async fn send(
        &self,
        request: Request,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let url = self.join(&request.path)?;
        let mut headers = self.checked(request.headers)?;
        if let Some(content_type) = request.content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        let outgoing = self
            .client
            .request(request.method, url)
            .headers(headers)
            .body(request.body);
        exchange(outgoing, max_bytes, deadline)
            .await
            .map_err(|error| self.named(error))
    }

    /// The base URL with a path appended.
    fn join(&self, path: &str) -> Result<Url, Error> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        check_path(path, query).map_err(Error::Denied)?;
        let mut url = self.base.clone();
        let joined = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&joined);
        url.set_query(query);
        Ok(url)
    }

    /// The headers with the credential, when they are the sender's to set.
    fn checked(&self, mut headers: HeaderMap) -> Result<HeaderMap, Error> {
        if headers.len() > MAX_HEADERS {
            return Err(Error::Denied(format!("more than {MAX_HEADERS} headers")));
        }
        for (name, value) in &headers {
            if refuse_header(name) || self.credential.owns(name) {
                return Err(Error::Denied(format!("header {name} is the host's to set")));
            }
            if value.len() > MAX_HEADER_BYTES {
                return Err(Error::Denied(format!("header {name} is too long")));
            }
        }
        self.credential.add_to(&mut headers);
        Ok(headers)
    }

    fn named(&self, error: Error) -> Error {
        match error {
            Error::Connect(text) => Error::Connect(format!("{} {text}", self.origin())),
            Error::Broken(text) => Error::Broken(format!("{} {text}", self.origin())),
            other => other,
        }
    }
}

impl Response {
    /// The next piece of the body; `None` at its end. Fails when the body passes its limit or the
    /// deadline comes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = timeout_at(self.deadline, self.body.chunk())
            .await
            .map_err(|_| Error::Timeout)?
            .map_err(|error| {
                Error::Broken(format!("the answer broke off: {}", innermost(&error)))
            })?;
        self.seen += chunk.as_ref().map_or(0, Bytes::len);
        match self.seen > self.max_bytes {
            true => Err(Error::TooLarge(self.max_bytes)),
            false => Ok(chunk),
        }
    }

    /// The rest of the body.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let length = self.length.unwrap_or(0);
        if length > self.max_bytes {
            return Err(Error::TooLarge(self.max_bytes));
        }
        let mut whole = BytesMut::with_capacity(length);
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

/// Headers that nobody but the host may set.
#[must_use]
pub fn refuse_header(name: &HeaderName) -> bool {
    const OWN: &[&str] = &[
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = name.as_str();
    OWN.contains(&name)
        || ["proxy-", "sec-", "x-forwarded-"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Sends one request and waits for the head of its answer. Every HTTP request leaves here.
async fn exchange(
    request: reqwest::RequestBuilder,
    max_bytes: usize,
    deadline: Instant,
) -> Result<Response, Error> {
    let response = timeout_at(deadline, request.send())
        .await
        .map_err(|_| Error::Timeout)?
        .map_err(classify_failure)?;
    let length = response.content_length();
    Ok(Response {
        status: response.status(),
        length: length.and_then(|length| usize::try_from(length).ok()),
        headers: response.headers().clone(),
        body: response,
        max_bytes,
        seen: 0,
        deadline,
    })
}

/// The one HTTP client there is: no redirects, no proxy, no names but checked ones.
#[expect(clippy::disallowed_methods, reason = "this is the egress")]
fn client(tls: &ClientConfig, private: bool) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .dns_resolver(Checked { private })
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .user_agent(concat!("pinhole/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn classify_failure(error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return Error::Denied(refused.to_string());
        }
        cause = inner.source();
    }
    match error.is_timeout() {
        true => Error::Connect("did not accept a connection in time".to_owned()),
        false if error.is_connect() => {
            Error::Connect(format!("cannot be reached: {}", innermost(&error)))
        }
        false => Error::Broken(format!("broke the connection: {}", innermost(&error))),
    }
}

/// The last cause, which says what the system said.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn StdError = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// An address in place of a name never meets the resolver, so it is checked here.
fn check_literal(url: &Url, private: bool) -> Result<(), Refused> {
    let address: IpAddr = match url.host() {
        Some(Host::Ipv4(address)) => address.into(),
        Some(Host::Ipv6(address)) => address.into(),
        _ => return Ok(()),
    };
    resolve::check(url.host_str().unwrap_or_default(), address, private)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(base: &str, private: bool) -> Result<Destination, String> {
        Egress::new()
            .unwrap()
            .destination(base, private, Credential::bearer("k").unwrap())
    }

    #[test]
    fn a_base_url_is_plain_or_refused() {
        for good in [
            "https://api.openai.com/v1",
            "http://comfy.lan:8188",
            "http://[::1]:80/",
            "HTTP://Host/x",
        ] {
            assert!(destination(good, true).is_ok(), "{good}");
        }
        for bad in [
            "ftp://host",
            "host:80",
            "http://",
            "http://u@host",
            "http://host@evil.com",
            "http://127.1",
            "http://2130706433",
            "http://0x7f.1",
            "http://0177.0.0.1",
            "http://host:0443",
            "http://host:99999",
            "http://host:",
            "http://host.",
            "http://h%6fst",
            "http://ho\tst",
            "http://host?x=1",
            "http://host#x",
            "http://169.254.169.254",
            "http://0.0.0.0",
            "http:/\\host",
        ] {
            assert!(destination(bad, true).is_err(), "{bad}");
        }
        for private in ["http://127.0.0.1:1", "http://[::1]", "http://192.168.1.1"] {
            assert!(
                destination(private, false)
                    .unwrap_err()
                    .contains("is private"),
                "{private}"
            );
        }
    }

    fn check(path: &str, expected: Option<&str>) {
        let destination = destination("http://host:1/v1/", true).unwrap();
        let joined = destination.join(path).ok().map(|url| url.to_string());
        assert_eq!(joined.as_deref(), expected, "{path}");
    }

    #[test]
    fn a_path_stays_under_its_base() {
        check("/images/x", Some("http://host:1/v1/images/x"));
        check(
            "/m/a:generate?k=a%20b&x=/",
            Some("http://host:1/v1/m/a:generate?k=a%20b&x=/"),
        );
        for bad in [
            "images",
            "",
            "//evil.com/",
            "/a//b",
            "/../x",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/./b",
            "/a%2fb",
            "/a\\b",
            "/a b",
            "/a\r\nb",
            "/a#b",
            "/a?b#c",
            "/a?b\r\n",
            "/é",
            "/a%00",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_hosts_own_headers_are_refused() {
        let destination = destination("http://host", true).unwrap();
        let with = |name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("x"));
            destination.checked(headers)
        };
        let passed = with("accept").unwrap();
        assert_eq!(passed.get("authorization").unwrap(), "Bearer k");
        for own in [
            "host",
            "authorization",
            "cookie",
            "content-length",
            "x-forwarded-for",
            "proxy-authorization",
        ] {
            assert!(with(own).is_err(), "{own}");
        }
    }
}
