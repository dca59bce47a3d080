//! The engine `openai`, as far as its cases cannot cover it: errors that the client gets, and URLs that name the
//! upstream's own port.

use std::process::Command;

use pinhole_tests::{
    EngineFixture, FakeResponse, FakeUpstream, engines, file_path, program, recorded_response,
};
use serde_json::{Value, json};

/// Not in the form of OpenAI's keys, so that no pattern can recognize it.
const KEY: &str = "open-sesame-7391";

/// A server with an upstream at `/v1` and the model `gpt-image-2`, unless the variables replace them.
async fn start(variables: &[(&str, &str)]) -> EngineFixture {
    let mut all = vec![
        ("IMAGE_GENERATION_MODEL", "gpt-image-2"),
        ("IMAGES_OPENAI_API_BASE_URL", "{upstream}/v1"),
        ("IMAGES_OPENAI_API_KEY", "{secret}"),
    ];
    all.extend(variables);
    EngineFixture::start("openai", KEY, &all).await
}

/// A response that the official client accepted.
fn recorded(name: &str) -> FakeResponse {
    let all = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/cases/openai/recordings/official-client.json"
    ));
    let all: Value = serde_json::from_str(all).unwrap();
    recorded_response(&all[name])
}

#[tokio::test(flavor = "multi_thread")]
async fn client_fields_are_not_sent_to_the_upstream() {
    let fixture = start(&[]).await;
    let body = json!({
        "prompt": "a red fox", "quality": "high", "user": "somebody",
        "safety_identifier": "u-hash", "response_format": "url",
    });
    let exchange = fixture
        .generate([recorded("generate-minimal")], &body)
        .await;
    let sent = json!({"model": "gpt-image-2", "prompt": "a red fox", "quality": "high"});
    assert_eq!(exchange.request().json(), sent);
    assert_eq!(exchange.status, 200, "{}", exchange.body);
    let url = exchange.body["data"][0]["url"].as_str().unwrap();
    let stored = fixture.server.get(&file_path(url)).send().await.unwrap();
    assert!(stored.bytes().await.unwrap().starts_with(b"\x89PNG"));
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_refusal_is_returned_with_its_code() {
    let fixture = start(&[]).await;
    let body = json!({"prompt": "a red fox"});
    for (name, status, code, param) in [
        ("bad-key", 502, "invalid_api_key", None),
        ("organization", 502, "forbidden", None),
        ("model", 400, "model_not_found", Some("model")),
        ("size", 400, "invalid_value", Some("size")),
        ("safety", 400, "moderation_blocked", None),
        ("billing", 429, "billing_hard_limit_reached", None),
        ("quota", 429, "insufficient_quota", None),
        ("server", 502, "upstream", None),
        ("plain", 400, "invalid", None),
    ] {
        let exchange = fixture.generate([recorded(name)], &body).await;
        let error = exchange.error();
        assert_eq!((error.0, error.1, error.2), (status, code, param));
        assert!(!exchange.headers.contains_key("retry-after"), "{name}");
    }
    let error = json!({"message": "Slow down.", "code": "rate_limit_exceeded"});
    let limit = FakeResponse::json(429, &json!({"error": error})).header("retry-after", "3600");
    let exchange = fixture.generate([limit], &body).await;
    let expected = (429, "rate_limit_exceeded", None, "Slow down.");
    assert_eq!(exchange.error(), expected);
    assert_eq!(exchange.headers["retry-after"], "3600");
    assert_eq!(fixture.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn image_at_other_url_is_not_fetched() {
    let fixture = start(&[]).await;
    let other = FakeUpstream::json(200, json!({})).await;
    let port = fixture.upstream.address().port();
    for url in [
        format!("{}/x.png", other.url()),
        format!("http://localhost:{}/x.png", other.address().port()),
        format!("http://[::ffff:127.0.0.1]:{}/x.png", other.address().port()),
        // Other spellings of the granted host and port.
        format!("http://localhost:{port}/x.png"),
        format!("http://{KEY}@127.0.0.1:{port}/x.png"),
        format!("http://127.1:{port}/x.png"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://192.168.0.1/x.png".to_owned(),
        "file:///etc/passwd".to_owned(),
        "gs://bucket/x.png".to_owned(),
        "/x".to_owned(),
        "x".to_owned(),
    ] {
        let response = FakeResponse::json(200, &json!({"data": [{"url": url}]}));
        let exchange = fixture
            .generate([response], &json!({"prompt": "a red fox"}))
            .await;
        let expected = "the image URL is not allowed; if the upstream can return bytes \
            in place of a URL, set response-format-models to *";
        assert_eq!(
            exchange.error(),
            (502, "forbidden", None, expected),
            "{url}"
        );
        assert_eq!(exchange.request().line(), "POST /v1/images/generations");
    }
    assert!(other.requests().is_empty(), "{:?}", other.request_lines());
    assert_eq!(fixture.server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_debug_output_omits_the_key() {
    let fixture = start(&[]).await;
    let snapshot = fixture.server.app.jobs.snapshot();
    let engine = snapshot.binding("openai").unwrap();
    let settings = engine.generate_settings().unwrap();
    let destination = &settings.upstreams["api"].destination;
    let described = format!(
        "{:?} {:?} {:?} {:?} {}",
        settings.settings.values(),
        engine.component.description,
        settings.upstreams,
        destination,
        destination.origin(),
    );
    assert!(described.contains("base-url") && described.contains("Destination("));
    assert!(!described.contains(KEY), "{described}");

    let data = tempfile::tempdir().unwrap();
    let output = Command::new(program())
        .args(["engine", "show", "openai"])
        .env_clear()
        .env("PINHOLE_DATA", data.path())
        .env("PINHOLE_ENGINES", engines())
        .env("PINHOLE_LOG", "pinhole=trace")
        .env("IMAGES_OPENAI_API_BASE_URL", fixture.upstream.url())
        .env("IMAGES_OPENAI_API_KEY", KEY)
        .output()
        .unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        output.status.success() && text.contains(&fixture.upstream.url()),
        "{text}"
    );
    assert!(!text.contains(KEY), "{text}");
    assert!(fixture.upstream.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn key_in_the_url_is_refused_and_not_repeated() {
    for base in [
        "{upstream}/v1?key={secret}",
        "{upstream}/v1#{secret}",
        "http://{secret}@127.0.0.1:9/v1",
        "http://me:{secret}@127.0.0.1:9/v1",
        "ftp://127.0.0.1/{secret}",
    ] {
        let fixture = start(&[("IMAGES_OPENAI_API_BASE_URL", base)]).await;
        // `generate` asserts that the response does not contain the key.
        let exchange = fixture.generate([], &json!({"prompt": "a red fox"})).await;
        let (status, _, param, message) = exchange.error();
        assert_eq!((status, param), (400, Some("engine")), "{message}");
        let snapshot = fixture.server.app.jobs.snapshot();
        let problems = snapshot.binding("openai").unwrap().problems();
        assert!(problems[0].contains("base-url"), "{problems:?}");
        assert!(!problems[0].contains(KEY), "{problems:?}");
    }
}
