//! One upstream as an administrator granted it.

use std::time::Duration;

use ::url::{Position, Url};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, StatusCode};
use http_body_util::Full;
use pinhole_ground::guard::Refusal;
use tokio::time::Instant;

use crate::client::{self, GuardedClient, Received, exchange};
use crate::credential::{Credential, SignedRequest};
use crate::error::Error;
use crate::follow::{OtherHost, OtherHosts, host_header};
use crate::headers::{check_query, check_request};
use crate::http_client::HttpClient;
use crate::image_host::{is_same_origin, path_below};
use crate::redactor::LiveSecrets;
use crate::response::{Body, Limits, Response};
use crate::token_source::TokenSource;
use crate::url::{check_path, parse_image_url};

/// Longer bodies that a credential reads are read on a thread for blocking work.
const SHORT_BODY_BYTES: usize = 256 << 10;
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
    /// For URLs of responses that lead to other hosts of the API.
    pub(crate) other_hosts: OtherHosts,
    /// The tokens of a service account.
    pub(crate) tokens: Option<TokenSource>,
    pub(crate) silence: Duration,
}

/// A request to a destination.
#[derive(Debug, Default)]
pub struct Request {
    pub method: Method,
    /// `None`: the host of the base URL. Otherwise the host of a [`FollowTarget`](crate::FollowTarget).
    pub host: Option<OtherHost>,
    /// Appended to the base URL, or to the other host: begins with `/` and may have a query.
    pub path: String,
    /// Without headers that [`is_reserved`](crate::headers::is_reserved).
    pub headers: HeaderMap,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

/// A request with everything that the credential adds to it.
pub(crate) struct AuthorizedRequest {
    method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    body: Bytes,
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

    /// The secrets that the credential derives while the server runs, for redaction.
    #[must_use]
    pub fn live_secrets(&self) -> Option<&LiveSecrets> {
        self.tokens.as_ref().map(TokenSource::secrets)
    }

    /// The names of the query parameters that the credential adds to each path.
    pub fn credential_parameters(&self) -> impl Iterator<Item = &str> {
        self.credential.parameter_names()
    }

    /// JSON pointers to the fields that the credential adds to each JSON body.
    pub fn credential_fields(&self) -> impl Iterator<Item = &str> {
        self.credential.field_pointers()
    }

    /// Sends a request and waits for the head of the response, whatever its status. Redirects are
    /// returned and not followed.
    pub async fn send(
        &self,
        mut request: Request,
        max_bytes: usize,
        deadline: Instant,
    ) -> Result<Response, Error> {
        let limits = self.limits(max_bytes, deadline);
        let Some(host) = request.host.take() else {
            let url = self.join(&request.path)?;
            let authorized = self.authorize(url, &self.host, request, deadline).await?;
            let outgoing = authorized.into_http(&self.host)?;
            let token = self.token_of(&outgoing);
            let response = self.exchange(&self.client, outgoing, limits).await?;
            self.check_token(token, response.status);
            return Ok(response);
        };
        let url = host.join(&request.path)?;
        let client = self.other_hosts.client(&host)?;
        let header = host_header(&url).map_err(Error::denied_request)?;
        let authorized = self.authorize(url, &header, request, deadline).await?;
        let outgoing = authorized.into_http(&header)?;
        let token = self.token_of(&outgoing);
        let response = exchange(Box::pin(send_by(&client, outgoing, limits)), limits)
            .await
            .map_err(|error| error.with_origin(&host.origin()))?;
        self.check_token(token, response.status);
        Ok(response)
    }

    /// The header with the token of a service account.
    fn token_of(&self, request: &http::Request<Full<Bytes>>) -> Option<HeaderValue> {
        self.tokens.as_ref()?;
        request.headers().get(AUTHORIZATION).cloned()
    }

    /// Forgets a token that the upstream refuses before it expires: it was revoked.
    fn check_token(&self, token: Option<HeaderValue>, status: StatusCode) {
        if let (Some(tokens), Some(token), StatusCode::UNAUTHORIZED) = (&self.tokens, token, status)
        {
            tokens.forget(&token);
        }
    }

