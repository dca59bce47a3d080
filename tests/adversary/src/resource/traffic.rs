//! Requests and responses that are too long or too many.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::StatusCode;
use pinhole_tests::RawStep;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::require_failure;
use crate::target::AttackTarget;

/// How long the server may take to cancel an upstream request.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that a job must not reach.
const MAX_CONNECTIONS: usize = 100;

pub(super) async fn request_body(target: &AttackTarget) -> Result<()> {
    let response = target.generate("pictures 7").await?;
    ensure!(!response.status.is_success(), "{}", response.text());
    let count = target.upstream.requests().len();
    ensure!(
        count == 0,
        "the body was sent: {}",
        response.error_message()
    );
    Ok(())
}

pub(super) async fn responses_held(target: &AttackTarget) -> Result<()> {
    let megabyte = Value::from("x".repeat(1 << 20));
    target.upstream.set_raw(vec![RawStep::json(&megabyte)]);
    require_failure(target, "keep 300", "it holds more than").await
}

pub(super) async fn responses_discarded(target: &AttackTarget) -> Result<()> {
    let response = RawStep::response("200 OK", "", vec![b'x'; 60 << 20]);
    target.upstream.set_raw(vec![response]);
    require_failure(target, "take 30", "it received more than").await
}

pub(super) async fn long_event(target: &AttackTarget) -> Result<()> {
    let event = format!("data: \"{}\"\n\n", "x".repeat(40 << 20));
    let headers = "content-type: text/event-stream\r\n";
    target
        .upstream
        .set_raw(vec![RawStep::response("200 OK", headers, event)]);
    let response = target.generate("events").await?;
    ensure!(
        !response.error_message().starts_with("read "),
        "the engine read the event: {}",
        response.error_message()
    );
    Ok(())
}

pub(super) async fn open_requests(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw(vec![RawStep::Hold]);
    let reason = "too many requests at the same time";
    require_failure(target, "starts 1000", reason).await?;
    let count = target.upstream.connection_count();
    ensure!(
        count < MAX_CONNECTIONS,
        "the job opened {count} connections"
    );
    target.upstream.wait_until_idle().await;
    Ok(())
}

pub(super) async fn client_disconnects(target: &AttackTarget) -> Result<()> {
    target.upstream.set_raw(vec![RawStep::Hold]);
    // The request is dropped, and its connection with it.
    tokio::select! {
        response = target.generate("reach api /allowed/slow") => {
            bail!("the server responded with {:?}", response?.status)
        }
        () = target.upstream.wait_for_requests(1) => {}
    }
    timeout(CANCEL_TIMEOUT, target.upstream.wait_until_idle())
        .await
        .context("the upstream request is not canceled")
}

pub(super) async fn long_preview(target: &AttackTarget) -> Result<()> {
    let body = json!({"prompt": "show 9", "stream": true, "partial_images": 3});
    let response = target.generate_with(body).await?;
    ensure!(response.status == StatusCode::OK, "{}", response.text());
    let length = response.body.len();
    ensure!(length < 1 << 20, "the client received {length} bytes");
    Ok(())
}
