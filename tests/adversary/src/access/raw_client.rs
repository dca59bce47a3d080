//! A client whose bytes a case writes.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::target::AttackTarget;

/// How long the server may wait for a client: far more than its limits, and far less than a case may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// Length of a body that is read, in bytes.
const MAX_BODY_BYTES: usize = 16 << 20;

/// A connection.
pub(super) struct RawClient(pub(super) BufReader<TcpStream>);

impl RawClient {
    /// A connection from this IP address. Each case has its own one, as limits count by IP address.
    pub(super) async fn connect(target: &AttackTarget, ip: &str) -> Result<Self> {
        let stream = target.client.connect_from(ip).await?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes. The server may have closed the connection already.
    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// The status of the next response, and its body.
    pub(super) async fn response(&mut self) -> Result<(u16, Vec<u8>)> {
        let reading = timeout(PATIENCE, self.read_response()).await;
        reading.context("the server does not respond")?
    }

    /// Fails unless the server closes the connection.
    pub(super) async fn wait_for_end(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        let reading = timeout(PATIENCE, self.0.read_to_end(&mut rest)).await;
        reading
            .map(drop)
            .context("the server does not close the connection")
    }

    async fn read_response(&mut self) -> Result<(u16, Vec<u8>)> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            ensure!(
                self.0.read_line(&mut line).await? > 0,
                "the connection has ended"
            );
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if status.is_none() {
                let code = line.split(' ').nth(1).context("no status")?;
                status = Some(code.parse()?);
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        ensure!(length <= MAX_BODY_BYTES, "a body of {length} bytes");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((status.context("no status")?, body))
    }
}

/// A request with this key or cookie, and with these headers, each with its line end.
pub(super) fn request(line: &str, credential: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: pinhole\r\n{credential}{headers}content-length: {length}\r\n\r\n{body}"
    )
}

/// The header of an API key or a session's token.
pub(super) fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

/// Adds a user who may generate images. Returns the token of the user's session.
pub(super) async fn add_user(target: &AttackTarget, name: &str) -> Result<String> {
    let user = json!({
        "name": name, "email": format!("{name}@example.org"), "password": "a long password",
        "role": "user",
    });
    target.client.post("/api/v1/auths/add", &user).await?;
    let session = target.client.post("/api/v1/auths/signin", &user).await?;
    let session = session.json()?;
    let token = session.get("token").and_then(Value::as_str);
    Ok(token
        .ok_or_else(|| anyhow!("{name} cannot sign in: {session}"))?
        .to_owned())
}
