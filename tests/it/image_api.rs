//! Open WebUI's image API: responses, upstream requests and refusals.

mod edit;
mod refusals;
mod verify;

use std::collections::BTreeSet;

use pinhole_tests::{FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, pixel_base64};
use serde_json::{Value, json};

const GENERATIONS: &str = "/api/v1/images/generations";
const EDIT: &str = "/api/v1/images/edit";
const MODELS: &str = "/api/v1/images/models";
/// Open WebUI's error for a missing permission.
const PROHIBITED: &str = "You do not have permission to access this resource. Please contact your administrator for assistance.";

async fn response_json(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (
        status,
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
    )
}

/// The bytes of a response's images. Asserts that each is a stored file of this type.
async fn stored_images(
    server: &TestServer,
    response: (u16, Value),
    media_type: &str,
) -> Vec<Vec<u8>> {
    let (status, entries) = response;
    assert_eq!(status, 200, "{entries}");
    let mut images = Vec::new();
    let mut ids = BTreeSet::new();
    for entry in entries.as_array().unwrap() {
        let id = entry["id"].as_str().unwrap();
        let extension = media_type.strip_prefix("image/").unwrap();
        let expected = json!({
            "url": format!("/api/v1/files/{id}/content"),
            "id": id,
            "name": format!("generated-image.{extension}"),
            "content_type": media_type,
        });
        let mut entry = entry.clone();
        // The images of the upstream have one pixel, whatever the request says.
        entry.as_object_mut().unwrap().remove("warnings");
        // Only engines with seeds report them.
        entry.as_object_mut().unwrap().remove("seed");
        assert_eq!(entry, expected);
        let file = server.get(entry["url"].as_str().unwrap()).send();
        let file = file.await.unwrap();
        assert_eq!(file.status(), 200);
        images.push(file.bytes().await.unwrap().to_vec());
        assert!(ids.insert(id.to_owned()), "{id} came twice");
    }
    assert_eq!(server.stored_files(), images.len());
    images
}

/// Width and height of a PNG.
#[track_caller]
fn png_size(bytes: &[u8]) -> (u32, u32) {
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"));
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (side(16), side(20))
}

/// Asserts that the response has exactly this detail.
#[track_caller]
fn assert_refused(case: &str, response: (u16, Value), status: u16, detail: &str) {
    assert_eq!(response, (status, json!({"detail": detail})), "{case}");
}

