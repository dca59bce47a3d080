//! The forms beside the image API's: task models, permissions, the tree, and what a client asks at
//! its start.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{MARKER, SETTINGS, ask_as, changes, get, set, setting, stored, text};

const PERMISSIONS: &str = "/api/v1/users/default/permissions";

#[tokio::test(flavor = "multi_thread")]
async fn who_may_make_pictures_changes_at_once_and_for_good() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    let fox = json!({"prompt": "a fox", "size": "64x48"});
    let draw = async |server: &TestServer| {
        let path = "/api/v1/images/generations";
        ask_as(server, second, Method::POST, path, Some(&fox))
            .await
            .0
    };
    assert_eq!(draw(&server).await, 200);
    let off = json!({"workspace": {"models": true}, "features": {"image_generation": false, "web_search": true}});
    let kept = json!({"features": {"image_generation": false}});
    assert_eq!(server.post_json(PERMISSIONS, &off).await, (200, kept.clone()));
    assert_eq!(get(&server, PERMISSIONS).await, kept);
    assert_eq!(draw(&server).await, 403);
    assert_eq!(
        stored(&server).await,
        ["user.permissions.features.image_generation"]
    );
    // What is left out, and what is the same, is no change.
    for body in [json!({"features": {}}), off] {
        assert_eq!(server.post_json(PERMISSIONS, &body).await, (200, kept.clone()));
    }
    assert_eq!(changes(&server).await.len(), 1);
    for wrong in [json!({}), json!({"features": {"image_generation": "no"}})] {
        assert_eq!(server.post_json(PERMISSIONS, &wrong).await.0, 400, "{wrong}");
    }
    let server = server.restart(&[]).await;
    assert_eq!(draw(&server).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_may_sign_up_from_the_moment_on_that_it_is_set() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let sign_up = async |name: &str| {
        let email = format!("{name}@example.com");
        let body = json!({"name": name, "email": email, "password": "correct horse"});
        server.post_json("/api/v1/auths/signup", &body).await
    };
    assert_eq!(sign_up("ada").await.0, 403);
    set(
        &server,
        json!({"ENABLE_SIGNUP": true, "DEFAULT_USER_ROLE": "user", "JWT_EXPIRES_IN": "1h"}),
    )
    .await;
    assert_eq!(sign_up("ada").await.1["role"], "admin");
    let (_, eve) = sign_up("eve").await;
    assert_eq!(eve["role"], "user");
    let left = eve["expires_at"].as_i64().unwrap() - pinhole_now();
    assert!((0..=3600).contains(&left), "{left}");
    set(&server, json!({"ENABLE_SIGNUP": false})).await;
    assert_eq!(sign_up("bob").await.0, 403);
}

