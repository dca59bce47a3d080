//! A client of the control socket of the server that runs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::{Body, Bytes, to_bytes};
use futures_util::StreamExt;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use pinhole::config::Config;
use pinhole::control;
use pinhole_ground::data_dir;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;

use super::{FAILED, WRONG_USE};

/// Length of a response in bytes.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// Attempts to connect to a server that starts, and the time between them.
const MAX_ATTEMPTS: u32 = 30;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(100);

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CommandError {
    /// One line: what failed, and what to do.
    pub(crate) message: String,
    /// The exit code.
    pub(crate) code: u8,
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self {
            message: format!("{error:#}"),
            code: FAILED,
        }
    }
}

/// The server that uses a data directory.
pub(crate) struct ControlClient {
    /// The id of its process.
    process: String,
    socket: PathBuf,
}

/// The body of a request.
pub(crate) enum Payload<'a, T> {
    Json(&'a T),
    Component(Vec<u8>),
    Nothing,
}

/// No JSON.
pub(crate) const NOTHING: Payload<'static, ()> = Payload::Nothing;

/// A response whose body is not read yet.
struct ControlResponse {
    status: StatusCode,
    body: Body,
    /// What an incomplete body means.
    failure: String,
    _connection: AbortOnDropHandle<hyper::Result<()>>,
}

impl ControlResponse {
    async fn read_to_end(&mut self) -> Result<Bytes> {
        let body = std::mem::take(&mut self.body);
        let bytes = to_bytes(body, MAX_RESPONSE_BYTES).await;
        bytes.with_context(|| self.failure.clone())
    }

    /// The error that a body describes.
    fn into_error(self, bytes: &[u8]) -> CommandError {
        let message = match serde_json::from_slice(bytes) {
            Ok(ErrorBody { detail }) => detail,
            Err(_) => format!("the server responds with status {}", self.status),
        };
        let code = if self.status == StatusCode::NOT_FOUND {
            WRONG_USE
        } else {
            FAILED
        };
        CommandError { message, code }
    }
}

/// An error of the server.
#[derive(Deserialize)]
struct ErrorBody {
    detail: String,
}

impl ControlClient {
    /// The server that has locked the data directory. `None` if none runs.
    pub(crate) fn of_running_server(config: &Config) -> Option<Self> {
        let data = data_dir::open(&config.data).ok()?;
        Some(Self {
            process: data_dir::lock_holder(&data)?,
            socket: control::path(&config.data),
        })
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CommandError> {
        self.send(Method::GET, path, NOTHING).await
    }

    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CommandError> {
        self.send(Method::POST, path, Payload::Json(body)).await
    }

    pub(crate) async fn send<T: DeserializeOwned, B: Serialize>(
        &self,
        method: Method,
        path: &str,
        payload: Payload<'_, B>,
    ) -> Result<T, CommandError> {
        let mut response = self.exchange(method, path, payload).await?;
        let bytes = response.read_to_end().await?;
        if response.status.is_success() {
            let parsed = serde_json::from_slice(&bytes);
            return Ok(parsed.context(
                "cannot read the server's response: use the program of the server's version",
            )?);
        }
        Err(response.into_error(&bytes))
    }

    /// Calls the function with the data of each server-sent event, until the stream ends.
    pub(crate) async fn follow(
        &self,
        path: &str,
        mut on_event: impl FnMut(&str) -> Result<()>,
    ) -> Result<(), CommandError> {
        let mut response = self.exchange(Method::GET, path, NOTHING).await?;
        if !response.status.is_success() {
            let bytes = response.read_to_end().await?;
            return Err(response.into_error(&bytes));
        }
        let mut unread = Vec::new();
        // A server that stops may close the connection within the stream.
        let mut chunks = std::mem::take(&mut response.body).into_data_stream();
        while let Some(Ok(chunk)) = chunks.next().await {
            unread.extend_from_slice(&chunk);
            while let Some(end) = memchr::memchr(b'\n', &unread) {
                let line: Vec<u8> = unread.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if let Some(data) = line.trim_end().strip_prefix("data: ") {
                    on_event(data)?;
                }
            }
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the connection is a socket of this machine, which the data directory contains"
    )]
    async fn exchange<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        payload: Payload<'_, B>,
    ) -> Result<ControlResponse> {
        let failure = || self.failure();
        let (media_type, body) = match payload {
            Payload::Json(value) => ("application/json", serde_json::to_vec(value)?),
            Payload::Component(bytes) => ("application/octet-stream", bytes),
            Payload::Nothing => ("application/json", Vec::new()),
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, media_type)
            .body(Body::from(body))?;
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .with_context(failure)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request).await.with_context(failure)?;
        Ok(ControlResponse {
            status: response.status(),
            body: Body::new(response.into_body()),
            failure: self.failure(),
            _connection: connection,
        })
    }

    fn failure(&self) -> String {
        let process = &self.process;
        format!("no response from the running server (process {process})")
    }

    /// Connects. A server that starts listens soon.
    async fn connect(&self) -> Result<UnixStream> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match UnixStream::connect(&self.socket).await {
                Ok(stream) => return Ok(stream),
                Err(_) if attempts < MAX_ATTEMPTS => {
                    tokio::time::sleep(ATTEMPT_INTERVAL).await;
                }
                Err(error) => {
                    let (process, socket) = (&self.process, self.socket.display());
                    return Err(error).with_context(|| {
                        format!("cannot reach the running server (process {process}) at {socket}: its log says why, or use the HTTP API")
                    });
                }
            }
        }
    }
}

/// The path of an engine's route, such as `rollback`.
///
/// The first character of the name is encoded, so that no engine has the name of another route.
pub(crate) fn engine_path(engine: &str, action: &str) -> String {
    let mut path = "/api/v1/engines/".to_owned();
    for byte in engine.bytes() {
        path.push_str(&format!("%{byte:02X}"));
    }
    if !action.is_empty() {
        path.push('/');
        path.push_str(action);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_path_is_never_that_of_another_route() {
        assert_eq!(engine_path("ab", "pin"), "/api/v1/engines/%61%62/pin");
        assert_eq!(engine_path("a/..", ""), "/api/v1/engines/%61%2F%2E%2E");
    }
}
