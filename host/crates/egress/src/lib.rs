//! The one way out: every byte that leaves the process on somebody's behalf goes through here.
//!
//! A [`Destination`] is one upstream as an administrator granted it: its base URL, its credential,
//! and a connection pool of its own, so that a connection never serves another grant.
//! [`Destination::send`] and [`Destination::connect`] are the doors for requests and WebSockets,
//! [`Egress::fetch`] the one for the address of a finished picture; all meet in `exchange`.
//!
//! | module | what it keeps |
//! |---|---|
//! | `spelling` | URLs and paths that mean the same to everybody |
//! | `resolve`, `address` | where a connection may go |
//! | `tls` | whom it trusts, and what it shows of itself |
//! | `secret`, `redact` | the credential, and what is left of it in what comes back |
//! | `headers`, `decode` | what travels, and what an answer may be |
//! | `socket`, `fetch` | WebSockets, and pictures at other places |

mod ip;
mod decode;
mod fetch;
mod headers;
mod redact;
mod resolve;
mod secret;
mod socket;
mod url;
mod tls;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use ::url::Url;

use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use decode::Decoder;
use headers::{check_answer, check_request};
use resolve::{AddressPolicy, Refused};
use url::{check_path, parse_base};

pub use ip::Nat64;
pub use headers::refuse_header;
pub use redact::Redactor;
pub use secret::Credential;
pub use socket::{Received, Socket};
pub use tls::Tls;

/// Time to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection is closed after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections kept for one destination.
const MAX_IDLE: usize = 32;
/// Time that an answer may pause between two pieces, where no setting says otherwise.
pub const DEFAULT_SILENCE: Duration = Duration::from_secs(120);
/// Between two events an upstream may pause this many times as long: it is at work.
const EVENT_PAUSES: u32 = 5;

/// Why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing was sent: no grant covers it, or it cannot be sent as it is.
    #[error("{0}")]
    Denied(Denial),
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
    /// An answer that no limit lets through. The text is for the operator.
    #[error("{0}")]
    Unusable(String),
}

/// What was refused before it was sent.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Was it the place, or the request?
    pub kind: RefusalKind,
    /// For the operator.
    pub text: String,
}

impl std::fmt::Display for Denial {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// What makes destinations.
#[derive(Clone)]
pub struct Egress {
    /// For destinations that add nothing to it.
    tls: ClientConfig,
    /// For places that nobody granted. It keeps no connection, so that none serves another job.
    public: reqwest::Client,
    nat64: Arc<[Nat64]>,
    silence: Duration,
}

/// Where an upstream is, as the settings say.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// `http(s)://host[:port][/path]`
    pub base: &'a str,
    /// An administrator's setting names this host and port, which permits addresses of this machine
    /// and of the operator's networks.
    pub named: bool,
    /// The variable of that setting.
    pub setting: &'a str,
}

/// One upstream as an administrator granted it.
pub struct Destination {
    base: Url,
    setting: String,
    guard: AddressPolicy,
    credential: Credential,
    client: reqwest::Client,
    /// For pictures at the same place: the same connections, unless they show a certificate.
    pictures: reqwest::Client,
    tls: Arc<ClientConfig>,
    silence: Duration,
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
pub struct Response {
    /// The status; redirects arrive as they are.
    pub status: StatusCode,
    /// The headers. Those of a body that is decoded do not tell its encoding and length.
    pub headers: HeaderMap,
    /// Length of the body, where the upstream tells.
    pub length: Option<usize>,
    body: reqwest::Response,
    decoder: Option<Decoder>,
    max_bytes: usize,
    seen: usize,
    silence: Duration,
    deadline: Instant,
}

impl Egress {
    /// Reads the system's certificate authorities. `nat64` are prefixes of the networks'
    /// translators, `silence` is how long an answer may pause between two pieces.
    pub fn new(nat64: &[Nat64], silence: Duration) -> anyhow::Result<Self> {
        let tls = tls::system()?;
        let guard = AddressPolicy {
            private: false,
            remedy: fetch::remedy(None, "").into(),
            nat64: nat64.into(),
        };
        Ok(Self {
            public: client(&tls, guard, 0)?,
            tls,
            nat64: nat64.into(),
            silence,
        })
    }

