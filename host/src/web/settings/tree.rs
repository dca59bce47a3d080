//! What is stored, as the one tree of dotted paths that Open WebUI keeps.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::changed;
use crate::app::App;
use crate::settings::Change;
use crate::web::auth;
use crate::web::error::{ApiError, json_body};

/// A tree to take the place of what is stored.
#[derive(Deserialize, ToSchema)]
pub(super) struct Tree {
    /// By the parts of the paths. What is no setting of ours is left alone.
    config: Map<String, Value>,
}

/// `GET /api/v1/configs/export`
#[utoipa::path(
    get,
    path = "/api/v1/configs/export",
    tag = "settings",
    operation_id = "export_settings",
    summary = "What is stored, without secrets. For administrators",
    responses((status = 200, description = "a tree of dotted paths; secrets are `********`", body = Value)),
)]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    Ok(Json(stored(&app)))
}

/// `POST /api/v1/configs/import`: in place of what is stored. Secrets that are not told stay.
#[utoipa::path(
    post,
    path = "/api/v1/configs/import",
    tag = "settings",
    operation_id = "import_settings",
    summary = "Store another tree. For administrators",
    request_body = Tree,
    responses(
        (status = 200, description = "what is stored now", body = Value),
        (status = 400, description = "the server or an engine cannot work with it; nothing is changed"),
    ),
)]
pub(super) async fn import(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let user = auth::administrator(&app, &headers).await?;
    let Tree { config } = json_body(request).await?;
    let config = Value::Object(config);
    let mut changes = Vec::new();
    for key in app.setting_keys() {
        match leaf(&config, &key.path) {
            Some(value) => changes.extend(changed(&key, value)?),
            None if key.kind.is_encrypted() => {}
            None => changes.push(Change::remove(&key)),
        }
    }
    app.change_settings(&user, changes).await?;
    Ok(Json(stored(&app)))
}

fn stored(app: &App) -> Value {
    let overlay = app.settings.overlay();
    let keys = app.setting_keys().into_iter();
    let stored = keys.filter(|key| overlay.is_stored(key));
    let leaves = stored.map(|key| {
        let hidden = || key.kind.parse("");
        let value = overlay.masked_value(&key).unwrap_or_else(hidden);
        (key.path, value)
    });
    tree(leaves)
}

fn leaf<'a>(tree: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.')
        .try_fold(tree, |place, part| place.get(part))
}

/// A path that leads through a value takes its place; no two of ours do.
fn tree(leaves: impl Iterator<Item = (String, Value)>) -> Value {
    let mut root = Value::Object(Map::new());
    for (path, value) in leaves {
        let mut place = &mut root;
        for part in path.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(members) = place else {
                break;
            };
            place = members.entry(part).or_insert(Value::Null);
        }
        *place = value;
    }
    root
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_become_a_tree_and_are_found_in_it() {
        let leaves = [
            ("a.b.c", json!(1)),
            ("a.b.d", json!({"x": 2})),
            ("e", json!([])),
        ];
        let leaves = leaves.map(|(path, value)| (path.to_owned(), value));
        let tree = tree(leaves.into_iter());
        assert_eq!(tree, json!({"a": {"b": {"c": 1, "d": {"x": 2}}}, "e": []}));
        assert_eq!(leaf(&tree, "a.b.d.x"), Some(&json!(2)));
        assert_eq!(leaf(&tree, "a.c"), None);
        assert_eq!(leaf(&tree, "e.0"), None);
    }
}
