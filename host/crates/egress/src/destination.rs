//! One upstream as an administrator granted it.

use std::sync::Arc;
use std::time::Duration;

use ::url::Url;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use pinhole_ground::guard::Refusal;
use rustls::ClientConfig;
use tokio::time::Instant;

use crate::address_policy::AddressPolicy;
use crate::client::{GuardedClient, exchange};
use crate::credential::Credential;
use crate::error::Error;
use crate::headers::{check_query, check_request};
use crate::image_host::{is_same_origin, path_below};
use crate::response::Response;
use crate::url::{check_path, parse_image_url};

/// Extensions of the image files that the host accepts.
const IMAGE_EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "webp", "gif", "avif"];

/// The base URL of an upstream, as a setting has it.
#[derive(Clone, Copy, Debug)]
pub struct BaseUrl<'a> {
    /// `http(s)://host[:port][/path]`
    pub url: &'a str,
    /// An administrator's setting contains this URL. Its host may then have a loopback or private IP
    /// address.
    pub allows_private: bool,
    /// The environment variable of that setting.
    pub setting: &'a str,
}

/// One upstream as an administrator granted it, with a connection pool of its own, so that a connection
/// never serves another grant.
pub struct Destination {
    pub(crate) base: Url,
    /// How an operator would allow a private IP address.
    pub(crate) remedy: String,
    pub(crate) policy: AddressPolicy,
    pub(crate) credential: Credential,
    pub(crate) client: reqwest::Client,
    /// For image URLs at the same origin. It is the same client unless that one has a TLS client
    /// certificate.
    pub(crate) own_images: GuardedClient,
    pub(crate) public_images: GuardedClient,
    pub(crate) listed_images: GuardedClient,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) silence: Duration,
}

/// A request to a destination.
#[derive(Debug, Default)]
pub struct Request {
    pub method: Method,
    /// Appended to the base URL: begins with `/` and may have a query.
    pub path: String,
    /// Without headers that [`is_reserved`](crate::headers::is_reserved).
    pub headers: HeaderMap,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

impl Destination {
    /// Scheme, host and port, for the operator.
    #[must_use]
    pub fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    /// Sends a request and waits for the head of the response, whatever its status. Redirects are
    /// returned and not followed.
    pub async fn send(
        &self,
        request: Request,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let url = self.join_with_credential(&request.path)?;
        check_request(&request.headers, &self.credential).map_err(Error::denied_request)?;
        let mut headers = request.headers;
        self.credential.add_to(&mut headers);
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
            .map_err(|error| {
                error
                    .with_origin(&self.origin())
                    .with_private_remedy(|| self.remedy.clone())
            })
    }

    /// True if the URL has the scheme, host and port of the base URL.
    #[must_use]
    pub fn is_at(&self, url: &Url) -> bool {
        is_same_origin(&self.base, url)
    }

    /// The URL by which a response names an image: absolute, or relative to the base URL.
    pub fn image_url(&self, text: &str) -> Result<Url, Refusal> {
        parse_image_url(&self.base, text)
    }

    /// True if the URL names an image file by its extension, in a path that no server reads as another one.
    #[must_use]
    pub fn names_image_file(&self, url: &Url) -> bool {
        let is_image = |extension: &str| {
            IMAGE_EXTENSIONS
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        };
        let extension = url.path().rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(is_image) && check_path(url.path(), url.query()).is_ok()
    }

    /// The path of a URL at the same origin, as [`Self::join`] takes it; `None` if it is not below the base
    /// URL.
    #[must_use]
    pub fn path_below_base<'a>(&self, url: &'a Url) -> Option<&'a str> {
        path_below(&self.base, url)
    }

    /// The URL of a path below the base URL, with the query parameter of the credential.
    pub(crate) fn join_with_credential(&self, path: &str) -> Result<Url, Error> {
        let mut url = self.join(path)?;
        check_query(url.query(), &self.credential).map_err(Error::denied_request)?;
        self.credential.add_to_url(&mut url);
        Ok(url)
    }

    /// The URL of a path below the base URL. Fails on a path that a server could read as another one.
    pub fn join(&self, path: &str) -> Result<Url, Error> {
        let (path, query) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        check_path(path, query).map_err(Error::denied_request)?;
        let mut url = self.base.clone();
        let joined = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&joined);
        url.set_query(query);
        Ok(url)
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Destination({})", self.base)
    }
}
