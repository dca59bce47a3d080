//! Users, for administrators.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{PROFILE_IMAGE_URL, Permissions, Role};
use crate::accounts::{check_name, check_role};
use crate::app::App;
use crate::settings::Change;
use crate::store::{UserFilter, UserProfile};
use crate::web::auth::Administrator;
use crate::web::error::{ApiError, Rejection};
use crate::web::extractors::{Json, Path, Query};

/// Users on a page.
///
/// Source: Open WebUI `routers/users.py`.
const PAGE_USERS: u32 = 30;
/// Length of a text to search users for, in bytes.
const MAX_QUERY_BYTES: usize = 200;
/// Attempts to delete a user and all that belongs to them: a running job may add a file meanwhile.
const DELETE_ATTEMPTS: usize = 3;

/// The setting that gives every user the permission `features.image_generation`.
const IMAGE_GENERATION_SETTING: &str = "USER_PERMISSIONS_FEATURES_IMAGE_GENERATION";

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UserQuery {
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// A part of the name or of the email.
    #[param(max_length = 200)]
    query: Option<String>,
    /// `admin`, `user` or `pending`. Default: all.
    role: Option<String>,
    /// Id of a group: only its members.
    group: Option<String>,
}

impl UserQuery {
    fn filter(self) -> Result<UserFilter, ApiError> {
        let text = self.query.filter(|text| !text.is_empty());
        if text
            .as_ref()
            .is_some_and(|text| text.len() > MAX_QUERY_BYTES)
        {
            let detail = format!("query must have at most {MAX_QUERY_BYTES} bytes");
            return Err(ApiError::invalid("query", detail));
        }
        let role = self.role.filter(|role| !role.is_empty());
        if let Some(role) = &role {
            check_role(role)?;
        }
        let group = self.group.filter(|id| !id.is_empty());
        Ok(UserFilter { text, role, group })
    }
}

/// Change of a user. Omitted fields keep their current value.
#[derive(Deserialize, ToSchema)]
struct UserChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(value_type = Option<Role>)]
    role: Option<String>,
    /// An empty password changes nothing.
    #[schema(max_length = 200)]
    password: Option<String>,
}

/// Permissions of all users. Others of Open WebUI's tree are ignored.
#[derive(Deserialize, ToSchema)]
struct DefaultPermissions {
    features: DefaultFeatures,
}

#[derive(Deserialize, ToSchema)]
struct DefaultFeatures {
    /// Default: the current value.
    image_generation: Option<bool>,
}

#[derive(Serialize, ToSchema)]
struct UserList {
    users: Vec<UserEntry>,
    /// Number of all users whom the query finds.
    #[schema(minimum = 0)]
    total: i64,
}

#[derive(Serialize, ToSchema)]
struct UserEntry {
    id: String,
    name: String,
    /// Empty if the user has API keys but no account.
    email: String,
    role: Role,
    profile_image_url: &'static str,
    /// Seconds since 1970.
    created_at: i64,
    /// Seconds since 1970, up to a minute before the last request; `null` if the user has sent none.
    #[schema(required = true)]
    last_active_at: Option<i64>,
    /// Images that are stored.
    #[schema(minimum = 0)]
    image_count: i64,
}

impl From<UserProfile> for UserEntry {
    fn from(profile: UserProfile) -> Self {
        Self {
            role: Role::of(&profile.user),
            id: profile.user.id,
            name: profile.user.name,
            email: profile.email,
            profile_image_url: PROFILE_IMAGE_URL,
            created_at: profile.created_at,
            last_active_at: profile.last_active_at,
            image_count: profile.image_count,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .route("/api/v1/users", get(list))
        .routes(routes!(default_permissions, change_default_permissions))
        .routes(routes!(describe, delete))
        .routes(routes!(update))
}

/// `GET /api/v1/users/?page=&query=&role=`
#[utoipa::path(
    get,
    path = "/api/v1/users/",
    tag = "people",
    operation_id = "list_users",
    summary = "List users. For administrators",
    params(UserQuery),
    responses((status = 200, description = "a page of at most 30 users", body = UserList)),
)]
async fn list(
    State(app): State<Arc<App>>,
    _: Administrator,
    Query(query): Query<UserQuery>,
) -> Result<Json<UserList>, ApiError> {
    let Some(previous_pages) = query.page.unwrap_or(1).checked_sub(1) else {
        return Err(ApiError::invalid("page", "page must be 1 or higher"));
    };
    let offset = u64::from(previous_pages) * u64::from(PAGE_USERS);
    let filter = query.filter()?;
    app.store.store_last_uses().await;
    let (profiles, total) = app.store.users(&filter, PAGE_USERS, offset).await?;
    let users = profiles.into_iter().map(UserEntry::from).collect();
    Ok(Json(UserList { users, total }))
}

