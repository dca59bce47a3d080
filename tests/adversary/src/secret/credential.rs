//! The key in settings, requests and responses of the server.

use anyhow::{Context, Result, ensure};
use pinhole_tests::FakeResponse;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{contains_secret, report_of};
use crate::network::name_image;
use crate::target::{AttackTarget, SECRET};

/// Another key.
const NEXT_KEY: &str = "another-secret-4712-Yw82";

pub(super) async fn not_in_settings_of_engine(target: &AttackTarget) -> Result<()> {
    let report = report_of(target, "settings").await?;
    ensure!(
        report.contains("api-key"),
        "the engine does not report its settings: {report}"
    );
    ensure!(
        !contains_secret(&report, SECRET),
        "the engine received the key: {report}"
    );
    Ok(())
}

pub(super) async fn not_sent_to_image_url(target: &AttackTarget) -> Result<()> {
    name_image(
        target,
        &format!("{}/allowed/picture.png", target.upstream.url()),
    );
    let response = target.generate("result").await?;
    response.require_success("fetching the image")?;
    for request in target.upstream.requests().iter().skip(1) {
        ensure!(
            !contains_secret(&request.head(), SECRET),
            "the key was sent: {}",
            request.head()
        );
    }
    Ok(())
}

pub(super) async fn placeholders(target: &AttackTarget) -> Result<()> {
    for prompt in [
        "reach api /allowed/x?key=$HOSTILE_API_KEY&again=__api-key__&more=%7B%7Bapi-key%7D%7D",
        "header x-note ${HOSTILE_API_KEY} {{api-key}}",
        "header x-note secret://api-key",
    ] {
        target.generate(prompt).await?;
    }
    for request in target.upstream.requests() {
        let head = request.head();
        let leak = head
            .lines()
            .find(|line| line.contains(SECRET) && !line.starts_with("authorization: "));
        ensure!(leak.is_none(), "the key was sent in {leak:?}");
    }
    Ok(())
}

/// Reads everything that an administrator can read without naming an object.
pub(super) async fn not_in_responses(target: &AttackTarget) -> Result<()> {
    let document = target.client.get("/openapi.json").await?.json()?;
    let paths = document.get("paths").and_then(Value::as_object);
    for (path, operations) in paths.context("the OpenAPI document has no paths")? {
        // Event streams are endless.
        if operations.get("get").is_none() || path.contains('{') || path.ends_with("/events") {
            continue;
        }
        let response = target.client.get(path).await?;
        ensure!(
            !contains_secret(&response.text(), SECRET),
            "{path} contains the key: {}",
            response.text()
        );
    }
    Ok(())
}

pub(super) async fn pasted_as_url(target: &AttackTarget) -> Result<()> {
    for url in [
        SECRET.to_owned(),
        format!("user:{SECRET}"),
        format!("https://user:{NEXT_KEY}@example.com/v1"),
        format!("https://example.com/v1?key={SECRET}"),
    ] {
        let response = target.set("HOSTILE_BASE_URL", url.as_str()).await?;
        ensure!(
            !response.status.is_success(),
            "the setting accepts {url} as a URL"
        );
        let text = response.text();
        ensure!(
            !contains_secret(&text, SECRET) && !contains_secret(&text, NEXT_KEY),
            "the error repeats the key: {text}"
        );
    }
    Ok(())
}

pub(super) async fn rotation(target: &AttackTarget) -> Result<()> {
    let key_changed = watch::Sender::new(false);
    let receiver = key_changed.subscribe();
    target.upstream.set_handler(move |request| {
        let mut receiver = receiver.clone();
        async move {
            if request.target == "/allowed/first" {
                // Ends when the key was changed, or with the case.
                receiver.wait_for(|is_changed| *is_changed).await.ok();
            }
            FakeResponse::json(200, &json!({}))
        }
    });
    let changing = async {
        target.upstream.wait_for_requests(1).await;
        let response = target.set("HOSTILE_API_KEY", NEXT_KEY).await;
        key_changed.send_replace(true);
        response
    };
    let (first_job, change) = tokio::join!(target.generate("twice"), changing);
    change?.require_success("changing the key")?;
    first_job?.require_success("the job")?;
    let next_job = target.generate("twice").await?;
    next_job.require_success("the next job")?;
    let requests = target.upstream.requests();
    let requests_with = |key: &str| -> Vec<bool> {
        requests
            .iter()
            .map(|request| request.head().contains(key))
            .collect()
    };
    ensure!(
        requests_with(SECRET) == [true, true, false, false]
            && requests_with(NEXT_KEY) == [false, false, true, true],
        "a job used another key than its own"
    );
    Ok(())
}
