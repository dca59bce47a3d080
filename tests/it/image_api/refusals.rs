//! Requests that are refused before the engine runs, and errors of engines.

use pinhole_tests::{FakeResponse, FakeUpstream, TestServer, long_image, pixel_base64};
use serde_json::{Value, json};

use super::{EDIT, GENERATIONS, MODELS, PROHIBITED, assert_refused, openai_server, response_json};

/// An entry of FastAPI's error list.
fn field_error(kind: &str, fixture: Value, message: &str) -> Value {
    json!({"type": kind, "loc": fixture, "msg": message})
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_body_names_every_field() {
    let (upstream, server) = openai_server(&[]).await;
    let text = "Input should be a valid string";
    let number = "Input should be a valid integer";
    let object = "Input should be a valid dictionary or object to extract fields from";
    let missing = |fixture| field_error("missing", fixture, "Field required");
    for (path, body, expected) in [
        (
            GENERATIONS,
            json!({}),
            json!([missing(json!(["body", "prompt"]))]),
        ),
        (
            GENERATIONS,
            json!({"prompt": null, "n": "many", "size": 512, "model": [], "parameters": 1}),
            json!([
                field_error("int_type", json!(["body", "n"]), number),
                field_error("string_type", json!(["body", "prompt"]), text),
                field_error("string_type", json!(["body", "model"]), text),
                field_error("string_type", json!(["body", "size"]), text),
                field_error(
                    "model_attributes_type",
                    json!(["body", "parameters"]),
                    object
                ),
            ]),
        ),
        (
            GENERATIONS,
            json!({"prompt": "a fox", "n": -1, "seed": 1e30, "steps": 4_294_967_296u64}),
            json!([
                field_error(
                    "greater_than_equal",
                    json!(["body", "n"]),
                    "Input should be greater than or equal to 0"
                ),
                field_error(
                    "less_than_equal",
                    json!(["body", "steps"]),
                    "Input should be less than or equal to 4294967295"
                ),
                field_error("int_type", json!(["body", "seed"]), number),
            ]),
        ),
        (
            GENERATIONS,
            json!(["a fox"]),
            json!([field_error(
                "model_attributes_type",
                json!(["body"]),
                object
            )]),
        ),
        (
            EDIT,
            json!({"prompt": "bluer"}),
            json!([missing(json!(["body", "image"]))]),
        ),
        (
            EDIT,
            json!({"image": ["a", 5], "prompt": "bluer"}),
            json!([field_error(
                "string_type",
                json!(["body", "image", 1]),
                text
            )]),
        ),
        (
            EDIT,
            json!({"form_data": {"image": "a"}, "prompt": "bluer"}),
            json!([missing(json!(["body", "form_data", "prompt"]))]),
        ),
    ] {
        let expected = (422, json!({"detail": expected}));
        assert_eq!(
            server.post_json(path, &body).await,
            expected,
            "{path} {body}"
        );
    }
    for body in ["", "{", "{\"prompt\": \"a fox\"} x"] {
        let request = server.client.post(server.url(GENERATIONS));
        let request = request.bearer_auth(&server.key).body(body);
        let (status, refused) = response_json(request).await;
        let kind = refused["detail"][0]["type"].as_str();
        let expected = if body.is_empty() {
            "missing"
        } else {
            "json_invalid"
        };
        assert_eq!((status, kind), (422, Some(expected)), "{refused}");
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_has_format_of_open_webui() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (body, detail) in [
        (json!({"prompt": " "}), "[ERROR: the prompt is empty]"),
        (
            json!({"prompt": "a fox", "size": "axb"}),
            "[ERROR: size \"axb\" is neither WxH, such as 1024x1024, nor auto]",
        ),
        (
            json!({"prompt": "a fox", "size": "1x2x3"}),
            "[ERROR: size \"1x2x3\" is neither WxH, such as 1024x1024, nor auto]",
        ),
        (
            json!({"prompt": "a fox", "n": 0}),
            "[ERROR: 0 images were requested, but engine sketch generates 1 to 10]",
        ),
        (
            json!({"prompt": "a fox", "engine": "dall-e"}),
            "[ERROR: unknown engine dall-e: use one of sketch]",
        ),
    ] {
        let response = server.post_json(GENERATIONS, &body).await;
        assert_refused(&body.to_string(), response, 400, detail);
    }
    let body =
        json!({"prompt": "bluer", "image": format!("data:image/png;base64,{}", pixel_base64())});
    let detail = "[ERROR: engine sketch cannot edit images: choose another engine or model]";
    assert_refused("an edit", server.post_json(EDIT, &body).await, 400, detail);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_error_is_400_with_upstream_message() {
    for (status, message) in [
        (400, "Your request was rejected by the safety system."),
        (401, "Incorrect API key provided."),
        (500, "The server had an error."),
    ] {
        let refusal = json!({"error": {"message": message}});
        let upstream = FakeUpstream::json(status, refusal).await;
        let base = format!("{}/v1", upstream.url());
        let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
        let server = TestServer::with_engine("openai", &variables).await;
        let (actual_status, refused) = server
            .post_json(GENERATIONS, &json!({"prompt": "a fox"}))
            .await;
        let detail = refused["detail"].as_str().unwrap();
        assert_eq!(actual_status, 400, "{refused}");
        assert!(
            detail.starts_with("[ERROR: ") && detail.ends_with(']'),
            "{detail}"
        );
        assert!(detail.contains(message), "{detail}");
        assert_eq!(server.stored_files(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_retry_after_reaches_client() {
    let upstream = FakeUpstream::start(async |_| {
        let refusal = json!({"error": {"message": "Rate limit reached"}});
        FakeResponse::json(429, &refusal).header("retry-after", "90")
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let body = json!({"prompt": "a fox"});
    let response = server.post(GENERATIONS, &body).send().await.unwrap();
    assert_eq!(response.status(), 400);
    assert_eq!(response.headers()["retry-after"], "90");
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_operations_are_forbidden() {
    let image = format!("data:image/png;base64,{}", pixel_base64());
    let (upstream, server) = openai_server(&[
        ("ENABLE_IMAGE_GENERATION", "false"),
        ("ENABLE_IMAGE_EDIT", "false"),
    ])
    .await;
    let make = json!({"prompt": "a fox"});
    let change = json!({"prompt": "bluer", "image": image});
    // Refused before the file is looked up.
    let missing = json!({"prompt": "bluer", "image": "nosuch"});
    for (path, body) in [(GENERATIONS, make), (EDIT, change), (EDIT, missing)] {
        assert_refused(path, server.post_json(path, &body).await, 403, PROHIBITED);
    }
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn generation_and_edit_switches_are_independent() {
    let image = format!("data:image/png;base64,{}", pixel_base64());
    let make = json!({"prompt": "a fox"});
    let change = json!({"prompt": "bluer", "image": image});
    for (switch, making, changing) in [
        ("ENABLE_IMAGE_GENERATION", 403, 200),
        ("ENABLE_IMAGE_EDIT", 200, 403),
    ] {
        let (_upstream, server) =
            openai_server(&[(switch, "false"), ("IMAGE_EDIT_MODEL", "m")]).await;
        let response = server.post_json(GENERATIONS, &make).await;
        assert_eq!(response.0, making, "{switch}: {}", response.1);
        let edit_response = server.post_json(EDIT, &change).await;
        assert_eq!(edit_response.0, changing, "{switch}: {}", edit_response.1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unauthenticated_request_is_refused_before_body() {
    let (upstream, server) = openai_server(&[]).await;
    for path in [GENERATIONS, EDIT] {
        let request = server.client.post(server.url(path)).body("{");
        assert_refused(path, response_json(request).await, 401, "Not authenticated");
    }
    let request = server.client.get(server.url(MODELS));
    assert_refused(
        MODELS,
        response_json(request).await,
        401,
        "Not authenticated",
    );
    assert!(
        upstream.requests().is_empty(),
        "{:?}",
        upstream.request_lines()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_is_refused() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let long = vec![b' '; (32 << 20) + 1];
    let request = server.client.post(server.url(GENERATIONS));
    let request = request.bearer_auth(&server.key).body(long.clone());
    let (status, refused) = response_json(request).await;
    assert_eq!(status, 413, "{refused}");
    // An edit may be longer, because it contains images.
    let image = base64_simd::STANDARD.encode_to_string(long_image((32 << 20) + 1));
    let body = json!({"prompt": "bluer", "image": format!("data:image/png;base64,{image}")});
    let (edit_status, edit_refused) = server.post_json(EDIT, &body).await;
    let detail = edit_refused["detail"].as_str().unwrap();
    assert!(
        edit_status == 400 && detail.starts_with("[ERROR: image cannot be used"),
        "{edit_refused}"
    );
}
