//! The key in settings, requests and responses of the server.

use anyhow::{Context, Result, ensure};
use pinhole_tests::{FakeResponse, FakeUpstream, RawStep};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::reflection::{read, text_response};
use super::{contains_secret, report_of, require_redacted, surrounded};
use crate::network::name_image;
use crate::target::{AttackTarget, IMAGES_PATH, SECRET};

/// The operator's choice of the credential of the engine `hostile`.
const CREDENTIAL: &str = "PINHOLE_HOSTILE_CREDENTIAL";
const HEADERS: &str = "PINHOLE_HOSTILE_HEADERS";
/// The key file of a service account that does not exist.
const KEY_FILE: &str = include_str!("../../../../host/crates/egress/testdata/service_account.json");
/// A token of that account.
const TOKEN: &str = "ya29.c0AXy-Zb_19Qk_9LmT4........";
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

/// The upstream returns the value of a header that the operator set, and the password in it.
pub(super) async fn headers_of_operator(target: &AttackTarget) -> Result<()> {
    target
        .set("HOSTILE_API_KEY", NEXT_KEY)
        .await?
        .require_success("changing the key")?;
    let basic = base64_simd::STANDARD.encode_to_string(format!("ann:{SECRET}"));
    for (value, form) in [
        (SECRET.to_owned(), SECRET),
        (format!("Bearer {SECRET}"), SECRET),
        (format!("Basic {basic}"), SECRET),
        (format!("Basic {basic}"), basic.as_str()),
    ] {
        target
            .set(HEADERS, json!({ "x-gateway": value }))
            .await?
            .require_success("setting a header")?;
        let response = text_response(&surrounded(form));
        target.upstream.set_raw(vec![response]);
        require_redacted(&read(target, "text").await?, form)?;
    }
    let sent = target.upstream.requests();
    let sends_header = |value: &str| sent.iter().any(|it| it.header("x-gateway") == value);
    ensure!(
        sends_header(SECRET),
        "the header is not sent, so the case proves nothing"
    );
    Ok(())
}

/// The upstream returns the path and query of each request.
pub(super) async fn key_in_query(target: &AttackTarget) -> Result<()> {
    target
        .set(CREDENTIAL, "query key")
        .await?
        .require_success("choosing the query")?;
    target
        .upstream
        .set_raw_handler(|request| vec![text_response(&surrounded(&request.target))]);
    let text = read(target, "text").await?;
    require_redacted(&text, SECRET)?;
    let encoded = SECRET
        .replace('/', "%2F")
        .replace('+', "%2B")
        .replace('=', "%3D");
    ensure!(
        target
            .upstream
            .requests()
            .iter()
            .any(|it| it.target.contains(&encoded)),
        "the key is not in the query, so the case proves nothing"
    );
    require_redacted(&text, &encoded)
}

pub(super) async fn google_token(target: &AttackTarget) -> Result<()> {
    let mut key_file: Value = serde_json::from_str(KEY_FILE)?;
    let token_url = format!("{}/token", target.upstream.url());
    key_file
        .as_object_mut()
        .context("the key file is no object")?
        .insert("token_uri".to_owned(), token_url.into());
    target
        .set("HOSTILE_API_KEY", key_file.to_string())
        .await?
        .require_success("setting the key")?;
    target
        .set(CREDENTIAL, "google https://scope")
        .await?
        .require_success("choosing the token")?;
    target.upstream.set_raw_handler(|request| {
        if request.target == "/token" {
            let body = json!({"access_token": TOKEN, "expires_in": 3600}).to_string();
            return vec![RawStep::response(
                "200 OK",
                "content-type: application/json\r\n",
                body,
            )];
        }
        let sent = request.header("authorization");
        vec![text_response(&surrounded(sent))]
    });
    let text = read(target, "text").await?;
    let expected = format!("Bearer {TOKEN}");
    ensure!(
        target
            .upstream
            .requests()
            .iter()
            .any(|it| it.header("authorization") == expected),
        "the token is not sent, so the case proves nothing"
    );
    ensure!(
        !text.contains("ya29.c0AX") && !text.contains("Qk_9LmT4"),
        "the engine read the token: {text}"
    );
    Ok(())
}

pub(super) async fn header_injection(target: &AttackTarget) -> Result<()> {
    let names = [
        "host",
        "Content-Length",
        "transfer-encoding",
        "cookie",
        "x-a\r\nx-injected",
        "x-a:",
    ];
    for name in names {
        for (setting, value) in [
            (HEADERS, json!({ name: NEXT_KEY })),
            (CREDENTIAL, json!(format!("header {name} Key"))),
        ] {
            let response = target.set(setting, value).await?;
            // A colon after the name is part of no name.
            let is_name = setting == CREDENTIAL && name == "x-a:";
            ensure!(
                is_name || !response.status.is_success(),
                "{setting} accepts the header {name:?}"
            );
            ensure!(
                !contains_secret(&response.text(), NEXT_KEY),
                "the error repeats a value: {}",
                response.text()
            );
        }
    }
    let injected = json!({"x-a": format!("{NEXT_KEY}\r\nx-injected: 1")});
    let response = target.set(HEADERS, injected).await?;
    ensure!(
        !response.status.is_success(),
        "a value may contain line breaks"
    );
    target.generate("twice").await?.require_success("a job")?;
    for request in target.upstream.requests() {
        let head = request.head();
        ensure!(
            !head.contains("x-injected") && !head.contains(NEXT_KEY),
            "a header was injected: {head}"
        );
    }
    Ok(())
}

pub(super) async fn other_binding(target: &AttackTarget) -> Result<()> {
    let other = FakeUpstream::json(200, json!({})).await;
    target
        .set(HEADERS, json!({"x-gateway": SECRET}))
        .await?
        .require_success("setting a header")?;
    target
        .set(CREDENTIAL, "query key")
        .await?
        .require_success("choosing the query")?;
    let bindings = json!({
        "other": {"engine": "hostile", "settings": {"base-url": other.url()}},
        "keyed": {
            "engine": "hostile",
            "settings": {"base-url": other.url(), "api-key": NEXT_KEY},
            "headers": {"x-own": NEXT_KEY},
        },
    });
    target
        .set("PINHOLE_BINDINGS", bindings)
        .await?
        .require_success("defining bindings")?;
    for engine in ["other", "keyed"] {
        let body = json!({"prompt": "twice", "engine": engine});
        let response = target.client.post(IMAGES_PATH, &body).await?;
        response.require_success("a job of the other binding")?;
    }
    let requests = other.requests();
    ensure!(requests.len() == 4, "{} requests arrived", requests.len());
    for request in requests {
        let head = request.head();
        ensure!(
            !contains_secret(&head, SECRET) && !request.target.contains("key="),
            "the engine's key was sent to another binding's upstream: {head}"
        );
    }
    target.generate("twice").await?.require_success("a job")?;
    for request in target.upstream.requests() {
        ensure!(
            !contains_secret(&request.head(), NEXT_KEY),
            "a binding's key was sent to the engine's own upstream"
        );
    }
    Ok(())
}
