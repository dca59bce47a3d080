//! What a form needs of each setting: label, choices, place, origin, problem.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{SETTINGS, change_settings, get};

async fn entry(server: &TestServer, name: &str) -> Value {
    let all = get(server, SETTINGS).await;
    let mut all = all.as_array().unwrap().iter();
    let found = all.find(|setting| setting["name"] == name);
    found.unwrap_or_else(|| panic!("no setting {name}")).clone()
}

/// Asserts that the entry has these fields; `null` is a field that is left out.
#[track_caller]
fn assert_fields(entry: &Value, expected: &Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(entry[field], *value, "{field} of {entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_have_label_place_and_choices() {
    let server = TestServer::start(&[("COMFYUI_BASE_URL", "http://127.0.0.1:9")]).await;
    for (name, expected) in [
        (
            "IMAGES_GEMINI_ENDPOINT_METHOD",
            json!({"group": "engine", "binding": "gemini", "mode": "both", "kind": "text",
                "choices": ["generateContent", "streamGenerateContent", "predict"]}),
        ),
        (
            "COMFYUI_WORKFLOW",
            json!({"title": "Workflow", "group": "engine", "binding": "comfyui", "key": "workflow",
                "mode": "generate", "multiline": true}),
        ),
        (
            "IMAGES_EDIT_COMFYUI_BASE_URL",
            json!({"title": "Base URL", "key": "base-url", "mode": "edit", "is_set": false,
                "placeholder": "http://127.0.0.1:9", "multiline": null, "choices": null}),
        ),
        (
            "COMFYUI_API_KEY",
            json!({"key": "api-key", "mode": "generate", "is_set": false, "placeholder": null,
                "value": null}),
        ),
        (
            "PINHOLE_OPENAI_HEADERS",
            json!({"title": "Headers", "group": "engine", "binding": "openai", "key": "headers"}),
        ),
        (
            "DEFAULT_USER_ROLE",
            json!({"group": "accounts", "choices": ["pending", "user", "admin"],
                "placeholder": "pending", "binding": null, "mode": null}),
        ),
        (
            "IMAGE_EDIT_ENGINE",
            json!({"group": "images", "placeholder": "comfyui",
                "choices": ["automatic1111", "comfyui", "gemini", "openai", "sketch"]}),
        ),
        (
            "TASK_MODEL",
            json!({"group": "chat", "placeholder": null, "problem": null}),
        ),
    ] {
        let found = entry(&server, name).await;
        assert_fields(&found, &expected);
        assert!(!found["title"].as_str().unwrap().is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_have_origin_author_and_variable() {
    let variables = [
        ("PINHOLE_COMFYUI_BASE_URL", "http://127.0.0.1:9"),
        ("OPENAI_API_KEY", "hunter22"),
        ("IMAGE_STEPS", "7"),
    ];
    let server = TestServer::start(&variables).await;
    let own = json!({"source": "environment", "is_set": true, "variable_in_use": "PINHOLE_COMFYUI_BASE_URL",
        "changed_by": null, "placeholder": null});
    assert_fields(&entry(&server, "COMFYUI_BASE_URL").await, &own);
    let shared = json!({"source": "default", "is_set": false, "variable_in_use": "OPENAI_API_KEY"});
    let key = entry(&server, "IMAGES_OPENAI_API_KEY").await;
    assert_fields(&key, &shared);
    assert!(!key.to_string().contains("hunter22"), "{key}");

    change_settings(&server, json!({"IMAGE_STEPS": 9})).await;
    let stored = entry(&server, "IMAGE_STEPS").await;
    let expected = json!({"source": "store", "is_set": true, "value": 9, "variable_in_use": null});
    assert_fields(&stored, &expected);
    assert!(stored["changed_at"].as_i64().unwrap() > 1_700_000_000);
    assert!(
        !stored["changed_by"].as_str().unwrap().is_empty(),
        "{stored}"
    );
    change_settings(&server, json!({"IMAGE_STEPS": null})).await;
    let removed =
        json!({"source": "environment", "changed_at": null, "variable_in_use": "IMAGE_STEPS"});
    assert_fields(&entry(&server, "IMAGE_STEPS").await, &removed);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_have_their_problem() {
    let bindings = r#"{"photo": {"engine": "openai", "settings": {"base-urll": "x"}}}"#;
    let variables = [
        ("AUTOMATIC1111_PARAMS", "no object"),
        ("PINHOLE_FALLBACKS", "sketsh"),
        ("PINHOLE_BINDINGS", bindings),
    ];
    let server = TestServer::start(&variables).await;
    for (name, expected) in [
        (
            "AUTOMATIC1111_PARAMS",
            "AUTOMATIC1111_PARAMS cannot be used",
        ),
        ("PINHOLE_FALLBACKS", "did you mean sketch?"),
        ("PINHOLE_BINDINGS", "unknown setting \"base-urll\""),
    ] {
        let problem = entry(&server, name).await["problem"].clone();
        let problem = problem.as_str().unwrap_or_default();
        assert!(problem.contains(expected), "{name}: {problem}");
    }
    assert_eq!(
        entry(&server, "COMFYUI_WORKFLOW").await["problem"],
        Value::Null
    );
}
