//! Lists of a binding's models: for whom, and how often they are requested.

use futures_util::future::join_all;
use pinhole_tests::{FakeResponse, FakeUpstream, TestServer};
use serde_json::{Value, json};

const MODEL: &str = "model-of-the-vault";
const PATHS: [&str; 2] = ["/v1/models", "/api/v1/images/models"];

/// A server whose default engine is a binding for one group.
async fn vault_server(upstream: &FakeUpstream) -> TestServer {
    let bindings = json!({"vault": {
        "engine": "openai", "settings": {"base-url": upstream.url()}, "groups": ["Designers"], "model": MODEL,
    }});
    TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "vault"),
        ("PINHOLE_BINDINGS", &bindings.to_string()),
    ])
    .await
}

async fn list(server: &TestServer, path: &str, key: &str) -> (u16, String) {
    let request = server.client.get(server.url(path)).bearer_auth(key);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn change_a_setting(server: &TestServer, size: &str) {
    let settings = json!({"IMAGE_SIZE": size});
    let (status, body) = server.post_json("/api/v1/settings", &settings).await;
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_a_binding_are_listed_for_its_groups() {
    let models = json!({"object": "list", "data": [{"id": "gpt-image-2"}]});
    let upstream = FakeUpstream::json(200, models).await;
    let server = vault_server(&upstream).await;
    let second = server.add_second_user().await;
    for (path, expected_status) in [(PATHS[0], 200), (PATHS[1], 400)] {
        let (status, text) = list(&server, path, second).await;
        assert_eq!(status, expected_status, "{text}");
        assert!(
            !text.contains("gpt-image-2") && !text.contains(MODEL),
            "{text}"
        );
    }
    let found = list(&server, "/v1/models/gpt-image-2", second).await;
    assert_eq!(found.0, 404, "{}", found.1);
    assert!(upstream.requests().is_empty());
    for path in PATHS {
        let (status, text) = list(&server, path, &server.key).await;
        assert!(status == 200 && text.contains("gpt-image-2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn model_list_is_requested_once_until_a_setting_changes() {
    let models = json!({"object": "list", "data": [{"id": "gpt-image-2"}]});
    let upstream = FakeUpstream::json(200, models).await;
    let server = vault_server(&upstream).await;
    let lists = || {
        join_all(
            (0..20)
                .flat_map(|_| PATHS)
                .map(|path| list(&server, path, &server.key)),
        )
    };
    assert!(
        lists()
            .await
            .iter()
            .all(|(_, text)| text.contains("gpt-image-2"))
    );
    assert_eq!(upstream.requests().len(), 1);
    change_a_setting(&server, "64x64").await;
    lists().await;
    assert_eq!(upstream.requests().len(), 2);
    // Failures are cached too.
    upstream.set_handler(|_| async { FakeResponse::json(500, &Value::Null) });
    change_a_setting(&server, "32x32").await;
    let failed = lists().await;
    assert_eq!(upstream.requests().len(), 3);
    // The list of OpenAI's API has the configured model then.
    let with_model = failed.iter().filter(|(_, text)| text.contains(MODEL));
    assert_eq!(with_model.count(), 20);
}