    /// Adds the credential to a request to this URL.
    pub(crate) async fn authorize(
        &self,
        mut url: Url,
        host: &HeaderValue,
        request: Request,
        deadline: Instant,
    ) -> Result<AuthorizedRequest, Error> {
        let credential = &self.credential;
        check_query(url.query(), credential).map_err(Error::denied_request)?;
        check_request(&request.headers, credential).map_err(Error::denied_request)?;
        credential.add_to_url(&mut url);
        let mut headers = request.headers;
        credential.add_to(&mut headers);
        if let Some(content_type) = request.content_type {
            headers.insert(CONTENT_TYPE, content_type);
        }
        if let Some(tokens) = &self.tokens {
            let token = tokens.header(deadline).await;
            let token = token.map_err(|error| error.with_origin(&self.origin()))?;
            headers.insert(AUTHORIZATION, token);
        }
        let request = AuthorizedRequest {
            method: request.method,
            url,
            headers,
            body: request.body,
        };
        if !credential.reads_body() || request.body.len() <= SHORT_BODY_BYTES {
            return request
                .complete(credential, host)
                .map_err(Error::denied_request);
        }
        let (credential, host) = (credential.clone(), host.clone());
        let completing = move || request.complete(&credential, &host);
        match tokio::task::spawn_blocking(completing).await {
            Ok(completed) => completed.map_err(Error::denied_request),
            Err(_) => Err(Error::denied_request("the request cannot be completed")),
        }
    }

