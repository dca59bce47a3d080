//! Which binding a user gets, and why.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::definitions::send;
use super::{image_upstream, server};

async fn resolve(server: &TestServer, body: Value) -> Value {
    let (status, found) = send(server, Method::POST, "/api/v1/bindings/resolve", &body).await;
    assert_eq!(status, 200, "{body}: {found}");
    found
}

/// Asserts which binding is chosen; an empty name is that of no binding.
#[track_caller]
fn assert_choice(found: &Value, binding: &str, reason: &str) {
    let chosen = found["binding"].as_str().unwrap_or_default();
    assert_eq!(chosen, binding, "{found}");
    assert!(
        found["reason"].as_str().unwrap().contains(reason),
        "{found}"
    );
}

fn candidate<'a>(found: &'a Value, name: &str) -> (bool, &'a str) {
    let mut candidates = found["candidates"].as_array().unwrap().iter();
    let entry = candidates.find(|it| it["binding"] == name).unwrap();
    (
        entry["usable"].as_bool().unwrap(),
        entry["why"].as_str().unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn resolution_names_the_binding_and_the_reason() {
    let upstream = image_upstream().await;
    let own = json!({"base-url": upstream.url()});
    let bindings = json!({
        "secret": {"engine": "openai", "settings": own, "groups": ["Designers"]},
        "house": {"engine": "openai", "settings": own, "preferred_by": ["Designers"]},
        "talk": {"engine": "openai", "settings": own, "chat_models": ["talker"]},
        "lost": {"engine": "nowhere"},
    });
    let fallbacks = ("PINHOLE_FALLBACKS", "secret, sketch");
    let server = server(&upstream.url(), &bindings, &[fallbacks]).await;
    server.add_second_user().await;

    let default = resolve(&server, json!({"user_id": "second"})).await;
    assert_choice(&default, "openai", "set by IMAGE_GENERATION_ENGINE");
    assert_eq!(default["fallbacks"], json!(["sketch"]));
    assert_eq!(
        candidate(&default, "secret"),
        (false, "only for members of Designers")
    );
    assert_eq!(
        candidate(&default, "sketch"),
        (true, "it is fallback number 1")
    );
    assert_eq!(
        candidate(&default, "talk"),
        (true, "only if a request names it")
    );
    assert!(!candidate(&default, "comfyui").0);
    assert!(
        candidate(&default, "lost")
            .1
            .contains("its engine nowhere does not exist")
    );
    let administrator = resolve(&server, json!({})).await;
    assert_eq!(administrator["fallbacks"], json!(["secret", "sketch"]));

    let chat = resolve(
        &server,
        json!({"user_id": "second", "chat_model": "talker"}),
    )
    .await;
    assert_choice(&chat, "talk", "language model talker");
    let named = resolve(&server, json!({"user_id": "second", "engine": "secret"})).await;
    assert_choice(
        &named,
        "",
        "binding secret is only for members of Designers",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn resolution_follows_groups_operation_and_permission() {
    let bindings = json!({"house": {"engine": "sketch", "preferred_by": ["Designers"]}});
    let bindings = bindings.to_string();
    let sketch = ("IMAGE_GENERATION_ENGINE", "sketch");
    let server = TestServer::start(&[sketch, ("PINHOLE_BINDINGS", &bindings)]).await;
    server.add_second_user().await;
    let group = json!({"name": "Designers", "description": ""});
    let (_, group) = server.post_json("/api/v1/groups/create", &group).await;
    let path = format!(
        "/api/v1/groups/id/{}/users/add",
        group["id"].as_str().unwrap()
    );
    let added = server
        .post_json(&path, &json!({"user_ids": ["second"]}))
        .await;
    assert_eq!(added.0, 200, "{}", added.1);
    let second = json!({"user_id": "second"});
    assert_choice(
        &resolve(&server, second.clone()).await,
        "house",
        "group Designers",
    );

    let set =
        async |body: Value| assert_eq!(server.post_json("/api/v1/settings", &body).await.0, 200);
    set(json!({"ENABLE_IMAGE_EDIT": false})).await;
    let edit = json!({"operation": "edit"});
    assert_choice(
        &resolve(&server, edit.clone()).await,
        "",
        "set ENABLE_IMAGE_EDIT to true",
    );
    set(json!({"ENABLE_IMAGE_EDIT": true, "IMAGE_EDIT_ENGINE": "comfyui"})).await;
    let found = resolve(&server, edit).await;
    assert_choice(&found, "comfyui", "IMAGE_EDIT_ENGINE, but jobs fail: ");
    let (is_usable, why) = candidate(&found, "comfyui");
    assert!(!is_usable && why.contains("COMFYUI_BASE_URL"), "{why}");

    set(json!({"USER_PERMISSIONS_FEATURES_IMAGE_GENERATION": false})).await;
    let refused = resolve(&server, second).await;
    assert_choice(&refused, "", "the user may not create images");
    let unknown = json!({"user_id": "nowhere"});
    let (status, body) = send(&server, Method::POST, "/api/v1/bindings/resolve", &unknown).await;
    assert_eq!(status, 404, "{body}");
}
