//! The configuration that Open WebUI's client reads, and its form of task models.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{change_of, find};
use crate::app::App;
use crate::web::accounts::Permissions;
use crate::web::auth::{Administrator, Caller, User};
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// Features of Open WebUI that this server does not have, for signed-in users.
const ABSENT_FEATURES: [&str; 12] = [
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

/// The configuration that Open WebUI's client reads when it starts.
#[derive(Serialize, ToSchema)]
pub(super) struct ClientConfig {
    status: bool,
    name: &'static str,
    version: &'static str,
    default_locale: &'static str,
    pinhole: OwnConfig,
    oauth: OAuth,
    /// Whether each feature of Open WebUI is enabled. Signed-in users receive more entries.
    features: BTreeMap<&'static str, bool>,
    /// Permissions of all users. Only for users whose role is `user` or `admin`, like the fields below.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    permissions: Option<Permissions>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    default_models: Option<&'static str>,
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    default_prompt_suggestions: Option<Vec<Value>>,
}

/// What the server's own pages need before a user signs in.
#[derive(Serialize, ToSchema)]
struct OwnConfig {
    version: &'static str,
    /// Administrators see pages of their own.
    admin_pages: bool,
    /// No administrator has a password: the URL that the server printed opens the setup.
    setup_needed: bool,
    /// Users may create accounts.
    sign_up: bool,
    /// The request has a valid key or session.
    signed_in: bool,
}

#[derive(Serialize, ToSchema)]
struct OAuth {
    /// Always empty.
    #[schema(value_type = Object)]
    providers: Map<String, Value>,
}

/// `GET /api/config`. An anonymous caller receives only what the sign-in page needs.
#[utoipa::path(
    get,
    path = "/api/config",
    tag = "settings",
    operation_id = "describe_server",
    summary = "Return the configuration that a client needs when it starts",
    responses((status = 200, description = "the configuration; more of it for signed-in users", body = ClientConfig)),
    security((), ("bearer" = []), ("cookie" = [])),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    caller: Option<Caller>,
) -> Result<Json<ClientConfig>, ApiError> {
    let rules = app.accounts.rules();
    let mut features = BTreeMap::from([
        ("auth", true),
        ("auth_trusted_header", false),
        ("enable_ldap", false),
        ("enable_api_keys", true),
        ("enable_signup", rules.is_sign_up_open),
        ("enable_login_form", true),
        ("enable_websocket", true),
        ("enable_version_update_check", false),
    ]);
    if caller.is_some() {
        features.extend(ABSENT_FEATURES.map(|name| (name, false)));
        let enabled = app.jobs.snapshot().settings.enabled;
        features.insert("enable_image_generation", enabled);
    }
    let is_signed_in = caller.is_some();
    let is_admitted =
        caller.is_some_and(|Caller(it)| ["user", "admin"].contains(&it.user.role.as_str()));
    let own = OwnConfig {
        version: env!("CARGO_PKG_VERSION"),
        admin_pages: app.has_admin_pages,
        setup_needed: app.accounts.is_setup_needed().await?,
        sign_up: rules.is_sign_up_open,
        signed_in: is_signed_in,
    };
    Ok(Json(ClientConfig {
        status: true,
        name: "Pinhole",
        version: env!("CARGO_PKG_VERSION"),
        default_locale: "",
        pinhole: own,
        oauth: OAuth {
            providers: Map::new(),
        },
        features,
        permissions: is_admitted.then(|| Permissions::of_client(rules.all_users_may_create_images)),
        default_models: is_admitted.then_some(""),
        default_prompt_suggestions: is_admitted.then(Vec::new),
    }))
}

/// The language models that rewrite prompts, and their template. Other fields are ignored.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) struct TaskSettings {
    task_model: Option<String>,
    task_model_external: Option<String>,
    image_prompt_generation_prompt_template: Option<String>,
}

impl TaskSettings {
    async fn current(app: &App) -> Result<Self, ApiError> {
        let keys = app.setting_keys().await?;
        let overlay = app.settings.overlay();
        let text = |name: &str| {
            let key = keys.iter().find(|key| key.name == name)?;
            Some(overlay.text(key).unwrap_or_default().to_owned())
        };
        Ok(Self {
            task_model: text("TASK_MODEL"),
            task_model_external: text("TASK_MODEL_EXTERNAL"),
            image_prompt_generation_prompt_template: text(
                "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
            ),
        })
    }

    /// The names of the settings with their values.
    fn into_values(self) -> [(&'static str, Option<String>); 3] {
        [
            ("TASK_MODEL", self.task_model),
            ("TASK_MODEL_EXTERNAL", self.task_model_external),
            (
                "IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE",
                self.image_prompt_generation_prompt_template,
            ),
        ]
    }
}

/// `GET /api/v1/tasks/config`
#[utoipa::path(
    get,
    path = "/api/v1/tasks/config",
    tag = "settings",
    operation_id = "describe_task_settings",
    summary = "Return the language models that rewrite prompts, and their template",
    responses((status = 200, description = "the settings", body = TaskSettings)),
)]
pub(super) async fn task_settings(
    State(app): State<Arc<App>>,
    _: User,
) -> Result<Json<TaskSettings>, ApiError> {
    Ok(Json(TaskSettings::current(&app).await?))
}

/// `POST /api/v1/tasks/config/update`. Omitted fields keep their current value.
#[utoipa::path(
    post,
    path = "/api/v1/tasks/config/update",
    tag = "settings",
    operation_id = "change_task_settings",
    summary = "Set the language models that rewrite prompts, and their template. For administrators",
    request_body = TaskSettings,
    responses(
        (status = 200, description = "the settings after the change", body = TaskSettings),
        (status = 400, description = "a field is invalid; nothing is changed"),
    ),
)]
pub(super) async fn update_task_settings(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Json(new): Json<TaskSettings>,
) -> Result<Json<TaskSettings>, ApiError> {
    let keys = app.setting_keys().await?;
    let old = TaskSettings::current(&app).await?.into_values();
    let mut changes = Vec::new();
    for ((name, value), (_, old_value)) in new.into_values().into_iter().zip(old) {
        if value.is_some() && value != old_value {
            changes.extend(change_of(find(&keys, name)?, &value.into())?);
        }
    }
    app.change_settings(&administrator, changes).await?;
    Ok(Json(TaskSettings::current(&app).await?))
}
