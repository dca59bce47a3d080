//! Thumbnails of stored images.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::image_headers::{entity_tag, image_headers, is_cached, not_modified};
use super::{find, not_found};
use crate::app::App;
use crate::files::{THUMBNAIL_SIZES, Thumbnail};
use crate::web::auth::User;
use crate::web::error::{ApiError, Rejection};
use crate::web::extractors::{Path, Query};

/// Default length of the longer side, in pixels.
const DEFAULT_SIZE: u32 = 256;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ThumbnailQuery {
    /// Length of the longer side, in pixels. Default: 256.
    #[param(schema_with = size_schema)]
    size: Option<u32>,
}

fn size_schema() -> Object {
    let object = ObjectBuilder::new().schema_type(Type::Integer);
    object.enum_values(Some(THUMBNAIL_SIZES)).build()
}

/// `GET /api/v1/files/{id}/thumbnail?size=256`
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/thumbnail",
    tag = "files",
    operation_id = "read_thumbnail",
    summary = "Return a thumbnail of an image",
    params(("id" = String, Path, description = "Id of the file."), ThumbnailQuery),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 304, description = "the client's copy is current"),
        (status = 404, description = "no such file, or a file of another user"),
        (status = 422, description = "the image cannot be decoded"),
        (status = 429, description = "too many images of the user wait to be decoded"),
        (status = 503, description = "too many images wait to be decoded"),
    ),
)]
pub(super) async fn thumbnail(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
    query: Result<Query<ThumbnailQuery>, Rejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = find(&app, &user, &id).await?;
    let Query(query) = query?;
    let size = query.size.unwrap_or(DEFAULT_SIZE);
    if !THUMBNAIL_SIZES.contains(&size) {
        let sizes = THUMBNAIL_SIZES.map(|it| it.to_string()).join(", ");
        let detail = format!("size must be one of {sizes}");
        return Err(ApiError::invalid("size", detail));
    }
    let tag = entity_tag(&file, &format!("-{size}"));
    if is_cached(&headers, tag.as_ref()) {
        return Ok(not_modified(tag));
    }
    match app.files.thumbnail(&file, size, &user.id).await? {
        Thumbnail::Image(image) => {
            let response = image_headers(image.media_type(), tag.as_ref(), "inline");
            Ok((response, image.bytes().clone()).into_response())
        }
        Thumbnail::FileMissing => Err(not_found()),
        Thumbnail::MemoryFull(full) => Err(full.into()),
        Thumbnail::Impossible(reason) => {
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, reason))
        }
        Thumbnail::QueueFull(full) => Err(full.into()),
    }
}
