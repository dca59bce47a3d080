//! Searches that use more than their share.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};

use crate::target::{AttackTarget, Response};

const CHATS_PATH: &str = "/api/v1/chats/new";
/// Searches at the same time.
const MANY_SEARCHES: usize = 200;
/// Messages whose comparison takes long.
const LONG_MESSAGES: usize = 230;
/// Length of each, which the index has completely.
const LONG_MESSAGE_BYTES: usize = 64 << 10;
/// The time of a search, and of the way to the server and back.
const MAX_RESPONSE_TIME: Duration = Duration::from_secs(6);
/// How long the server may take to index the messages.
const INDEX_TIMEOUT: Duration = Duration::from_secs(200);

async fn search(target: &AttackTarget, text: &str) -> Result<Response> {
    let encoded: String = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let path = format!("/api/v1/chats/search?text={encoded}");
    target.client.get(&path).await
}

/// Creates a chat of the administrator. Returns its path.
async fn create_chat(target: &AttackTarget, chat: Value) -> Result<String> {
    let response = target
        .client
        .post(CHATS_PATH, &json!({"chat": chat}))
        .await?;
    response.require_success("storing a chat")?;
    let stored = response.json()?;
    let id = stored.get("id").and_then(Value::as_str);
    Ok(format!(
        "/api/v1/chats/{}",
        id.context("the chat has no id")?
    ))
}

pub(super) async fn flood(target: &AttackTarget) -> Result<()> {
    let path = create_chat(target, json!({"title": "a red fox"})).await?;
    let searches = join_all((0..MANY_SEARCHES).map(|_| search(target, "fox")));
    let (responses, other) = tokio::join!(searches, target.client.get("/api/v1/auths/"));
    other?.require_success("a request during the searches")?;
    let mut refused = 0;
    for response in responses {
        match response?.status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => refused += 1,
            status => bail!("a search has status {status}"),
        }
    }
    target
        .client
        .delete(&path)
        .await?
        .require_success("deleting the chat")?;
    ensure!(
        refused > 0,
        "all {MANY_SEARCHES} searches of one user ran or waited"
    );
    Ok(())
}

/// Creates a chat whose messages contain every part of a searched text, and a last one.
async fn create_long_chat(target: &AttackTarget, last: &str) -> Result<String> {
    let mut messages = Map::new();
    let repeated = "a".repeat(LONG_MESSAGE_BYTES);
    let contents = std::iter::repeat_n(repeated.as_str(), LONG_MESSAGES).chain([last]);
    for (number, content) in contents.enumerate() {
        let id = format!("m{number:04}");
        messages.insert(
            id.clone(),
            json!({"id": id, "role": "user", "content": content}),
        );
    }
    let chat = json!({"title": "long", "history": {"messages": messages}});
    create_chat(target, chat).await
}

pub(super) async fn slow(target: &AttackTarget) -> Result<()> {
    let first = create_long_chat(target, "").await?;
    let second = create_long_chat(target, "äöü is indexed last").await?;
    // Without the index, only ASCII letters match in upper and lower case.
    let indexed = async {
        while search(target, "ÄÖÜ IS INDEXED LAST").await?.text() == "[]" {}
        anyhow::Ok(())
    };
    timeout(INDEX_TIMEOUT, indexed)
        .await
        .context("the chat is not indexed")??;
    let start = Instant::now();
    let response = search(target, &"a".repeat(500)).await?;
    let elapsed = start.elapsed();
    for path in [first, second] {
        let deletion = target.client.delete(&path).await?;
        deletion.require_success("deleting a chat")?;
    }
    ensure!(
        elapsed < MAX_RESPONSE_TIME,
        "a search took {} ms and ended with {}",
        elapsed.as_millis(),
        response.status
    );
    Ok(())
}

pub(super) async fn operators(target: &AttackTarget) -> Result<()> {
    let path = create_chat(target, json!({"title": "a red fox"})).await?;
    for text in [
        "\"",
        "\" OR \"fox",
        "NEAR(red fox)",
        "fox*",
        "f%x",
        "f_x",
        "title : fox",
        "^a",
        "red AND fox",
        "-fox",
        "a\0\"red",
        "((((",
        "\u{202e}fox",
        "'; DROP TABLE chats; --",
    ] {
        let found = search(target, text).await?;
        ensure!(
            found.status == StatusCode::OK && found.text() == "[]",
            "{text:?}: {} {}",
            found.status,
            found.text()
        );
    }
    let found = search(target, "RED fo").await?;
    target
        .client
        .delete(&path)
        .await?
        .require_success("deleting the chat")?;
    ensure!(found.text().contains("a red fox"), "the chat is not found");
    Ok(())
}
