//! JSON that is deep, wide or long without end: from upstreams and from clients.

use anyhow::{Result, ensure};
use http::Method;

use crate::arena::Arena;
use crate::upstream::answer;

/// Levels of a text that is too deep for anybody.
const DEPTH: usize = 1_000_000;
/// Values of a text that has too many.
const VALUES: usize = 3_000_000;
/// What a server may come to hold while it reads them, in bytes.
const MAX_MEMORY_BYTES: u64 = 1 << 30;

/// The engine asks for the answer as JSON and hears that it is none.
async fn is_no_json(arena: &Arena, body: Vec<u8>) -> Result<()> {
    let headers = "content-type: application/json\r\n";
    arena
        .upstream
        .answers(vec![answer("200 OK", headers, body)]);
    let answer = arena.draw("see json").await?;
    let heard = answer.message();
    ensure!(
        !answer.status.is_success() && heard.contains("the response is not JSON"),
        "the engine got it: {} {}",
        answer.status,
        heard.get(..200).unwrap_or(&heard)
    );
    let held = arena.memory_bytes()?;
    ensure!(
        held < MAX_MEMORY_BYTES,
        "the server holds {} MiB",
        held >> 20
    );
    Ok(())
}

pub(super) async fn deep(arena: &Arena) -> Result<()> {
    is_no_json(arena, b"[".repeat(DEPTH)).await?;
    is_no_json(arena, br#"{"a":"#.repeat(DEPTH)).await?;
    is_no_json(arena, [b"[".repeat(DEPTH), b"]".repeat(DEPTH)].concat()).await
}

pub(super) async fn wide(arena: &Arena) -> Result<()> {
    is_no_json(arena, list(b"0,")).await?;
    is_no_json(arena, list(b"{},")).await?;
    is_no_json(arena, list(b"\"\",")).await
}

/// A list that ends as it should.
fn list(value: &[u8]) -> Vec<u8> {
    let mut text = [b"[".as_slice(), &value.repeat(VALUES)].concat();
    if let Some(last) = text.last_mut() {
        *last = b']';
    }
    text
}

pub(super) async fn from_clients(arena: &Arena) -> Result<()> {
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
            let asked = arena.ask(
                &arena.administrator,
                Method::POST,
                path,
                "application/json",
                body.clone().into(),
            );
            let answer = asked.await?;
            ensure!(
                answer.status.is_client_error(),
                "{path} answers {}",
                answer.status
            );
        }
    }
    Ok(())
}