/// `GET /api/v1/users/default/permissions`
#[utoipa::path(
    get,
    path = "/api/v1/users/default/permissions",
    tag = "people",
    operation_id = "describe_default_permissions",
    summary = "Return the permissions of all users. For administrators",
    responses((status = 200, description = "the permissions", body = Permissions)),
)]
async fn default_permissions(
    State(app): State<Arc<App>>,
    _: Administrator,
) -> Result<Json<Permissions>, ApiError> {
    let rules = app.accounts.rules();
    Ok(Json(Permissions::new(rules.all_users_may_create_images)))
}

/// `POST /api/v1/users/default/permissions`
#[utoipa::path(
    post,
    path = "/api/v1/users/default/permissions",
    tag = "people",
    operation_id = "change_default_permissions",
    summary = "Set the permissions of all users. For administrators",
    request_body = DefaultPermissions,
    responses((status = 200, description = "the permissions", body = Permissions)),
)]
async fn change_default_permissions(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Json(DefaultPermissions { features }): Json<DefaultPermissions>,
) -> Result<Json<Permissions>, ApiError> {
    let current = app.accounts.rules().all_users_may_create_images;
    let wanted = features.image_generation.unwrap_or(current);
    if wanted != current {
        let keys = app.setting_keys().await?;
        let key = keys.iter().find(|key| key.name == IMAGE_GENERATION_SETTING);
        let change = match key {
            Some(key) => Change::new(key, &wanted.into())
                .map_err(|reason| ApiError::invalid(IMAGE_GENERATION_SETTING, reason))?,
            None => None,
        };
        app.change_settings(&administrator, change.into_iter().collect())
            .await?;
    }
    let rules = app.accounts.rules();
    Ok(Json(Permissions::new(rules.all_users_may_create_images)))
}

/// `GET /api/v1/users/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    tag = "people",
    operation_id = "describe_user",
    summary = "Return a user. For administrators",
    params(("id" = String, Path, description = "Id of the user.")),
    responses(
        (status = 200, description = "the user", body = UserEntry),
        (status = 404, description = "no such user"),
    ),
)]
async fn describe(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<UserEntry>, ApiError> {
    Ok(Json(find(&app, &id).await?.into()))
}

/// `POST /api/v1/users/{id}/update`
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/update",
    tag = "people",
    operation_id = "update_user",
    summary = "Change a user's name, role or password. For administrators",
    params(("id" = String, Path, description = "Id of the user.")),
    request_body = UserChange,
    responses(
        (status = 200, description = "the changed user", body = UserEntry),
        (status = 404, description = "no such user"),
        (status = 503, description = "too many concurrent sign-ins"),
    ),
)]
async fn update(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Path(id): Path<String>,
    body: Result<Json<UserChange>, Rejection>,
) -> Result<Json<UserEntry>, ApiError> {
    let UserProfile { user, email, .. } = find(&app, &id).await?;
    let Json(change) = body?;
    let name = change.name.unwrap_or(user.name);
    let role = change.role.unwrap_or(user.role);
    check_name(&name)?;
    check_role(&role)?;
    let password = match change.password.filter(|password| !password.is_empty()) {
        None => None,
        Some(_) if email.is_empty() => {
            let detail = "the user has no account and so no password: omit the field";
            return Err(ApiError::invalid("password", detail));
        }
        Some(password) => Some(app.accounts.hash_password(password).await?),
    };
    let is_updated = app
        .store
        .update_user(&user.id, &name, &role, password.as_deref())
        .await?;
    if !is_updated {
        return Err(last_administrator());
    }
    tracing::info!(
        "user {} now has role {role}, by {}",
        user.id,
        administrator.id
    );
    Ok(Json(find(&app, &id).await?.into()))
}

/// `DELETE /api/v1/users/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}",
    tag = "people",
    operation_id = "delete_user",
    summary = "Delete a user with their chats, images and keys. For administrators",
    params(("id" = String, Path, description = "Id of the user.")),
    responses(
        (status = 200, description = "the user is deleted", content_type = "application/json", body = bool),
        (status = 403, description = "administrators cannot delete themselves"),
        (status = 404, description = "no such user"),
        (status = 409, description = "a job of the user is still running"),
    ),
)]
async fn delete(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
    Path(id): Path<String>,
) -> Result<Json<bool>, ApiError> {
    let UserProfile { user, .. } = find(&app, &id).await?;
    if user.id == administrator.id {
        return Err(ApiError::prohibited());
    }
    if !app.store.revoke_access(&user.id).await? {
        return Err(last_administrator());
    }
    app.active_jobs.stop_all(Some(&user.id)).await?;
    for _ in 0..DELETE_ATTEMPTS {
        app.files.delete_chats(&user.id).await?;
        app.files.delete_all_of(&user.id).await?;
        if app.store.delete_user(&user.id).await? {
            tracing::info!("user {} was deleted by {}", user.id, administrator.id);
            return Ok(Json(true));
        }
    }
    Err(ApiError::new(
        StatusCode::CONFLICT,
        "the user is locked out, but a job of theirs is still running: try again",
    ))
}

pub(super) async fn find(app: &App, id: &str) -> Result<UserProfile, ApiError> {
    let profile = app.store.user(id).await?;
    profile.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "no such user"))
}

fn last_administrator() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "the user is the last administrator: promote another user first",
    )
}
