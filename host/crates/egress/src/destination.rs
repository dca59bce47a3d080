//! One upstream as an administrator granted it.

use std::time::Duration;

use ::url::{Position, Url};
use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http_body_util::Full;
use pinhole_ground::guard::Refusal;
use tokio::time::Instant;

use crate::client::{self, GuardedClient, Received, exchange};
use crate::credential::Credential;
use crate::error::Error;
use crate::headers::{check_query, check_request};
use crate::http_client::HttpClient;
use crate::image_host::{is_same_origin, path_below};
use crate::response::{Body, Limits, Response};
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
    pub(crate) credential: Credential,
    pub(crate) client: HttpClient,
    /// For image URLs at the same origin. It is the same client unless that one has a TLS client
    /// certificate.
    pub(crate) own_images: HttpClient,
    pub(crate) public_images: GuardedClient,
    pub(crate) listed_images: GuardedClient,
    /// The header `Host`.
    pub(crate) host: HeaderValue,
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

    /// The base URL without a slash at its end, for the operator.
    #[must_use]
    pub fn base_url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// The name of the query parameter that the credential adds to each path.
    #[must_use]
    pub fn credential_parameter(&self) -> Option<&str> {
        self.credential.parameter_name()
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
        let limits = self.limits(max_bytes, deadline);
        let outgoing = self.request(request.method, &url, headers, request.body)?;
        self.exchange(&self.client, outgoing, limits).await
    }

    /// Requests a URL at the same origin without credentials.
    pub(crate) async fn get_own(&self, url: &Url, limits: Limits) -> Result<Response, Error> {
        let outgoing = self.request(Method::GET, url, HeaderMap::new(), Bytes::new())?;
        self.exchange(&self.own_images, outgoing, limits).await
    }

    async fn exchange(
        &self,
        client: &HttpClient,
        request: http::Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Response, Error> {
        let sending = async {
            let (head, body) = client.send(request, limits.deadline).await?.into_parts();
            Ok(Received {
                status: head.status,
                headers: head.headers,
                body: Body::OfUpstream(body),
            })
        };
        exchange(Box::pin(sending), limits).await.map_err(|error| {
            error
                .with_origin(&self.origin())
                .with_private_remedy(|| self.remedy.clone())
        })
    }

    pub(crate) fn limits(&self, max_bytes: usize, deadline: Instant) -> Limits {
        Limits {
            max_bytes,
            deadline,
            silence: self.silence,
        }
    }

    /// A request with the headers that every request has.
    fn request(
        &self,
        method: Method,
        url: &Url,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, Error> {
        let path = &url[Position::BeforePath..Position::AfterQuery];
        let uri = path.parse().map_err(|_| {
            // The path could contain a key in its query.
            Error::denied_request("the path of the request cannot be sent")
        })?;
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
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
