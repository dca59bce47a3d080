//! A change counts from the next request on.

use pinhole_tests::{FakeResponse, TestServer, FakeUpstream, pixel_base64};
use serde_json::json;

use super::{CONFIG, SETTINGS, get, save, saved, set, stored, text};

async fn upstream() -> FakeUpstream {
    FakeUpstream::start(|_| async {
        FakeResponse::json(
            200,
            &json!({"created": 1, "data": [{"b64_json": pixel_base64()}]}),
        )
    })
    .await
}

async fn draw(server: &TestServer) -> u16 {
    let body = json!({"prompt": "a fox"});
    server.post_json("/api/v1/images/generations", &body).await.0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_goes_to_the_new_address_with_the_new_key() {
    let (first, second) = (upstream().await, upstream().await);
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", first.url()),
        ("IMAGES_OPENAI_API_KEY", "key-one".to_owned()),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let server = TestServer::with_engine("openai", &variables).await;
    assert_eq!(draw(&server).await, 200);
    let fields = [
        ("IMAGES_OPENAI_API_BASE_URL", json!(second.url())),
        ("IMAGES_OPENAI_API_KEY", json!("key-two")),
        ("IMAGE_GENERATION_MODEL", json!("gpt-image-1")),
    ];
    save(&server, &fields).await;
    assert_eq!(draw(&server).await, 200);
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    let seen = second.seen();
    assert_eq!(seen[0].headers["authorization"], "Bearer key-two");
    assert_eq!(seen[0].json()["model"], "gpt-image-1");
    save(&server, &[("ENABLE_IMAGE_GENERATION", json!(false))]).await;
    assert_eq!(draw(&server).await, 403);
    // And after a start.
    let server = server
        .restart(&[("IMAGE_GENERATION_ENGINE", "openai")])
        .await;
    assert_eq!(draw(&server).await, 403);
    set(&server, json!({"ENABLE_IMAGE_GENERATION": true})).await;
    assert_eq!(draw(&server).await, 200);
    assert_eq!((first.seen().len(), second.seen().len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_cannot_work_with_is_refused_with_its_words() {
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
        let (status, refused) = saved(&server, &fields).await;
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
    assert_eq!(stored(&server).await, [""; 0]);
    // What was broken before refuses nothing else.
    save(&server, &[("IMAGE_STEPS", json!(7))]).await;
}
