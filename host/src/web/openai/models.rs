//! `GET /v1/models`: what may be named as a model.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use http::header::HeaderMap;
use serde_json::{Value, json};

use crate::app::App;
use pinhole_sandbox::MAX_MODEL_BYTES;
use crate::store::User;
use pinhole_ground::text::plain;
use crate::web::auth;
use crate::web::error::{ApiError, OpenAiError};
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
    let user = auth::user(&app, &headers).await?;
    Ok(Json(
        json!({"object": "list", "data": entries(&app, &user).await}),
    ))
}

/// `GET /v1/models/{id}`: one of them. The id may have slashes in it.
#[utoipa::path(
    get,
    path = "/v1/models/{*id}",
    tag = "openai",
    operation_id = "retrieve_model",
    summary = "One of them",
    params(("id" = String, Path, description = "The model's id; it may have slashes in it.")),
    responses(
        (status = 200, description = "the model", body = shape::OpenAiModel),
        (status = 404, description = "there is no such model"),
    ),
)]
pub(in super::super) async fn find(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Json<Value>, OpenAiError> {
    let user = auth::user(&app, &headers).await?;
    let found = entries(&app, &user)
        .await
        .into_iter()
        .find(|it| it.get("id").is_some_and(|it| *it == id.as_str()));
    found.map(Json).ok_or_else(|| {
        let shown = plain(&id, MAX_MODEL_BYTES);
        let message =
            format!("there is no model {shown}: GET /v1/models lists those that there are");
        let missing = ApiError::new(StatusCode::NOT_FOUND, message);
        missing.coded("model_not_found").into()
    })
}

async fn entries(app: &App, user: &User) -> Vec<Value> {
    let (image, chat) = tokio::join!(image_models(app, user), app.chat_models.all());
    let image = image.into_iter().map(|(id, owner)| (id, owner, 0));
    let chat = chat.into_iter().map(|(model, _)| {
        let owner = model.owner.unwrap_or_else(|| "chat".to_owned());
        (model.id, owner, model.created)
    });
    let mut seen = BTreeSet::new();
    let models = image.chain(chat).filter(|(id, ..)| seen.insert(id.clone()));
    let entry = |(id, owner, created)| json!({"id": id, "object": "model", "created": created, "owned_by": owner});
    models.map(entry).collect()
}

/// Ids, each with the engine's name.
async fn image_models(app: &App, user: &User) -> Vec<(String, String)> {
    let current = app.jobs.current();
    let settings = &current.settings;
    let mut ids: Vec<String> = match app.jobs.models(None, Some(&user.id)).await {
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
