//! Which engine generates and which one edits, and why.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{SETTINGS, change_settings, get, save_form};

const EFFECTIVE: &str = "/api/v1/settings/effective";

/// Engine, origin and reason of an operation.
async fn effective(server: &TestServer, operation: &str) -> (String, String, String) {
    let settings = get(server, EFFECTIVE).await;
    let text = |key: &str| settings[operation][key].as_str().unwrap().to_owned();
    (text("engine"), text("source"), text("reason"))
}

#[track_caller]
fn assert_choice(actual: &(String, String, String), expected: [&str; 3]) {
    let (engine, source, reason) = actual;
    assert_eq!([engine, source], expected[..2], "{reason}");
    assert!(reason.contains(expected[2]), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_key_and_flag_do_not_select_an_engine() {
    let server = TestServer::start(&[]).await;
    let by_default = [
        "sketch",
        "default",
        "IMAGE_GENERATION_ENGINE selects another",
    ];
    assert_choice(&effective(&server, "generation").await, by_default);
    let key = ("IMAGES_OPENAI_API_KEY", json!("hunter22"));
    let edit_key = ("IMAGES_EDIT_OPENAI_API_KEY", json!("hunter33"));
    let flag = ("ENABLE_IMAGE_GENERATION", json!(true));
    save_form(&server, &[key, edit_key, flag]).await;
    assert_choice(&effective(&server, "generation").await, by_default);
    let generates = ["sketch", "generates", "the engine that generates"];
    assert_choice(&effective(&server, "edit").await, generates);
    // Not after a restart either.
    let server = server.restart(&[]).await;
    assert_choice(&effective(&server, "generation").await, by_default);

    save_form(&server, &[("IMAGE_GENERATION_ENGINE", json!("openai"))]).await;
    let stored = [
        "openai",
        "store",
        "set by the stored IMAGE_GENERATION_ENGINE",
    ];
    assert_choice(&effective(&server, "generation").await, stored);
    change_settings(&server, json!({"IMAGES_OPENAI_API_KEY": null})).await;
    assert_choice(&effective(&server, "generation").await, stored);
    // Open WebUI's meaning of an empty engine.
    save_form(&server, &[("IMAGE_GENERATION_ENGINE", json!(""))]).await;
    let empty = ["automatic1111", "store", "IMAGE_GENERATION_ENGINE"];
    assert_choice(&effective(&server, "generation").await, empty);
    let settings = get(&server, SETTINGS).await;
    let row = settings.as_array().unwrap().iter();
    let row = row
        .clone()
        .find(|it| it["name"] == "IMAGE_GENERATION_ENGINE")
        .unwrap();
    assert!(
        row["description"]
            .as_str()
            .unwrap()
            .contains("An empty text means automatic1111")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_configured_engine_remains_when_another_is_configured() {
    let comfyui = ("COMFYUI_BASE_URL", "http://127.0.0.1:9");
    let openai = ("IMAGES_OPENAI_API_KEY", "hunter22");
    let both = TestServer::start(&[comfyui, openai]).await;
    let several = [
        "sketch",
        "default",
        "configures comfyui and openai: set IMAGE_GENERATION_ENGINE",
    ];
    assert_choice(&effective(&both, "generation").await, several);

    let server = TestServer::start(&[comfyui]).await;
    let only = ["comfyui", "only-configured", "COMFYUI_BASE_URL"];
    assert_choice(&effective(&server, "generation").await, only);
    let server = server.restart(&[comfyui, openai]).await;
    let previous = ["comfyui", "previous-start", "earlier start"];
    assert_choice(&effective(&server, "generation").await, previous);
    let named = ("IMAGE_GENERATION_ENGINE", "openai");
    let server = server.restart(&[comfyui, openai, named]).await;
    let by_name = ["openai", "environment", "set by IMAGE_GENERATION_ENGINE"];
    assert_choice(&effective(&server, "generation").await, by_name);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_are_problems_and_cannot_be_stored() {
    let aliases = ("PINHOLE_MODEL_ALIASES", r#"{"dall-e-3": "sketshy"}"#);
    let server = TestServer::start(&[("PINHOLE_FALLBACKS", "sketsh"), aliases]).await;
    let settings = get(&server, EFFECTIVE).await;
    let problem = "PINHOLE_FALLBACKS is \"sketsh\", which is not an engine: did you mean sketch?";
    let alias = "PINHOLE_MODEL_ALIASES (dall-e-3) is \"sketshy\", which is not an engine: did you mean sketch?";
    assert_eq!(settings["problems"], json!([problem, alias]));
    let (status, body): (u16, Value) = server
        .post_json(SETTINGS, &json!({"PINHOLE_FALLBACKS": "sketch,zzz"}))
        .await;
    assert_eq!(status, 400, "{body}");
    let detail = body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("PINHOLE_FALLBACKS is \"zzz\""),
        "{detail}"
    );
    // A problem that existed before does not prevent another change.
    change_settings(&server, json!({"PINHOLE_FALLBACKS": "sketch"})).await;
    assert_eq!(get(&server, EFFECTIVE).await["problems"], json!([alias]));
    change_settings(
        &server,
        json!({"PINHOLE_MODEL_ALIASES": {"dall-e-3": "sketch"}}),
    )
    .await;
    assert_eq!(get(&server, EFFECTIVE).await["problems"], json!([]));
}
