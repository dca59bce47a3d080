//! Other forms: task models, permissions, export and import, and the client configuration.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{
    MARKER, SETTINGS, change_settings, get, recorded_changes, request_as, setting_value,
    stored_paths, text,
};

const PERMISSIONS: &str = "/api/v1/users/default/permissions";

#[tokio::test(flavor = "multi_thread")]
async fn default_permission_changes_at_once_and_persists() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    let fox = json!({"prompt": "a fox", "size": "64x48"});
    let generate = async |target: &TestServer| {
        let path = "/api/v1/images/generations";
        request_as(target, second, Method::POST, path, Some(&fox))
            .await
            .0
    };
    assert_eq!(generate(&server).await, 200);
    let off = json!({"workspace": {"models": true}, "features": {"image_generation": false, "web_search": true}});
    let stored = json!({"features": {"image_generation": false}});
    assert_eq!(
        server.post_json(PERMISSIONS, &off).await,
        (200, stored.clone())
    );
    assert_eq!(get(&server, PERMISSIONS).await, stored);
    assert_eq!(generate(&server).await, 403);
    assert_eq!(
        stored_paths(&server).await,
        ["user.permissions.features.image_generation"]
    );
    // Absent and equal values are not changes.
    for body in [json!({"features": {}}), off] {
        assert_eq!(
            server.post_json(PERMISSIONS, &body).await,
            (200, stored.clone())
        );
    }
    assert_eq!(recorded_changes(&server).await.len(), 1);
    for invalid in [json!({}), json!({"features": {"image_generation": "no"}})] {
        assert_eq!(
            server.post_json(PERMISSIONS, &invalid).await.0,
            400,
            "{invalid}"
        );
    }
    let server = server.restart(&[]).await;
    assert_eq!(generate(&server).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_up_setting_applies_at_once() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let sign_up = async |name: &str| {
        let email = format!("{name}@example.com");
        let body = json!({"name": name, "email": email, "password": "correct horse"});
        server.post_json("/api/v1/auths/signup", &body).await
    };
    assert_eq!(sign_up("ada").await.0, 403);
    change_settings(
        &server,
        json!({"ENABLE_SIGNUP": true, "DEFAULT_USER_ROLE": "user", "JWT_EXPIRES_IN": "1h"}),
    )
    .await;
    assert_eq!(sign_up("ada").await.1["role"], "admin");
    let (_, eve) = sign_up("eve").await;
    assert_eq!(eve["role"], "user");
    let seconds_left = eve["expires_at"].as_i64().unwrap() - now_secs();
    assert!((0..=3600).contains(&seconds_left), "{seconds_left}");
    change_settings(&server, json!({"ENABLE_SIGNUP": false})).await;
    assert_eq!(sign_up("bob").await.0, 403);
}

