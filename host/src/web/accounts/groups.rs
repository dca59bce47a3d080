//! Groups of users, for administrators.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Permissions;
use crate::accounts::check_name;
use crate::app::App;
use crate::store;
use crate::web::auth::Administrator;
use crate::web::error::{ApiError, Rejection};
use crate::web::extractors::{Json, Path};

/// Length of a group's description, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 2000;
/// User ids in one request.
const MAX_USER_IDS: usize = 1000;

/// Group to create, or change of a group. Omitted fields keep their current value.
#[derive(Deserialize, ToSchema)]
struct GroupChange {
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
    #[schema(max_length = 2000)]
    description: Option<String>,
    permissions: Option<GroupPermissions>,
}

/// Permissions, in Open WebUI's tree. Others are ignored.
#[derive(Deserialize, ToSchema)]
struct GroupPermissions {
    features: Option<GroupFeatures>,
}

#[derive(Deserialize, ToSchema)]
struct GroupFeatures {
    image_generation: Option<bool>,
}

impl GroupChange {
    fn image_generation(&self) -> Option<bool> {
        let features = self.permissions.as_ref()?.features.as_ref()?;
        features.image_generation
    }
}

#[derive(Deserialize, ToSchema)]
struct Members {
    #[schema(max_items = 1000)]
    user_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Group {
    id: String,
    name: String,
    description: String,
    permissions: Permissions,
    #[schema(minimum = 0)]
    member_count: i64,
    /// Seconds since 1970.
    created_at: i64,
    /// Seconds since 1970.
    updated_at: i64,
}

impl From<store::Group> for Group {
    fn from(group: store::Group) -> Self {
        Self {
            id: group.id,
            name: group.name,
            description: group.description,
            permissions: Permissions::new(group.may_create_images),
            member_count: group.member_count,
            created_at: group.created_at,
            updated_at: group.updated_at,
        }
    }
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .route("/api/v1/groups", get(list))
        .routes(routes!(create))
        .routes(routes!(describe))
        .routes(routes!(update))
        .routes(routes!(delete))
        .routes(routes!(add_members))
        .routes(routes!(remove_members))
}

/// `GET /api/v1/groups/`
#[utoipa::path(
    get,
    path = "/api/v1/groups/",
    tag = "people",
    operation_id = "list_groups",
    summary = "List all groups by name. For administrators",
    responses((status = 200, description = "the groups", body = [Group])),
)]
async fn list(State(app): State<Arc<App>>, _: Administrator) -> Result<Json<Vec<Group>>, ApiError> {
    let groups = app.store.groups().await?;
    Ok(Json(groups.into_iter().map(Group::from).collect()))
}

/// `POST /api/v1/groups/create`
#[utoipa::path(
    post,
    path = "/api/v1/groups/create",
    tag = "people",
    operation_id = "create_group",
    summary = "Create a group. For administrators",
    request_body = GroupChange,
    responses((status = 200, description = "the group", body = Group)),
)]
async fn create(
    State(app): State<Arc<App>>,
    _: Administrator,
    Json(new): Json<GroupChange>,
) -> Result<Json<Group>, ApiError> {
    let image_generation = new.image_generation().unwrap_or(false);
    let name = new.name.unwrap_or_default();
    let description = new.description.unwrap_or_default();
    check_name(&name)?;
    check_description(&description)?;
    let group = app
        .store
        .add_group(&name, &description, image_generation)
        .await?;
    match group {
        Some(group) => Ok(Json(group.into())),
        None => Err(ApiError::new(
            StatusCode::BAD_REQUEST,
            "too many groups: delete one first",
        )),
    }
}

