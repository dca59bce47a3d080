//! A client of the server under attack.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use pinhole_egress::{BaseUrl, Credential, DEFAULT_SILENCE, Destination, Egress, Request, Tls};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

/// How long the server may take to respond; far more than it needs.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(180);
/// Length of a response that is read, in bytes.
const MAX_RESPONSE_BYTES: usize = 256 << 20;
const JSON: &str = "application/json";

/// A client of the server under attack.
pub(crate) struct Client {
    /// Sends the administrator's key.
    pub(crate) administrator: Destination,
    /// Sends no key.
    pub(crate) anonymous: Destination,
    egress: Egress,
    url: String,
    key: String,
}

/// A request in valid spelling.
pub(crate) struct ClientRequest<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    /// Empty for a request without a body.
    pub(crate) content_type: &'a str,
    pub(crate) body: Bytes,
}

/// The start of a body of white space.
pub(crate) struct RequestStart {
    pub(crate) declared_bytes: usize,
    pub(crate) sent_bytes: usize,
}

/// A response of the server.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) fn new(url: &str, administrator_key: &str) -> Result<Self> {
        let egress = Egress::new(&[], DEFAULT_SILENCE)?;
        let url = url.trim_end_matches('/');
        Ok(Self {
            administrator: open(&egress, url, bearer(administrator_key)?)?,
            anonymous: open(&egress, url, Credential::default())?,
            egress,
            url: url.to_owned(),
            key: administrator_key.to_owned(),
        })
    }

    /// The server, with another user's key.
    pub(crate) fn with_key(&self, key: &str) -> Result<Destination> {
        open(&self.egress, &self.url, bearer(key)?)
    }

    /// A `GET` with the administrator's key.
    pub(crate) async fn get(&self, path: &str) -> Result<Response> {
        send(&self.administrator, ClientRequest::get(path)).await
    }

    /// A `DELETE` with the administrator's key.
    pub(crate) async fn delete(&self, path: &str) -> Result<Response> {
        send(&self.administrator, ClientRequest::delete(path)).await
    }

    /// A `POST` of JSON with the administrator's key.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Response> {
        send(&self.administrator, ClientRequest::json(path, body)).await
    }

    /// A request with the administrator's key.
    pub(crate) async fn send(&self, request: ClientRequest<'_>) -> Result<Response> {
        send(&self.administrator, request).await
    }

    /// A request through a destination with another key, or with none.
    pub(crate) async fn send_as(
        &self,
        user: &Destination,
        request: ClientRequest<'_>,
    ) -> Result<Response> {
        send(user, request).await
    }

    /// The administrator's key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A connection from this IP address of loopback, to a server without TLS on loopback.
    pub(crate) async fn connect_from(&self, ip: &str) -> Result<TcpStream> {
        let server = self.url.strip_prefix("http://").unwrap_or_default();
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(ip.parse()?, 0))?;
        #[allow(
            clippy::disallowed_methods,
            reason = "sends what the egress would refuse"
        )]
        let connecting = socket.connect(server.parse()?);
        Ok(connecting.await?)
    }

    /// Sends the start of a request with the administrator's key, and returns the open connection. Needs a
    /// server without TLS.
    pub(crate) async fn start_request(&self, line: &str, body: &RequestStart) -> Result<TcpStream> {
        let authority = self.url.strip_prefix("http://");
        let host = authority.context("the server uses TLS: attack its http URL")?;
        #[allow(
            clippy::disallowed_methods,
            reason = "holds a connection that the egress would close"
        )]
        let mut stream = TcpStream::connect(host).await?;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {}\r\n\
             content-type: {JSON}\r\ncontent-length: {}\r\n\r\n",
            self.key, body.declared_bytes
        );
        stream.write_all(head.as_bytes()).await?;
        let start = vec![b' '; body.sent_bytes];
        let sent = stream.write_all(&start);
        // The server may respond and close the connection before it has read all.
        timeout(RESPONSE_TIMEOUT, sent)
            .await
            .context("the server reads nothing")?
            .ok();
        Ok(stream)
    }

    /// The bytes of the response to a path in exactly this spelling. Needs a server without TLS.
    pub(crate) async fn get_raw(&self, path: &str) -> Result<Vec<u8>> {
        let authorization = format!("authorization: Bearer {}\r\n", self.key);
        self.get_with_headers(path, &authorization).await
    }

    /// The bytes of the response to a path and headers in exactly this spelling.
    pub(crate) async fn get_with_headers(&self, path: &str, headers: &str) -> Result<Vec<u8>> {
        let authority = self.url.strip_prefix("http://");
        let authority = authority.context("the server uses TLS: attack its http URL")?;
        let host = authority.split('/').next().unwrap_or_default();
        #[allow(
            clippy::disallowed_methods,
            reason = "sends a request that the egress would refuse"
        )]
        let mut stream = TcpStream::connect(host).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{headers}connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut response = Vec::new();
        let mut limited = stream.take(u64::try_from(MAX_RESPONSE_BYTES)?);
        timeout(RESPONSE_TIMEOUT, limited.read_to_end(&mut response))
            .await
            .context("the server does not respond")??;
        Ok(response)
    }
}

