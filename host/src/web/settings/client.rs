//! What Open WebUI's client asks at its start, and the form of its task models.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::header::HeaderMap;
use serde_json::{Map, Value, json};

use super::{changed, find, shape};
use crate::app::App;
use crate::web::auth::{self, Caller};
use crate::web::error::{ApiError, json_body};

/// The fields of the form of task models that are ours; the others are left alone.
const TASKS: [&str; 3] = [
    "TASK_MODEL",
    "TASK_MODEL_EXTERNAL",
    "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
];

/// `GET /api/config`: to strangers only what signing in needs.
#[utoipa::path(
    get,
    path = "/api/config",
    tag = "settings",
    operation_id = "describe_server",
    summary = "What a client needs to know at its start",
    responses((status = 200, description = "more of it to who is signed in", body = Value)),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    caller: Option<Caller>,
) -> Result<Json<Value>, ApiError> {
    let rules = app.accounts.rules();
    let mut body = json!({
        "status": true,
        "name": "Pinhole",
        "version": env!("CARGO_PKG_VERSION"),
        "default_locale": "",
        "oauth": {"providers": {}},
        "features": {
            "auth": true,
            "auth_trusted_header": false,
            "enable_ldap": false,
            "enable_api_keys": true,
            "enable_signup": rules.sign_up,
            "enable_login_form": true,
            "enable_websocket": true,
            "enable_version_update_check": false,
        },
    });
    if let Some(caller) = caller {
        let enabled = app.jobs.snapshot().settings.enabled;
        let features = body.get_mut("features").and_then(Value::as_object_mut);
        if let Some(features) = features {
            features.extend(signed_in(enabled));
        }
        if let ("user" | "admin", Some(body)) = (caller.user.role.as_str(), body.as_object_mut()) {
            let everybody = rules.everybody_makes_pictures;
            let permissions = json!({"features": {"image_generation": everybody}});
            body.insert("permissions".to_owned(), permissions);
            body.insert("default_models".to_owned(), json!(""));
            body.insert("default_prompt_suggestions".to_owned(), json!([]));
        }
    }
    Ok(Json(body))
}

/// What is there of what the client can show.
fn signed_in(image_generation: bool) -> Map<String, Value> {
    let absent = [
        "enable_direct_connections",
        "enable_channels",
        "enable_notes",
        "enable_web_search",
        "enable_code_execution",
        "enable_code_interpreter",
        "enable_autocomplete_generation",
        "enable_community_sharing",
        "enable_message_rating",
        "enable_user_webhooks",
        "enable_google_drive_integration",
        "enable_onedrive_integration",
    ];
    let absent = absent.iter().map(|name| ((*name).to_owned(), json!(false)));
    let present = (
        "enable_image_generation".to_owned(),
        json!(image_generation),
    );
    absent.chain([present]).collect()
}

/// `GET /api/v1/tasks/config`
#[utoipa::path(
    get,
    path = "/api/v1/tasks/config",
    tag = "settings",
    operation_id = "describe_task_settings",
    summary = "Which language models rewrite prompts, and how",
    responses((status = 200, description = "what is set", body = shape::TaskSettings)),
)]
pub(super) async fn tasks(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::user(&app, &headers).await?;
    Ok(Json(task_settings(&app)))
}

/// `POST /api/v1/tasks/config/update`: what is left out stays.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/config/update",
    tag = "settings",
    operation_id = "change_task_settings",
    summary = "Set which language models rewrite prompts, and how. For administrators",
    request_body = shape::TaskSettings,
    responses(
        (status = 200, description = "what is set now", body = shape::TaskSettings),
        (status = 400, description = "a field cannot be used; nothing is changed"),
    ),
)]
pub(super) async fn update_tasks(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let user = auth::administrator(&app, &headers).await?;
    let sent: Map<String, Value> = json_body(request).await?;
    let before = task_settings(&app);
    let keys = app.setting_keys();
    let mut changes = Vec::new();
    for name in TASKS {
        let sent = sent.get(name).filter(|value| !value.is_null());
        if let Some(value) = sent.filter(|value| before.get(name) != Some(value)) {
            changes.extend(changed(find(&keys, name)?, value)?);
        }
    }
    app.change_settings(&user, changes).await?;
    Ok(Json(task_settings(&app)))
}

fn task_settings(app: &App) -> Value {
    let overlay = app.settings.overlay();
    let keys = app.setting_keys().into_iter();
    let ours = keys.filter(|key| TASKS.contains(&key.name.as_str()));
    let fields = ours.map(|key| {
        let text = overlay.text(&key).unwrap_or_default();
        (key.name.clone(), Value::from(text))
    });
    Value::Object(fields.collect())
}
