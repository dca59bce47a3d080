//! The caller's API key without a name, which is the only one that Open WebUI's clients know.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::keys::{check_lifetime, too_many_keys};
use super::no_store;
use crate::app::App;
use crate::web::auth::{User, UserIdentity};
use crate::web::error::ApiError;
use crate::web::extractors::Json;

#[derive(Serialize, ToSchema)]
pub(super) struct ApiKey {
    /// The key if it was just created, else asterisks.
    api_key: String,
}

/// `GET /api/v1/auths/api_key`
#[utoipa::path(
    get,
    path = "/api/v1/auths/api_key",
    tag = "people",
    operation_id = "describe_key",
    summary = "Check whether the caller has an API key without a name. Only its hash is stored",
    responses(
        (status = 200, description = "the caller has a key", body = ApiKey),
        (status = 404, description = "the caller has no key"),
    ),
)]
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Json<ApiKey>, ApiError> {
    if !app.store.has_unnamed_key(&user.id).await? {
        let detail = "you have no API key: create one with POST";
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(Json(ApiKey {
        api_key: "sk-********".to_owned(),
    }))
}

/// `POST /api/v1/auths/api_key`
#[utoipa::path(
    post,
    path = "/api/v1/auths/api_key",
    tag = "people",
    operation_id = "make_key",
    summary = "Create an API key without a name, which replaces the one before. Keys with names are not affected",
    responses(
        (status = 200, description = "the key; it cannot be retrieved later", body = ApiKey),
        (status = 403, description = "the caller's own key expires"),
    ),
)]
pub(super) async fn replace(
    State(app): State<Arc<App>>,
    UserIdentity(identity): UserIdentity,
) -> Result<impl IntoResponse, ApiError> {
    check_lifetime(&identity, None)?;
    let replaced = app.store.replace_unnamed_key(&identity.user.id).await?;
    let api_key = replaced.ok_or_else(too_many_keys)?;
    Ok((no_store(), Json(ApiKey { api_key })))
}

/// `DELETE /api/v1/auths/api_key`
#[utoipa::path(
    delete,
    path = "/api/v1/auths/api_key",
    tag = "people",
    operation_id = "delete_key",
    summary = "Revoke the caller's API key without a name",
    responses((status = 200, description = "the caller has no key without a name now", content_type = "application/json", body = bool)),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Json<bool>, ApiError> {
    app.store.delete_unnamed_keys(&user.id).await?;
    Ok(Json(true))
}
