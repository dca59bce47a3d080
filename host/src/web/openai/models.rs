//! `GET /v1/models`: what may be named as a model.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::header::HeaderMap;
use serde_json::{Value, json};

use crate::app::App;
use crate::web::auth;
use crate::web::error::OpenAiError;
use crate::web::openapi::shape;

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
    let (image, chat) = tokio::join!(image_models(&app), app.chat_models.all());
    let mut seen = BTreeSet::new();
    let chat = chat.into_iter();
    let chat = chat.map(|(model, _)| (model.id, model.owner.unwrap_or("chat".to_owned())));
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
