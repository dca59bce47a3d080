//! What an engine returns as images.

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use pinhole_tests::RawStep;
use serde_json::{Value, json};

use super::encode::small_png;
use super::generate_from_upstream;
use super::uploads::{DOCUMENTS, remove};
use crate::target::AttackTarget;

/// Length of the events that a client may receive, in bytes.
const MAX_EVENT_BYTES: usize = 16 << 10;

pub(super) async fn documents(target: &AttackTarget) -> Result<()> {
    for document in DOCUMENTS {
        let response = generate_from_upstream(target, document).await?;
        let text = String::from_utf8_lossy(document);
        ensure!(!response.status.is_success(), "{text} was accepted");
    }
    Ok(())
}

pub(super) async fn no_image(target: &AttackTarget) -> Result<()> {
    let response = target.generate("none").await?;
    ensure!(
        !response.status.is_success() && response.error_message().contains("returned no image"),
        "{}",
        response.text()
    );
    Ok(())
}

pub(super) async fn too_many(target: &AttackTarget) -> Result<()> {
    let body = json!({"prompt": "many", "n": 4});
    let response = target.generate_with(body).await?;
    ensure!(
        !response.status.is_success(),
        "all of the images were accepted"
    );
    Ok(())
}

/// A client that requested two previews watches a job that reports far more, and ends with this text.
pub(super) async fn limited_events(
    target: &AttackTarget,
    prompt: &str,
    last_text: &str,
) -> Result<()> {
    let body = json!({"prompt": prompt, "stream": true, "partial_images": 2});
    let text = target.generate_with(body).await?.text();
    ensure!(
        text.contains(last_text),
        "the job ended for another reason: {text}"
    );
    let previews = text
        .matches("event: image_generation.partial_image")
        .count();
    ensure!(previews <= 2, "the client received {previews} previews");
    ensure!(
        text.len() < MAX_EVENT_BYTES,
        "the client received {} bytes",
        text.len()
    );
    Ok(())
}

pub(super) async fn declared_type(target: &AttackTarget) -> Result<()> {
    let headers = "content-type: text/html\r\n";
    target
        .upstream
        .set_raw(vec![RawStep::response("200 OK", headers, small_png(&[])?)]);
    let body = json!({"prompt": "fetch", "engine": "hostile"});
    let response = target
        .client
        .post("/api/v1/images/generations", &body)
        .await?;
    ensure!(response.status == StatusCode::OK, "{}", response.text());
    let images = response.json()?;
    let url = images
        .pointer("/0/url")
        .and_then(Value::as_str)
        .context("no file was stored")?;
    let file = target.client.get(url).await?;
    let media_type = file.header("content-type");
    ensure!(
        media_type == "image/png",
        "the file is sent as {media_type:?}"
    );
    if let Some(path) = url.strip_suffix("/content") {
        remove(target, path).await?;
    }
    Ok(())
}
