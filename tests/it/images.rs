//! OpenAI's images API with engine `sketch`: responses and refusals.

mod edit_refusals;
mod edits;
mod links;
mod model_aliases;
mod models;
mod parameters;
mod refusals;
mod stream;
mod warnings;

use std::collections::BTreeSet;

use http::Method;
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer, pixel_base64};
use serde_json::{Value, json};

const GENERATIONS: &str = "/v1/images/generations";

/// The usage of a response, without details.
fn usage(input: u64, output: u64) -> Value {
    let details = json!({"image_tokens": 0, "text_tokens": 0});
    json!({
        "input_tokens": input, "input_tokens_details": details,
        "output_tokens": output, "output_tokens_details": details,
        "total_tokens": input + output,
    })
}

async fn generate(server: &TestServer, body: Value) -> Value {
    let (status, response) = server.post_json(GENERATIONS, &body).await;
    assert_eq!(status, 200, "{response}");
    assert!(response["created"].is_i64(), "{response}");
    response
}

/// The images of a response.
fn response_images(response: &Value) -> Vec<Vec<u8>> {
    let decode = |text: &str| base64_simd::STANDARD.decode_to_vec(text).unwrap();
    let entries = response["data"].as_array().unwrap().iter();
    entries
        .map(|entry| decode(entry["b64_json"].as_str().unwrap()))
        .collect()
}

