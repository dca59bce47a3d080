//! JSON that is too deep or too wide: from upstreams and from clients.

use anyhow::{Result, ensure};
use pinhole_tests::RawStep;

use crate::target::{AttackTarget, ClientRequest};

/// Levels of a JSON text that is too deep.
const DEPTH: usize = 1_000_000;
/// Values of a JSON text that has too many.
const VALUES: usize = 3_000_000;
/// Memory that the server may use while it reads them, in bytes.
const MAX_MEMORY_BYTES: u64 = 1 << 30;

/// Fails unless the engine learns that the body exceeds this limit.
async fn require_refused(target: &AttackTarget, body: Vec<u8>, limit: &str) -> Result<()> {
    let headers = "content-type: application/json\r\n";
    target
        .upstream
        .set_raw(vec![RawStep::response("200 OK", headers, body)]);
    let response = target.generate("see json").await?;
    let message = response.error_message();
    ensure!(
        !response.status.is_success() && message.contains(limit),
        "the engine read the JSON: {} {}",
        response.status,
        message.get(..200).unwrap_or(&message)
    );
    let memory = target.memory_bytes()?;
    ensure!(
        memory < MAX_MEMORY_BYTES,
        "the server uses {} MiB",
        memory >> 20
    );
    Ok(())
}

pub(super) async fn deep(target: &AttackTarget) -> Result<()> {
    require_refused(target, b"[".repeat(DEPTH), "it is nested deeper").await?;
    require_refused(target, br#"{"a":"#.repeat(DEPTH), "it is nested deeper").await?;
    let closed = [b"[".repeat(DEPTH), b"]".repeat(DEPTH)].concat();
    require_refused(target, closed, "it is nested deeper").await
}

pub(super) async fn wide(target: &AttackTarget) -> Result<()> {
    require_refused(target, list_of(b"0,"), "values").await?;
    require_refused(target, list_of(b"{},"), "values").await?;
    require_refused(target, list_of(b"\"\","), "values").await
}

/// A valid list of many copies of this element, which ends with a comma.
fn list_of(element: &[u8]) -> Vec<u8> {
    let mut text = [b"[".as_slice(), &element.repeat(VALUES)].concat();
    if let Some(last) = text.last_mut() {
        *last = b']';
    }
    text
}

pub(super) async fn from_clients(target: &AttackTarget) -> Result<()> {
    let deep = b"[".repeat(DEPTH);
    let nested = [br#"{"prompt":"#.repeat(DEPTH / 10), b"1".to_vec()].concat();
    for path in [
        "/v1/images/generations",
        "/api/v1/images/generations",
        "/api/chat/completions",
        "/api/v1/chats/new",
        "/api/v1/settings",
        "/api/v1/configs/import",
    ] {
        for body in [&deep, &nested] {
            let request = ClientRequest::post(path, "application/json", body.clone());
            let response = target.client.send(request).await?;
            ensure!(
                response.status.is_client_error(),
                "{path} responds with {}",
                response.status
            );
        }
    }
    Ok(())
}