    /// Opens a destination.
    ///
    /// Fails on a base URL that is not plainly `http(s)://host[:port][/path]`, on a host that may not
    /// be reached, and on certificates that cannot be used.
    pub fn destination(
        &self,
        place: Place<'_>,
        credential: Credential,
        tls: &Tls,
    ) -> Result<Destination, String> {
        let base = parse_base(place.base)?;
        let guard = AddressPolicy {
            private: place.named,
            remedy: fetch::remedy(Some(place.setting), place.base).into(),
            nat64: self.nat64.clone(),
        };
        guard
            .check_host(&base)
            .map_err(|refused| refused.to_string())?;
        let open = |tls: &ClientConfig| {
            client(tls, guard.clone(), MAX_IDLE).map_err(|error| error.to_string())
        };
        let config = tls.config(&self.tls)?;
        let client = open(&config)?;
        let pictures = match tls.shows_certificate() {
            true => open(&tls.anonymous().config(&self.tls)?)?,
            false => client.clone(),
        };
        Ok(Destination {
            base,
            setting: place.setting.to_owned(),
            guard,
            credential,
            client,
            pictures,
            tls: Arc::new(config),
            silence: self.silence,
        })
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Egress")
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Destination({})", self.base)
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Response({})", self.status)
    }
}

impl Error {
    fn address(text: String) -> Self {
        let kind = RefusalKind::Address;
        Self::Denied(Denial { kind, text })
    }

    fn request(text: String) -> Self {
        let kind = RefusalKind::Request;
        Self::Denied(Denial { kind, text })
    }

    /// The kind of refusal that this is, for the audit log; none where the upstream merely failed.
    #[must_use]
    pub fn refusal_kind(&self) -> Option<RefusalKind> {
        match self {
            Self::Denied(denial) => Some(denial.kind),
            Self::TooLarge(_) | Self::Unusable(_) => Some(RefusalKind::Answer),
            Self::Connect(_) | Self::Broken(_) | Self::Timeout => None,
        }
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
        exchange(outgoing, max_bytes, deadline, self.silence)
            .await
            .map_err(|error| self.named(error))
    }

    /// The base URL with a path appended.
    fn join(&self, path: &str) -> Result<Url, Error> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        check_path(path, query).map_err(Error::request)?;
        let mut url = self.base.clone();
        let joined = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&joined);
        url.set_query(query);
        Ok(url)
    }

    /// The headers with the credential, when they are the sender's to set.
    fn checked(&self, mut headers: HeaderMap) -> Result<HeaderMap, Error> {
        check_request(&headers, &self.credential).map_err(Error::request)?;
        self.credential.add_to(&mut headers);
        Ok(headers)
    }

    fn named(&self, error: Error) -> Error {
        let named = |text| format!("{} {text}", self.origin());
        match error {
            Error::Connect(text) => Error::Connect(named(text)),
            Error::Broken(text) => Error::Broken(named(text)),
            other => other,
        }
    }
}

