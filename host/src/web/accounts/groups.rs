//! Groups of users, for administrators.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::routing::get;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::permissions;
use crate::app::App;
use crate::accounts::check_name;
use crate::store::Group;
use crate::web::auth;
use crate::web::error::{ApiError, json_body};
use crate::web::openapi::shape;

/// Length of a group's description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 2000;
/// Members that one request may name.
const MAX_NAMED_MEMBERS: usize = 1000;

/// A group as it is to be; of one that there is, what is left out stays.
#[derive(Deserialize, ToSchema)]
#[schema(as = GroupChange)]
struct Wanted {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    permissions: Option<Permissions>,
}

/// Of Open WebUI's tree, the permission that there is here.
#[derive(Deserialize, ToSchema)]
#[schema(as = GroupPermissions)]
struct Permissions {
    features: Option<Features>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = GroupFeatures)]
struct Features {
    image_generation: Option<bool>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = Members)]
struct Named {
    #[schema(max_items = 1000)]
    user_ids: Vec<String>,
}

impl Wanted {
    fn makes_pictures(&self) -> Option<bool> {
        let features = self.permissions.as_ref()?.features.as_ref()?;
        features.image_generation
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .route("/api/v1/groups", get(list))
        .routes(routes!(create))
        .routes(routes!(show))
        .routes(routes!(update))
        .routes(routes!(remove))
        .routes(routes!(add_members))
        .routes(routes!(remove_members))
}

/// `GET /api/v1/groups/`: all, by name.
#[utoipa::path(
    get,
    path = "/api/v1/groups/",
    tag = "people",
    operation_id = "list_groups",
    summary = "All groups, by name. For administrators",
    responses((status = 200, description = "the groups", body = [shape::Group])),
)]
async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let groups = app.store.groups().await.map_err(failed)?;
    Ok(Json(groups.iter().map(row).collect()))
}

/// `POST /api/v1/groups/create`
#[utoipa::path(
    post,
    path = "/api/v1/groups/create",
    tag = "people",
    operation_id = "create_group",
    summary = "Make a group. For administrators",
    request_body = Wanted,
    responses((status = 200, description = "the group", body = shape::Group)),
)]
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
#[utoipa::path(
    get,
    path = "/api/v1/groups/id/{id}",
    tag = "people",
    operation_id = "describe_group",
    summary = "A group. For administrators",
    params(("id" = String, Path, description = "The group's id.")),
    responses(
        (status = 200, description = "the group as it is now", body = shape::Group),
        (status = 404, description = "there is no such group"),
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

/// `POST /api/v1/groups/id/{id}/update`
#[utoipa::path(
    post,
    path = "/api/v1/groups/id/{id}/update",
    tag = "people",
    operation_id = "update_group",
    summary = "Change a group. For administrators",
    params(("id" = String, Path, description = "The group's id.")),
    request_body = Wanted,
    responses(
        (status = 200, description = "the group as it is now", body = shape::Group),
        (status = 404, description = "there is no such group"),
    ),
)]
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
#[utoipa::path(
    delete,
    path = "/api/v1/groups/id/{id}/delete",
    tag = "people",
    operation_id = "delete_group",
    summary = "Remove a group. For administrators",
    params(("id" = String, Path, description = "The group's id.")),
    responses(
        (status = 200, description = "it is removed", body = shape::Done),
        (status = 404, description = "there is no such group"),
    ),
)]
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
#[utoipa::path(
    post,
    path = "/api/v1/groups/id/{id}/users/add",
    tag = "people",
    operation_id = "add_members",
    summary = "Put users into a group. For administrators",
    params(("id" = String, Path, description = "The group's id.")),
    request_body = Named,
    responses(
        (status = 200, description = "the group as it is now", body = shape::Group),
        (status = 404, description = "there is no such group"),
    ),
)]
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
#[utoipa::path(
    post,
    path = "/api/v1/groups/id/{id}/users/remove",
    tag = "people",
    operation_id = "remove_members",
    summary = "Take users out of a group. For administrators",
    params(("id" = String, Path, description = "The group's id.")),
    request_body = Named,
    responses(
        (status = 200, description = "the group as it is now", body = shape::Group),
        (status = 404, description = "there is no such group"),
    ),
)]
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
