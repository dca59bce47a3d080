//! An engine leaks the key, which it assembled from pieces that redaction does not recognize.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use http::Method;
use pinhole_egress::Request;
use pinhole_tests::RawStep;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{contains_secret, pieces, report_of, require_redacted, surrounded};
use crate::target::{AttackTarget, SECRET};

/// The parts of the key that are not plain words, joined.
const NO_WORDS: &str = "Zx81-quiet/heron+4711==";
/// How long the server may take to log a line or send an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);
/// Length of the events that are read, in bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;

fn send_pieces(target: &AttackTarget) {
    target.upstream.set_raw(vec![pieces(&surrounded(SECRET))]);
}

pub(super) async fn errors(target: &AttackTarget) -> Result<()> {
    send_pieces(target);
    for place in ["message", "code", "field"] {
        let response = target.generate(&format!("join {place}")).await?;
        require_redacted(&response.text(), SECRET)?;
    }
    Ok(())
}

pub(super) async fn log(target: &AttackTarget) -> Result<()> {
    send_pieces(target);
    target.generate("join log").await?;
    // The server writes this line after the other one.
    let last_line = "this is the last line of this case";
    report_of(target, &format!("say {last_line}")).await?;
    let deadline = Instant::now() + EVENT_TIMEOUT;
    loop {
        let log = target.log()?;
        if log.contains(last_line) {
            return require_redacted(&log, SECRET);
        }
        ensure!(
            Instant::now() < deadline,
            "the engine's line is not in the log"
        );
        sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn progress(target: &AttackTarget) -> Result<()> {
    send_pieces(target);
    target.set("IMAGE_GENERATION_ENGINE", "hostile").await?;
    let request = Request {
        method: Method::GET,
        path: "/api/events".to_owned(),
        ..Request::default()
    };
    let mut events = target
        .client
        .administrator
        .send(request, MAX_EVENT_BYTES, Instant::now() + EVENT_TIMEOUT)
        .await
        .context("the server sends no events")?;
    let turn = json!({
        "model": "none",
        "chat_id": "local:adversary",
        "messages": [{"role": "user", "content": "join note"}],
        "features": {"image_generation": true},
    });
    let completion = target.client.post("/api/chat/completions", &turn);
    let reading = async {
        let mut received = Vec::new();
        while let Some(chunk) = events.chunk().await? {
            received.extend_from_slice(&chunk);
            let text = String::from_utf8_lossy(&received);
            if text.contains("\"note\"") && text.ends_with("\n\n") {
                return require_redacted(&text, SECRET);
            }
        }
        bail!("the stream of events ended")
    };
    let (response, read) = tokio::join!(completion, timeout(EVENT_TIMEOUT, reading));
    let text = response?.text();
    read.with_context(|| format!("no progress was reported: {text}"))?
}

pub(super) async fn details(target: &AttackTarget) -> Result<()> {
    send_pieces(target);
    for place in ["details", "prompt"] {
        let prompt = format!("join {place}");
        let body = json!({"prompt": prompt, "response_format": "url"});
        let response = target.generate_with(body).await?;
        response.require_success("the job")?;
        ensure!(
            !contains_secret(&response.text(), SECRET),
            "the response contains the secret: {}",
            response.text()
        );
    }
    let files = target.client.get("/api/v1/files/").await?;
    require_redacted(&files.text(), SECRET)
}

pub(super) async fn models(target: &AttackTarget) -> Result<()> {
    send_pieces(target);
    target.set("IMAGE_GENERATION_ENGINE", "hostile").await?;
    target.set("HOSTILE_NOTE", "models").await?;
    let models = target.client.get("/api/v1/images/models").await?;
    require_redacted(&models.text(), SECRET)
}

pub(super) async fn chat(target: &AttackTarget) -> Result<()> {
    let completion = json!({"choices": [{"message": {"content": surrounded(SECRET)}}]});
    target.upstream.set_raw(vec![RawStep::json(&completion)]);
    let turn = json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]});
    let response = target.client.post("/v1/chat/completions", &turn).await?;
    require_redacted(&response.text(), NO_WORDS)?;
    let models = target.client.get("/v1/models").await?;
    ensure!(
        !contains_secret(&models.text(), NO_WORDS),
        "the list of models contains the secret: {}",
        models.text()
    );
    Ok(())
}

pub(super) async fn urls(target: &AttackTarget) -> Result<()> {
    // No server listens on port 1.
    for url in ["http://127.0.0.1:1", "http://no-such-host-4711.invalid"] {
        target.set("HOSTILE_BASE_URL", url).await?;
        let report = report_of(target, "reach api /allowed/x").await?;
        let revealing = ["127.0.0", "4711", "refused", "resolve", "lookup"];
        let revealed = revealing.into_iter().find(|text| report.contains(text));
        ensure!(revealed.is_none(), "the engine reports {report:?}");
    }
    Ok(())
}