/// `GET /api/v1/groups/id/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/groups/id/{id}",
    tag = "people",
    operation_id = "describe_group",
    summary = "Return a group. For administrators",
    params(("id" = String, Path, description = "Id of the group.")),
    responses(
        (status = 200, description = "the group", body = Group),
        (status = 404, description = "no such group"),
    ),
)]
async fn describe(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<Group>, ApiError> {
    Ok(Json(find(&app, &id).await?.into()))
}

/// `POST /api/v1/groups/id/{id}/update`
#[utoipa::path(
    post,
    path = "/api/v1/groups/id/{id}/update",
    tag = "people",
    operation_id = "update_group",
    summary = "Change a group. For administrators",
    params(("id" = String, Path, description = "Id of the group.")),
    request_body = GroupChange,
    responses(
        (status = 200, description = "the changed group", body = Group),
        (status = 404, description = "no such group"),
    ),
)]
async fn update(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
    body: Result<Json<GroupChange>, Rejection>,
) -> Result<Json<Group>, ApiError> {
    let mut group = find(&app, &id).await?;
    let Json(change) = body?;
    if let Some(image_generation) = change.image_generation() {
        group.may_create_images = image_generation;
    }
    group.name = change.name.unwrap_or(group.name);
    group.description = change.description.unwrap_or(group.description);
    check_name(&group.name)?;
    check_description(&group.description)?;
    app.store.update_group(&group).await?;
    Ok(Json(find(&app, &id).await?.into()))
}

/// `DELETE /api/v1/groups/id/{id}/delete`
#[utoipa::path(
    delete,
    path = "/api/v1/groups/id/{id}/delete",
    tag = "people",
    operation_id = "delete_group",
    summary = "Delete a group. For administrators",
    params(("id" = String, Path, description = "Id of the group.")),
    responses(
        (status = 200, description = "the group is deleted", content_type = "application/json", body = bool),
        (status = 404, description = "no such group"),
    ),
)]
async fn delete(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Json<bool>, ApiError> {
    let group = find(&app, &id).await?;
    app.store.delete_group(&group.id).await?;
    Ok(Json(true))
}

/// `POST /api/v1/groups/id/{id}/users/add`
#[utoipa::path(
    post,
    path = "/api/v1/groups/id/{id}/users/add",
    tag = "people",
    operation_id = "add_members",
    summary = "Add users to a group. For administrators",
    params(("id" = String, Path, description = "Id of the group.")),
    request_body = Members,
    responses(
        (status = 200, description = "the changed group", body = Group),
        (status = 404, description = "no such group"),
    ),
)]
async fn add_members(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
    body: Result<Json<Members>, Rejection>,
) -> Result<Json<Group>, ApiError> {
    let group = find(&app, &id).await?;
    let Json(members) = body?;
    let user_ids = members.checked_user_ids()?;
    app.store.add_members(&group.id, &user_ids).await?;
    Ok(Json(find(&app, &id).await?.into()))
}

/// `POST /api/v1/groups/id/{id}/users/remove`
#[utoipa::path(
    post,
    path = "/api/v1/groups/id/{id}/users/remove",
    tag = "people",
    operation_id = "remove_members",
    summary = "Remove users from a group. For administrators",
    params(("id" = String, Path, description = "Id of the group.")),
    request_body = Members,
    responses(
        (status = 200, description = "the changed group", body = Group),
        (status = 404, description = "no such group"),
    ),
)]
async fn remove_members(
    State(app): State<Arc<App>>,
    _: Administrator,
    Path(id): Path<String>,
    body: Result<Json<Members>, Rejection>,
) -> Result<Json<Group>, ApiError> {
    let group = find(&app, &id).await?;
    let Json(members) = body?;
    let user_ids = members.checked_user_ids()?;
    app.store.remove_members(&group.id, &user_ids).await?;
    Ok(Json(find(&app, &id).await?.into()))
}

impl Members {
    fn checked_user_ids(self) -> Result<Vec<String>, ApiError> {
        if self.user_ids.len() > MAX_USER_IDS {
            let detail =
                format!("user_ids has more than {MAX_USER_IDS} entries: send several requests");
            return Err(ApiError::invalid("user_ids", detail));
        }
        Ok(self.user_ids)
    }
}

fn check_description(description: &str) -> Result<(), ApiError> {
    if description.len() > MAX_DESCRIPTION_BYTES {
        let detail = format!("description is longer than {MAX_DESCRIPTION_BYTES} bytes");
        return Err(ApiError::invalid("description", detail));
    }
    Ok(())
}

async fn find(app: &App, id: &str) -> Result<store::Group, ApiError> {
    let group = app.store.group(id).await?;
    group.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "no such group"))
}
