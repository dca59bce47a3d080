//! A change applies from the next request.

use pinhole_tests::{FakeResponse, FakeUpstream, TestServer, pixel_base64};
use serde_json::json;

use super::{CONFIG, SETTINGS, change_settings, get, save_form, stored_paths, submit_form, text};

async fn openai_upstream() -> FakeUpstream {
    FakeUpstream::start(|_| async {
        FakeResponse::json(
            200,
            &json!({"created": 1, "data": [{"b64_json": pixel_base64()}]}),
        )
    })
    .await
}

async fn generate(server: &TestServer) -> u16 {
    let body = json!({"prompt": "a fox"});
    server
        .post_json("/api/v1/images/generations", &body)
        .await
        .0
}

#[tokio::test(flavor = "multi_thread")]
async fn next_job_uses_new_url_and_key() {
    let (first, second) = (openai_upstream().await, openai_upstream().await);
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", first.url()),
        ("IMAGES_OPENAI_API_KEY", "key-one".to_owned()),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let server = TestServer::with_engine("openai", &variables).await;
    assert_eq!(generate(&server).await, 200);
    let fields = [
        ("IMAGES_OPENAI_API_BASE_URL", json!(second.url())),
        ("IMAGES_OPENAI_API_KEY", json!("key-two")),
        ("IMAGE_GENERATION_MODEL", json!("gpt-image-1")),
    ];
    save_form(&server, &fields).await;
    assert_eq!(generate(&server).await, 200);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
    let requests = second.requests();
    assert_eq!(requests[0].headers["authorization"], "Bearer key-two");
    assert_eq!(requests[0].json()["model"], "gpt-image-1");
    save_form(&server, &[("ENABLE_IMAGE_GENERATION", json!(false))]).await;
    assert_eq!(generate(&server).await, 403);
    // Also after a restart.
    let server = server
        .restart(&[("IMAGE_GENERATION_ENGINE", "openai")])
        .await;
    assert_eq!(generate(&server).await, 403);
    change_settings(&server, json!({"ENABLE_IMAGE_GENERATION": true})).await;
    assert_eq!(generate(&server).await, 200);
    assert_eq!((first.requests().len(), second.requests().len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn value_refused_by_engine_is_not_stored() {
    let server = TestServer::start(&[("AUTOMATIC1111_PARAMS", "no object")]).await;
    let before = get(&server, CONFIG).await;
    for (name, value) in [
        ("IMAGES_EDIT_COMFYUI_WORKFLOW", json!("[]")),
        ("IMAGES_EDIT_COMFYUI_WORKFLOW", json!("{\"nodes\": []}")),
        ("COMFYUI_BASE_URL", json!("ftp://x")),
        ("IMAGES_GEMINI_ENDPOINT_METHOD", json!("guess")),
        ("IMAGE_SIZE", json!("99999999x5")),
        ("IMAGE_EDIT_SIZE", json!("large")),
    ] {
        let fields = [("IMAGE_STEPS", json!(7)), (name, value.clone())];
        let (status, refused) = submit_form(&server, &fields).await;
        assert_eq!(status, 400, "{name} {value}: {refused}");
        assert!(
            text(&refused, "detail").contains(name),
            "{name} {value}: {refused}"
        );
    }
    let bad_key = json!({"IMAGES_OPENAI_API_KEY": "hunter22\nx"});
    let (status, refused) = server.post_json(SETTINGS, &bad_key).await;
    assert_eq!(status, 400, "{refused}");
    assert!(!refused.to_string().contains("hunter22"), "{refused}");
    assert_eq!(get(&server, CONFIG).await, before);
    assert_eq!(stored_paths(&server).await, [""; 0]);
    // An earlier invalid value does not prevent other changes.
    save_form(&server, &[("IMAGE_STEPS", json!(7))]).await;
}
