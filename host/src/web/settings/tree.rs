//! The stored settings as one tree of dotted paths, as Open WebUI stores them.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::change_of;
use crate::app::App;
use crate::settings::Change;
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// `GET /api/v1/configs/export`
#[utoipa::path(
    get,
    path = "/api/v1/configs/export",
    tag = "settings",
    operation_id = "export_settings",
    summary = "Export the stored settings without secrets. For administrators",
    responses((status = 200, description = "a tree of dotted paths, with `********` in place of secrets", body = Value)),
)]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(stored_tree(&app).await?))
}

/// Tree of settings to store.
#[derive(Deserialize, ToSchema)]
pub(super) struct SettingsTree {
    /// Values by the parts of their paths. Unknown paths are ignored.
    config: Map<String, Value>,
}

/// `POST /api/v1/configs/import`. Settings that the tree omits are removed, except secrets.
#[utoipa::path(
    post,
    path = "/api/v1/configs/import",
    tag = "settings",
    operation_id = "import_settings",
    summary = "Replace the stored settings. For administrators",
    request_body = SettingsTree,
    responses(
        (status = 200, description = "the stored settings after the change", body = Value),
        (status = 400, description = "a value is invalid for the server or an engine; nothing is changed"),
    ),
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Json(SettingsTree { config }): Json<SettingsTree>,
) -> Result<Json<Value>, ApiError> {
    let tree = Value::Object(config);
    let mut changes = Vec::new();
    for key in app.setting_keys().await? {
        match value_at(&tree, &key.path) {
            Some(value) => changes.extend(change_of(&key, value)?),
            None if key.kind.is_encrypted() => {}
            None => changes.push(Change::remove(&key)),
        }
    }
    app.change_settings(&administrator, changes).await?;
    Ok(Json(stored_tree(&app).await?))
}

async fn stored_tree(app: &App) -> Result<Value, ApiError> {
    let keys = app.setting_keys().await?.into_iter();
    let overlay = app.settings.overlay();
    let leaves = keys.filter(|key| overlay.is_stored(key)).map(|key| {
        let value = overlay
            .masked_value(&key)
            .unwrap_or_else(|| key.kind.parse(""));
        (key.path, value)
    });
    Ok(build_tree(leaves))
}

fn value_at<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(tree, |node, part| node.get(part))
}

/// If one path is the beginning of another, the later one replaces it. No two settings are so.
fn build_tree(leaves: impl Iterator<Item = (String, Value)>) -> Value {
    let mut root = Value::Object(Map::new());
    for (path, value) in leaves {
        let mut node = &mut root;
        for part in path.split('.') {
            if !node.is_object() {
                *node = Value::Object(Map::new());
            }
            let Value::Object(members) = node else {
                break;
            };
            node = members.entry(part).or_insert(Value::Null);
        }
        *node = value;
    }
    root
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn build_tree_nests_paths_and_value_at_finds_them() {
        let leaves = [
            ("a.b.c", json!(1)),
            ("a.b.d", json!({"x": 2})),
            ("e", json!([])),
        ]
        .map(|(path, value)| (path.to_owned(), value));
        let tree = build_tree(leaves.into_iter());
        assert_eq!(tree, json!({"a": {"b": {"c": 1, "d": {"x": 2}}}, "e": []}));
        assert_eq!(value_at(&tree, "a.b.d.x"), Some(&json!(2)));
        assert_eq!(value_at(&tree, "a.c"), None);
        assert_eq!(value_at(&tree, "e.0"), None);
    }
}
