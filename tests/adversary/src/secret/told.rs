//! An engine tells the key that it put together from pieces which nobody recognised.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::super::arena::{Arena, SECRET};
use super::super::upstream::json;
use super::{around, holds, only_around, pieces, says};
use pinhole_egress::Request;

/// The rest of the key, from its first characters on that are no words.
const NO_WORDS: &str = "Zx81-quiet/heron+4711==";
/// Only against a server that never tells what it has to.
const PATIENCE: Duration = Duration::from_secs(30);
/// Length of the events that are read, in bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;

fn give_pieces(arena: &Arena) {
    arena.upstream.answers(vec![pieces(&around(SECRET))]);
}

pub(super) async fn errors(arena: &Arena) -> Result<()> {
    give_pieces(arena);
    for place in ["message", "code", "field"] {
        let answer = arena.draw(&format!("join {place}")).await?;
        only_around(&answer.text(), SECRET)?;
    }
    Ok(())
}

pub(super) async fn log(arena: &Arena) -> Result<()> {
    give_pieces(arena);
    arena.draw("join log").await?;
    // What is written after it, in order.
    let last = "this is the last line of this case";
    says(arena, &format!("say {last}")).await?;
    let until = Instant::now() + PATIENCE;
    let log = loop {
        let log = arena.log()?;
        if log.contains(last) {
            break log;
        }
        ensure!(Instant::now() < until, "the log does not go on");
        sleep(Duration::from_millis(20)).await;
    };
    only_around(&log, SECRET)
}

pub(super) async fn progress(arena: &Arena) -> Result<()> {
    give_pieces(arena);
    arena.set("IMAGE_GENERATION_ENGINE", "hostile").await?;
    let deadline = Instant::now() + PATIENCE;
    let request = Request {
        method: Method::GET,
        path: "/api/events".to_owned(),
        ..Request::default()
    };
    let listening = arena.administrator.send(request, MAX_EVENT_BYTES, deadline);
    let mut events = listening.await.context("no events can be heard")?;
    let turn = json!({
        "model": "none",
        "chat_id": "local:adversary",
        "messages": [{"role": "user", "content": "join note"}],
        "features": {"image_generation": true},
    });
    let making = arena.post("/api/chat/completions", &turn);
    let hearing = async {
        let mut heard = Vec::new();
        while let Some(chunk) = events.chunk().await? {
            heard.extend_from_slice(&chunk);
            let text = String::from_utf8_lossy(&heard).into_owned();
            if text.contains("\"note\"") && text.ends_with("\n\n") {
                return only_around(&text, SECRET);
            }
        }
        anyhow::bail!("the events ended")
    };
    let (answered, heard) = tokio::join!(making, timeout(PATIENCE, hearing));
    let answered = answered?.text();
    heard.with_context(|| format!("no progress was told: {answered}"))?
}

pub(super) async fn details(arena: &Arena) -> Result<()> {
    give_pieces(arena);
    for place in ["details", "prompt"] {
        let prompt = format!("join {place}");
        let asked = json!({"prompt": prompt, "response_format": "url"});
        let answer = arena.draw_with(asked).await?;
        ensure!(answer.status.is_success(), "no picture: {}", answer.text());
        ensure!(
            !holds(&answer.text(), SECRET),
            "it is told: {}",
            answer.text()
        );
    }
    let files = arena.get("/api/v1/files/").await?;
    only_around(&files.text(), SECRET)
}

pub(super) async fn models(arena: &Arena) -> Result<()> {
    give_pieces(arena);
    arena.set("IMAGE_GENERATION_ENGINE", "hostile").await?;
    arena.set("HOSTILE_NOTE", "models").await?;
    let models = arena.get("/api/v1/images/models").await?;
    only_around(&models.text(), SECRET)
}

pub(super) async fn chat(arena: &Arena) -> Result<()> {
    let words = json!({"choices": [{"message": {"content": around(SECRET)}}]});
    arena.upstream.answers(vec![json(&words)]);
    let turn = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    let answer = arena.post("/v1/chat/completions", &turn).await?;
    only_around(&answer.text(), NO_WORDS)?;
    let answer = arena
        .ask(
            &arena.administrator,
            Method::GET,
            "/v1/models",
            "",
            Bytes::new(),
        )
        .await?;
    ensure!(
        !holds(&answer.text(), NO_WORDS),
        "it is listed: {}",
        answer.text()
    );
    Ok(())
}

/// Nobody listens on port 1.
pub(super) async fn addresses(arena: &Arena) -> Result<()> {
    for base in ["http://127.0.0.1:1", "http://no-such-host-4711.invalid"] {
        arena.set("HOSTILE_BASE_URL", base).await?;
        let said = says(arena, "reach api /allowed/x").await?;
        let learned = ["127.0.0", "4711", "refused", "resolve", "lookup"];
        let learned = learned.into_iter().find(|word| said.contains(word));
        ensure!(learned.is_none(), "it says {said:?}");
    }
    Ok(())
}
