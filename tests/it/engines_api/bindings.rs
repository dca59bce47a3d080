//! What users see of engines: bindings and models.

use std::collections::BTreeSet;

use pinhole_tests::FakeUpstream;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn users_see_the_bindings_that_they_may_use() {
    let specs = json!({
        "quick": {"engine": "sketch", "model": "m", "size": "64x48"},
        "closed": {"engine": "sketch", "groups": ["artists"]},
    });
    let specs = specs.to_string();
    let server = TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "sketch"),
        ("IMAGE_EDIT_ENGINE", "comfyui"),
        ("PINHOLE_BINDINGS", &specs),
    ])
    .await;
    let user = server.add_second_user().await;
    let list = async |key: &str| {
        let (status, body) = respond(request(&server, key, Method::GET, "/api/v1/engines")).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    let names = |body: &Value| -> Vec<String> {
        let listed = body["bindings"].as_array().unwrap().iter();
        listed
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let (of_user, of_administrator) = (list(user).await, list(&server.key).await);
    assert!(!names(&of_user).contains(&"closed".to_owned()));
    assert!(names(&of_administrator).contains(&"closed".to_owned()));
    assert!(of_user["releases"].is_null() && of_administrator["releases"].is_object());
    let find = |body: &Value, name: &str| -> Value {
        let mut listed = body["bindings"].as_array().unwrap().iter();
        listed.find(|it| it["name"] == name).unwrap().clone()
    };
    let quick = find(&of_user, "quick");
    assert_eq!(
        (
            &quick["engine"],
            &quick["default_model"],
            &quick["default_size"]
        ),
        (&json!("sketch"), &json!("m"), &json!("64x48"))
    );
    assert_eq!(quick["is_ready"], true);
    assert_eq!(find(&of_user, "sketch")["generates_by_default"], true);
    let unset = find(&of_user, "comfyui");
    assert_eq!(
        (&unset["edits_by_default"], &unset["abilities"]["edit"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&unset["is_ready"], &unset["reason"]),
        (
            &json!(false),
            &json!("its settings are incomplete or invalid: ask an administrator")
        )
    );
    let comfyui = find(&of_administrator, "comfyui");
    let reason = comfyui["reason"].as_str().unwrap();
    assert!(reason.contains("COMFYUI_BASE_URL"), "{reason}");
    // What a user may not use is unknown to them.
    for path in ["closed", "nobody"] {
        let path = format!("/api/v1/engines/{path}/models");
        let (status, _) = respond(request(&server, user, Method::GET, &path)).await;
        assert_eq!(status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_an_engine_agree_with_those_of_openai_clients() {
    let offered = json!({"object": "list", "data": [{"id": "gpt-image-2"}, {"id": "flux"}]});
    let upstream = FakeUpstream::json(200, offered).await;
    let server = TestServer::with_engine(
        "openai",
        &[
            ("IMAGES_OPENAI_API_BASE_URL", &upstream.url()),
            ("IMAGES_OPENAI_API_KEY", "key"),
        ],
    )
    .await;
    let user = server.add_second_user().await;
    for key in [user, server.key.as_str()] {
        let ids = async |path: &str, list: &str| -> BTreeSet<String> {
            let (status, body) = respond(request(&server, key, Method::GET, path)).await;
            assert_eq!(status, 200, "{body}");
            let models = body.pointer(list).unwrap().as_array().unwrap().iter();
            models
                .map(|it| it["id"].as_str().unwrap().to_owned())
                .collect()
        };
        let of_engine = ids("/api/v1/engines/openai/models", "").await;
        assert_eq!(of_engine.len(), 2);
        assert_eq!(ids("/v1/models", "/data").await, of_engine);
        assert_eq!(ids("/api/v1/images/models", "").await, of_engine);
    }
    // The list is cached.
    assert_eq!(upstream.requests().len(), 1);
}
