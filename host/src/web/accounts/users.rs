//! Users, for administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::routing::get;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::permissions;
use crate::app::App;
use crate::accounts::{check_name, check_role};
use crate::settings;
use crate::store::{Person, User};
use crate::web::auth;
use crate::web::error::{ApiError, json_body};
use crate::web::openapi::shape;

/// Users on a page.
///
/// Source: Open WebUI `routers/users.py`.
const PAGE_USERS: u32 = 30;
/// Files of a removed user that are removed at a time.
const REMOVED_AT_ONCE: u32 = 100;
/// Times that a user's things are looked for: a job that was running may bring one more.
const REMOVALS: usize = 3;

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u32>,
}

/// What is to be changed; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = UserChange)]
struct Change {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(value_type = Option<shape::Role>)]
    role: Option<String>,
    /// Empty says nothing.
    #[schema(max_length = 200)]
    password: Option<String>,
}

/// What everybody may; what is left out stays.
#[derive(Deserialize, ToSchema)]
struct DefaultPermissions {
    features: DefaultFeatures,
}

#[derive(Deserialize, ToSchema)]
struct DefaultFeatures {
    image_generation: Option<bool>,
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .route("/api/v1/users", get(list))
        .routes(routes!(default_permissions, change_default_permissions))
        .routes(routes!(show, delete))
        .routes(routes!(update))
}

/// `GET /api/v1/users/?page=`
#[utoipa::path(
    get,
    path = "/api/v1/users/",
    tag = "people",
    operation_id = "list_users",
    summary = "A page of users. For administrators",
    params(Page),
    responses((status = 200, description = "30 of them at most", body = shape::Users)),
)]
async fn list(
    State(app): State<Arc<App>>,
    page: Result<Query<Page>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let Query(asked) =
        page.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let Some(before) = asked.page.unwrap_or(1).checked_sub(1) else {
        return Err(ApiError::invalid("page", "pages are counted from 1"));
    };
    let offset = u64::from(before) * u64::from(PAGE_USERS);
    let (people, total) = app.store.people(PAGE_USERS, offset).await.map_err(failed)?;
    let users: Vec<Value> = people.iter().map(row).collect();
    Ok(Json(json!({"users": users, "total": total})))
}

/// `GET /api/v1/users/default/permissions`: what everybody may.
#[utoipa::path(
    get,
    path = "/api/v1/users/default/permissions",
    tag = "people",
    operation_id = "describe_default_permissions",
    summary = "What everybody may. For administrators",
    responses((status = 200, description = "the permissions", body = shape::Permissions)),
)]
async fn default_permissions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    Ok(Json(permissions(
        app.accounts.rules().everybody_makes_pictures,
    )))
}

/// `POST /api/v1/users/default/permissions`: of Open WebUI's tree there is one, and others are left alone.
#[utoipa::path(
    post,
    path = "/api/v1/users/default/permissions",
    tag = "people",
    operation_id = "change_default_permissions",
    summary = "Set what everybody may. For administrators",
    request_body = DefaultPermissions,
    responses((status = 200, description = "the permissions", body = shape::Permissions)),
)]
async fn change_default_permissions(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let user = auth::administrator(&app, &headers).await?;
    let DefaultPermissions { features } = json_body(request).await?;
    let everybody = app.accounts.rules().everybody_makes_pictures;
    if let Some(may) = features.image_generation.filter(|may| *may != everybody) {
        let keys = app.keys();
        let name = "USER_PERMISSIONS_FEATURES_IMAGE_GENERATION";
        let key = keys.iter().find(|key| key.name == name);
        let change = key.map(|key| settings::Change::new(key, &may.into()));
        let change = change
            .transpose()
            .map_err(|why| ApiError::invalid(name, why))?;
        app.change(&user, change.flatten().into_iter().collect())
            .await?;
    }
    Ok(Json(permissions(
        app.accounts.rules().everybody_makes_pictures,
    )))
}

/// `GET /api/v1/users/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/users/{id}",
    tag = "people",
    operation_id = "describe_user",
    summary = "A user. For administrators",
    params(("id" = String, Path, description = "The user's id.")),
    responses(
        (status = 200, description = "who", body = shape::Person),
        (status = 404, description = "there is no such user"),
    ),
)]
async fn show(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    Ok(Json(row(&find(&app, id).await?)))
}

