//! Operations of the settings, the audit log and the configuration for clients.

use pinhole_ground::audit::{Actor, Event, RefusalKind};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn settings_operations() {
    let api = Api::start(&[]).await;
    let get = |path: &str| api.ask(Method::GET, path);
    let post = |path: &str, body: &Value| api.ask(Method::POST, path).json(body);
    api.case(
        "good_for_a_stranger",
        api.ask_without_key(Method::GET, "/api/config"),
    )
    .await;
    api.case("good", get("/api/config")).await;

    let (config, update) = ("/api/v1/images/config", "/api/v1/images/config/update");
    let mut form = api.case("good", get(config)).await;
    form["IMAGE_SIZE"] = json!("64x48");
    api.case("good", post(update, &form)).await;
    form["IMAGE_SIZE"] = json!("64");
    api.case("odd_size", post(update, &form)).await;
    api.case("missing_fields", post(update, &json!({"IMAGE_SIZE": null})))
        .await;

    api.case("good", get("/api/v1/settings")).await;
    let settings = "/api/v1/settings";
    api.case("good", post(settings, &json!({"IMAGE_SIZE": "128x96"})))
        .await;
    api.case("unknown_name", post(settings, &json!({"NO_SUCH": "1"})))
        .await;
    api.case("odd_size", post(settings, &json!({"IMAGE_SIZE": "64"})))
        .await;
    api.case("good", get("/api/v1/settings/effective")).await;
    api.case("good", get("/api/v1/settings/changes?limit=2"))
        .await;
    api.case("limit_no_number", get("/api/v1/settings/changes?limit=x"))
        .await;

    api.server.app.audit.record(&Event {
        kind: RefusalKind::Picture,
        guard: None,
        actor: Actor::User("ada"),
        engine: "sketch",
        job: "",
        message: "the image is invalid",
    });
    api.case("good", get("/api/v1/audit?kind=picture&limit=1"))
        .await;
    api.case("unknown_kind", get("/api/v1/audit?kind=weather"))
        .await;
    api.case(
        "good_filtered",
        get("/api/v1/audit?engine=none&user=none&since=5&before=4000000000"),
    )
    .await;
    api.case("invalid_cursor", get("/api/v1/audit?cursor=x"))
        .await;
    api.case("limit_no_number", get("/api/v1/audit?limit=x"))
        .await;

    let tasks = "/api/v1/tasks/config";
    api.case("good", get(tasks)).await;
    api.case(
        "good",
        post(
            "/api/v1/tasks/config/update",
            &json!({"TASK_MODEL": "words"}),
        ),
    )
    .await;
    api.case(
        "wrong_type",
        post("/api/v1/tasks/config/update", &json!({"TASK_MODEL": 5})),
    )
    .await;

    let permissions = "/api/v1/users/default/permissions";
    let disabled = json!({"features": {"image_generation": false}});
    api.case("good", post(permissions, &disabled)).await;
    api.case("wrong_type", post(permissions, &json!({"features": 5})))
        .await;

    let export = api.case("good", get("/api/v1/configs/export")).await;
    api.case(
        "good",
        post("/api/v1/configs/import", &json!({"config": export})),
    )
    .await;
    api.case(
        "wrong_type",
        post("/api/v1/configs/import", &json!({"config": 5})),
    )
    .await;
}
