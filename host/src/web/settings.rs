//! Every setting, for administrators: what holds, where it comes from, and who has changed it.

mod client;
pub(super) mod shape;
mod tree;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth;
use super::error::{ApiError, json_body};
use crate::app::{App, ChangeError};
use crate::settings::{Change, Overlay, SettingKey, SettingOrigin};
use crate::store::SettingChange;
use pinhole_ground::text::plain;

/// Length of a request's body here, in bytes.
pub(super) const MAX_SETTINGS_BODY_BYTES: usize = 8 << 20;
/// Changes that one answer tells.
const MAX_CHANGES: u32 = 1000;
const DEFAULT_CHANGES: u32 = 100;
/// Length of a name that an error repeats, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// How many changes to tell.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Newest {
    /// 100 where it is not said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(message) => Self::new(StatusCode::BAD_REQUEST, message),
            ChangeError::Internal(error) => Self::internal(&error),
        }
    }
}

/// Every route about settings but the image API's own.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, update))
        .routes(routes!(changes))
        .routes(routes!(tree::export))
        .routes(routes!(tree::import))
        .routes(routes!(client::describe))
        .routes(routes!(client::tasks))
        .routes(routes!(client::update_tasks))
        .layer(DefaultBodyLimit::max(MAX_SETTINGS_BODY_BYTES))
}

/// `GET /api/v1/settings`
#[utoipa::path(
    get,
    path = "/api/v1/settings",
    tag = "settings",
    operation_id = "list_settings",
    summary = "Every setting that can be changed while the server runs. For administrators",
    responses((status = 200, description = "secrets that are set are `********`", body = [shape::Setting])),
)]
async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    auth::administrator(&app, &headers).await?;
    Ok(Json(described(&app)))
}

/// `POST /api/v1/settings`: values by their names; null lets the environment count again.
#[utoipa::path(
    post,
    path = "/api/v1/settings",
    tag = "settings",
    operation_id = "change_settings",
    summary = "Change settings, all of them or none. For administrators",
    request_body = shape::NewSettings,
    responses(
        (status = 200, description = "every setting as it is now", body = [shape::Setting]),
        (status = 400, description = "the server or an engine cannot work with it; nothing is changed"),
    ),
)]
async fn update(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Vec<Value>>, ApiError> {
    let user = auth::administrator(&app, &headers).await?;
    let sent: Map<String, Value> = json_body(request).await?;
    let keys = app.setting_keys();
    let mut changes = Vec::with_capacity(sent.len().min(keys.len()));
    for (name, value) in &sent {
        let key = find(&keys, name)?;
        changes.extend(changed(key, value)?);
    }
    app.change_settings(&user, changes).await?;
    Ok(Json(described(&app)))
}

/// `GET /api/v1/settings/changes`
#[utoipa::path(
    get,
    path = "/api/v1/settings/changes",
    tag = "settings",
    operation_id = "list_setting_changes",
    summary = "Who has changed what, newest first. For administrators",
    params(Newest),
    responses((status = 200, description = "of secrets only that they were changed", body = [shape::SettingChange])),
)]
async fn changes(
    State(app): State<Arc<App>>,
    newest: Result<Query<Newest>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let Query(Newest { limit }) =
        newest.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let limit = limit.unwrap_or(DEFAULT_CHANGES);
    if !(1..=MAX_CHANGES).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_CHANGES}");
        return Err(ApiError::invalid("limit", detail));
    }
    let changes = app.store.setting_changes(limit).await;
    let changes = changes.map_err(|error| ApiError::internal(&error.into()))?;
    Ok(Json(changes.iter().map(entry).collect()))
}

/// A change of one setting to a value, where null removes what is stored.
fn changed(key: &SettingKey, value: &Value) -> Result<Option<Change>, ApiError> {
    if value.is_null() {
        return Ok(Some(Change::remove(key)));
    }
    Change::new(key, value).map_err(|why| {
        let name = &key.name;
        ApiError::invalid(name, format!("{name} {why}"))
    })
}

/// The setting of a name, in any spelling, or of a path.
fn find<'a>(keys: &'a [SettingKey], name: &str) -> Result<&'a SettingKey, ApiError> {
    let mut keys = keys.iter();
    let found = keys.find(|key| key.path == name || key.variables.iter().any(|it| it == name));
    found.ok_or_else(|| {
        let name = plain(name, MAX_NAME_BYTES);
        let detail =
            format!("there is no setting {name}: GET /api/v1/settings lists those that there are");
        ApiError::invalid(&name, detail)
    })
}

fn described(app: &App) -> Vec<Value> {
    let overlay = app.settings.overlay();
    let keys = app.setting_keys();
    keys.iter().map(|key| row(key, &overlay)).collect()
}

fn row(key: &SettingKey, overlay: &Overlay) -> Value {
    let default = || key.default.as_deref().map(|text| key.kind.parse(text));
    json!({
        "name": key.name,
        "path": key.path,
        "variables": key.variables,
        "kind": key.kind.name(),
        "source": match overlay.origin(key) {
            SettingOrigin::Default => "default",
            SettingOrigin::Environment => "environment",
            SettingOrigin::Store => "store",
        },
        "value": overlay.masked_value(key).or_else(default),
        "description": key.description,
    })
}

fn entry(change: &SettingChange) -> Value {
    let value = |json: &Option<String>| {
        let parsed = json.as_deref().map(serde_json::from_str);
        parsed.and_then(Result::ok).unwrap_or(Value::Null)
    };
    json!({
        "changed_at": change.changed_at,
        "user_id": change.user_id,
        "user_name": change.user_name,
        "name": change.name,
        "path": change.path,
        "what": change.what,
        "old_value": value(&change.old_value),
        "new_value": value(&change.new_value),
    })
}
