//! Settings that administrators change while the server runs, by Open WebUI's forms and by name.

mod check;
mod effective;
mod forms;
mod hint_names;
mod images_form;
mod live_changes;
mod other_forms;
mod reference_page;
mod storage;

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

const CONFIG: &str = "/api/v1/images/config";
const UPDATE: &str = "/api/v1/images/config/update";
const SETTINGS: &str = "/api/v1/settings";
const CHANGES: &str = "/api/v1/settings/changes";
const MARKER: &str = "********";

/// Sends a request with this key. Returns the status and JSON of the response.
async fn request_as(
    server: &TestServer,
    key: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let mut request = server.client.request(method, server.url(path));
    if !key.is_empty() {
        request = request.bearer_auth(key);
    }
    let body = body.map(ToString::to_string).unwrap_or_default();
    let response = request.body(body).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
    )
}

async fn get(server: &TestServer, path: &str) -> Value {
    let (status, body) = request_as(server, &server.key, Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// Submits the current form with these fields changed. Returns status and JSON.
async fn submit_form(server: &TestServer, fields: &[(&str, Value)]) -> (u16, Value) {
    let mut form = get(server, CONFIG).await;
    for (name, value) in fields {
        form[*name] = value.clone();
    }
    server.post_json(UPDATE, &form).await
}

/// Submits the form successfully. Returns the new form.
async fn save_form(server: &TestServer, fields: &[(&str, Value)]) -> Value {
    let (status, body) = submit_form(server, fields).await;
    assert_eq!(status, 200, "{fields:?}: {body}");
    body
}

/// Changes settings by name.
async fn change_settings(server: &TestServer, settings: Value) {
    let (status, body) = server.post_json(SETTINGS, &settings).await;
    assert_eq!(status, 200, "{settings}: {body}");
}

/// Value and origin of a setting.
async fn setting_value(server: &TestServer, name: &str) -> (Value, String) {
    let all = get(server, SETTINGS).await;
    let mut all = all.as_array().unwrap().iter();
    let found = all.find(|setting| setting["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no setting {name}"));
    let source = found["source"].as_str().unwrap().to_owned();
    (found["value"].clone(), source)
}

/// The recorded changes as `what name old new`, newest first.
async fn recorded_changes(server: &TestServer) -> Vec<String> {
    let all = get(server, CHANGES).await;
    let all = all.as_array().unwrap().iter();
    all.map(|it| {
        let text = |name: &str| it[name].as_str().unwrap();
        let values = format!("{} {}", it["old_value"], it["new_value"]);
        format!("{} {} {values}", text("what"), text("name"))
    })
    .collect()
}

/// The paths of the stored settings.
async fn stored_paths(server: &TestServer) -> Vec<String> {
    let rows = server.app.store.settings().await.unwrap();
    rows.into_iter().map(|row| row.path).collect()
}

async fn execute(server: &TestServer, statement: &'static str) {
    server.database.execute(statement, &[]).await;
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_routes_need_administrator() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let second = server.add_second_user().await;
    let form = get(&server, CONFIG).await;
    let routes = [
        (Method::GET, CONFIG, None),
        (Method::POST, UPDATE, Some(form)),
        (Method::GET, SETTINGS, None),
        (Method::POST, SETTINGS, Some(json!({"IMAGE_STEPS": 3}))),
        (
            Method::POST,
            "/api/v1/settings/check",
            Some(json!({"IMAGE_STEPS": 3})),
        ),
        (Method::GET, CHANGES, None),
        (Method::GET, "/api/v1/configs/export", None),
        (
            Method::POST,
            "/api/v1/configs/import",
            Some(json!({"config": {}})),
        ),
        (
            Method::POST,
            "/api/v1/tasks/config/update",
            Some(json!({"TASK_MODEL": "m"})),
        ),
        (
            Method::POST,
            "/api/v1/users/default/permissions",
            Some(json!({"features": {"image_generation": false}})),
        ),
    ];
    for (method, path, body) in routes {
        for (key, detail) in [
            (
                second,
                "You do not have permission to access this resource. Please contact your administrator for assistance.",
            ),
            ("", "Not authenticated"),
        ] {
            let response = request_as(&server, key, method.clone(), path, body.as_ref()).await;
            assert_eq!(
                response,
                (401, json!({"detail": detail})),
                "{method} {path}"
            );
        }
    }
    assert_eq!(stored_paths(&server).await, [""; 0]);
}
