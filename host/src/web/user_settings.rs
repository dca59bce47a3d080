//! Settings that a user's web client stores, such as the theme. The server does not use them.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::User;
use super::error::ApiError;
use super::extractors::Json;
use super::json_body::JsonLimits;
use crate::app::App;
use crate::store::{self, MAX_USER_SETTINGS_BYTES};

/// Limits of a request body. A background image is one string.
const USER_SETTINGS_JSON: JsonLimits = JsonLimits {
    max_bytes: MAX_USER_SETTINGS_BYTES,
    ..JsonLimits::FORM
};

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(describe))
        .routes(routes!(update))
        .layer(Extension(USER_SETTINGS_JSON))
}

/// Settings of a user's web client.
#[derive(Serialize, Deserialize, ToSchema)]
struct UserSettings {
    /// The client's own settings. `version` is always the server's.
    ui: Option<Map<String, Value>>,
    /// Other fields of the client.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl UserSettings {
    fn into_fields(self) -> Map<String, Value> {
        let mut fields = self.rest;
        fields.extend(self.ui.map(|ui| ("ui".to_owned(), ui.into())));
        fields
    }
}

/// `GET /api/v1/users/user/settings`
#[utoipa::path(
    get,
    path = "/api/v1/users/user/settings",
    tag = "people",
    operation_id = "describe_user_settings",
    summary = "Return the settings that the caller's web client stored",
    responses((status = 200, description = "the settings", body = UserSettings)),
)]
async fn describe(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Json<UserSettings>, ApiError> {
    Ok(Json(load(&app, &user).await?))
}

/// The stored settings. Open WebUI's client shows the changes of a version that differs from the one in its
/// settings, and this server has none to show, so that version is always the server's.
async fn load(app: &App, user: &store::User) -> Result<UserSettings, ApiError> {
    let mut rest = app.store.user_settings(&user.id).await?.unwrap_or_default();
    let mut ui = match rest.remove("ui") {
        Some(Value::Object(ui)) => ui,
        _ => Map::new(),
    };
    ui.insert("version".to_owned(), env!("CARGO_PKG_VERSION").into());
    Ok(UserSettings { ui: Some(ui), rest })
}

/// `POST /api/v1/users/user/settings/update`
#[utoipa::path(
    post,
    path = "/api/v1/users/user/settings/update",
    tag = "people",
    operation_id = "change_user_settings",
    summary = "Store settings of the caller's web client. Each field replaces the stored one",
    request_body = UserSettings,
    responses(
        (status = 200, description = "all settings after the change", body = UserSettings),
        (status = 413, description = "the settings would be longer than 256 KiB"),
    ),
)]
async fn update(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(settings): Json<UserSettings>,
) -> Result<Json<UserSettings>, ApiError> {
    app.files.require_disk(0)?;
    let fields = settings.into_fields();
    if !app.store.set_user_settings(&user.id, &fields).await? {
        let detail = format!("your settings would be longer than {MAX_USER_SETTINGS_BYTES} bytes");
        return Err(ApiError::too_long("ui", detail));
    }
    Ok(Json(load(&app, &user).await?))
}
