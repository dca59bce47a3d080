//! Settings that can be changed while the server runs, for administrators: values, origins, history.

mod check;
mod client;
mod effective;
mod entry;
mod tree;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use pinhole_ground::text::plain;

use super::auth::Administrator;
use super::error::ApiError;
use super::extractors::{Json, Query};
use super::json_body::JsonLimits;
use crate::app::{App, ChangeError};
use crate::settings::{Change, SettingKey};
use crate::store;

use entry::{Setting, SettingContext};

/// Limits of a request body. A workflow is a string, or an object with thousands of values.
pub(super) const SETTINGS_JSON: JsonLimits = JsonLimits::long(8 << 20, 200_000);
/// Changes in one response.
const MAX_CHANGES: u32 = 1000;
const DEFAULT_CHANGES: u32 = 100;
/// Length of a setting's name that an error repeats, in bytes.
const MAX_NAME_BYTES: usize = 100;

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(message) => Self::new(StatusCode::BAD_REQUEST, message),
            ChangeError::Internal(error) => Self::internal(&error),
        }
    }
}

/// The routes for commands on the control socket.
pub(super) fn effective_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(effective::effective))
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, update))
        .routes(routes!(check::check))
        .routes(routes!(effective::effective))
        .routes(routes!(history))
        .routes(routes!(tree::export))
        .routes(routes!(tree::import))
        .routes(routes!(client::describe))
        .routes(routes!(client::task_settings))
        .routes(routes!(client::update_task_settings))
        .layer(Extension(SETTINGS_JSON))
}

async fn all_settings(app: &App) -> Result<Json<Vec<Setting>>, ApiError> {
    let keys = app.setting_keys().await?;
    let latest = app.store.latest_setting_changes().await?;
    let context = SettingContext::new(app, &keys, latest);
    Ok(Json(keys.iter().map(|key| context.setting(key)).collect()))
}

/// The changes that values by name ask for.
pub(super) fn changes_of(
    keys: &[SettingKey],
    values: &Map<String, Value>,
) -> Result<Vec<Change>, ApiError> {
    let mut changes = Vec::with_capacity(values.len().min(keys.len()));
    for (name, value) in values {
        changes.extend(change_of(find(keys, name)?, value)?);
    }
    Ok(changes)
}

/// `GET /api/v1/settings`
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    tag = "settings",
    operation_id = "list_settings",
    summary = "List all settings that can be changed while the server runs. For administrators",
    responses((status = 200, description = "the settings, with `********` in place of secrets", body = [Setting])),
)]
async fn list(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<Vec<Setting>>, ApiError> {
    all_settings(&app).await
}

/// Values by the names of settings. `null` removes the stored value, so that the environment applies.
#[derive(Deserialize, ToSchema)]
struct NewSettings(Map<String, Value>);

/// `POST /api/v1/settings`
#[utoipa::path(
    post,
    path = "/api/v1/settings",
    tag = "settings",
    operation_id = "change_settings",
    summary = "Change settings: all of them or none. For administrators",
    request_body = NewSettings,
    responses(
        (status = 200, description = "all settings after the change", body = [Setting]),
        (status = 400, description = "a value is invalid for the server or an engine; nothing is changed"),
    ),
)]
async fn update(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Json(NewSettings(values)): Json<NewSettings>,
) -> Result<Json<Vec<Setting>>, ApiError> {
    let changes = changes_of(&app.setting_keys().await?, &values)?;
    app.change_settings(&administrator, changes).await?;
    all_settings(&app).await
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct HistoryQuery {
    /// Number of changes. Default: 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Change of one setting.
#[derive(Serialize, ToSchema)]
struct SettingChange {
    /// Seconds since 1970.
    changed_at: i64,
    /// Empty if no user made the change. `user_name` then says what did, such as `RESET_CONFIG_ON_START`.
    user_id: String,
    user_name: String,
    name: String,
    path: String,
    what: ChangeKind,
    /// `null` if there was no stored value, and for secrets.
    #[schema(required = true)]
    old_value: Option<Value>,
    /// `null` if there is no stored value, and for secrets.
    #[schema(required = true)]
    new_value: Option<Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ChangeKind {
    Set,
    Changed,
    Removed,
}

impl From<store::SettingChange> for SettingChange {
    fn from(change: store::SettingChange) -> Self {
        let parse = |json: Option<String>| serde_json::from_str(json.as_deref()?).ok();
        Self {
            changed_at: change.changed_at,
            user_id: change.user_id,
            user_name: change.user_name,
            name: change.name,
            path: change.path,
            what: match change.what.as_str() {
                "set" => ChangeKind::Set,
                "removed" => ChangeKind::Removed,
                _ => ChangeKind::Changed,
            },
            old_value: parse(change.old_value),
            new_value: parse(change.new_value),
        }
    }
}

/// `GET /api/v1/settings/changes`
#[utoipa::path(
    get,
    path = "/api/v1/settings/changes",
    tag = "settings",
    operation_id = "list_setting_changes",
    summary = "List the latest changes of settings, newest first. For administrators",
    params(HistoryQuery),
    responses((status = 200, description = "the changes, without the values of secrets", body = [SettingChange])),
)]
async fn history(
    State(app): State<Arc<App>>,
    _: Administrator,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Vec<SettingChange>>, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_CHANGES);
    if !(1..=MAX_CHANGES).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_CHANGES}");
        return Err(ApiError::invalid("limit", detail));
    }
    let changes = app.store.setting_changes(limit).await?;
    Ok(Json(changes.into_iter().map(SettingChange::from).collect()))
}

/// The change of a setting to a value. `null` removes the stored value. `None` if the value is the
/// marker of a secret, which stays unchanged.
fn change_of(key: &SettingKey, value: &Value) -> Result<Option<Change>, ApiError> {
    parse_change(key, value).map_err(|detail| ApiError::invalid(&key.name, detail))
}

fn parse_change(key: &SettingKey, value: &Value) -> Result<Option<Change>, String> {
    if value.is_null() {
        return Ok(Some(Change::remove(key)));
    }
    Change::new(key, value).map_err(|reason| format!("{} {reason}", key.name))
}

/// The setting with this path or variable.
fn find<'a>(keys: &'a [SettingKey], name: &str) -> Result<&'a SettingKey, ApiError> {
    find_key(keys, name).map_err(|detail| ApiError::invalid(&plain(name, MAX_NAME_BYTES), detail))
}

fn find_key<'a>(keys: &'a [SettingKey], name: &str) -> Result<&'a SettingKey, String> {
    let has_name =
        |key: &&SettingKey| key.path == name || key.variables.iter().any(|it| it == name);
    keys.iter().find(has_name).ok_or_else(|| {
        let name = plain(name, MAX_NAME_BYTES);
        format!("unknown setting {name}: GET /api/v1/settings lists all settings")
    })
}
