//! API keys with names: the caller's own, and for administrators those of any user.

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::StatusCode;
use pinhole_ground::guard::Guard;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{no_store, users};
use crate::accounts::{Identity, check_name};
use crate::app::App;
use crate::store::{self, CreatedKey, MAX_KEYS, NewKey, now};
use crate::web::auth::{Administrator, User, UserIdentity};
use crate::web::error::ApiError;
use crate::web::extractors::{Json, Path};

/// The last expiry: the end of the year 9999, in seconds since 1970.
const MAX_EXPIRY: i64 = 253_402_300_799;

#[derive(Serialize, ToSchema)]
struct KeyEntry {
    id: String,
    /// Empty for the key that `/api/v1/auths/api_key` replaces.
    name: String,
    /// The first characters of the key.
    prefix: String,
    /// Seconds since 1970.
    created_at: i64,
    /// Seconds since 1970, up to a minute before the last use; `null` if the key was never used.
    #[schema(required = true)]
    last_used_at: Option<i64>,
    /// Seconds since 1970; `null` if the key does not expire.
    #[schema(required = true)]
    expires_at: Option<i64>,
    /// The key itself, only in the response that created it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
}

impl From<store::ApiKey> for KeyEntry {
    fn from(key: store::ApiKey) -> Self {
        let prefix = match key.prefix.as_str() {
            "" => "sk-",
            prefix => prefix,
        };
        Self {
            prefix: format!("{prefix}…"),
            id: key.id,
            name: key.name,
            created_at: key.created_at,
            last_used_at: key.last_used_at,
            expires_at: key.expires_at,
            key: None,
        }
    }
}

/// API key to create.
#[derive(Deserialize, ToSchema)]
struct KeyRequest {
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Seconds since 1970. Default: the key does not expire.
    expires_at: Option<i64>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
        .routes(routes!(list_of_user))
        .routes(routes!(revoke_of_user))
}

/// `GET /api/v1/auths/keys`
#[utoipa::path(
    get,
    path = "/api/v1/auths/keys",
    tag = "people",
    operation_id = "list_keys",
    summary = "List the caller's API keys, oldest first",
    responses((status = 200, description = "the keys, without the keys themselves", body = [KeyEntry])),
)]
async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
) -> Result<Json<Vec<KeyEntry>>, ApiError> {
    keys_of(&app, &user.id).await
}

/// `POST /api/v1/auths/keys`
#[utoipa::path(
    post,
    path = "/api/v1/auths/keys",
    tag = "people",
    operation_id = "create_key",
    summary = "Create another API key",
    request_body = KeyRequest,
    responses(
        (status = 200, description = "the key; it cannot be retrieved later", body = KeyEntry),
        (status = 403, description = "the caller's own key expires before the new one would"),
    ),
)]
async fn create(
    State(app): State<Arc<App>>,
    UserIdentity(identity): UserIdentity,
    Json(body): Json<KeyRequest>,
) -> Result<impl IntoResponse, ApiError> {
    check_name(&body.name)?;
    check_lifetime(&identity, body.expires_at)?;
    let user = identity.user;
    if let Some(at) = body.expires_at
        && !(now() + 1..=MAX_EXPIRY).contains(&at)
    {
        let detail = "expires_at must be a time in the future, in seconds since 1970: omit it for a key that does not expire";
        return Err(ApiError::invalid("expires_at", detail));
    }
    let new = NewKey {
        name: &body.name,
        expires_at: body.expires_at,
    };
    let created = app.store.add_key(&user.id, new).await?;
    let CreatedKey { key, row } = created.ok_or_else(too_many_keys)?;
    let entry = KeyEntry {
        key: Some(key),
        ..row.into()
    };
    Ok((no_store(), Json(entry)))
}

/// Fails if the new key would outlive the one that authenticates the request.
pub(super) fn check_lifetime(identity: &Identity, expires_at: Option<i64>) -> Result<(), ApiError> {
    let Some(limit) = identity.key_expires_at else {
        return Ok(());
    };
    let outlives = expires_at.is_none_or(|at| at > limit);
    let refusal = Guard::KeyExpiry.refuse_if(outlives, || {
        "your API key expires: set an expires_at that is not later, or sign in with your password"
    });
    refusal.map_err(|refusal| ApiError::new(StatusCode::FORBIDDEN, refusal.reason))
}

/// `DELETE /api/v1/auths/keys/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/auths/keys/{id}",
    tag = "people",
    operation_id = "revoke_key",
    summary = "Revoke one of the caller's API keys, and end the sessions that began with it",
    params(("id" = String, Path, description = "Id of the key.")),
    responses(
        (status = 200, description = "the key is revoked", content_type = "application/json", body = bool),
        (status = 404, description = "the caller has no such key"),
    ),
)]
async fn revoke(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<bool>, ApiError> {
    revoke_key_of(&app, &user.id, &id).await
}

/// `GET /api/v1/users/{id}/keys`
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}/keys",
    tag = "people",
    operation_id = "list_keys_of_user",
    summary = "List the API keys of a user, oldest first. For administrators",
    params(("id" = String, Path, description = "Id of the user.")),
    responses(
        (status = 200, description = "the keys, without the keys themselves", body = [KeyEntry]),
        (status = 404, description = "no such user"),
    ),
)]
async fn list_of_user(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<Vec<KeyEntry>>, ApiError> {
    let profile = users::find(&app, &id).await?;
    keys_of(&app, &profile.user.id).await
}

/// `DELETE /api/v1/users/{id}/keys/{key_id}`
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}/keys/{key_id}",
    tag = "people",
    operation_id = "revoke_key_of_user",
    summary = "Revoke an API key of a user, and end the sessions that began with it. For administrators",
    params(
        ("id" = String, Path, description = "Id of the user."),
        ("key_id" = String, Path, description = "Id of the key."),
    ),
    responses(
        (status = 200, description = "the key is revoked", content_type = "application/json", body = bool),
        (status = 404, description = "no such user, or the user has no such key"),
    ),
)]
async fn revoke_of_user(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Path((id, key_id)): Path<(String, String)>,
) -> Result<Json<bool>, ApiError> {
    let profile = users::find(&app, &id).await?;
    let revoked = revoke_key_of(&app, &profile.user.id, &key_id).await?;
    tracing::info!(
        "an API key of user {id} was revoked by {}",
        administrator.id
    );
    Ok(revoked)
}

async fn keys_of(app: &App, user_id: &str) -> Result<Json<Vec<KeyEntry>>, ApiError> {
    app.store.store_last_uses().await;
    let keys = app.store.keys(user_id).await?;
    Ok(Json(keys.into_iter().map(KeyEntry::from).collect()))
}

async fn revoke_key_of(app: &App, user_id: &str, id: &str) -> Result<Json<bool>, ApiError> {
    match app.store.revoke_keys(user_id, Some(id)).await? {
        0 => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "no such API key: list the keys first",
        )),
        _ => Ok(Json(true)),
    }
}

/// The user has [`MAX_KEYS`].
pub(super) fn too_many_keys() -> ApiError {
    let detail = format!("you have {MAX_KEYS} API keys: revoke one first");
    ApiError::new(StatusCode::BAD_REQUEST, detail)
}
