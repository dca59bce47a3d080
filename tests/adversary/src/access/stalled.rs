//! Clients that make the server wait.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep, timeout};

use super::raw_client::{RawClient, bearer};
use crate::target::{AttackTarget, IMAGES_PATH};

/// How long an attack may continue.
const MAX_ATTACK_TIME: Duration = Duration::from_secs(60);
/// Pause between two pieces of a slow body.
const DRIP_INTERVAL: Duration = Duration::from_millis(100);

/// The head of a request whose body follows.
fn head(target: &AttackTarget, length: &str) -> String {
    let key = bearer(target.client.key());
    format!(
        "POST {IMAGES_PATH} HTTP/1.1\r\nhost: pinhole\r\n{key}content-type: application/json\r\n{length}\r\n\r\n"
    )
}

pub(super) async fn body(target: &AttackTarget) -> Result<()> {
    let mut client = RawClient::connect(target, "127.0.0.10").await?;
    client.send(head(target, "content-length: 1000")).await;
    client.send("{\"prompt\": \"a fox").await;
    let (status, body) = client.response().await?;
    let body = String::from_utf8_lossy(&body);
    ensure!(status == 408, "{status} {body}");
    ensure!(body.contains("\"error\""), "not OpenAI's format: {body}");
    Ok(())
}

pub(super) async fn slow_body(target: &AttackTarget) -> Result<()> {
    let mut client = RawClient::connect(target, "127.0.0.11").await?;
    client
        .send(head(target, "transfer-encoding: chunked"))
        .await;
    let start = Instant::now();
    while client.send("1\r\n \r\n").await {
        ensure!(start.elapsed() < MAX_ATTACK_TIME, "the server still waits");
        sleep(DRIP_INTERVAL).await;
    }
    Ok(())
}

pub(super) async fn head_without_end(target: &AttackTarget) -> Result<()> {
    let mut client = RawClient::connect(target, "127.0.0.12").await?;
    client
        .send("GET /health HTTP/1.1\r\nhost: pinhole\r\n")
        .await;
    client.wait_for_end().await
}

pub(super) async fn unread_response(target: &AttackTarget) -> Result<()> {
    let mut client = RawClient::connect(target, "127.0.0.15").await?;
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: pinhole\r\n\r\n".repeat(100);
    // When the buffers of the network are full, the server reads no further request.
    let sending = async { while client.0.write_all(requests.as_bytes()).await.is_ok() {} };
    timeout(MAX_ATTACK_TIME, sending)
        .await
        .context("the server still waits for the client to read")
}