/// A server whose engine `openai` uses an upstream that returns one image.
async fn openai_server(variables: &[(&str, &str)]) -> (FakeUpstream, TestServer) {
    let response = json!({"created": 1, "data": [{"b64_json": pixel_base64()}]});
    let upstream = FakeUpstream::json(200, response).await;
    let base = format!("{}/v1", upstream.url());
    let mut all = vec![("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    all.extend(variables);
    let server = TestServer::with_engine("openai", &all).await;
    (upstream, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn generation_stores_images_and_returns_urls() {
    let server = TestServer::start(&[("IMAGE_SIZE", "96x64")]).await;
    let body = json!({"prompt": "a fox", "n": 2, "size": "64x48", "seed": 7});
    let two = stored_images(
        &server,
        server.post_json(GENERATIONS, &body).await,
        "image/png",
    )
    .await;
    assert_eq!(two.len(), 2);
    assert_eq!(png_size(&two[0]), (64, 48));
    // They belong to the caller.
    let owner = server.app.store.user_by_key(&server.key).await.unwrap();
    let files = server.app.files.list(&owner.unwrap(), 10, 0).await.unwrap();
    assert_eq!(files.len(), 2);
    let second = server.add_second_user().await;
    let file = server.client.get(server.url(&files[0].url()));
    let file = file.bearer_auth(second).send().await.unwrap();
    assert_eq!(file.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_fields_take_settings() {
    for (size, expected) in [
        (json!(null), (96, 64)),
        (json!(""), (96, 64)),
        (json!("auto"), (512, 512)),
        (json!("64x48"), (64, 48)),
    ] {
        let server = TestServer::with_engine("sketch", &[("IMAGE_SIZE", "96x64")]).await;
        let body = json!({
            "prompt": "a fox", "size": size, "n": null, "model": null, "negative_prompt": null,
            "steps": null, "seed": null, "engine": "", "parameters": null, "background": null,
            "nobody_knows": [1],
        });
        let response = stored_images(
            &server,
            server.post_json(GENERATIONS, &body).await,
            "image/png",
        )
        .await;
        assert_eq!(response.len(), 1);
        assert_eq!(png_size(&response[0]), expected, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_supported_field_reaches_engine() {
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
    // Some clients send a number as a string.
    let body = json!({
        "prompt": "a fox", "negative_prompt": "snow", "size": "64x48", "n": "1", "steps": 7,
        "seed": 11, "parameters": {"cfg_scale": 3.5}, "background": "transparent",
    });
    let response = stored_images(
        &server,
        server.post_json(GENERATIONS, &body).await,
        "image/png",
    )
    .await;
    assert_eq!(response, [PIXEL]);
    let mut requests = upstream.requests().into_iter();
    let sent = requests.find(|request| request.target == "/sdapi/v1/txt2img");
    let sent = sent.unwrap().json();
    for (name, expected) in [
        ("prompt", json!("a fox")),
        ("negative_prompt", json!("snow")),
        ("width", json!(64)),
        ("height", json!(48)),
        ("steps", json!(7)),
        ("seed", json!(11)),
        ("cfg_scale", json!(3.5)),
        // Only for OpenAI.
        ("background", Value::Null),
    ] {
        assert_eq!(sent[name], expected, "{name} in {sent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_fields_of_open_webui_are_dropped() {
    let (upstream, server) = openai_server(&[("IMAGE_GENERATION_MODEL", "gpt-image-1.5")]).await;
    let body = json!({
        "prompt": "a fox", "negative_prompt": "snow", "steps": 50, "background": "opaque",
        "model": "gpt-image-1",
    });
    stored_images(
        &server,
        server.post_json(GENERATIONS, &body).await,
        "image/png",
    )
    .await;
    let requests = upstream.requests();
    assert_eq!(requests[0].line(), "POST /v1/images/generations");
    let expected = json!({
        "prompt": "a fox", "model": "gpt-image-1", "background": "opaque",
    });
    assert_eq!(requests[0].json(), expected);
    // `parameters` take precedence.
    let with_parameters = json!({
        "prompt": "a fox", "background": "opaque", "parameters": {"background": "transparent"},
    });
    let (status, response) = server.post_json(GENERATIONS, &with_parameters).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(upstream.requests()[1].json()["background"], "transparent");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_can_name_other_engine() {
    let server = TestServer::start(&[("IMAGE_GENERATION_ENGINE", "comfyui")]).await;
    let body = json!({"prompt": "a fox", "engine": "sketch", "size": "64x48"});
    let response = stored_images(
        &server,
        server.post_json(GENERATIONS, &body).await,
        "image/png",
    )
    .await;
    assert_eq!(png_size(&response[0]), (64, 48));
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_from_engine() {
    let models = json!({"object": "list", "data": [{"id": "gpt-image-2"}, {"id": "gpt-4o"}]});
    let upstream = FakeUpstream::json(200, models).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let user = server.add_second_user().await;
    let (status, listed) =
        response_json(server.client.get(server.url(MODELS)).bearer_auth(user)).await;
    assert_eq!(status, 200, "{listed}");
    assert!(
        listed
            .as_array()
            .unwrap()
            .contains(&json!({"id": "gpt-image-2", "name": "gpt-image-2"})),
        "{listed}"
    );
    assert_eq!(upstream.request_lines(), ["GET /v1/models"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn model_list_failure_disables_nothing() {
    let upstream =
        FakeUpstream::start(
            async |request: RecordedRequest| match request.target.as_str() {
                "/v1/models" => {
                    FakeResponse::json(500, &json!({"error": {"message": "out of order"}}))
                }
                _ => FakeResponse::json(200, &json!({"data": [{"b64_json": pixel_base64()}]})),
            },
        )
        .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let (status, refused) = response_json(server.get(MODELS)).await;
    let detail = refused["detail"].as_str().unwrap();
    assert_eq!(status, 400, "{detail}");
    assert!(detail.starts_with("[ERROR: "), "{detail}");
    assert!(detail.contains("out of order"), "{detail}");
    assert!(!detail.contains("127.0.0.1"), "{detail}");
    let body = json!({"prompt": "a fox"});
    stored_images(
        &server,
        server.post_json(GENERATIONS, &body).await,
        "image/png",
    )
    .await;
}