fn now_secs() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn task_form_changes_task_models_only() {
    let server = TestServer::with_engine("sketch", &[("TASK_MODEL", "small")]).await;
    let path = "/api/v1/tasks/config";
    let expected = json!({
        "TASK_MODEL": "small",
        "TASK_MODEL_EXTERNAL": "",
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE": "",
    });
    let second = server.add_second_user().await;
    let body = request_as(&server, second, Method::GET, path, None).await;
    assert_eq!(body, (200, expected));
    let sent = json!({
        "TASK_MODEL": "small",
        "TASK_MODEL_EXTERNAL": "large",
        "ENABLE_TAGS_GENERATION": true,
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE": "{{prompt}}",
    });
    let update = "/api/v1/tasks/config/update";
    let (status, updated) = server.post_json(update, &sent).await;
    let expected_update = json!({
        "TASK_MODEL": "small",
        "TASK_MODEL_EXTERNAL": "large",
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE": "{{prompt}}",
    });
    assert_eq!((status, &updated), (200, &expected_update));
    assert_eq!(
        stored_paths(&server).await,
        ["task.image.prompt_template", "task.model.external"]
    );
    let (refused_status, refused) = server.post_json(update, &json!({"TASK_MODEL": 5})).await;
    assert_eq!(
        (refused_status, text(&refused, "detail").as_str()),
        (
            400,
            "invalid JSON body: invalid type: integer `5`, expected a string at line 1 column 15 (in TASK_MODEL)"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn export_masks_secrets_and_import_restores_them() {
    let variables = [("IMAGE_EDIT_SIZE", "64x64")];
    let server = TestServer::with_engine("openai", &variables).await;
    let (export, import) = ("/api/v1/configs/export", "/api/v1/configs/import");
    assert_eq!(get(&server, export).await, json!({}));
    change_settings(
        &server,
        json!({
            "IMAGE_STEPS": 6, "IMAGES_OPENAI_API_KEY": "hunter22", "IMAGES_OPENAI_API_PARAMS": {"n": 1},
            "PINHOLE_OPENAI_MASK_STYLE": "white", "IMAGE_GENERATION_MODEL": "",
        }),
    )
    .await;
    let tree = get(&server, export).await;
    let expected = json!({
        "image_generation": {
            "model": "", "steps": 6, "openai": {"api_key": MARKER, "params": {"n": 1}},
        },
        "pinhole": {"engines": {"openai": {"mask-style": "white"}}},
    });
    assert_eq!(tree, expected);
    let before = recorded_changes(&server).await.len();
    let wrapped = |config: &Value| json!({"config": config});
    assert_eq!(
        server.post_json(import, &wrapped(&tree)).await,
        (200, expected)
    );
    assert_eq!(recorded_changes(&server).await.len(), before);
    let other = json!({
        "version": 0, "ui": {"theme": "dark"}, "images": {"edit": {"size": "32x32"}},
        "image_generation": {"steps": 7},
    });
    let (status, body) = server.post_json(import, &wrapped(&other)).await;
    let imported = json!({
        "image_generation": {"steps": 7, "openai": {"api_key": MARKER}},
        "images": {"edit": {"size": "32x32"}},
    });
    assert_eq!((status, body), (200, imported));
    let invalid = json!({"image_generation": {"steps": 8}, "images": {"edit": {"enable": 3}}});
    assert_eq!(server.post_json(import, &wrapped(&invalid)).await.0, 400);
    assert_eq!(setting_value(&server, "IMAGE_STEPS").await.0, 7);
    assert_eq!(server.post_json(import, &json!({})).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_has_image_features_only_for_signed_in_user() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let path = "/api/config";
    let (status, anonymous) = request_as(&server, "", Method::GET, path, None).await;
    assert_eq!(status, 200);
    let features = &anonymous["features"];
    assert_eq!(
        (&features["auth"], &features["enable_signup"]),
        (&json!(true), &json!(false))
    );
    assert!(features.get("enable_image_generation").is_none());
    assert!(anonymous.get("permissions").is_none());
    let (_, unknown) = request_as(&server, "sk-nobody", Method::GET, path, None).await;
    assert_eq!(unknown, anonymous);
    let signed_in = get(&server, path).await;
    assert_eq!(signed_in["features"]["enable_image_generation"], true);
    assert_eq!(
        signed_in["permissions"]["features"]["image_generation"],
        true
    );
    change_settings(
        &server,
        json!({"ENABLE_IMAGE_GENERATION": false, "IMAGE_GENERATION_ENGINE": "sketch"}),
    )
    .await;
    let disabled = get(&server, path).await;
    assert_eq!(disabled["features"]["enable_image_generation"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn binding_secrets_are_masked_and_marker_restores_them() {
    let server = TestServer::with_engine("openai", &[]).await;
    let bindings = |key: &str, model: &str| {
        json!({"PINHOLE_BINDINGS": {"far": {"engine": "openai", "model": model, "settings": {
            "base-url": "https://far.example/v1", "api-key": key,
        }}}})
    };
    change_settings(&server, bindings("hunter22", "a")).await;
    let body = setting_value(&server, "PINHOLE_BINDINGS").await.0;
    assert_eq!(body, bindings(MARKER, "a")["PINHOLE_BINDINGS"]);
    assert!(recorded_changes(&server).await[0].contains(MARKER));
    change_settings(&server, bindings(MARKER, "b")).await;
    let current = server.app.settings.overlay();
    let stored = current.environment().get("PINHOLE_BINDINGS").unwrap();
    let stored: Value = serde_json::from_str(stored).unwrap();
    assert_eq!(stored, bindings("hunter22", "b")["PINHOLE_BINDINGS"]);
    // An equal value is not a change.
    let before = recorded_changes(&server).await.len();
    change_settings(&server, bindings(MARKER, "b")).await;
    assert_eq!(recorded_changes(&server).await.len(), before);
    let response = server
        .get(SETTINGS)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!response.contains("hunter22"));
}
