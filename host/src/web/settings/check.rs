//! A check of values before they are stored.

use std::sync::Arc;

use axum::extract::State;
use pinhole_ground::text::plain;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::effective::EffectiveSettings;
use super::{MAX_NAME_BYTES, find_key, parse_change};
use crate::app::{App, MAX_PROBLEMS, SettingsProblem};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// Values by the names of settings, as for a change of settings.
#[derive(Deserialize, ToSchema)]
pub(super) struct SettingsToCheck(Map<String, Value>);

/// What a change of settings would lead to.
#[derive(Serialize, ToSchema)]
pub(super) struct SettingsCheckResult {
    /// Why values cannot be stored: at most one problem of each value, and 20. Empty if all can be stored.
    #[schema(max_items = 20)]
    problems: Vec<ValueProblem>,
    /// The settings that would apply after the change, without the values that have problems.
    effective: EffectiveSettings,
}

/// Why a value cannot be stored.
#[derive(Serialize, ToSchema)]
struct ValueProblem {
    /// Name of the setting.
    name: String,
    message: String,
}

impl From<SettingsProblem> for ValueProblem {
    fn from(problem: SettingsProblem) -> Self {
        Self {
            name: problem.name,
            message: problem.message,
        }
    }
}

/// `POST /api/v1/settings/check`
#[utoipa::path(
    post,
    path = "/api/v1/settings/check",
    tag = "settings",
    operation_id = "check_settings",
    summary = "Check a change of settings. Nothing changes. For administrators",
    request_body = SettingsToCheck,
    responses((status = 200, description = "the problems, and what would apply", body = SettingsCheckResult)),
)]
pub(super) async fn check(
    State(app): State<Arc<App>>,
    _: Administrator,
    Json(SettingsToCheck(values)): Json<SettingsToCheck>,
) -> Result<Json<SettingsCheckResult>, ApiError> {
    let keys = app.setting_keys().await?;
    let (mut problems, mut changes) = (Vec::new(), Vec::new());
    for (name, value) in &values {
        let change = find_key(&keys, name).and_then(|key| parse_change(key, value));
        match change {
            Ok(change) => changes.extend(change),
            Err(message) if problems.len() < MAX_PROBLEMS => problems.push(ValueProblem {
                name: plain(name, MAX_NAME_BYTES),
                message,
            }),
            Err(_) => {}
        }
    }
    let preview = app.check_settings(changes).await;
    let others = preview.problems.into_iter().map(ValueProblem::from);
    problems.extend(others);
    problems.truncate(MAX_PROBLEMS);
    Ok(Json(SettingsCheckResult {
        problems,
        effective: EffectiveSettings::new(&preview.snapshot),
    }))
}
