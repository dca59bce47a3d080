//! Definitions of bindings that administrators change one by one.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{generate, image_upstream, server};

const BINDINGS: &str = "/api/v1/bindings";

pub(super) async fn send(
    server: &TestServer,
    method: Method,
    path: &str,
    body: &Value,
) -> (u16, Value) {
    let request = server.client.request(method, server.url(path));
    let request = request.bearer_auth(&server.key).body(body.to_string());
    let response = request
        .header("content-type", "application/json")
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn list(server: &TestServer) -> Value {
    let (status, body) = send(server, Method::GET, BINDINGS, &Value::Null).await;
    assert_eq!(status, 200, "{body}");
    body
}

async fn binding(server: &TestServer, name: &str) -> Value {
    let all = list(server).await;
    let mut all = all["bindings"].as_array().unwrap().iter();
    all.find(|it| it["name"] == name)
        .cloned()
        .unwrap_or_default()
}

async fn put(server: &TestServer, name: &str, definition: Value) -> (u16, Value) {
    send(
        server,
        Method::PUT,
        &format!("{BINDINGS}/{name}"),
        &definition,
    )
    .await
}

async fn delete(server: &TestServer, name: &str) -> (u16, Value) {
    send(
        server,
        Method::DELETE,
        &format!("{BINDINGS}/{name}"),
        &Value::Null,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn list_has_definitions_without_secrets() {
    let upstream = image_upstream().await;
    let bindings = json!({
        "photo": {"engine": "openai", "settings": {"base-url": upstream.url(), "api-key": "hunter22"},
            "headers": {"X-A": "hunter33"}, "groups": ["Designers"], "concurrency": 2},
        "lost": {"engine": "nowhere"},
        "sketch": {"size": "64x64"},
    });
    let fallbacks = ("PINHOLE_FALLBACKS", "sketch, photo");
    let server = server(&upstream.url(), &bindings, &[fallbacks]).await;
    let all = list(&server).await;
    assert!(!all.to_string().contains("hunter"), "{all}");
    assert_eq!(all["fallbacks"], json!(["sketch", "photo"]));
    let engines = json!(["automatic1111", "comfyui", "gemini", "openai", "sketch"]);
    assert_eq!(all["engines"], engines);
    assert_eq!(
        binding(&server, "photo").await,
        json!({
            "name": "photo", "is_defined": true, "engine": "openai", "fallbacks": ["sketch"], "problems": [],
            "settings": {"base-url": upstream.url(), "api-key": "********"},
            "headers": {"X-A": "********"}, "groups": ["Designers"], "concurrency": 2,
        })
    );
    let own = binding(&server, "gemini").await;
    assert_eq!(
        (&own["is_defined"], &own["engine"]),
        (&json!(false), &json!("gemini"))
    );
    let sketch = binding(&server, "sketch").await;
    assert_eq!(
        (&sketch["is_defined"], &sketch["engine"]),
        (&json!(true), &json!("sketch"))
    );
    let lost = binding(&server, "lost").await;
    let problem = "cannot be used: its engine nowhere does not exist";
    assert_eq!(
        (&lost["engine"], &lost["problems"]),
        (&json!("nowhere"), &json!([problem]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_definition_retains_masked_secrets_and_other_bindings() {
    let (first, second) = (image_upstream().await, image_upstream().await);
    // The name of a number is that of a secret.
    let other =
        json!({"engine": "openai", "settings": {"base-url": first.url(), "api-key": "key-other"}});
    let server = server(&first.url(), &json!({"other": other}), &[]).await;
    let photo =
        json!({"engine": "openai", "settings": {"base-url": first.url(), "api-key": "key-photo"}});
    let (status, body) = put(&server, "photo", photo).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["settings"]["api-key"], "********");
    let masked = json!({"engine": "openai", "model": "m2",
        "settings": {"base-url": second.url(), "api-key": "********"}});
    assert_eq!(put(&server, "photo", masked).await.0, 200);
    for engine in ["photo", "other"] {
        assert_eq!(generate(&server, &json!({"engine": engine})).await.0, 200);
    }
    assert_eq!(
        second.requests()[0].header("authorization"),
        "Bearer key-photo"
    );
    assert_eq!(second.requests()[0].json()["model"], "m2");
    assert_eq!(
        first.requests()[0].header("authorization"),
        "Bearer key-other"
    );
    // The history has both changes.
    let (_, changes) = send(
        &server,
        Method::GET,
        "/api/v1/settings/changes",
        &Value::Null,
    )
    .await;
    let names: Vec<_> = changes
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["PINHOLE_BINDINGS", "PINHOLE_BINDINGS"]);
    assert!(!changes.to_string().contains("key-photo"), "{changes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_definitions_do_not_replace_each_other() {
    let server = TestServer::start(&[]).await;
    let definitions = (0..8).map(|index| {
        let server = &server;
        async move { put(server, &format!("b{index}"), json!({"engine": "sketch"})).await }
    });
    for (status, body) in futures_util::future::join_all(definitions).await {
        assert_eq!(status, 200, "{body}");
    }
    let all = list(&server).await;
    let all = all["bindings"].as_array().unwrap().iter();
    assert_eq!(all.filter(|it| it["is_defined"] == true).count(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_definitions_are_refused_and_change_nothing() {
    let server = TestServer::start(&[]).await;
    let before = list(&server).await;
    for (name, definition, expected) in [
        (
            "A-b",
            json!({"engine": "sketch"}),
            "the name must be 1 to 40 lowercase letters",
        ),
        (
            "a",
            json!({"engine": "nowhere"}),
            "its engine nowhere does not exist",
        ),
        (
            "a",
            json!({"engine": "sketch", "size": "large"}),
            "size \"large\" is neither",
        ),
        (
            "a",
            json!({"engine": "sketch", "chat_model": "x"}),
            "unknown field chat_model",
        ),
        ("a", json!({"engine": "sketch", "steps": "x"}), "(in steps)"),
        (
            "a",
            json!({"engine": "openai", "settings": {"base-urll": "x"}}),
            "unknown setting",
        ),
        ("a", json!([]), "expected an object"),
    ] {
        let (status, body) = put(&server, name, definition.clone()).await;
        assert_eq!(status, 400, "{definition}: {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{definition}: {detail}");
    }
    assert_eq!(list(&server).await, before);
    assert_eq!(delete(&server, "nowhere").await.0, 404);
    // The own binding of an engine has no definition.
    assert_eq!(delete(&server, "sketch").await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_that_a_setting_names_is_not_removed() {
    let server = TestServer::start(&[]).await;
    assert_eq!(
        put(&server, "photo", json!({"engine": "sketch"})).await.0,
        200
    );
    let set = async |body: Value| server.post_json("/api/v1/settings", &body).await.0;
    assert_eq!(set(json!({"IMAGE_GENERATION_ENGINE": "photo"})).await, 200);
    let fallbacks = async |names: Value| {
        let body = json!({"fallbacks": names});
        send(&server, Method::PUT, "/api/v1/fallbacks", &body).await
    };
    let both = json!({"fallbacks": ["sketch", "photo"]});
    assert_eq!(fallbacks(json!(["sketch", "photo"])).await, (200, both));
    let (refused_status, refused) = delete(&server, "photo").await;
    assert_eq!(refused_status, 409, "{refused}");
    let needs = "named by IMAGE_GENERATION_ENGINE, PINHOLE_FALLBACKS";
    assert!(
        refused["detail"].as_str().unwrap().contains(needs),
        "{refused}"
    );

    for (names, expected) in [
        (json!(["sketch", "sketsh"]), "did you mean sketch?"),
        (json!(["sketch,photo"]), "remove empty names and commas"),
        (json!([""]), "remove empty names and commas"),
        (json!(vec!["sketch"; 17]), "more than the 16 allowed"),
    ] {
        let (status, body) = fallbacks(names).await;
        assert_eq!(status, 400, "{body}");
        assert!(
            body["detail"].as_str().unwrap().contains(expected),
            "{body}"
        );
    }
    assert_eq!(fallbacks(json!([])).await.1, json!({"fallbacks": []}));
    assert_eq!(set(json!({"IMAGE_GENERATION_ENGINE": null})).await, 200);
    let (deleted_status, rest) = delete(&server, "photo").await;
    assert_eq!(deleted_status, 200, "{rest}");
    assert_eq!(binding(&server, "photo").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_bindings_need_administrator() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    for (method, path) in [
        (Method::GET, BINDINGS),
        (Method::PUT, "/api/v1/bindings/a"),
        (Method::DELETE, "/api/v1/bindings/a"),
        (Method::PUT, "/api/v1/fallbacks"),
        (Method::POST, "/api/v1/bindings/resolve"),
        (Method::POST, "/api/v1/bindings/sketch/verify"),
        (Method::POST, "/api/v1/bindings/sketch/models"),
        (Method::POST, "/api/v1/bindings/sketch/explain"),
    ] {
        let request = server.client.request(method.clone(), server.url(path));
        let response = request.bearer_auth(second).body("{}").send().await.unwrap();
        assert_eq!(response.status(), 401, "{method} {path}");
    }
}
