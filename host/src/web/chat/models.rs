//! `GET /api/models`: the language models that a chat may name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::header::HeaderMap;
use serde_json::{Value, json};

use crate::app::App;
use crate::web::auth;
use crate::web::error::ApiError;
use crate::web::openapi::shape;

/// The models of every server, each once.
///
/// Source: Open WebUI `main.py`; `connection_type` tells its client which task model is meant.
#[utoipa::path(
    get,
    path = "/api/models",
    tag = "chat",
    operation_id = "list_chat_models",
    summary = "The language models that a chat may name",
    responses((status = 200, description = "the models", body = shape::ChatModels)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::user(&app, &headers).await?;
    let models = app.chat_models.all().await.into_iter();
    let data = models.map(|(model, is_local)| {
        json!({
            "id": model.id,
            "name": model.name,
            "object": "model",
            "created": model.created,
            "owned_by": model.owner.as_deref().unwrap_or("openai"),
            "connection_type": if is_local { "local" } else { "external" },
        })
    });
    Ok(Json(json!({"data": data.collect::<Value>()})))
}