fn bearer(key: &str) -> Result<Credential> {
    Credential::bearer(key).map_err(anyhow::Error::msg)
}

fn open(egress: &Egress, url: &str, credential: Credential) -> Result<Destination> {
    let base_url = BaseUrl {
        url,
        allows_private: true,
        setting: "--against",
    };
    egress
        .destination(base_url, credential, &Tls::default())
        .map_err(|refusal| anyhow!("cannot attack {url}: {refusal}"))
}

async fn send(user: &Destination, request: ClientRequest<'_>) -> Result<Response> {
    let content_type = if request.content_type.is_empty() {
        None
    } else {
        Some(HeaderValue::try_from(request.content_type)?)
    };
    let outgoing = Request {
        method: request.method,
        path: request.path.to_owned(),
        content_type,
        body: request.body,
        ..Request::default()
    };
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    let mut response = user
        .send(outgoing, MAX_RESPONSE_BYTES, deadline)
        .await
        .context("the server does not respond")?;
    Ok(Response {
        status: response.status,
        headers: std::mem::take(&mut response.headers),
        body: response
            .bytes()
            .await
            .context("the server's response is truncated")?,
    })
}

impl<'a> ClientRequest<'a> {
    pub(crate) fn get(path: &'a str) -> Self {
        Self::without_body(Method::GET, path)
    }

    pub(crate) fn delete(path: &'a str) -> Self {
        Self::without_body(Method::DELETE, path)
    }

    pub(crate) fn without_body(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            content_type: "",
            body: Bytes::new(),
        }
    }

    /// A `POST` of JSON.
    pub(crate) fn json(path: &'a str, body: &Value) -> Self {
        Self::post(path, JSON, body.to_string())
    }

    pub(crate) fn post(path: &'a str, content_type: &'a str, body: impl Into<Bytes>) -> Self {
        Self {
            method: Method::POST,
            path,
            content_type,
            body: body.into(),
        }
    }
}

impl Response {
    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("the body is not JSON: {}", self.text()))
    }

    /// The text of a header; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The message of an error in OpenAI's shape, in which the engine `hostile` reports; empty if there is
    /// no error.
    pub(crate) fn error_message(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = body.pointer("/error/message").and_then(Value::as_str);
        message.unwrap_or_default().to_owned()
    }

    /// Fails unless the status is a success.
    pub(crate) fn require_success(&self, action: &str) -> Result<()> {
        ensure!(
            self.status.is_success(),
            "{action} failed: {} {}",
            self.status,
            self.text()
        );
        Ok(())
    }

    /// Fails unless the engine learned that the upstream's response exceeds its limit.
    pub(crate) fn require_too_large(&self) -> Result<()> {
        let expected = "the request or its response exceeds its size limit";
        ensure!(
            !self.status.is_success() && self.error_message().contains(expected),
            "the engine read the response: {}",
            self.text()
        );
        Ok(())
    }

    /// Fails unless the host refused the engine's request with `not granted` and nothing else.
    pub(crate) fn require_not_granted(&self) -> Result<()> {
        ensure!(
            !self.status.is_success() && self.error_message().contains("not granted"),
            "the host did not refuse the request: {} {}",
            self.status,
            self.text()
        );
        Ok(())
    }
}