fn pinhole_now() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn task_models_are_set_and_the_rest_of_the_form_is_left_alone() {
    let server = TestServer::with_engine("sketch", &[("TASK_MODEL", "small")]).await;
    let path = "/api/v1/tasks/config";
    let expected = json!({
        "TASK_MODEL": "small",
        "TASK_MODEL_EXTERNAL": "",
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE": "",
    });
    let second = server.add_second_user().await;
    let shown = ask_as(&server, second, Method::GET, path, None).await;
    assert_eq!(shown, (200, expected));
    let sent = json!({
        "TASK_MODEL": "small",
        "TASK_MODEL_EXTERNAL": "large",
        "ENABLE_TAGS_GENERATION": true,
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE": "{{prompt}}",
    });
    let update = "/api/v1/tasks/config/update";
    let (status, shown) = server.post_json(update, &sent).await;
    let expected = json!({
        "TASK_MODEL": "small",
        "TASK_MODEL_EXTERNAL": "large",
        "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE": "{{prompt}}",
    });
    assert_eq!((status, &shown), (200, &expected));
    assert_eq!(
        stored(&server).await,
        ["task.image.prompt_template", "task.model.external"]
    );
    let (status, refused) = server.post_json(update, &json!({"TASK_MODEL": 5})).await;
    assert_eq!(
        (status, text(&refused, "detail").as_str()),
        (400, "TASK_MODEL must be a string")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stored_tree_is_exported_without_secrets_and_takes_their_place() {
    let variables = [("IMAGE_EDIT_SIZE", "64x64")];
    let server = TestServer::with_engine("openai", &variables).await;
    let (export, import) = ("/api/v1/configs/export", "/api/v1/configs/import");
    assert_eq!(get(&server, export).await, json!({}));
    set(
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
    let before = changes(&server).await.len();
    let wrapped = |tree: &Value| json!({"config": tree});
    assert_eq!(server.post_json(import, &wrapped(&tree)).await, (200, expected));
    assert_eq!(changes(&server).await.len(), before);
    let other = json!({
        "version": 0, "ui": {"theme": "dark"}, "images": {"edit": {"size": "32x32"}},
        "image_generation": {"steps": 7},
    });
    let (status, shown) = server.post_json(import, &wrapped(&other)).await;
    let expected = json!({
        "image_generation": {"steps": 7, "openai": {"api_key": MARKER}},
        "images": {"edit": {"size": "32x32"}},
    });
    assert_eq!((status, shown), (200, expected));
    let wrong = json!({"image_generation": {"steps": 8}, "images": {"edit": {"enable": 3}}});
    assert_eq!(server.post_json(import, &wrapped(&wrong)).await.0, 400);
    assert_eq!(setting(&server, "IMAGE_STEPS").await.0, 7);
    assert_eq!(server.post_json(import, &json!({})).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_hears_of_image_generation_when_it_is_signed_in() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let path = "/api/config";
    let (status, strangers) = ask_as(&server, "", Method::GET, path, None).await;
    assert_eq!(status, 200);
    let features = &strangers["features"];
    assert_eq!(
        (&features["auth"], &features["enable_signup"]),
        (&json!(true), &json!(false))
    );
    assert!(features.get("enable_image_generation").is_none());
    assert!(strangers.get("permissions").is_none());
    let (_, unknown) = ask_as(&server, "sk-nobody", Method::GET, path, None).await;
    assert_eq!(unknown, strangers);
    let known = get(&server, path).await;
    assert_eq!(known["features"]["enable_image_generation"], true);
    assert_eq!(known["permissions"]["features"]["image_generation"], true);
    set(
        &server,
        json!({"ENABLE_IMAGE_GENERATION": false, "IMAGE_GENERATION_ENGINE": "sketch"}),
    )
    .await;
    let known = get(&server, path).await;
    assert_eq!(known["features"]["enable_image_generation"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secrets_inside_bindings_are_shown_as_markers_that_mean_them() {
    let server = TestServer::with_engine("openai", &[]).await;
    let bindings = |key: &str, model: &str| {
        json!({"PINHOLE_BINDINGS": {"far": {"engine": "openai", "model": model, "settings": {
            "base-url": "https://far.example/v1", "api-key": key,
        }}}})
    };
    set(&server, bindings("hunter22", "a")).await;
    let shown = setting(&server, "PINHOLE_BINDINGS").await.0;
    assert_eq!(shown, bindings(MARKER, "a")["PINHOLE_BINDINGS"]);
    assert!(changes(&server).await[0].contains(MARKER));
    set(&server, bindings(MARKER, "b")).await;
    let current = server.app.settings.overlay();
    let kept = current.environment().get("PINHOLE_BINDINGS").unwrap();
    let kept: Value = serde_json::from_str(kept).unwrap();
    assert_eq!(kept, bindings("hunter22", "b")["PINHOLE_BINDINGS"]);
    // The same again is no change.
    let before = changes(&server).await.len();
    set(&server, bindings(MARKER, "b")).await;
    assert_eq!(changes(&server).await.len(), before);
    let answer = server
        .get(SETTINGS)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(!answer.contains("hunter22"));
}
