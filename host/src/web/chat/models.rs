//! `GET /api/models`: the language models that a chat may name.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::web::auth::User;
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

/// Location of a model's server. Open WebUI selects its task model by it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ConnectionType {
    /// A private IP address.
    Local,
    External,
}

/// Lists a model that several servers offer only once.
///
/// Source: Open WebUI `main.py`.
#[utoipa::path(
    get,
    path = "/api/models",
    tag = "chat",
    operation_id = "list_chat_models",
    summary = "List the language models",
    responses((status = 200, description = "the models", body = ChatModels)),
)]
pub(super) async fn list(State(app): State<Arc<App>>, _: User) -> Json<ChatModels> {
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
    Json(ChatModels {
        data: data.collect(),
    })
}