    /// Requests a URL at the same origin without credentials.
    pub(crate) async fn get_own(&self, url: &Url, limits: Limits) -> Result<Response, Error> {
        let anonymous = AuthorizedRequest {
            method: Method::GET,
            url: url.clone(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let outgoing = anonymous.into_http(&self.host)?;
        self.exchange(&self.own_images, outgoing, limits).await
    }

    async fn exchange(
        &self,
        client: &HttpClient,
        request: http::Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Response, Error> {
        exchange(Box::pin(send_by(client, request, limits)), limits)
            .await
            .map_err(|error| {
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

async fn send_by(
    client: &HttpClient,
    request: http::Request<Full<Bytes>>,
    limits: Limits,
) -> Result<Received, Error> {
    let (head, body) = client.send(request, limits.deadline).await?.into_parts();
    Ok(Received {
        status: head.status,
        headers: head.headers,
        body: Body::OfUpstream(body),
    })
}

impl AuthorizedRequest {
    /// Adds the parts of the credential that depend on the body.
    fn complete(mut self, credential: &Credential, host: &HeaderValue) -> Result<Self, Refusal> {
        self.body = credential.add_to_body(self.headers.get(CONTENT_TYPE), self.body)?;
        let signed = SignedRequest {
            method: &self.method,
            url: &self.url,
            host: host.to_str().unwrap_or_default(),
            body: &self.body,
        };
        credential.sign(&signed, &mut self.headers)?;
        Ok(self)
    }

    /// The request with the headers that every request has.
    fn into_http(mut self, host: &HeaderValue) -> Result<http::Request<Full<Bytes>>, Error> {
        let path = &self.url[Position::BeforePath..Position::AfterQuery];
        let uri = path.parse().map_err(|_| {
            // The path could contain a key in its query.
            Error::denied_request("the path of the request cannot be sent")
        })?;
        self.headers.insert(HOST, host.clone());
        self.headers
            .insert(USER_AGENT, HeaderValue::from_static(client::USER_AGENT));
        self.headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("*/*"));
        let mut request = http::Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Destination({})", self.base)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pinhole_ground::guard::Guard;

    use super::*;
    use crate::test_upstream::{TestUpstream, json_response};
    use crate::{AwsKey, DEFAULT_SILENCE, Egress, ImageHost, Tls};

    async fn upstream(credential: Credential) -> (TestUpstream, Destination) {
        let upstream = TestUpstream::start(|_| json_response(200, "{}")).await;
        let base_url = BaseUrl {
            url: &format!("{}/v1", upstream.url),
            allows_private: true,
            setting: "DRAW_URL",
        };
        let egress = Egress::new(&[], DEFAULT_SILENCE).unwrap();
        let opened = egress.destination(base_url, credential, &Tls::default());
        (upstream, opened.unwrap())
    }

    fn json_request(path: &str, body: String) -> Request {
        Request {
            method: Method::POST,
            path: path.to_owned(),
            content_type: Some(HeaderValue::from_static("application/json")),
            body: body.into(),
            ..Request::default()
        }
    }

    async fn send(destination: &Destination, request: Request) -> Result<Response, Error> {
        let deadline = Instant::now() + Duration::from_secs(60);
        destination.send(request, 1 << 10, deadline).await
    }

    fn aws() -> Credential {
        let key = AwsKey {
            access_key_id: "AKIDEXAMPLE",
            secret_access_key: "aws-secret",
            session_token: Some("aws-token"),
            region: "us-east-1",
            service: "bedrock",
        };
        Credential::aws(key).unwrap()
    }

    #[tokio::test]
    async fn destination_sends_all_parts_of_a_credential() {
        let credential = Credential::header("x-key", "1")
            .and_then(|it| it.merge(Credential::query("key", "2")?))
            .and_then(|it| it.merge(Credential::body_field("/extra/key", "3")?))
            .unwrap();
        let (upstream, destination) = upstream(credential).await;
        // A long body is completed on another thread.
        let image = "A".repeat(2 * SHORT_BODY_BYTES);
        for (body, expected) in [
            (
                r#"{"a":1}"#.to_owned(),
                r#"{"extra":{"key":"3"},"a":1}"#.to_owned(),
            ),
            (
                format!(r#"{{"image":"{image}"}}"#),
                format!(r#"{{"extra":{{"key":"3"}},"image":"{image}"}}"#),
            ),
        ] {
            send(&destination, json_request("/x?a=b", body))
                .await
                .unwrap();
            let request = upstream.requests().pop().unwrap();
            assert_eq!(request.line(), "POST /v1/x?a=b&key=2 HTTP/1.1");
            assert_eq!(request.header("x-key"), Some("1"));
            assert_eq!(request.body, expected);
        }
        let clash = json_request("/x", r#"{"extra":{"key":"mine"}}"#.to_owned());
        let error = send(&destination, clash).await.unwrap_err();
        assert_eq!(error.guard(), Some(Guard::KeyFields));
        assert_eq!(upstream.lines().len(), 2);
    }

    #[tokio::test]
    async fn destination_signs_what_it_sends() {
        let credential = aws().merge(Credential::body_field("/key", "3").unwrap());
        let (upstream, destination) = upstream(credential.unwrap()).await;
        send(&destination, json_request("/x?a=b", "{}".to_owned()))
            .await
            .unwrap();
        let request = upstream.requests().pop().unwrap();
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        let signed: BTreeMap<_, _> = header("authorization")
            .split([' ', ','])
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        assert_eq!(
            signed["SignedHeaders"],
            "content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token"
        );
        assert_eq!(header("x-amz-security-token"), "aws-token");
        // SHA-256 of {"key":"3"}
        assert_eq!(
            header("x-amz-content-sha256"),
            "64e8188512b2a31f3adae759de4698bcb0b3b58e06a6558656e05b789bd0872e"
        );
        assert!(!request.head.contains("aws-secret"), "{}", request.head);
    }

    #[tokio::test]
    async fn destination_refuses_headers_of_a_signature() {
        let (upstream, destination) = upstream(aws()).await;
        for (name, guard) in [
            ("x-amz-date", Guard::KeyHeaders),
            ("x-amz-security-token", Guard::KeyHeaders),
            ("x-amz-content-sha256", Guard::KeyHeaders),
            ("authorization", Guard::OwnHeaders),
        ] {
            let mut request = json_request("/x", "{}".to_owned());
            request
                .headers
                .insert(name, HeaderValue::from_static("forged"));
            let error = send(&destination, request).await.unwrap_err();
            assert_eq!(error.guard(), Some(guard), "{name}");
        }
        assert_eq!(upstream.lines().len(), 0);
    }

    #[tokio::test]
    async fn destination_sends_credential_and_host_of_another_host() {
        let (_upstream, mut destination) = upstream(Credential::bearer("k").unwrap()).await;
        let other = TestUpstream::start(|_| json_response(302, "{}")).await;
        // In production the address is public and the scheme is https.
        destination.other_hosts.policy.allows_private = true;
        let hosts = [ImageHost::parse("eu.example.com").unwrap()];
        let followed = destination.follow_target("https://eu.example.com/v1/x?a=b", &hosts);
        let request = Request {
            host: Some(OtherHost::at(&other.url)),
            path: followed.unwrap().path,
            ..Request::default()
        };
        let response = send(&destination, request).await.unwrap();
        assert_eq!(response.status, 302);
        let received = other.requests().pop().unwrap();
        assert_eq!(received.line(), "GET /v1/x?a=b HTTP/1.1");
        assert_eq!(received.header("authorization"), Some("Bearer k"));
        assert_eq!(received.header("host"), other.url.strip_prefix("http://"));
        assert_eq!(other.lines().len(), 1);
    }
}
