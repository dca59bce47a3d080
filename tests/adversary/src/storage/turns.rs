//! Chat turns that do not end.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest};
use serde_json::{Value, json};

use crate::target::{AttackTarget, Client};

pub(super) async fn killed(target: &AttackTarget) -> Result<()> {
    let model = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().starts_with("POST ") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await;
    let data = tempfile::tempdir()?;
    let url = model.url();
    let variables = [("OPENAI_API_BASE_URL", url.as_str())];
    let first = target.start_further(data.path(), &variables).await?;
    let key = first.key.clone().context("no key")?;
    let client = Client::new(&first.url, &key)?;
    let chat = json!({"chat": {"title": "Foxes"}});
    let chat = client.post("/api/v1/chats/new", &chat).await?.json()?;
    let id = chat.get("id").and_then(Value::as_str).context("no chat")?;
    let turn = json!({
        "model": "m", "stream": true, "session_id": "s1", "chat_id": id, "id": "a1",
        "messages": [{"role": "user", "content": "a red fox"}],
    });
    let started = client.post("/api/chat/completions", &turn).await?;
    started.require_success("starting a turn")?;
    let is_order = |line: &String| line.starts_with("POST ");
    while !model.request_lines().iter().any(is_order) {
        model
            .wait_for_requests(model.request_lines().len() + 1)
            .await;
    }
    // Kills the process.
    drop(first);

    let second = target.start_further(data.path(), &variables).await?;
    let reader = Client::new(&second.url, &key)?;
    let response = reader.get(&format!("/api/v1/chats/{id}")).await?;
    ensure!(response.status == StatusCode::OK, "{}", response.text());
    let stored = response.json()?;
    let error = stored.pointer("/chat/history/messages/a1/error/content");
    ensure!(
        error.is_some_and(Value::is_string),
        "the message has no error: {stored}"
    );
    Ok(())
}
