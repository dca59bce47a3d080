//! `GET /v1/models`, also while an upstream fails.

use pinhole_tests::{FakeUpstream, TestServer};
use serde_json::{Value, json};

/// Id and owner of each listed model.
async fn listed_models(server: &TestServer) -> Vec<(String, String)> {
    let response = server.get("/v1/models").send().await.unwrap();
    assert_eq!(response.status(), 200);
    let list: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(list["object"], "list");
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let entries = list["data"].as_array().unwrap().iter();
    entries
        .map(|entry| {
            assert_eq!(entry["object"], "model");
            assert!(entry["created"].is_i64(), "{entry}");
            (text(entry, "id"), text(entry, "owned_by"))
        })
        .collect()
}

async fn assert_models(server: &TestServer, expected: &[(&str, &str)]) {
    let listed = listed_models(server).await;
    let listed: Vec<_> = listed
        .iter()
        .map(|(id, owner)| (id.as_str(), owner.as_str()))
        .collect();
    assert_eq!(listed, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_lists_engine_models_then_chat_models() {
    let server = TestServer::with_engine("sketch", &[]).await;
    assert_models(&server, &[("sketch", "sketch")]).await;

    let chat = json!({"object": "list", "data": [
        {"id": "llama", "object": "model", "owned_by": "meta"}, {"id": "sketch"}, {"id": 5},
        {"id": "x".repeat(513)}, "y", {"id": "qwen"},
    ]});
    let chat = FakeUpstream::json(200, chat).await;
    let variables = [("OPENAI_API_BASE_URL", chat.url())];
    let variables = variables
        .each_ref()
        .map(|(name, url)| (*name, url.as_str()));
    let with_chat = TestServer::with_engine("sketch", &variables).await;
    let expected = [("sketch", "sketch"), ("llama", "meta"), ("qwen", "chat")];
    assert_models(&with_chat, &expected).await;
    assert_eq!(chat.request_lines(), ["GET /models"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_skips_failing_upstream() {
    let broken = FakeUpstream::json(500, json!({"error": "down"})).await;
    let url = broken.url();
    let engine = ("IMAGES_OPENAI_API_BASE_URL", url.as_str());
    let model = ("IMAGE_GENERATION_MODEL", "gpt-image-2");
    let chat = ("OPENAI_API_BASE_URL", url.as_str());
    let server = TestServer::with_engine("openai", &[engine, model, chat]).await;
    assert_models(&server, &[("gpt-image-2", "openai")]).await;
    let without_model = TestServer::with_engine("openai", &[engine]).await;
    assert_models(&without_model, &[]).await;
    // An engine without a URL lists only the model of the settings.
    let without_url = TestServer::with_engine("comfyui", &[model]).await;
    assert_models(&without_url, &[("gpt-image-2", "comfyui")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn models_needs_authentication() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let response = server.client.get(server.url("/v1/models")).send().await;
    assert_eq!(response.unwrap().status(), 401);
}
