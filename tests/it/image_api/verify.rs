//! Verification of an upstream: for administrators only, and without side effects.

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer};
use serde_json::{Value, json};

use super::{GENERATIONS, PROHIBITED, assert_refused, response_json};

const SAVED: &str = "/api/v1/images/config/url/verify";
const VERIFY: &str = "/api/v1/images/verify";
const OOPS: &str = "Oops! The URL you provided is invalid. Please double-check and try again.";
const INVALID: &str = "The URL you provided is invalid. Please double-check and try again.";

/// A web UI that requires this authorization; empty means none.
async fn automatic1111(authorization: &'static str) -> FakeUpstream {
    FakeUpstream::start(move |request: RecordedRequest| {
        let is_known = authorization.is_empty() || request.header("authorization") == authorization;
        let response = if is_known {
            FakeResponse::json(200, &json!([{"title": "a.ckpt", "model_name": "a"}]))
        } else {
            FakeResponse::json(401, &json!({"detail": "Incorrect credentials"}))
        };
        async { response }
    })
    .await
}

/// `user:password` as a basic credential.
const BASIC: &str = "Basic dXNlcjpwYXNzd29yZA==";

/// Asserts that the detail begins with this reason, and ends with Open WebUI's text if the URL may be wrong.
#[track_caller]
fn assert_failed((status, refused): (u16, Value), expected: &str, text_of_url: Option<&str>) {
    let (detail, reason) = (&refused["detail"], refused["reason"].as_str().unwrap());
    let whole = match text_of_url {
        Some(text) => format!("{reason}. {text}"),
        None => reason.to_owned(),
    };
    assert_eq!((status, detail.as_str()), (400, Some(whole.as_str())));
    assert!(
        reason.contains(expected) && !reason.contains("127.0.0.1"),
        "{reason}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_uses_stored_engine_settings() {
    let upstream = automatic1111(BASIC).await;
    let url = upstream.url();
    let address = ("AUTOMATIC1111_BASE_URL", url.as_str());
    let key = ("AUTOMATIC1111_API_AUTH", "user:password");
    let server = TestServer::with_engine("automatic1111", &[address, key]).await;
    assert_eq!(response_json(server.get(SAVED)).await, (200, json!(true)));
    assert!(!upstream.requests().is_empty());

    let without_key = TestServer::with_engine("automatic1111", &[address]).await;
    let response = response_json(without_key.get(SAVED)).await;
    assert_failed(response, "Incorrect credentials", None);
    let without_url = TestServer::with_engine("automatic1111", &[]).await;
    let refused = response_json(without_url.get(SAVED)).await;
    assert_failed(
        refused,
        "has no upstream URL: set AUTOMATIC1111_BASE_URL",
        None,
    );
    let closed = ("AUTOMATIC1111_BASE_URL", "http://127.0.0.1:9");
    let unreachable = TestServer::with_engine("automatic1111", &[closed]).await;
    let failed = response_json(unreachable.get(SAVED)).await;
    assert_failed(failed, "cannot be reached", Some(OOPS));
    // An engine without upstream is valid.
    let sketch = TestServer::with_engine("sketch", &[]).await;
    assert_eq!(response_json(sketch.get(SAVED)).await, (200, json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_failure_disables_nothing() {
    let server = TestServer::start(&[("IMAGE_SIZE", "64x64")]).await;
    let body = json!({"engine": "comfyui", "url": "http://127.0.0.1:9"});
    let response = server.post_json(VERIFY, &body).await;
    assert_failed(response, "cannot be reached", Some(INVALID));
    let (status, made) = server
        .post_json(GENERATIONS, &json!({"prompt": "a fox"}))
        .await;
    assert_eq!(status, 200, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_sends_only_key_of_request() {
    let (saved, other) = (automatic1111(BASIC).await, automatic1111("").await);
    let url = saved.url();
    let server = TestServer::with_engine(
        "automatic1111",
        &[
            ("AUTOMATIC1111_BASE_URL", &url),
            ("AUTOMATIC1111_API_AUTH", "user:password"),
        ],
    )
    .await;
    // The stored key is not sent to another URL.
    let body = json!({"engine": "automatic1111", "url": other.url(), "key": null});
    assert_eq!(server.post_json(VERIFY, &body).await, (200, json!(true)));
    let with_key = json!({"engine": "automatic1111", "url": other.url(), "key": "a:b"});
    assert_eq!(
        server.post_json(VERIFY, &with_key).await,
        (200, json!(true))
    );
    let requests = other.requests();
    let sent: Vec<&str> = requests
        .iter()
        .map(|request| request.header("authorization"))
        .collect();
    assert_eq!(sent, ["", "Basic YTpi"]);
    assert!(saved.requests().is_empty(), "{:?}", saved.request_lines());
    // It is not sent to its own URL either if the request has no key.
    let stored_url = json!({"engine": "automatic1111", "url": url});
    let response = server.post_json(VERIFY, &stored_url).await;
    assert_failed(response, "Incorrect credentials", None);
    // The stored settings are unchanged.
    assert_eq!(response_json(server.get(SAVED)).await, (200, json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_reports_invalid_request() {
    let server = TestServer::start(&[]).await;
    for engine in ["sketch", "nosuch", ""] {
        let body = json!({"engine": engine, "url": "http://127.0.0.1:9", "key": null});
        let detail = "Unsupported image engine";
        assert_refused(engine, server.post_json(VERIFY, &body).await, 400, detail);
    }
    for url in ["", "x", "ftp://127.0.0.1", "http://"] {
        let body = json!({"engine": "comfyui", "url": url, "key": "k\u{7}"});
        let (status, refused) = server.post_json(VERIFY, &body).await;
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            status == 400 && detail.ends_with(INVALID),
            "{url}: {refused}"
        );
    }
    let (status, refused) = server.post_json(VERIFY, &json!({"key": 5})).await;
    let places: Vec<&Value> = refused["detail"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["loc"][1])
        .collect();
    assert_eq!(
        (status, places),
        (422, vec![&json!("engine"), &json!("url"), &json!("key")])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_needs_administrator() {
    let upstream = automatic1111("").await;
    let url = upstream.url();
    let server =
        TestServer::with_engine("automatic1111", &[("AUTOMATIC1111_BASE_URL", &url)]).await;
    let user = server.add_second_user().await;
    let body = json!({"engine": "automatic1111", "url": url}).to_string();
    let get = || server.client.get(server.url(SAVED));
    let post = || server.client.post(server.url(VERIFY)).body(body.clone());
    for (case, request) in [("saved", get()), ("verify", post())] {
        let response = response_json(request.bearer_auth(user)).await;
        assert_refused(case, response, 401, PROHIBITED);
    }
    for (case, request) in [("saved", get()), ("verify", post())] {
        assert_refused(case, response_json(request).await, 401, "Not authenticated");
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}
