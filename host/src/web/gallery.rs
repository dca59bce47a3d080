//! The caller's images as a gallery. Administrators too have only their own here.

mod archive;
mod changes;
mod cursor;
mod entry_name;
mod image;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::auth::User;
use super::error::ApiError;
use super::extractors::{Json, Path, Query};
use super::files::not_found;
use super::request_memory::leased_json;
use crate::app::App;
use crate::store::{GalleryFacets, GalleryFilter};
use cursor::{decode_cursor, encode_cursor};
use image::GalleryImage;

pub use archive::MAX_ARCHIVE_IMAGES;
pub use changes::MAX_CHANGED_IMAGES;

/// Images on a page by default.
const DEFAULT_PAGE_IMAGES: u32 = 60;
/// Images on a page.
pub const MAX_PAGE_IMAGES: u32 = 200;
/// Length of a searched text, in bytes.
const MAX_SEARCH_BYTES: usize = 200;
/// Length of the name of an engine, a model or a chat, in bytes.
const MAX_FILTER_BYTES: usize = 512;
/// Memory of an image without its name and metadata, in bytes.
const IMAGE_BYTES: usize = 2 << 10;
/// Times that a name and metadata are held: as they are stored, parsed, and as JSON.
const ROW_COPIES: usize = 3;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(facets))
        .routes(routes!(changes::star))
        .routes(routes!(changes::delete))
        .routes(routes!(changes::restore))
        .routes(routes!(archive::download))
        .routes(routes!(describe))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct GalleryQuery {
    /// `next` of the page before. Default: the newest images.
    #[param(max_length = 300)]
    cursor: Option<String>,
    /// Images on a page. Default: 60.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Part of the prompt or the name, in any case. The first 1000 characters of both together are searched.
    #[param(max_length = 200)]
    q: Option<String>,
    /// Name of an engine or binding.
    #[param(max_length = 512)]
    engine: Option<String>,
    /// Name of a model.
    #[param(max_length = 512)]
    model: Option<String>,
    /// Created at this time or later, in seconds since 1970.
    from: Option<i64>,
    /// Created at this time or earlier, in seconds since 1970.
    to: Option<i64>,
    /// Made in this chat.
    #[param(max_length = 512)]
    chat_id: Option<String>,
    /// `true`: only images with a star.
    starred: Option<bool>,
    /// Only images of jobs, or only uploads.
    #[param(inline)]
    kind: Option<Kind>,
}

/// Where an image is from.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = GalleryImageSource)]
enum Kind {
    Generated,
    #[default]
    Uploaded,
}

/// A page of images.
#[derive(Serialize, ToSchema)]
struct GalleryPage {
    /// Newest first.
    images: Vec<GalleryImage>,
    /// `cursor` of the next page; `null` on the last one.
    #[schema(required = true)]
    next: Option<String>,
}

/// What the caller's images can be filtered by.
#[derive(Serialize, ToSchema)]
struct Facets {
    /// Names of engines and bindings, at most 200.
    engines: Vec<String>,
    /// Names of models, at most 200.
    models: Vec<String>,
    /// Number of all images.
    #[schema(minimum = 0)]
    total: u64,
}

/// `GET /api/v1/gallery`
#[utoipa::path(
    get,
    path = "/api/v1/gallery",
    tag = "gallery",
    operation_id = "list_gallery",
    summary = "List the caller's images, newest first, with what made them",
    params(GalleryQuery),
    responses(
        (status = 200, description = "a page of images", body = GalleryPage),
        (status = 429, description = "the user has too many concurrent searches, or uses too much memory"),
        (status = 503, description = "the search took too long, or too many users search"),
    ),
)]
async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(query): Query<GalleryQuery>,
) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(DEFAULT_PAGE_IMAGES);
    if !(1..=MAX_PAGE_IMAGES).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_PAGE_IMAGES}");
        return Err(ApiError::invalid("limit", detail));
    }
    let after = query.cursor.as_deref().map(decode_cursor).transpose()?;
    let filter = query.into_filter()?;
    // One more, to know whether there is a next page.
    let keys = app
        .store
        .gallery_keys(&user.id, &filter, after.as_ref(), limit + 1);
    let mut keys = keys.await?;
    let has_next = keys.len() > limit as usize;
    keys.truncate(limit as usize);
    let next = keys
        .last()
        .filter(|_| has_next)
        .map(|key| encode_cursor(&key.cursor));
    let row_bytes: usize = keys.iter().map(|key| key.row_bytes).sum();
    let bytes = row_bytes.saturating_mul(ROW_COPIES) + keys.len() * IMAGE_BYTES;
    let lease = app.memory.of(Some(&user.id)).lease(bytes).await?;
    let ids: Vec<String> = keys.into_iter().map(|key| key.cursor.id).collect();
    let rows = app.store.gallery_rows(&user.id, &ids).await?;
    let images = rows.into_iter().map(GalleryImage::from).collect();
    leased_json(&GalleryPage { images, next }, lease)
}

impl GalleryQuery {
    fn into_filter(self) -> Result<GalleryFilter, ApiError> {
        Ok(GalleryFilter {
            text: text("q", self.q, MAX_SEARCH_BYTES)?,
            engine: text("engine", self.engine, MAX_FILTER_BYTES)?,
            model: text("model", self.model, MAX_FILTER_BYTES)?,
            chat_id: text("chat_id", self.chat_id, MAX_FILTER_BYTES)?,
            from: self.from,
            to: self.to,
            is_starred: self.starred.filter(|starred| *starred),
            is_generated: self.kind.map(|kind| kind == Kind::Generated),
        })
    }
}

/// A parameter within its length. A missing one is empty.
fn text(name: &str, value: Option<String>, max_bytes: usize) -> Result<String, ApiError> {
    let value = value.unwrap_or_default();
    if value.len() > max_bytes {
        let detail = format!("{name} is longer than {max_bytes} bytes: shorten it");
        return Err(ApiError::invalid(name, detail));
    }
    Ok(value)
}

/// `GET /api/v1/gallery/facets`
#[utoipa::path(
    get,
    path = "/api/v1/gallery/facets",
    tag = "gallery",
    operation_id = "describe_gallery",
    summary = "List the engines and models of the caller's images, and count the images",
    responses(
        (status = 200, description = "the names, sorted", body = Facets),
        (status = 429, description = "the user has too many concurrent searches"),
        (status = 503, description = "too many users search"),
    ),
)]
async fn facets(State(app): State<Arc<App>>, User(user): User) -> Result<Json<Facets>, ApiError> {
    let GalleryFacets {
        engines,
        models,
        total,
    } = app.store.gallery_facets(&user.id).await?;
    Ok(Json(Facets {
        engines,
        models,
        total,
    }))
}

/// `GET /api/v1/gallery/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/gallery/{id}",
    tag = "gallery",
    operation_id = "describe_gallery_image",
    summary = "Return one of the caller's images, with what made it",
    params(("id" = String, Path, description = "Id of the file.")),
    responses(
        (status = 200, description = "the image", body = GalleryImage),
        (status = 404, description = "no such image, or an image of another user"),
    ),
)]
async fn describe(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<GalleryImage>, ApiError> {
    let mut rows = app.store.gallery_rows(&user.id, &[id]).await?;
    let row = rows.pop().ok_or_else(not_found)?;
    Ok(Json(row.into()))
}
