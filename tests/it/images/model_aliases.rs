//! Model aliases: names that clients know, for models of this server.

use pinhole_tests::{FakeUpstream, TestServer, pixel_base64};
use serde_json::{Value, json};

use super::GENERATIONS;

const SETTINGS: &str = "/api/v1/settings";

/// A server whose engine is `openai`, with aliases and a binding for one group.
async fn server(upstream: &FakeUpstream) -> TestServer {
    let base = format!("{}/v1", upstream.url());
    let bindings = json!({"photo": {"engine": "openai", "groups": ["photographers"]}}).to_string();
    let aliases = json!({
        "gpt-image-1": "sketch",
        "dall-e-3": "flux@dev@openai",
        "nobody": "photo",
    });
    TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGES_OPENAI_API_BASE_URL", &base),
        ("PINHOLE_BINDINGS", &bindings),
        ("PINHOLE_MODEL_ALIASES", &aliases.to_string()),
    ])
    .await
}

async fn upstream() -> FakeUpstream {
    FakeUpstream::json(200, json!({"data": [{"b64_json": pixel_base64()}]})).await
}

/// The models of the upstream's requests for images.
fn sent_models(upstream: &FakeUpstream) -> Vec<Value> {
    let requests = upstream.requests();
    let posts = requests.iter().filter(|it| it.line().starts_with("POST"));
    posts
        .map(|request| request.json()["model"].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alias_chooses_binding_and_model() {
    let upstream = upstream().await;
    let server = server(&upstream).await;
    let make = async |body: Value| server.post_json(GENERATIONS, &body).await;

    let sketch = json!({"prompt": "a fox", "model": "gpt-image-1", "size": "8x8"});
    let (status, made) = make(sketch.clone()).await;
    assert_eq!(status, 200, "{made}");
    assert_eq!(sent_models(&upstream), Vec::<Value>::new());

    let flux = json!({"prompt": "a fox", "model": "dall-e-3"});
    let (flux_status, flux_made) = make(flux.clone()).await;
    assert_eq!(flux_status, 200, "{flux_made}");
    // The client expects what the name stands for at OpenAI.
    assert!(flux_made["data"][0]["url"].is_string(), "{flux_made}");
    assert_eq!(sent_models(&upstream), ["flux@dev"]);

    // Another engine that the request names knows the model by that name.
    let mut named = sketch.clone();
    named["engine"] = json!("openai");
    let (named_status, named_made) = make(named).await;
    assert_eq!(named_status, 200, "{named_made}");
    assert_eq!(sent_models(&upstream), ["flux@dev", "gpt-image-1"]);

    // Open WebUI's face and its chat.
    let (open_webui_status, open_webui_made) = server
        .post_json("/api/v1/images/generations", &sketch)
        .await;
    assert_eq!(open_webui_status, 200, "{open_webui_made}");
    let turn = json!({
        "model": "chat", "messages": [{"role": "user", "content": "a fox"}],
        "features": {"image_generation": true}, "image_generation": {"model": "gpt-image-1"},
    });
    let (turn_status, turned) = server.post_json("/api/chat/completions", &turn).await;
    assert_eq!(turn_status, 200, "{turned}");
    let text = turned["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(text.contains("/content/"), "{text}");
    assert_eq!(sent_models(&upstream).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn alias_needs_the_right_to_use_its_binding() {
    let upstream = upstream().await;
    let server = server(&upstream).await;
    let listed = async |key: &str| {
        let url = server.url("/v1/models");
        let response = server
            .client
            .get(url)
            .bearer_auth(key)
            .send()
            .await
            .unwrap();
        let list: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        let models = list["data"].as_array().unwrap().iter();
        let ids = models.map(|it| (it["id"].clone(), it["owned_by"].clone()));
        ids.collect::<Vec<_>>()
    };
    let sketch = (json!("gpt-image-1"), json!("sketch"));
    let flux = (json!("dall-e-3"), json!("openai"));
    let photo = (json!("nobody"), json!("photo"));
    let all = listed(&server.key).await;
    for alias in [&sketch, &flux, &photo] {
        assert!(all.contains(alias), "{all:?}");
    }
    let other = server.add_second_user().await;
    let usable = listed(other).await;
    assert!(
        usable.contains(&sketch) && !usable.contains(&photo),
        "{usable:?}"
    );
    let body = json!({"prompt": "a fox", "model": "nobody"}).to_string();
    let url = server.url(GENERATIONS);
    let refused = server.client.post(url).bearer_auth(other).body(body);
    assert_eq!(refused.send().await.unwrap().status(), 400);
    assert_eq!(sent_models(&upstream), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn alias_of_unknown_engine_is_refused_when_stored() {
    let server = TestServer::start(&[]).await;
    for (aliases, part) in [
        (json!({"gpt-image-1": "sketsh"}), "sketsh"),
        (json!({"gpt-image-1": "flux@nothing"}), "nothing"),
        (
            json!({"gpt-image-1": "@sketch"}),
            "BINDING or MODEL@BINDING",
        ),
        (
            json!({"gpt-image-1": 5}),
            r#"PINHOLE_MODEL_ALIASES has 5 for \"gpt-image-1\""#,
        ),
        (json!({"gpt-image-1": "sketsh"}), "did you mean sketch?"),
    ] {
        let body = json!({"PINHOLE_MODEL_ALIASES": aliases});
        let (status, refused) = server.post_json(SETTINGS, &body).await;
        assert_eq!(status, 400, "{refused}");
        assert!(refused.to_string().contains(part), "{refused}");
    }
    let body = json!({"PINHOLE_MODEL_ALIASES": {"gpt-image-1": "sketch"}});
    let (status, response) = server.post_json(SETTINGS, &body).await;
    assert_eq!(status, 200, "{response}");
    let model = server.get("/v1/models/gpt-image-1").send().await.unwrap();
    assert_eq!(model.status(), 200);
}
