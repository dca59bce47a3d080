//! Stored settings: precedence over environment and defaults across restarts, and encryption of secrets.

use std::path::Path;

use pinhole_tests::TestServer;
use serde_json::json;

use super::{
    CONFIG, MARKER, SETTINGS, change_settings, execute, get, recorded_changes, save_form,
    setting_value, stored_paths, text,
};

fn stored_value(value: &str) -> (serde_json::Value, String) {
    (json!(value), "store".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_value_overrides_environment_and_default() {
    let server =
        TestServer::with_engine("openai", &[("IMAGE_GENERATION_MODEL", "of-environment")]).await;
    let of_environment = (json!("of-environment"), "environment".to_owned());
    assert_eq!(
        setting_value(&server, "IMAGE_GENERATION_MODEL").await,
        of_environment
    );
    let default = (json!("alpha"), "default".to_owned());
    assert_eq!(
        setting_value(&server, "PINHOLE_OPENAI_MASK_STYLE").await,
        default
    );

    change_settings(
        &server,
        json!({"IMAGE_GENERATION_MODEL": "of-store", "PINHOLE_OPENAI_MASK_STYLE": "white"}),
    )
    .await;
    assert_eq!(
        setting_value(&server, "IMAGE_GENERATION_MODEL").await,
        stored_value("of-store")
    );
    assert_eq!(
        setting_value(&server, "PINHOLE_OPENAI_MASK_STYLE").await,
        stored_value("white")
    );
    assert_eq!(
        stored_paths(&server).await,
        [
            "image_generation.model",
            "pinhole.engines.openai.mask-style"
        ]
    );

    // A changed environment does not override the stored value.
    let changed = [("IMAGE_GENERATION_MODEL", "changed")];
    let server = server.restart(&changed).await;
    assert_eq!(
        setting_value(&server, "IMAGE_GENERATION_MODEL").await,
        stored_value("of-store")
    );
    assert_eq!(
        setting_value(&server, "PINHOLE_OPENAI_MASK_STYLE").await,
        stored_value("white")
    );

    // An empty string hides the environment, and null restores it.
    change_settings(&server, json!({"IMAGE_GENERATION_MODEL": ""})).await;
    assert_eq!(get(&server, CONFIG).await["IMAGE_GENERATION_MODEL"], "");
    let server = server.restart(&changed).await;
    assert_eq!(get(&server, CONFIG).await["IMAGE_GENERATION_MODEL"], "");
    change_settings(&server, json!({"image_generation.model": null})).await;
    let changed_environment = (json!("changed"), "environment".to_owned());
    assert_eq!(
        setting_value(&server, "IMAGE_GENERATION_MODEL").await,
        changed_environment
    );
    assert_eq!(
        stored_paths(&server).await,
        ["pinhole.engines.openai.mask-style"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_variables_of_a_setting_share_one_value() {
    let variables = [
        ("IMAGES_OPENAI_PARAMS", r#"{"a": 1}"#),
        ("PINHOLE_OPENAI_PARAMS", r#"{"b": 1}"#),
    ];
    let server = TestServer::with_engine("openai", &variables).await;
    let name = "IMAGES_OPENAI_API_PARAMS";
    assert_eq!(setting_value(&server, name).await.0, json!({"a": 1}));
    change_settings(&server, json!({"IMAGES_OPENAI_PARAMS": {"c": 1}})).await;
    assert_eq!(setting_value(&server, name).await.0, json!({"c": 1}));
    change_settings(&server, json!({"PINHOLE_OPENAI_PARAMS": "{\"d\": 1}"})).await;
    assert_eq!(setting_value(&server, name).await.0, json!({"d": 1}));
    assert_eq!(
        stored_paths(&server).await,
        ["image_generation.openai.params"]
    );
    // The other variables do not apply either.
    change_settings(&server, json!({name: ""})).await;
    assert_eq!(get(&server, CONFIG).await[name], json!({}));
    let server = server.restart(&variables).await;
    assert_eq!(get(&server, CONFIG).await[name], json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn disabled_persistence_ignores_stored_values_but_writes() {
    let disabled = [("ENABLE_PERSISTENT_CONFIG", "false"), ("IMAGE_STEPS", "5")];
    let server = TestServer::with_engine("sketch", &disabled).await;
    change_settings(&server, json!({"IMAGE_STEPS": 6, "IMAGE_SIZE": "64x64"})).await;
    assert_eq!(setting_value(&server, "IMAGE_STEPS").await.0, 6);
    let server = server.restart(&disabled).await;
    assert_eq!(setting_value(&server, "IMAGE_STEPS").await.0, 5);
    assert_eq!(
        stored_paths(&server).await,
        ["image_generation.size", "image_generation.steps"]
    );
    let server = server.restart(&[("IMAGE_STEPS", "5")]).await;
    assert_eq!(setting_value(&server, "IMAGE_STEPS").await.0, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn reset_on_start_removes_stored_values() {
    let server = TestServer::with_engine("sketch", &[]).await;
    change_settings(
        &server,
        json!({"IMAGE_STEPS": 6, "IMAGES_OPENAI_API_KEY": "hunter22"}),
    )
    .await;
    let server = server
        .restart(&[("RESET_CONFIG_ON_START", "True"), ("IMAGE_STEPS", "5")])
        .await;
    assert_eq!(setting_value(&server, "IMAGE_STEPS").await.0, 5);
    assert_eq!(stored_paths(&server).await, [""; 0]);
    let recorded = recorded_changes(&server).await;
    assert_eq!(
        recorded[..2],
        [
            "removed IMAGE_STEPS 6 null",
            "removed IMAGES_OPENAI_API_KEY null null"
        ]
    );
    let newest = &get(&server, "/api/v1/settings/changes?limit=1").await[0];
    assert_eq!(newest["user_name"], "RESET_CONFIG_ON_START");
}

/// The path of a file in this directory that contains the text.
fn file_containing(directory: &Path, text: &str) -> Option<String> {
    std::fs::read_dir(directory).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return file_containing(&path, text);
        }
        let bytes = std::fs::read(&path).unwrap();
        let found = bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes());
        found.then(|| path.display().to_string())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_encrypted_on_disk_and_masked_in_responses() {
    let server = TestServer::with_engine("openai", &[]).await;
    let far = json!({"base-url": "https://far.example/v1", "api-key": "secret-of-far"});
    let bindings = json!({"far": {"engine": "openai", "settings": far}});
    change_settings(
        &server,
        json!({
            "IMAGES_OPENAI_API_KEY": "secret-of-openai",
            "AUTOMATIC1111_API_AUTH": "user:secret-of-automatic",
            "IMAGE_EDIT_MODEL": "plain-model",
            "PINHOLE_BINDINGS": bindings,
        }),
    )
    .await;
    save_form(&server, &[("COMFYUI_API_KEY", json!("secret-of-comfyui"))]).await;
    let data = server.data_dir.path();
    assert!(file_containing(data, "plain-model").is_some());
    assert_eq!(file_containing(data, "secret-of"), None);
    for path in [CONFIG, SETTINGS, super::CHANGES, "/api/v1/configs/export"] {
        let token = get(&server, path).await.to_string();
        assert!(!token.contains("secret-of"), "{path}: {token}");
    }
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(data.join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("settings-key"), 0o600);

    // After a restart, the values are the same.
    let server = server.restart(&[]).await;
    let environment = server.app.settings.overlay();
    let environment = environment.environment();
    assert_eq!(
        environment.get("IMAGES_OPENAI_API_KEY"),
        Some("secret-of-openai")
    );
    assert_eq!(
        environment.get("COMFYUI_API_KEY"),
        Some("secret-of-comfyui")
    );
    let bindings_text = environment.get("PINHOLE_BINDINGS").unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(bindings_text).unwrap(),
        bindings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn secret_under_other_key_counts_as_unset() {
    let first = "1a".repeat(32);
    let server = TestServer::with_engine("sketch", &[("PINHOLE_SETTINGS_KEY", &first)]).await;
    change_settings(
        &server,
        json!({"COMFYUI_API_KEY": "hunter22", "IMAGE_STEPS": 6}),
    )
    .await;
    assert!(!server.data_dir.path().join("settings-key").exists());
    let server = server.restart(&[]).await;
    let unset = (json!(null), "default".to_owned());
    assert_eq!(setting_value(&server, "COMFYUI_API_KEY").await, unset);
    assert_eq!(setting_value(&server, "IMAGE_STEPS").await.0, 6);
    // The original key decrypts it again.
    let server = server.restart(&[("PINHOLE_SETTINGS_KEY", &first)]).await;
    assert_eq!(
        setting_value(&server, "COMFYUI_API_KEY").await,
        stored_value(MARKER)
    );
    // Under another key, it can be replaced or removed.
    let server = server.restart(&[]).await;
    change_settings(&server, json!({"COMFYUI_API_KEY": null})).await;
    assert_eq!(stored_paths(&server).await, ["image_generation.steps"]);
    change_settings(&server, json!({"COMFYUI_API_KEY": "hunter33"})).await;
    let server = server.restart(&[]).await;
    assert_eq!(
        setting_value(&server, "COMFYUI_API_KEY").await,
        stored_value(MARKER)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_settings_are_refused() {
    let server = TestServer::with_engine("sketch", &[]).await;
    for (body, status, part) in [
        (
            json!({"NOPE": 1}),
            400,
            "unknown setting NOPE: GET /api/v1/settings lists",
        ),
        (
            json!({"IMAGE_STEPS": "many"}),
            400,
            "IMAGE_STEPS must be a whole number such as 20",
        ),
        (
            json!({"ENABLE_IMAGE_EDIT": ""}),
            400,
            "ENABLE_IMAGE_EDIT must be true or false",
        ),
        (
            json!({"DEFAULT_USER_ROLE": "king"}),
            400,
            "DEFAULT_USER_ROLE is \"king\": it must be one of",
        ),
        (
            json!({"DEFAULT_USER_ROLE": "x".repeat(10_000)}),
            400,
            "DEFAULT_USER_ROLE is \"xxxx",
        ),
        (
            json!({"PINHOLE_DATA": "/"}),
            400,
            "unknown setting PINHOLE_DATA",
        ),
        (json!([]), 400, "invalid JSON body"),
    ] {
        let mut all = body.clone();
        if let Some(all) = all.as_object_mut() {
            all.insert("IMAGE_EDIT_MODEL".to_owned(), json!("m"));
        }
        let (code, refused) = server.post_json(SETTINGS, &all).await;
        assert_eq!(code, status, "{body}: {refused}");
        let detail = text(&refused, "detail");
        assert!(detail.contains(part), "{body}: {refused}");
        assert!(detail.len() <= 1000, "{} bytes", detail.len());
    }
    for limit in ["0", "1001", "x"] {
        let path = format!("/api/v1/settings/changes?limit={limit}");
        let response = server.get(&path).send().await.unwrap();
        assert_eq!(response.status(), 400, "{limit}");
    }
    assert_eq!(stored_paths(&server).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_are_all_stored() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let names = [
        "IMAGE_STEPS",
        "COMFYUI_API_KEY",
        "IMAGE_SIZE",
        "IMAGE_EDIT_SIZE",
        "IMAGE_EDIT_MODEL",
        "TASK_MODEL",
        "TASK_MODEL_EXTERNAL",
        "IMAGE_GENERATION_MODEL",
    ];
    let changes_at_once = names.map(|name| {
        let value = match name {
            "IMAGE_STEPS" => json!(5),
            "IMAGE_SIZE" | "IMAGE_EDIT_SIZE" => json!("64x64"),
            name => json!(name.to_lowercase()),
        };
        change_settings(&server, json!({name: value}))
    });
    futures_util::future::join_all(changes_at_once).await;
    assert_eq!(stored_paths(&server).await.len(), names.len());
    assert_eq!(recorded_changes(&server).await.len(), names.len());
    for name in names {
        assert_eq!(setting_value(&server, name).await.1, "store", "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn change_log_is_bounded() {
    let server = TestServer::with_engine("sketch", &[]).await;
    change_settings(&server, json!({"IMAGE_STEPS": 1})).await;
    change_settings(&server, json!({"IMAGE_STEPS": 2})).await;
    execute(
        &server,
        "UPDATE setting_changes SET id = 10001 WHERE id = 2",
    )
    .await;
    assert_eq!(recorded_changes(&server).await.len(), 2);
    // The oldest remaining change would have id 2.
    change_settings(&server, json!({"IMAGE_STEPS": 3})).await;
    let remaining = ["changed IMAGE_STEPS 2 3", "changed IMAGE_STEPS 1 2"];
    assert_eq!(recorded_changes(&server).await, remaining);
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_named_twice_is_consistent_in_store_and_memory() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let twice = [
        json!({"IMAGE_STEPS": 5, "image_generation.steps": null}),
        json!({"IMAGE_STEPS": null, "image_generation.steps": 6}),
    ];
    for body in twice {
        change_settings(&server, body).await;
        let now = setting_value(&server, "IMAGE_STEPS").await;
        let rows = stored_paths(&server).await;
        assert_eq!(
            now.1 == "store",
            rows == ["image_generation.steps"],
            "{now:?} {rows:?}"
        );
    }
    assert_eq!(recorded_changes(&server).await.len(), 1);
}
