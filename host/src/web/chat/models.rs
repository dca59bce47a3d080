//! `GET /api/models`: the language models that a chat may name.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::request::ChatRequest;
use crate::app::App;
use crate::jobs::{Operation, Snapshot};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

#[derive(Serialize, ToSchema)]
pub(super) struct ChatModels {
    data: Vec<ChatModel>,
}

#[derive(Serialize, ToSchema)]
struct ChatModel {
    id: String,
    /// The name that users see.
    name: String,
    /// Always `model`.
    object: &'static str,
    /// Seconds since 1970; 0 if the server does not report it.
    created: i64,
    owned_by: String,
    connection_type: ConnectionType,
}

impl ChatModel {
    /// The engine that generates, as a model whose responses are images.
    fn engine(name: &str) -> Self {
        Self {
            id: name.to_owned(),
            name: name.to_owned(),
            object: "model",
            created: 0,
            owned_by: "pinhole".to_owned(),
            connection_type: ConnectionType::Local,
        }
    }
}

/// Does the request name the engine that generates, which is the only model without a language model?
pub(super) fn is_engine(app: &App, snapshot: &Snapshot, request: &ChatRequest) -> bool {
    app.chat.models.is_empty() && request.model.as_ref() == Some(&snapshot.settings.engine)
}

/// Location of a model's server. Open WebUI selects its task model by it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConnectionType {
    /// A private IP address.
    Local,
    External,
}

/// Lists a model that several servers offer only once. Without a language model, lists the engine that generates, so
/// that clients which need a model make images with it.
///
/// Source: Open WebUI `main.py`.
#[utoipa::path(
    get,
    path = "/api/models",
    tag = "chat",
    operation_id = "list_chat_models",
    summary = "List the language models, or else the engine that generates images",
    responses((status = 200, description = "the models", body = ChatModels)),
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    _: User,
) -> Result<Json<ChatModels>, ApiError> {
    if app.chat.models.is_empty() && app.jobs.snapshot().settings.enabled {
        let snapshot = app
            .jobs
            .snapshot_for(Operation::Generate, None, None)
            .await?;
        let data = vec![ChatModel::engine(&snapshot.settings.engine)];
        return Ok(Json(ChatModels { data }));
    }
    let models = app.chat.models.all().await.into_iter();
    let data = models.map(|(model, is_local)| ChatModel {
        id: model.id,
        name: model.name,
        object: "model",
        created: model.created,
        owned_by: model.owner.unwrap_or_else(|| "openai".to_owned()),
        connection_type: if is_local {
            ConnectionType::Local
        } else {
            ConnectionType::External
        },
    });
    Ok(Json(ChatModels {
        data: data.collect(),
    }))
}
