//! Groups of users, for administrators.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::permissions;
use crate::app::App;
use crate::people::check_name;
use crate::store::Group;
use crate::web::auth;
use crate::web::error::{ApiError, json_body};

/// Length of a group's description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 2000;
/// Members that one request may name.
const MAX_NAMED_MEMBERS: usize = 1000;

/// A group as it is to be; of one that there is, what is left out stays.
#[derive(Deserialize)]
struct Wanted {
    name: Option<String>,
    description: Option<String>,
    permissions: Option<Permissions>,
}

/// Of Open WebUI's tree, the permission that there is here.
#[derive(Deserialize)]
struct Permissions {
    features: Option<Features>,
}

#[derive(Deserialize)]
struct Features {
    image_generation: Option<bool>,
}

#[derive(Deserialize)]
struct Named {
    user_ids: Vec<String>,
}

impl Wanted {
    fn makes_pictures(&self) -> Option<bool> {
        let features = self.permissions.as_ref()?.features.as_ref()?;
        features.image_generation
    }
}

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/groups", get(list))
        .route("/api/v1/groups/", get(list))
        .route("/api/v1/groups/create", post(create))
        .route("/api/v1/groups/id/{id}", get(show))
        .route("/api/v1/groups/id/{id}/update", post(update))
        .route("/api/v1/groups/id/{id}/delete", delete(remove))
        .route("/api/v1/groups/id/{id}/users/add", post(add_members))
        .route("/api/v1/groups/id/{id}/users/remove", post(remove_members))
}

/// `GET /api/v1/groups/`: all, by name.
async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let groups = app.store.groups().await.map_err(failed)?;
    Ok(Json(groups.iter().map(row).collect()))
}

/// `POST /api/v1/groups/create`
async fn create(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let wanted: Wanted = json_body(request).await?;
    let makes_pictures = wanted.makes_pictures().unwrap_or(false);
    let name = wanted.name.unwrap_or_default();
    let description = wanted.description.unwrap_or_default();
    check(&name, &description)?;
    let made = app.store.add_group(&name, &description, makes_pictures);
    let group = made.await.map_err(failed)?.ok_or_else(|| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "there are too many groups: remove one first",
        )
    })?;
    Ok(Json(row(&group)))
}

/// `GET /api/v1/groups/id/{id}`
async fn show(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    Ok(Json(row(&find(&app, id).await?)))
}

/// `POST /api/v1/groups/id/{id}/update`
async fn update(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let mut group = find(&app, id).await?;
    let wanted: Wanted = json_body(request).await?;
    group.makes_pictures = wanted.makes_pictures().unwrap_or(group.makes_pictures);
    group.name = wanted.name.unwrap_or(group.name);
    group.description = wanted.description.unwrap_or(group.description);
    check(&group.name, &group.description)?;
    app.store.update_group(&group).await.map_err(failed)?;
    reread(&app, &group.id).await
}

/// `DELETE /api/v1/groups/id/{id}/delete`
async fn remove(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let group = find(&app, id).await?;
    app.store.delete_group(&group.id).await.map_err(failed)?;
    Ok(Json(true))
}

/// `POST /api/v1/groups/id/{id}/users/add`
async fn add_members(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let group = find(&app, id).await?;
    let ids = named(request).await?;
    let added = app.store.add_members(&group.id, &ids).await;
    added.map_err(failed)?;
    reread(&app, &group.id).await
}

/// `POST /api/v1/groups/id/{id}/users/remove`
async fn remove_members(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let group = find(&app, id).await?;
    let ids = named(request).await?;
    let removed = app.store.remove_members(&group.id, &ids).await;
    removed.map_err(failed)?;
    reread(&app, &group.id).await
}

async fn named(request: Request) -> Result<Vec<String>, ApiError> {
    let Named { user_ids } = json_body(request).await?;
    match user_ids.len() <= MAX_NAMED_MEMBERS {
        true => Ok(user_ids),
        false => Err(ApiError::invalid(
            "user_ids",
            format!("user_ids may have at most {MAX_NAMED_MEMBERS} entries: send several requests"),
        )),
    }
}

fn check(name: &str, description: &str) -> Result<(), ApiError> {
    check_name(name)?;
    match description.len() <= MAX_DESCRIPTION_BYTES {
        true => Ok(()),
        false => Err(ApiError::invalid(
            "description",
            format!("description may have at most {MAX_DESCRIPTION_BYTES} bytes"),
        )),
    }
}

async fn find(app: &App, id: Result<Path<String>, PathRejection>) -> Result<Group, ApiError> {
    let Path(id) =
        id.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let group = app.store.group(&id).await.map_err(failed)?;
    group.ok_or_else(not_found)
}

async fn reread(app: &App, id: &str) -> Result<Json<Value>, ApiError> {
    let group = app.store.group(id).await.map_err(failed)?;
    Ok(Json(row(&group.ok_or_else(not_found)?)))
}

fn row(group: &Group) -> Value {
    json!({
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "permissions": permissions(group.makes_pictures),
        "member_count": group.members,
        "created_at": group.created_at,
        "updated_at": group.updated_at,
    })
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no such group")
}

fn failed(error: sqlx::Error) -> ApiError {
    ApiError::internal(&error.into())
}