/// `POST /api/v1/users/{id}/update`: name, role and password; all or nothing.
#[utoipa::path(
    post,
    path = "/api/v1/users/{id}/update",
    tag = "people",
    operation_id = "update_user",
    summary = "Change a user's name, role or password. For administrators",
    params(("id" = String, Path, description = "The user's id.")),
    request_body = Change,
    responses(
        (status = 200, description = "who they are now", body = shape::Person),
        (status = 404, description = "there is no such user"),
        (status = 503, description = "too many are signing in at this moment"),
    ),
)]
async fn update(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let administrator = auth::administrator(&app, &headers).await?;
    let Person { user, email, .. } = find(&app, id).await?;
    let change: Change = json_body(request).await?;
    let name = change.name.unwrap_or(user.name);
    let role = change.role.unwrap_or(user.role);
    check_name(&name)?;
    check_role(&role)?;
    let password = match change.password.filter(|password| !password.is_empty()) {
        None => None,
        Some(_) if email.is_empty() => {
            let detail = "the user has keys and no account: there is no password to set";
            return Err(ApiError::invalid("password", detail));
        }
        Some(password) => Some(app.accounts.hash(password).await?),
    };
    let changed = app
        .store
        .update_person(&user.id, &name, &role, password.as_deref());
    if !changed.await.map_err(failed)? {
        return Err(last_administrator());
    }
    tracing::info!("user {} is {role} now, by {}", user.id, administrator.id);
    let person = app.store.person(&user.id).await.map_err(failed)?;
    Ok(Json(row(&person.ok_or_else(not_found)?)))
}

/// `DELETE /api/v1/users/{id}`: with everything that is theirs. Nobody removes themselves.
#[utoipa::path(
    delete,
    path = "/api/v1/users/{id}",
    tag = "people",
    operation_id = "delete_user",
    summary = "Remove a user with everything that is theirs. For administrators",
    params(("id" = String, Path, description = "The user's id.")),
    responses(
        (status = 200, description = "they are removed", body = shape::Done),
        (status = 403, description = "nobody removes themselves"),
        (status = 404, description = "there is no such user"),
        (status = 409, description = "something of theirs is in use"),
    ),
)]
async fn delete(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    let administrator = auth::administrator(&app, &headers).await?;
    let Person { user, .. } = find(&app, id).await?;
    if user.id == administrator.id {
        return Err(ApiError::prohibited());
    }
    if !app.store.lock_out(&user.id).await.map_err(failed)? {
        return Err(last_administrator());
    }
    for _ in 0..REMOVALS {
        let removed = app.files.delete_chats(&user.id).await;
        removed.map_err(|error| ApiError::internal(&error))?;
        remove_files(&app, &user).await?;
        if app.store.delete_user(&user.id).await.map_err(failed)? {
            tracing::info!("user {} was removed by {}", user.id, administrator.id);
            return Ok(Json(true));
        }
    }
    Err(ApiError::new(
        StatusCode::CONFLICT,
        "the user cannot ask any more, but something of theirs is still in use: try again",
    ))
}

async fn remove_files(app: &App, user: &User) -> Result<(), ApiError> {
    loop {
        let files = app.store.files(Some(&user.id), REMOVED_AT_ONCE, 0).await;
        let files = files.map_err(failed)?;
        if files.is_empty() {
            return Ok(());
        }
        for file in files {
            let deleted = app.files.delete(&file.id).await;
            deleted.map_err(|error| ApiError::internal(&error))?;
        }
    }
}

async fn find(app: &App, id: Result<Path<String>, PathRejection>) -> Result<Person, ApiError> {
    let Path(id) =
        id.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let person = app.store.person(&id).await.map_err(failed)?;
    person.ok_or_else(not_found)
}

fn row(person: &Person) -> Value {
    json!({
        "id": person.user.id,
        "name": person.user.name,
        "email": person.email,
        "role": person.user.role,
        "profile_image_url": "/user.png",
        "created_at": person.created_at,
    })
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no such user")
}

fn last_administrator() -> ApiError {
    ApiError::new(
        StatusCode::BAD_REQUEST,
        "this is the last administrator: make somebody else one first",
    )
}

fn failed(error: sqlx::Error) -> ApiError {
    ApiError::internal(&error.into())
}
