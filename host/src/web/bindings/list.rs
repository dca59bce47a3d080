//! The bindings and their definitions.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::definition::BindingDefinition;
use super::unknown_binding;
use crate::app::App;
use crate::jobs::{BINDINGS, Snapshot};
use crate::web::auth::Administrator;
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};

/// All bindings.
#[derive(Serialize, ToSchema)]
pub(super) struct BindingList {
    /// By name.
    bindings: Vec<BindingEntry>,
    /// The bindings to try if one is unavailable, in order.
    fallbacks: Vec<String>,
    /// The engines that a binding can have.
    engines: Vec<String>,
}

/// A named configuration of an engine.
#[derive(Serialize, ToSchema)]
pub(super) struct BindingEntry {
    name: String,
    /// True if the setting `PINHOLE_BINDINGS` has a definition. Without one, it is the own binding of an engine.
    is_defined: bool,
    /// The bindings to try if it is unavailable, in order.
    fallbacks: Vec<String>,
    /// Why jobs fail, and what to do.
    problems: Vec<String>,
    #[serde(flatten)]
    definition: BindingDefinition,
}

/// Bindings to try if one is unavailable.
#[derive(Serialize, Deserialize, ToSchema)]
pub(super) struct Fallbacks {
    /// Names of bindings, in order.
    #[schema(max_items = 16)]
    fallbacks: Vec<String>,
}

/// The definitions of the setting, without secrets.
async fn defined_bindings(app: &App) -> Result<Map<String, Value>, ApiError> {
    let keys = app.setting_keys().await?;
    let overlay = app.settings.overlay();
    let key = keys.iter().find(|key| key.name == BINDINGS);
    match key.and_then(|key| overlay.masked_value(key)) {
        Some(Value::Object(defined)) => Ok(defined),
        _ => Ok(Map::new()),
    }
}

fn entries(snapshot: &Snapshot, mut defined: Map<String, Value>) -> Vec<BindingEntry> {
    let mut problems: BTreeMap<String, Vec<String>> = snapshot
        .bindings()
        .map(|binding| (binding.name.clone(), binding.problems()))
        .collect();
    for name in defined.keys() {
        let why = snapshot.unavailable_reason(name).map(str::to_owned);
        problems
            .entry(name.clone())
            .or_insert_with(|| why.into_iter().collect());
    }
    let entry = |(name, own_problems): (String, Vec<String>)| {
        let value = defined.remove(&name);
        let is_defined = value.is_some();
        let definition = value.and_then(|value| serde_json::from_value(value).ok());
        let mut definition: BindingDefinition = definition.unwrap_or_default();
        let engine = snapshot.binding(&name).map(|it| it.engine().to_owned());
        definition.engine = definition.engine.or(engine).or_else(|| Some(name.clone()));
        let fallbacks = snapshot.fallback_names().iter();
        BindingEntry {
            fallbacks: fallbacks.filter(|it| **it != name).cloned().collect(),
            is_defined,
            problems: own_problems,
            definition,
            name,
        }
    };
    problems.into_iter().map(entry).collect()
}

async fn entry(app: &App, name: &str) -> Result<Json<BindingEntry>, ApiError> {
    let defined = defined_bindings(app).await?;
    let all = entries(&app.jobs.snapshot(), defined);
    let found = all.into_iter().find(|entry| entry.name == name);
    found.map(Json).ok_or_else(|| unknown_binding(name))
}

/// `GET /api/v1/bindings`
#[utoipa::path(
    get,
    path = "/api/v1/bindings",
    tag = "bindings",
    operation_id = "list_bindings",
    summary = "List the bindings: each engine's own, and the defined ones. For administrators",
    responses((status = 200, description = "the bindings, with `********` in place of secrets", body = BindingList)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<BindingList>, ApiError> {
    let defined = defined_bindings(&app).await?;
    let snapshot = app.jobs.snapshot();
    let engines = snapshot.engines.admitted();
    Ok(Json(BindingList {
        bindings: entries(&snapshot, defined),
        fallbacks: snapshot.fallback_names().to_vec(),
        engines: engines.map(|it| it.description.name.clone()).collect(),
    }))
}

/// `PUT /api/v1/bindings/{name}`
#[utoipa::path(
    put,
    path = "/api/v1/bindings/{name}",
    tag = "bindings",
    operation_id = "define_binding",
    summary = "Define a binding, or replace its definition. For administrators",
    params(("name" = String, Path, description = "At most 40 lower-case letters, digits and dashes.")),
    request_body = BindingDefinition,
    responses(
        (status = 200, description = "the binding, which the next job can use", body = BindingEntry),
        (status = 400, description = "the name or the definition is invalid; nothing is changed"),
    ),
)]
pub(super) async fn define(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Path(name): Path<String>,
    Json(definition): Json<BindingDefinition>,
) -> Result<Json<BindingEntry>, ApiError> {
    let object = definition.into_object()?;
    app.define_binding(&administrator, name.clone(), object)
        .await?;
    entry(&app, &name).await
}

/// `DELETE /api/v1/bindings/{name}`
#[utoipa::path(
    delete,
    path = "/api/v1/bindings/{name}",
    tag = "bindings",
    operation_id = "remove_binding",
    summary = "Remove the definition of a binding. An engine's own binding stays. For administrators",
    params(("name" = String, Path, description = "Name of the binding.")),
    responses(
        (status = 200, description = "the remaining bindings", body = BindingList),
        (status = 404, description = "`PINHOLE_BINDINGS` does not define it"),
        (status = 409, description = "a setting names it"),
    ),
)]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    administrator: Administrator,
    Path(name): Path<String>,
) -> Result<Json<BindingList>, ApiError> {
    if !defined_bindings(&app).await?.contains_key(&name) {
        return Err(unknown_binding(&name));
    }
    let needs = app.jobs.snapshot().settings_that_name(&name);
    if !needs.is_empty() {
        let detail = format!(
            "binding {name} is named by {}: name another binding there first",
            needs.join(", ")
        );
        return Err(ApiError::new(StatusCode::CONFLICT, detail));
    }
    app.remove_binding(&administrator.0, name).await?;
    list(State(app), administrator).await
}

/// `PUT /api/v1/fallbacks`
#[utoipa::path(
    put,
    path = "/api/v1/fallbacks",
    tag = "bindings",
    operation_id = "set_fallbacks",
    summary = "Set the bindings to try if one is unavailable. For administrators",
    request_body = Fallbacks,
    responses(
        (status = 200, description = "the fallbacks", body = Fallbacks),
        (status = 400, description = "a name is not that of a binding, or there are too many; nothing is changed"),
    ),
)]
pub(super) async fn set_fallbacks(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Json(Fallbacks { fallbacks }): Json<Fallbacks>,
) -> Result<Json<Fallbacks>, ApiError> {
    app.set_fallbacks(&administrator, &fallbacks).await?;
    Ok(Json(Fallbacks {
        fallbacks: app.jobs.snapshot().fallback_names().to_vec(),
    }))
}