impl Response {
    /// The next piece of the body, decoded; `None` at its end. Fails when the body passes a limit,
    /// pauses for too long, or the deadline comes.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let piece = self.piece().await?;
            let is_end = piece.is_none();
            let piece = match (&mut self.decoder, piece) {
                (None, piece) => piece.unwrap_or_default(),
                (Some(decoder), Some(piece)) => decoder.push(&piece, self.max_bytes)?,
                (Some(decoder), None) => decoder.finish(self.max_bytes)?,
            };
            self.seen += piece.len();
            if self.seen > Guard::AnswerBytes.limit(self.max_bytes) {
                return Err(Error::TooLarge(self.max_bytes));
            }
            match piece.is_empty() {
                false => return Ok(Some(piece)),
                true if is_end => return Ok(None),
                true => {}
            }
        }
    }

    /// The next piece as it comes.
    async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let silence = match Guard::Silence.holds() {
            true => Instant::now() + self.silence,
            false => self.deadline,
        };
        match timeout_at(silence.min(self.deadline), self.body.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(Error::Broken(format!(
                "the answer broke off: {}",
                innermost(&error)
            ))),
            Err(_) if silence < self.deadline => Err(Error::Unusable(format!(
                "the answer paused for more than {} seconds",
                self.silence.as_secs()
            ))),
            Err(_) => Err(Error::Timeout),
        }
    }

    /// The rest of the body.
    pub async fn bytes(&mut self) -> Result<Bytes, Error> {
        let length = self.length.unwrap_or(0);
        if length > Guard::AnswerBytes.limit(self.max_bytes) {
            return Err(Error::TooLarge(self.max_bytes));
        }
        let mut whole = BytesMut::with_capacity(length.min(self.max_bytes));
        while let Some(chunk) = self.chunk().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

/// Sends one request and waits for the head of its answer. Every HTTP request leaves here.
///
/// Until the head comes only the deadline counts: pictures take minutes.
async fn exchange(
    request: reqwest::RequestBuilder,
    max_bytes: usize,
    deadline: Instant,
    silence: Duration,
) -> Result<Response, Error> {
    let body = timeout_at(deadline, request.send())
        .await
        .map_err(|_| Error::Timeout)?
        .map_err(classify_failure)?;
    let mut headers = body.headers().clone();
    check_answer(&headers).map_err(Error::Unusable)?;
    let decoder = Decoder::of(&headers).map_err(Error::Unusable)?;
    if decoder.is_some() {
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
    }
    let length = body.content_length().filter(|_| decoder.is_none());
    let kind = headers.get(CONTENT_TYPE);
    let tells_events = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    Ok(Response {
        status: body.status(),
        length: length.and_then(|length| usize::try_from(length).ok()),
        headers,
        body,
        decoder,
        max_bytes,
        seen: 0,
        silence: silence * if tells_events { EVENT_PAUSES } else { 1 },
        deadline,
    })
}

/// The one HTTP client there is: no redirects, no proxy, no names but checked ones.
#[expect(clippy::disallowed_methods, reason = "this is the egress")]
fn client(tls: &ClientConfig, guard: AddressPolicy, idle: usize) -> reqwest::Result<reqwest::Client> {
    let redirects = match Guard::Redirects.holds() {
        true => reqwest::redirect::Policy::none(),
        false => reqwest::redirect::Policy::default(),
    };
    let builder = reqwest::Client::builder();
    let builder = match Guard::Proxy.holds() {
        true => builder.no_proxy(),
        false => builder,
    };
    builder
        .tls_backend_preconfigured(tls.clone())
        .redirect(redirects)
        .retry(reqwest::retry::never())
        .referer(false)
        .dns_resolver(guard)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle)
        .user_agent(concat!("pinhole/", env!("CARGO_PKG_VERSION")))
        .build()
}

fn classify_failure(error: reqwest::Error) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<Refused>() {
            return Error::address(refused.to_string());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(base: &str, private: bool) -> Result<Destination, String> {
        let place = Place {
            base,
            named: private,
            setting: "DRAW_URL",
        };
        Egress::new(&[], DEFAULT_SILENCE).unwrap().destination(
            place,
            Credential::bearer("k").unwrap(),
            &Tls::default(),
        )
    }

    #[test]
    fn a_base_url_is_plain_or_refused() {
        for good in [
            "https://api.openai.com/v1",
            "http://comfy.lan:8188",
            "http://[::1]:80/",
            "HTTP://Host/x",
            "https://host:443",
            "http://xn--mller-kva.de/",
            "http://my_host:80/a-b/c.d/%7Ee",
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
            "http:///host:8080",
            "http:host/a://host",
            " http://host",
            "http://host\\@other",
            "http://host.",
            "http://h%6fst",
            "http://ho\tst",
            "http://host?x=1",
            "http://host#x",
            "http://169.254.169.254",
            "http://0.0.0.0",
            "http:/\\host",
            "http://host/a/../b",
            "http://host/a//b",
            "http://host/a%2fb",
            "http://host/é",
            "http://ho*st",
            "http://-host",
            "http://host..lan",
            "http://müller.de",
            "http://ｈost",
            "http://[fe80::1%25eth0]",
            "http://metadata.google.internal",
            "http://METADATA",
            "http://instance-data/latest",
        ] {
            assert!(destination(bad, true).is_err(), "{bad}");
        }
        for private in ["http://127.0.0.1:1", "http://[::1]", "http://192.168.1.1"] {
            let refused = destination(private, false).unwrap_err();
            let remedy = format!("is private: allow it with DRAW_URL={private}");
            assert!(refused.contains(&remedy), "{refused}");
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
            "/a%0d%0ab",
            "/a%252e%252e/b",
            "/a/%2e%2e;x/b",
            "/a/..;/b",
            "/a/..%3fb",
            "/a%",
            "/a%2",
            "/a%zz",
        ] {
            check(bad, None);
        }
    }
}
