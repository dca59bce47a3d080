//! `GET /v1/models`: what may be named as a model.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::Method;
use http::header::HeaderMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::App;
use crate::egress::{Destination, Request};
use crate::engine::MAX_MODEL_BYTES;
use crate::web::auth;
use crate::web::error::OpenAiError;
use crate::web::openapi::shape;

/// Time for the language model's list.
const CHAT_TIMEOUT: Duration = Duration::from_secs(10);
/// Length of that list, in bytes.
const MAX_CHAT_BYTES: usize = 4 << 20;

/// The image models of the engine that generates, then the chat models.
///
/// An upstream that is down takes nothing from the others: for an engine whose models cannot be
/// asked for, there is the configured one.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    operation_id = "list_models",
    summary = "What may be named as a model",
    responses((status = 200, description = "image models, then chat models", body = shape::ModelList)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, OpenAiError> {
    auth::user(&app, &headers).await?;
    let (image, chat) = tokio::join!(image_models(&app), chat_models(&app));
    let mut seen = BTreeSet::new();
    let models = image.into_iter().chain(chat);
    let data: Vec<Value> = models
        .filter(|(id, _)| seen.insert(id.clone()))
        .map(|(id, owner)| json!({"id": id, "object": "model", "created": 0, "owned_by": owner}))
        .collect();
    Ok(Json(json!({"object": "list", "data": data})))
}

/// Ids, each with the engine's name.
async fn image_models(app: &App) -> Vec<(String, String)> {
    let settings = &app.jobs.settings;
    let mut ids: Vec<String> = match app.jobs.models(None).await {
        Ok(models) => models.into_iter().map(|model| model.id).collect(),
        Err(error) => {
            let line = error.for_operator();
            tracing::warn!("the image models cannot be listed: {line}");
            Vec::new()
        }
    };
    if ids.is_empty() {
        ids.extend(settings.model.clone());
    }
    let owned = ids.into_iter().map(|id| (id, settings.engine.clone()));
    owned.collect()
}

/// Ids, each with the owner that the language model's server names.
async fn chat_models(app: &App) -> Vec<(String, String)> {
    let Some(model) = &app.chat_model else {
        return Vec::new();
    };
    match ask(model).await {
        Ok(list) => entries(&list),
        Err(why) => {
            tracing::warn!("the chat models cannot be listed: {why}");
            Vec::new()
        }
    }
}

async fn ask(model: &Destination) -> Result<Value, String> {
    let request = Request {
        method: Method::GET,
        path: "/models".to_owned(),
        headers: HeaderMap::new(),
        content_type: None,
        body: bytes::Bytes::new(),
    };
    let deadline = Instant::now() + CHAT_TIMEOUT;
    let answer = model.send(request, MAX_CHAT_BYTES, deadline).await;
    let mut answer = answer.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("the answer's status is {}", answer.status));
    }
    let body = answer.bytes().await.map_err(|error| error.to_string())?;
    serde_json::from_slice(&body).map_err(|error| format!("the answer is no JSON: {error}"))
}

fn entries(list: &Value) -> Vec<(String, String)> {
    let data = list.get("data").and_then(Value::as_array);
    let entries = data.into_iter().flatten().filter_map(|entry| {
        let id = entry.get("id")?.as_str()?;
        let owner = entry.get("owned_by").and_then(Value::as_str);
        (id.len() <= MAX_MODEL_BYTES).then(|| (id.to_owned(), owner.unwrap_or("chat").to_owned()))
    });
    entries.collect()
}
