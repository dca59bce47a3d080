//! Changes of several images: stars, deletion and its undo. Ids of other users' images are as unknown ones.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::app::App;
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::Json;

/// Images that one request changes.
pub const MAX_CHANGED_IMAGES: usize = 200;

/// Images.
#[derive(Deserialize, ToSchema)]
pub(super) struct ImageIds {
    /// Ids of files. Unknown ones are ignored.
    #[schema(max_items = 200)]
    ids: Vec<String>,
}

/// Images to star.
#[derive(Deserialize, ToSchema)]
pub(super) struct StarForm {
    /// Ids of files. Unknown ones are ignored.
    #[schema(max_items = 200)]
    ids: Vec<String>,
    starred: bool,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Starred {
    /// Number of images that are now different.
    #[schema(minimum = 0)]
    changed: u64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    /// Number of images that were deleted.
    #[schema(minimum = 0)]
    deleted: usize,
    /// Until when they can be restored, in seconds since 1970.
    undo_until: i64,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Restored {
    /// Number of images that are back. 0 if it is too late.
    #[schema(minimum = 0)]
    restored: u64,
}

/// `POST /api/v1/gallery/star`
#[utoipa::path(
    post,
    path = "/api/v1/gallery/star",
    tag = "gallery",
    operation_id = "star_images",
    summary = "Star images of the caller, or remove their stars",
    request_body = StarForm,
    responses((status = 200, description = "the stars are stored", body = Starred)),
)]
pub(super) async fn star(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(StarForm { ids, starred }): Json<StarForm>,
) -> Result<Json<Starred>, ApiError> {
    check_number(&ids)?;
    let changed = app.store.star_files(&user.id, &ids, starred).await?;
    Ok(Json(Starred { changed }))
}

/// `POST /api/v1/gallery/delete`
#[utoipa::path(
    post,
    path = "/api/v1/gallery/delete",
    tag = "gallery",
    operation_id = "delete_images",
    summary = "Delete images of the caller. They can be restored for 30 seconds",
    request_body = ImageIds,
    responses((status = 200, description = "the images are deleted", body = Deleted)),
)]
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(ImageIds { ids }): Json<ImageIds>,
) -> Result<Json<Deleted>, ApiError> {
    check_number(&ids)?;
    let (deleted, undo_until) = app.files.delete_with_undo(&user, &ids).await?;
    Ok(Json(Deleted {
        deleted,
        undo_until,
    }))
}

/// `POST /api/v1/gallery/restore`
#[utoipa::path(
    post,
    path = "/api/v1/gallery/restore",
    tag = "gallery",
    operation_id = "restore_images",
    summary = "Restore images that the caller deleted within the last 30 seconds",
    request_body = ImageIds,
    responses(
        (status = 200, description = "the images are restored", body = Restored),
        (status = 413, description = "the user has stored others meanwhile, and exceeds the user's storage"),
    ),
)]
pub(super) async fn restore(
    State(app): State<Arc<App>>,
    User(user): User,
    Json(ImageIds { ids }): Json<ImageIds>,
) -> Result<Json<Restored>, ApiError> {
    check_number(&ids)?;
    let restored = app.files.restore(&user, &ids).await?;
    Ok(Json(Restored { restored }))
}

fn check_number(ids: &[String]) -> Result<(), ApiError> {
    if ids.len() > MAX_CHANGED_IMAGES {
        let number = ids.len();
        let detail =
            format!("ids has {number} ids, more than {MAX_CHANGED_IMAGES}: send several requests");
        return Err(ApiError::invalid("ids", detail));
    }
    Ok(())
}
