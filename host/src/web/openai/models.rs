//! `GET /v1/models`: the models that a request may name.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use pinhole_ground::text::plain;
use pinhole_sandbox::MAX_MODEL_BYTES;

use crate::app::App;
use crate::jobs::Binding;
use crate::store;
use crate::web::auth::{self, User};
use crate::web::error::{ApiError, OpenAiError};
use crate::web::extractors::{Json, Path};

#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    /// Always `list`.
    object: &'static str,
    data: Vec<OpenAiModel>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct OpenAiModel {
    id: String,
    /// Always `model`.
    object: &'static str,
    /// Seconds since 1970; 0 if unknown.
    created: i64,
    owned_by: String,
}

impl OpenAiModel {
    fn new(id: String, owned_by: String, created: i64) -> Self {
        Self {
            id,
            object: "model",
            created,
            owned_by,
        }
    }
}

/// Lists the image models of the engine that generates for the user, then the chat models.
///
/// If an engine cannot list its models, the list contains the configured model.
#[utoipa::path(
    get,
    path = "/v1/models",
    tag = "openai",
    operation_id = "list_models",
    summary = "List the image and chat models",
    responses(
        (status = 200, description = "image models, then chat models", body = ModelList),
        (status = 429, description = "too many requests of the user in a minute"),
    ),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Json<ModelList>, OpenAiError> {
    Ok(Json(ModelList {
        object: "list",
        data: models(&app, &user).await?,
    }))
}

/// `GET /v1/models/{id}`
#[utoipa::path(
    get,
    path = "/v1/models/{*id}",
    tag = "openai",
    operation_id = "retrieve_model",
    summary = "Find a model",
    params(("id" = String, Path, description = "The model's id; may contain slashes.")),
    responses(
        (status = 200, description = "the model", body = OpenAiModel),
        (status = 404, description = "unknown model"),
        (status = 429, description = "too many requests of the user in a minute"),
    ),
)]
pub(super) async fn find(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<OpenAiModel>, OpenAiError> {
    let mut models = models(&app, &user).await?.into_iter();
    let Some(model) = models.find(|model| model.id == id) else {
        let id = plain(&id, MAX_MODEL_BYTES);
        let message = format!("unknown model {id}: use one that GET /v1/models lists");
        let missing = ApiError::new(StatusCode::NOT_FOUND, message);
        return Err(missing.coded("model_not_found").into());
    };
    Ok(Json(model))
}

/// All models. Of models with the same id, only the first.
async fn models(app: &App, user: &store::User) -> Result<Vec<OpenAiModel>, ApiError> {
    app.jobs.count_model_list(&user.id)?;
    let (image_models, chat_models) = tokio::join!(image_models(app, user), app.chat.models.all());
    let chat_models = chat_models.into_iter().map(|(model, _)| {
        let owner = model.owner.unwrap_or_else(|| "chat".to_owned());
        OpenAiModel::new(model.id, owner, model.created)
    });
    let mut ids = BTreeSet::new();
    Ok(image_models?
        .into_iter()
        .chain(chat_models)
        .filter(|model| ids.insert(model.id.clone()))
        .collect())
}

/// The models of the binding that generates for the user, then the aliases that the user may use. None for a user who may not generate.
async fn image_models(app: &App, user: &store::User) -> Result<Vec<OpenAiModel>, ApiError> {
    if !auth::may_create_images(app, user).await? {
        return Ok(Vec::new());
    }
    let snapshot = app.jobs.complete_snapshot().await?;
    let requester = auth::requester(app, &snapshot, user, None).await?;
    let aliases = snapshot
        .usable_aliases(&requester)
        .map(|(name, alias)| OpenAiModel::new(name.to_owned(), alias.binding.clone(), 0));
    let mut models = match snapshot.listed_binding(&requester) {
        Ok(binding) => binding_models(app, binding).await,
        Err(_) => Vec::new(),
    };
    models.extend(aliases);
    Ok(models)
}

/// The models that a binding lists, or else its default model.
async fn binding_models(app: &App, binding: &Arc<Binding>) -> Vec<OpenAiModel> {
    let listed = app.jobs.listed_models(binding).await;
    let mut ids: Vec<String> = match &listed {
        Ok(models) => models.iter().map(|model| model.id.clone()).collect(),
        Err(_) => Vec::new(),
    };
    if ids.is_empty() {
        ids.extend(binding.default_model().map(str::to_owned));
    }
    let owner = &binding.name;
    ids.into_iter()
        .map(|id| OpenAiModel::new(id, owner.clone(), 0))
        .collect()
}
