//! A check of values before they are stored.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{SETTINGS, change_settings, get, recorded_changes, stored_paths};

const CHECK: &str = "/api/v1/settings/check";

async fn check(server: &TestServer, values: Value) -> Value {
    let (status, body) = server.post_json(CHECK, &values).await;
    assert_eq!(status, 200, "{values}: {body}");
    body
}

/// The names of the values that have a problem, sorted.
fn names(checked: &Value) -> Vec<&str> {
    let problems = checked["problems"].as_array().unwrap().iter();
    let mut names: Vec<_> = problems.map(|it| it["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_a_problem_of_each_value_and_changes_nothing() {
    let server = TestServer::start(&[("COMFYUI_BASE_URL", "http://127.0.0.1:9")]).await;
    let before = get(&server, SETTINGS).await;
    let checked = check(
        &server,
        json!({
            "COMFYUI_WORKFLOW": "[]",
            "IMAGES_GEMINI_ENDPOINT_METHOD": "guess",
            "IMAGE_SIZE": "large",
            "IMAGE_STEPS": "many",
            "DEFAULT_USER_ROLE": "root",
            "IMAGES_OPENAI_API_KEY": "hunter22\nx",
            "NO_SUCH": 1,
            "IMAGE_GENERATION_MODEL": "flux",
        }),
    )
    .await;
    assert_eq!(
        names(&checked),
        [
            "COMFYUI_WORKFLOW",
            "DEFAULT_USER_ROLE",
            "IMAGES_GEMINI_ENDPOINT_METHOD",
            "IMAGES_OPENAI_API_KEY",
            "IMAGE_SIZE",
            "IMAGE_STEPS",
            "NO_SUCH",
        ]
    );
    assert!(!checked.to_string().contains("hunter22"), "{checked}");
    // The valid value applies.
    assert_eq!(checked["effective"]["generation"]["model"], "flux");
    assert_eq!(get(&server, SETTINGS).await, before);
    assert_eq!(stored_paths(&server).await, [""; 0]);
    assert_eq!(recorded_changes(&server).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_shows_the_engine_that_would_generate() {
    let server = TestServer::start(&[]).await;
    let checked = check(&server, json!({"IMAGE_GENERATION_ENGINE": "openai"})).await;
    assert_eq!(checked["problems"], json!([]));
    let effective = &checked["effective"]["generation"];
    assert_eq!(
        (&effective["engine"], &effective["source"]),
        (&json!("openai"), &json!("store"))
    );
    let now = get(&server, "/api/v1/settings/effective").await;
    assert_eq!(now["generation"]["engine"], "sketch");

    // The problem of another setting belongs to the value that causes it.
    let photo = json!({"photo": {"engine": "openai", "model": "gpt-image-1"}});
    let both = json!({"IMAGE_GENERATION_ENGINE": "photo", "PINHOLE_BINDINGS": photo});
    let both_checked = check(&server, both.clone()).await;
    assert_eq!(both_checked["problems"], json!([]));
    // The model is that of the binding.
    assert_eq!(
        both_checked["effective"]["generation"]["model"],
        "gpt-image-1"
    );
    change_settings(&server, both).await;
    let removed = check(&server, json!({"PINHOLE_BINDINGS": null})).await;
    assert_eq!(names(&removed), ["PINHOLE_BINDINGS"]);
    let message = removed["problems"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("IMAGE_GENERATION_ENGINE is \"photo\""),
        "{message}"
    );
    assert_eq!(removed["effective"]["generation"]["engine"], "photo");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_a_limited_number_of_problems() {
    let server = TestServer::start(&[]).await;
    let unknown = |index| (format!("NO_SUCH_{index}"), Value::from(1));
    let values: Value = (0..pinhole::app::MAX_PROBLEMS + 5)
        .map(unknown)
        .collect::<serde_json::Map<_, _>>()
        .into();
    let checked = check(&server, values).await;
    assert_eq!(names(&checked).len(), pinhole::app::MAX_PROBLEMS);
}