/// Width and height of a PNG.
#[track_caller]
fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (side(16), side(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn base64_response_stores_nothing() {
    let server = TestServer::start(&[]).await;
    for format in [json!("b64_json"), json!(null)] {
        let body = json!({"prompt": "a fox", "size": "64x48", "response_format": format});
        let answer = generate(&server, body).await;
        let generated = response_images(&answer);
        assert_eq!(generated.len(), 1);
        assert_eq!(png_size(&generated[0]), (64, 48));
        assert!(answer["data"][0]["seed"].is_u64(), "{answer}");
        let expected = json!({
            "created": answer["created"],
            "data": [{
                "b64_json": answer["data"][0]["b64_json"], "seed": answer["data"][0]["seed"],
            }],
            "output_format": "png",
        });
        assert_eq!(answer, expected);
    }
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn url_response_names_stored_files() {
    let server = TestServer::start(&[]).await;
    let body = json!({"prompt": "a fox", "n": 3, "size": "64x48", "response_format": "url"});
    let response = generate(&server, body).await;
    let mut urls = BTreeSet::new();
    for entry in response["data"].as_array().unwrap() {
        let names: Vec<_> = entry.as_object().unwrap().keys().collect();
        assert_eq!(names, ["seed", "url"], "{entry}");
        let url = entry["url"].as_str().unwrap();
        // As a browser loads it: without the key.
        let file = server.client.get(url).send().await.unwrap();
        assert_eq!(file.status(), 200);
        assert_eq!(file.headers()["content-type"], "image/png");
        assert_eq!(png_size(&file.bytes().await.unwrap()), (64, 48));
        urls.insert(url.to_owned());
    }
    assert_eq!((urls.len(), server.stored_files()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn same_seed_generates_same_images() {
    let server = TestServer::start(&[]).await;
    let response = async |more: Value| {
        let mut body = json!({"prompt": "a fox", "size": "64x64"});
        let more = more.as_object().unwrap().clone();
        body.as_object_mut().unwrap().extend(more);
        response_images(&generate(&server, body).await)
    };
    let two = response(json!({"seed": 7, "n": 2})).await;
    assert_eq!(two, response(json!({"seed": 7, "n": 2})).await);
    assert_ne!(two[0], two[1]);
    assert_eq!(two[0..1], response(json!({"seed": 7})).await);
    assert_eq!(two[1..2], response(json!({"seed": 8})).await);
    assert_ne!(
        two,
        response(json!({"seed": 7, "n": 2, "prompt": "a hen"})).await
    );
    assert_ne!(
        response(json!({})).await,
        response(json!({})).await,
        "a fresh seed each time"
    );
    // The largest seed wraps around to the smallest.
    let last = response(json!({"seed": u64::MAX, "n": 2})).await;
    assert_eq!(last[1..2], response(json!({"seed": 0})).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn size_comes_from_request_or_setting() {
    let server = TestServer::start(&[("IMAGE_SIZE", "96x64")]).await;
    for (size, expected) in [
        (json!("1x1"), (1, 1)),
        (json!("100x37"), (100, 37)),
        (json!("8192x2"), (8192, 2)),
        (json!(null), (96, 64)),
        // The engine chooses.
        (json!("auto"), (512, 512)),
        (json!(""), (512, 512)),
    ] {
        let response = generate(&server, json!({"prompt": "a fox", "size": size})).await;
        assert_eq!(png_size(&response_images(&response)[0]), expected, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn largest_allowed_request_succeeds() {
    let server = TestServer::start(&[]).await;
    let response = generate(
        &server,
        json!({"prompt": "a fox", "n": 10, "size": "64x64"}),
    )
    .await;
    assert_eq!(response_images(&response).len(), 10);
    let prompt = "x".repeat(32_000);
    let largest = generate(&server, json!({"prompt": prompt, "size": "4096x4096"})).await;
    assert_eq!(png_size(&response_images(&largest)[0]), (4096, 4096));
}

#[tokio::test(flavor = "multi_thread")]
async fn output_format_is_format_of_bytes() {
    let server = TestServer::start(&[]).await;
    for (wanted, start) in [
        ("png", b"\x89PNG".as_slice()),
        ("jpeg", b"\xff\xd8"),
        ("webp", b"RIFF"),
    ] {
        let body = json!({
            "prompt": "a fox", "size": "64x64", "output_format": wanted,
            // Defaults of OpenAI, which clients send by habit, and fields that are not passed on.
            "quality": "auto", "background": "auto", "moderation": "auto", "style": "vivid",
            "output_compression": 100, "user": "u-1", "safety_identifier": "u",
        });
        let response = generate(&server, body).await;
        assert!(response_images(&response)[0].starts_with(start), "{wanted}");
        assert_eq!(response["output_format"], wanted);
    }
}

/// An error in OpenAI's format.
struct Refusal {
    status: u16,
    kind: &'static str,
    param: Value,
    code: Value,
    message: &'static str,
}

#[track_caller]
fn assert_refused(case: &str, (status, response): (u16, Value), expected: &Refusal) {
    assert_eq!(status, expected.status, "{case}: {response}");
    let message = response["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(expected.message), "{case}: {response}");
    let body = json!({"error": {
        "message": message, "type": expected.kind, "param": expected.param, "code": expected.code,
    }});
    assert_eq!(response, body, "{case}");
}

/// An error about a field that the server refuses.
fn invalid(param: &str, message: &'static str) -> Refusal {
    Refusal {
        status: 400,
        kind: "invalid_request_error",
        param: json!(param),
        code: json!("invalid"),
        message,
    }
}

/// An error about a malformed body.
fn malformed(message: &'static str) -> Refusal {
    Refusal {
        param: Value::Null,
        code: Value::Null,
        ..invalid("", message)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn default_values_of_clients_are_accepted() {
    let upstream =
        FakeUpstream::start(
            async |request: RecordedRequest| match request.target.as_str() {
                "/sdapi/v1/txt2img" => {
                    FakeResponse::json(200, &json!({"images": [pixel_base64()]}))
                }
                _ => FakeResponse::json(404, &json!({})),
            },
        )
        .await;
    let url = upstream.url();
    let server =
        TestServer::with_engine("automatic1111", &[("AUTOMATIC1111_BASE_URL", &url)]).await;
    let habits = json!({
        "prompt": "a fox", "size": "auto", "n": 1, "quality": "auto", "background": "auto",
        "moderation": "auto", "output_format": "png", "output_compression": 100,
        "response_format": "b64_json", "style": null, "user": "u-1", "safety_identifier": "u",
        "stream": false, "partial_images": 0,
    });
    generate(&server, habits).await;
    let mut requests = upstream.requests().into_iter();
    let sent = requests.find(|request| request.target == "/sdapi/v1/txt2img");
    let sent = sent.unwrap().json();
    for name in ["quality", "background", "moderation", "user"] {
        assert!(sent.get(name).is_none(), "{sent}");
    }
    // Values with an effect are not ignored.
    for (name, value) in [("quality", "high"), ("output_format", "webp")] {
        let mut body = json!({"prompt": "a fox"});
        body[name] = json!(value);
        let response = server.post_json(GENERATIONS, &body).await;
        assert_refused(name, response, &invalid(name, name));
    }
}

/// Asserts that a server with these settings refuses to generate an image.
async fn assert_refused_with_settings(variables: &[(&str, &str)], expected: &Refusal) {
    let server = TestServer::start(variables).await;
    let body = json!({"prompt": "a fox", "response_format": "url"});
    let response = server.post_json(GENERATIONS, &body).await;
    assert_refused(&format!("{variables:?}"), response, expected);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_engine_in_settings_is_refused() {
    let expected = invalid(
        "engine",
        "unknown engine dall-e: use one of automatic1111, comfyui, gemini, openai, sketch",
    );
    assert_refused_with_settings(&[("IMAGE_GENERATION_ENGINE", "dall-e")], &expected).await;
    let nowhere = tempfile::tempdir().unwrap();
    let nowhere = nowhere.path().to_str().unwrap();
    let none_available = invalid("engine", "unknown engine sketch: no engine is available");
    assert_refused_with_settings(&[("PINHOLE_ENGINES", nowhere)], &none_available).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_without_url_names_variable() {
    for (engine, message) in [
        (
            "comfyui",
            "engine comfyui has no upstream URL: set COMFYUI_BASE_URL to the URL of ComfyUI",
        ),
        (
            "automatic1111",
            "engine automatic1111 has no upstream URL: set AUTOMATIC1111_BASE_URL to",
        ),
    ] {
        assert_refused_with_settings(
            &[("IMAGE_GENERATION_ENGINE", engine)],
            &invalid("engine", message),
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_generation_is_forbidden() {
    let upstream = FakeUpstream::json(200, json!({})).await;
    let expected = Refusal {
        status: 403,
        param: Value::Null,
        code: json!("forbidden"),
        ..invalid("", "image generation is disabled")
    };
    let url = upstream.url();
    assert_refused_with_settings(
        &[
            ("ENABLE_IMAGE_GENERATION", "false"),
            ("IMAGE_GENERATION_ENGINE", "automatic1111"),
            ("AUTOMATIC1111_BASE_URL", &url),
        ],
        &expected,
    )
    .await;
    assert_eq!(upstream.request_lines(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_setting_is_ignored_by_engine_without_steps() {
    let server = TestServer::start(&[("IMAGE_STEPS", "20"), ("IMAGE_SIZE", "64x64")]).await;
    generate(&server, json!({"prompt": "a fox"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_error_has_openai_format() {
    let server = TestServer::start(&[]).await;
    let body = json!({"prompt": "a fox", "response_format": "url"}).to_string();
    for (key, message) in [
        (None, "Not authenticated"),
        (Some("sk-000000"), "the API key is unknown"),
    ] {
        let mut request = server
            .client
            .post(server.url(GENERATIONS))
            .body(body.clone());
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.unwrap();
        let answer = (
            response.status().as_u16(),
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
        );
        let expected = Refusal {
            status: 401,
            ..malformed(message)
        };
        assert_refused(message, answer, &expected);
    }
    assert_eq!(server.stored_files(), 0);
}

/// Method, path, expected status and message, and the `allow` header.
const UNKNOWN_ROUTES: &[(&str, &str, u16, &str, Option<&str>)] = &[
    ("GET", GENERATIONS, 405, "Method Not Allowed", Some("POST")),
    (
        "DELETE",
        GENERATIONS,
        405,
        "Method Not Allowed",
        Some("POST"),
    ),
    ("POST", "/v1/images/generations/", 404, "Not Found", None),
    ("POST", "/v1/images/nosuch", 404, "Not Found", None),
    ("GET", "/v1", 404, "Not Found", None),
    (
        "GET",
        "/api/chat/completions",
        405,
        "Method Not Allowed",
        Some("POST"),
    ),
    (
        "POST",
        "/api/events",
        405,
        "Method Not Allowed",
        Some("GET,HEAD"),
    ),
    (
        "PUT",
        "/api/v1/files/5/content",
        405,
        "Method Not Allowed",
        Some("GET,HEAD"),
    ),
    ("GET", "/api/nosuch", 404, "Not Found", None),
    ("GET", "/v10", 404, "Not Found", None),
];

#[tokio::test(flavor = "multi_thread")]
async fn unknown_route_error_has_format_of_its_api() {
    let server = TestServer::start(&[]).await;
    for &(method, path, status, message, allowed) in UNKNOWN_ROUTES {
        let case = format!("{method} {path}");
        let method: Method = method.parse().unwrap();
        let request = server
            .client
            .request(method, server.url(path))
            .bearer_auth(&server.key);
        let response = request.send().await.unwrap();
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/json", "{case}");
        let allow = headers.get("allow").map(|allow| allow.to_str().unwrap());
        assert_eq!(allow, allowed, "{case}");
        let actual_status = response.status().as_u16();
        let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        if path.starts_with("/v1/") {
            let expected = Refusal {
                status,
                ..malformed(message)
            };
            assert_refused(&case, (actual_status, body), &expected);
        } else {
            let expected = (status, json!({"detail": message}));
            assert_eq!((actual_status, body), expected, "{case}");
        }
    }
    let health = server
        .client
        .get(server.url("/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            health.status().as_u16(),
            health.text().await.unwrap().as_str()
        ),
        (200, r#"{"status":true}"#)
    );
}
