//! T: memory that users and clients make a server hold.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use http::StatusCode;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::case::AttackCase;
use crate::target::{AttackTarget, ClientRequest, IMAGES_PATH, OtherServer, RequestStart};

const EDITS_PATH: &str = "/v1/images/edits";
const CHATS_PATH: &str = "/api/v1/chats/new";
const JSON: &str = "application/json";
/// A server that the cases start: its requests may hold 128 MiB.
const SMALL_MEMORY: &[(&str, &str)] = &[("PINHOLE_MEMORY_MIB", "256")];
const MIB: usize = 1 << 20;

pub(crate) const CASES: &[AttackCase] = &[
    AttackCase::new(
        "T1-wide-json",
        "a request body with more JSON values than the limit is refused before it is parsed",
        |target| Box::pin(wide_json(target)),
    )
    .guarded_by(&[Guard::JsonValues])
    .on_any_server(),
    AttackCase::new(
        "T2-deep-json",
        "a request body that is nested deeper than the limit is refused, even in a field that is skipped",
        |target| {
            let body = format!(r#"{{"x": {}{}}}"#, "[".repeat(100), "]".repeat(100));
            Box::pin(require_too_large(target, IMAGES_PATH, body, "nested deeper"))
        },
    )
    .guarded_by(&[Guard::JsonDepth])
    .on_any_server(),
    AttackCase::new(
        "T3-long-string",
        "a request body with a string longer than any field is refused, even in a field that is skipped",
        |target| {
            let body = json!({"x": "x".repeat(512 << 10)}).to_string();
            Box::pin(require_too_large(target, IMAGES_PATH, body, "a string is longer"))
        },
    )
    .guarded_by(&[Guard::JsonStrings])
    .on_any_server(),
    AttackCase::new(
        "T4-bodies-of-one-user",
        "one user's unfinished bodies leave memory for the bodies of others",
        |target| Box::pin(bodies_of_one_user(target)),
    )
    .guarded_by(&[Guard::MemoryOfUser])
    .on_own_server(),
    AttackCase::new(
        "T5-stored-chat",
        "one user who reads a large chat many times at once holds it a limited number of times",
        |target| Box::pin(stored_chat(target)),
    )
    .guarded_by(&[Guard::MemoryOfUser])
    .on_own_server(),
    AttackCase::new(
        "T6-guests",
        "engines do not grow beyond the memory of all users together",
        |target| Box::pin(guests(target)),
    )
    .guarded_by(&[Guard::MemoryOfAll])
    .on_own_server(),
];

async fn wide_json(target: &AttackTarget) -> Result<()> {
    let zeros = "0,".repeat(4 * MIB);
    let body = format!(r#"{{"zzz": [{zeros}0]}}"#);
    require_too_large(target, EDITS_PATH, body, "values").await
}

/// Fails unless the body is refused with status 413 for this reason.
async fn require_too_large(
    target: &AttackTarget,
    path: &str,
    body: String,
    reason: &str,
) -> Result<()> {
    let request = ClientRequest::post(path, JSON, body);
    let response = target.client.send(request).await?;
    let message = response.error_message();
    ensure!(
        response.status == StatusCode::PAYLOAD_TOO_LARGE && message.contains(reason),
        "the body was parsed: {} {}",
        response.status,
        response.text()
    );
    Ok(())
}

/// Another user stores a chat while the administrator's bodies are not finished.
async fn bodies_of_one_user(target: &AttackTarget) -> Result<()> {
    let other = target.start_other(&[], SMALL_MEMORY).await?;
    let key = add_user(&other).await?;
    let other_user = other.client.with_key(&key)?;
    let body = RequestStart {
        declared_bytes: 32 * MIB,
        sent_bytes: 30 * MIB,
    };
    let line = "POST /api/chat/completions";
    // One after the other: bodies that grow together are all refused.
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(other.client.start_request(line, &body).await?);
    }
    let chat = json!({"chat": {"title": "Foxes", "x": "x".repeat(8 * MIB)}});
    let request = ClientRequest::json(CHATS_PATH, &chat);
    let response = other.client.send_as(&other_user, request).await?;
    drop(held);
    response.require_success("storing a chat while another user sends large bodies")
}

async fn add_user(other: &OtherServer) -> Result<String> {
    let user = json!({
        "name": "Modest", "email": "modest@example.org", "password": "a long password", "role": "user",
    });
    other.client.post("/api/v1/auths/add", &user).await?;
    let session = other.client.post("/api/v1/auths/signin", &user).await?;
    let token = session
        .json()?
        .get("token")
        .and_then(Value::as_str)
        .map(str::to_owned);
    token.context("the user cannot sign in")
}

/// Clients request a chat at once, and read no more than the heads of the responses.
async fn stored_chat(target: &AttackTarget) -> Result<()> {
    /// Less than two of the server's budget, which one user may hold half of.
    const MAX_HELD: usize = 64 / 12 + 1;
    let other = target.start_other(&[], SMALL_MEMORY).await?;
    let message = |n: usize| {
        let content = "x".repeat(3 * MIB);
        (format!("m{n}"), json!({"role": "user", "content": content}))
    };
    let messages: serde_json::Map<_, _> = (0..4).map(message).collect();
    let chat = json!({"chat": {"history": {"messages": messages, "currentId": "m0"}}});
    let created = other.client.post(CHATS_PATH, &chat).await?;
    created.require_success("storing a chat")?;
    let id = created
        .json()?
        .get("id")
        .and_then(Value::as_str)
        .map(str::to_owned);
    let line = format!("GET /api/v1/chats/{}", id.context("the chat has no id")?);
    let nothing = RequestStart {
        declared_bytes: 0,
        sent_bytes: 0,
    };
    let connections = join_all((0..20).map(|_| other.client.start_request(&line, &nothing))).await;
    let mut accepted = Vec::new();
    for connection in connections {
        let mut stream = connection?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        match &status {
            b"HTTP/1.1 200" => accepted.push(stream),
            b"HTTP/1.1 429" => {}
            other_status => anyhow::bail!("{}", other_status.escape_ascii()),
        }
    }
    ensure!(
        (1..=MAX_HELD).contains(&accepted.len()),
        "the server holds {} copies of the chat",
        accepted.len()
    );
    Ok(())
}

async fn guests(target: &AttackTarget) -> Result<()> {
    let upstream = target.upstream.url();
    let hostile = [("HOSTILE_BASE_URL", upstream.as_str())];
    let variables = [SMALL_MEMORY, &hostile].concat();
    let other = target.start_other(&["hostile"], &variables).await?;
    let body = json!({"prompt": "grow", "engine": "hostile"});
    let response = other.client.post(IMAGES_PATH, &body).await?;
    ensure!(
        response.status == StatusCode::SERVICE_UNAVAILABLE
            && !response.header("retry-after").is_empty()
            && response.text().contains("all users together hold more"),
        "the engine grew beyond the budget: {} {}",
        response.status,
        response.text()
    );
    let audited = other
        .client
        .get(&format!("/api/v1/audit?kind={}", RefusalKind::Limit.name()))
        .await?;
    ensure!(
        audited.text().contains(Guard::MemoryOfAll.name()),
        "the audit log does not name the guard: {}",
        audited.text()
    );
    Ok(())
}
