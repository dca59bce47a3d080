//! A client of the control socket of the server that runs.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::{Body, Bytes, to_bytes};
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use pinhole::config::Config;
use pinhole::control;
use pinhole_ground::data_dir;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

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
        let (status, bytes) = self.exchange(method, path, payload).await?;
        if status.is_success() {
            let parsed = serde_json::from_slice(&bytes);
            return Ok(parsed.context(
                "cannot read the server's response: use the program of the server's version",
            )?);
        }
        let message = match serde_json::from_slice(&bytes) {
            Ok(ErrorBody { detail }) => detail,
            Err(_) => format!("the server responds with status {status}"),
        };
        let code = if status == StatusCode::NOT_FOUND {
            WRONG_USE
        } else {
            FAILED
        };
        Err(CommandError { message, code })
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
    ) -> Result<(StatusCode, Bytes)> {
        let failure = || {
            format!(
                "no response from the running server (process {})",
                self.process
            )
        };
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
        let connection = tokio::spawn(connection);
        let response = sender.send_request(request).await.with_context(failure)?;
        let status = response.status();
        let received = Body::new(response.into_body());
        let bytes = to_bytes(received, MAX_RESPONSE_BYTES)
            .await
            .with_context(failure)?;
        connection.abort();
        Ok((status, bytes))
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
