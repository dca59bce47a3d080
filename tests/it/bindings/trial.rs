//! Tests of a binding with values that are not stored.

use http::Method;
use pinhole_tests::{FakeResponse, FakeUpstream, TestServer};
use serde_json::{Value, json};

use super::definitions::send;
use super::server;

/// An upstream with models, which accepts this key.
async fn model_upstream(key: &'static str) -> FakeUpstream {
    FakeUpstream::start(move |request| async move {
        if request.header("authorization") != format!("Bearer {key}") {
            let error = json!({"error": {"message": "the key is wrong"}});
            return FakeResponse::json(401, &error);
        }
        FakeResponse::json(200, &json!({"data": [{"id": "paint-2"}]}))
    })
    .await
}

async fn test(server: &TestServer, path: &str, body: &Value) -> Value {
    let path = format!("/api/v1/bindings/{path}");
    let (status, found) = send(server, Method::POST, &path, body).await;
    assert_eq!(status, 200, "{path} {body}: {found}");
    found
}

#[track_caller]
fn assert_failure(found: &Value, message: &str) {
    assert_eq!(found["ok"], false, "{found}");
    assert!(
        found["message"].as_str().unwrap().contains(message),
        "{found}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_uses_values_that_are_not_stored() {
    let (stored, unsaved) = (
        model_upstream("key-of-the-engine").await,
        model_upstream("key-new").await,
    );
    let server = server(&stored.url(), &json!({}), &[]).await;
    let works = test(&server, "openai/verify", &json!({})).await;
    assert_eq!(
        (&works["ok"], &works["message"]),
        (&json!(true), &json!("engine openai works"))
    );
    let request = |upstream: &FakeUpstream, status: Value| json!([{"method": "GET", "url_without_secrets": format!("{}/v1/models", upstream.url()), "status": status}]);
    assert_eq!(works["requests"], request(&stored, json!(200)));
    assert!(works["duration_ms"].as_u64().is_some());

    let url =
        json!({"IMAGES_OPENAI_API_BASE_URL": unsaved.url(), "IMAGES_OPENAI_API_KEY": "********"});
    let found = test(&server, "openai/verify", &json!({"settings": url})).await;
    assert_failure(&found, "the key is wrong");
    assert_eq!(found["requests"], request(&unsaved, json!(401)));
    // The marker is the stored secret.
    assert_eq!(
        unsaved.requests()[0].header("authorization"),
        "Bearer key-of-the-engine"
    );

    let both =
        json!({"IMAGES_OPENAI_API_BASE_URL": unsaved.url(), "IMAGES_OPENAI_API_KEY": "key-new"});
    let body = json!({"settings": both, "operation": "generate"});
    let accepted = test(&server, "openai/verify", &body).await;
    assert_eq!(accepted["ok"], true, "{accepted}");
    assert!(!accepted.to_string().contains("key-new"), "{accepted}");
    let models = test(&server, "openai/models", &json!({"settings": both})).await;
    assert_eq!(models[0]["id"], "paint-2");
    assert!(server.app.store.settings().await.unwrap().is_empty());
    assert_eq!(stored.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn verification_reports_why_values_cannot_be_used() {
    let upstream = model_upstream("key-of-the-engine").await;
    let gone = FakeUpstream::json(200, json!({})).await;
    let url = gone.url();
    drop(gone);
    let server = server(
        &upstream.url(),
        &json!({"photo": {"engine": "openai"}}),
        &[],
    )
    .await;
    for (values, expected) in [
        (
            json!({"IMAGES_OPENAI_API_BASE_URL": "ftp://x"}),
            "IMAGES_OPENAI_API_BASE_URL",
        ),
        (
            json!({"IMAGE_SIZE": "large"}),
            "IMAGE_SIZE \"large\" is neither",
        ),
        (
            json!({"IMAGES_OPENAI_API_KEY": "hunter22\nx"}),
            "IMAGES_OPENAI_API_KEY",
        ),
        // Only a setting that names it makes a private address reachable, and a metadata service never is.
        (
            json!({"IMAGES_OPENAI_API_BASE_URL": "http://169.254.169.254/v1"}),
            "169.254.169.254",
        ),
    ] {
        let found = test(&server, "openai/verify", &json!({"settings": values})).await;
        assert_failure(&found, expected);
        assert!(!found.to_string().contains("hunter22"), "{found}");
    }
    let lost = json!({"settings": {"IMAGES_OPENAI_API_BASE_URL": url}});
    let unreachable = test(&server, "openai/verify", &lost).await;
    assert_failure(
        &unreachable,
        "check that OpenAI is running and that IMAGES_OPENAI_API_BASE_URL is its URL",
    );
    assert_eq!(unreachable["requests"][0]["status"], Value::Null);
    assert_eq!(upstream.requests().len(), 0);

    for (path, body, expected) in [
        ("openai/verify", json!({"settings": {"NO_SUCH": 1}}), 400),
        (
            "openai/verify",
            json!({"settings": {"IMAGE_STEPS": "x"}}),
            400,
        ),
        ("openai/verify", json!({"operation": "draw"}), 400),
        ("openai/models", lost, 400),
        ("nowhere/verify", json!({}), 404),
        ("nowhere/models", json!({}), 404),
        ("nowhere/explain", json!({}), 404),
    ] {
        let path = format!("/api/v1/bindings/{path}");
        let (status, found) = send(&server, Method::POST, &path, &body).await;
        assert_eq!(status, expected, "{path} {body}: {found}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definition_is_tested_before_it_is_stored() {
    let upstream = model_upstream("key-photo").await;
    let bindings = json!({"photo": {"engine": "openai",
        "settings": {"base-url": "http://127.0.0.1:9", "api-key": "key-photo"}}});
    let server = server(&upstream.url(), &bindings, &[]).await;
    let definition = json!({"engine": "openai",
        "settings": {"base-url": upstream.url(), "api-key": "********"}});
    let body = json!({"definition": definition});
    for name in ["photo", "new"] {
        let found = test(&server, &format!("{name}/verify"), &body).await;
        // A binding that is new has no stored key.
        assert_eq!(found["ok"], name == "photo", "{found}");
    }
    assert_eq!(
        upstream.requests()[0].header("authorization"),
        "Bearer key-photo"
    );
    let unknown = json!({"definition": {"engine": "nowhere"}});
    assert_failure(
        &test(&server, "new/verify", &unknown).await,
        "its engine nowhere does not exist",
    );
    let now = test(&server, "photo/verify", &json!({})).await;
    assert_failure(&now, "PINHOLE_BINDINGS (photo, base-url)");
}

#[tokio::test(flavor = "multi_thread")]
async fn tests_of_one_administrator_are_limited() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for _ in 0..pinhole::jobs::MAX_VERIFICATIONS_PER_MINUTE {
        test(&server, "sketch/explain", &json!({})).await;
    }
    for operation in ["verify", "models", "explain"] {
        let path = format!("/api/v1/bindings/sketch/{operation}");
        let (status, body) = send(&server, Method::POST, &path, &json!({})).await;
        assert_eq!(status, 429, "{operation}: {body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_upstream_ends_a_verification() {
    let silent = FakeUpstream::start(async |_| std::future::pending::<FakeResponse>().await).await;
    let variables = [("PINHOLE_JOB_TIMEOUT_SECS", "1")];
    let server = server("http://127.0.0.1:9", &json!({}), &variables).await;
    let body = json!({"settings": {"IMAGES_OPENAI_API_BASE_URL": silent.url()}});
    let found = test(&server, "openai/verify", &body).await;
    assert_failure(&found, "PINHOLE_JOB_TIMEOUT_SECS");
    assert_eq!(found["requests"][0]["status"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn explanation_uses_a_workflow_that_is_not_stored() {
    let comfyui = FakeUpstream::json(404, json!({})).await;
    let server = TestServer::start(&[("COMFYUI_BASE_URL", &comfyui.url())]).await;
    let workflow = json!({
        "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 20, "cfg": 8, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1, "model": ["4", 0], "positive": ["6", 0],
            "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a hut at a lake", "clip": ["4", 1]},
            "_meta": {"title": "Positive"}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0], "filename_prefix": "p"}},
    });
    let body =
        json!({"settings": {"COMFYUI_WORKFLOW": workflow.to_string()}, "operation": "generate"});
    let found = test(&server, "comfyui/explain", &body).await;
    let rows = found["rows"].as_array().unwrap();
    let prompt = rows.iter().find(|row| row["role"] == "prompt").unwrap();
    let expected = json!({"setting": "workflow", "role": "prompt", "node": "6", "title": "Positive",
        "input": "text", "value": "a hut at a lake"});
    assert_eq!(*prompt, expected);

    let editor = json!({"settings": {"COMFYUI_WORKFLOW": "{\"nodes\": [], \"links\": []}"}});
    let refused = test(&server, "comfyui/explain", &editor).await;
    assert_eq!(refused["rows"], json!([]));
    let problem = refused["problems"][0].as_str().unwrap();
    assert!(problem.contains("COMFYUI_WORKFLOW"), "{problem}");
    let none = test(&server, "sketch/explain", &json!({})).await;
    assert_eq!(none, json!({"rows": [], "problems": []}));
}
