//! Stored images, for their owners and for administrators.

mod content;
mod image_headers;
mod link;
mod range;
mod thumbnail;
mod upload;

pub(super) use image_headers::is_cached;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::response::Response;
use axum::routing::get;
use http::StatusCode;
use pinhole_ground::memory::MemoryLease;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth::{Administrator, User};
use super::error::ApiError;
use super::extractors::{Json, Path, Query};
use super::request_memory::leased_json;
use crate::app::App;
use crate::store::{self, FileRow};

/// Files on a page by default.
const DEFAULT_PAGE_FILES: u32 = 100;
/// Files on a page.
const MAX_PAGE_FILES: u32 = 1000;
/// Memory of a file's row and its JSON, in bytes: mostly the metadata of its upload.
const MAX_ROW_BYTES: usize = 2 * upload::MAX_METADATA_BYTES;
/// Fields of the metadata of a generated image that contain a prompt.
const PROMPT_FIELDS: [&str; 3] = ["prompt", "request", "revised_prompt"];
/// Length of a file name pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 200;

/// Clients write the first path with a slash at the end and without.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let body_limit = DefaultBodyLimit::max(upload::MAX_UPLOAD_BYTES);
    OpenApiRouter::new()
        .routes(routes!(list, upload::upload).layer(body_limit))
        .route(
            "/api/v1/files",
            get(list).post(upload::upload).layer(body_limit),
        )
        .routes(routes!(search))
        .routes(routes!(delete_all))
        .routes(routes!(describe, delete))
        .routes(routes!(content::content))
        .routes(routes!(content::named_content))
        .routes(routes!(content::linked_content))
        .routes(routes!(thumbnail::thumbnail))
        .routes(routes!(link::create))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Files on a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Search {
    /// Pattern: `*` matches any text, `?` matches one character.
    #[param(max_length = 200)]
    filename: String,
    /// Page, from 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Files on a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A stored image, as Open WebUI describes it, without the path on the server.
#[derive(Serialize, ToSchema)]
struct File {
    id: String,
    user_id: String,
    /// SHA-256 of the bytes, in hexadecimal; `null` for files of early versions.
    #[schema(required = true)]
    hash: Option<String>,
    filename: String,
    /// Always empty.
    #[schema(value_type = Map<String, Value>)]
    data: Map<String, Value>,
    meta: FileMeta,
    /// `true` in the response to an upload.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<bool>,
    /// Seconds since 1970.
    created_at: i64,
    /// Equals `created_at`: a file never changes.
    updated_at: i64,
}

#[derive(Serialize, ToSchema)]
struct FileMeta {
    name: String,
    content_type: String,
    /// In bytes.
    #[schema(minimum = 1)]
    size: i64,
    /// How the image was generated, or the metadata of its upload.
    #[schema(value_type = Value)]
    data: Option<Box<RawValue>>,
}

impl File {
    /// The file as this user sees it: prompts are their owner's, also if an administrator reads the rest.
    fn new(mut file: FileRow, viewer: &store::User) -> Self {
        if file.user_id != viewer.id {
            file.meta = without_prompts(file.meta);
        }
        Self {
            meta: FileMeta {
                name: file.name.clone(),
                content_type: file.media_type,
                size: file.size_bytes,
                data: RawValue::from_string(file.meta).ok(),
            },
            id: file.id,
            user_id: file.user_id,
            hash: Some(file.hash).filter(|hash| !hash.is_empty()),
            filename: file.name,
            data: Map::new(),
            status: None,
            created_at: file.created_at,
            updated_at: file.created_at,
        }
    }
}

/// Metadata of a file without the request and the prompts. Other values remain as they are.
fn without_prompts(metadata: String) -> String {
    let Ok(mut fields) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&metadata) else {
        return metadata;
    };
    let before = fields.len();
    fields.retain(|name, _| !PROMPT_FIELDS.contains(&name.as_str()));
    if fields.len() == before {
        return metadata;
    }
    serde_json::to_string(&fields).unwrap_or_default()
}

#[derive(Serialize, ToSchema)]
struct Message {
    message: &'static str,
}

/// `GET /api/v1/files/`
#[utoipa::path(
    get,
    path = "/api/v1/files/",
    tag = "files",
    operation_id = "list_files",
    summary = "List the caller's images, newest first. An administrator's list contains all users' images",
    params(Page),
    responses((status = 200, description = "a page of images", body = [File])),
)]
async fn list(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(Page { page, limit }): Query<Page>,
) -> Result<Response, ApiError> {
    let (limit, offset) = limit_and_offset(page, limit)?;
    let lease = lease_page(&app, &user, limit).await?;
    let files = app.files.list(&user, limit, offset).await?;
    respond(files, &user, lease)
}

/// Counts the rows of a page before they are read.
async fn lease_page(app: &App, user: &store::User, limit: u32) -> Result<MemoryLease, ApiError> {
    let bytes = (limit as usize).saturating_mul(MAX_ROW_BYTES);
    Ok(app.memory.of(Some(&user.id)).lease(bytes).await?)
}

fn respond(
    files: Vec<FileRow>,
    viewer: &store::User,
    mut lease: MemoryLease,
) -> Result<Response, ApiError> {
    let row_bytes: usize = files
        .iter()
        .map(|file| file.meta.len() + file.name.len())
        .sum();
    // The rows, and their JSON.
    lease.shrink_to(row_bytes.saturating_mul(2));
    let files: Vec<File> = files
        .into_iter()
        .map(|file| File::new(file, viewer))
        .collect();
    leased_json(&files, lease)
}

/// `GET /api/v1/files/search?filename=`
#[utoipa::path(
    get,
    path = "/api/v1/files/search",
    tag = "files",
    operation_id = "search_files",
    summary = "Search the caller's images by name, newest first. An administrator searches all users' images",
    params(Search),
    responses(
        (status = 200, description = "a page of images", body = [File]),
        (status = 404, description = "no image has such a name"),
        (status = 429, description = "the user has too many concurrent searches"),
        (status = 503, description = "the search took too long, or too many users search"),
    ),
)]
async fn search(
    State(app): State<Arc<App>>,
    User(user): User,
    Query(search): Query<Search>,
) -> Result<Response, ApiError> {
    let pattern = &search.filename;
    if pattern.len() > MAX_PATTERN_BYTES {
        let detail = format!("filename is longer than {MAX_PATTERN_BYTES} bytes");
        return Err(ApiError::invalid("filename", detail));
    }
    let (limit, offset) = limit_and_offset(search.page, search.limit)?;
    let lease = lease_page(&app, &user, limit).await?;
    let page = store::Page { limit, offset };
    let files = app.files.search(&user, pattern, page).await?;
    if files.is_empty() {
        let detail = "No files found matching the pattern.";
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    }
    respond(files, &user, lease)
}

fn limit_and_offset(page: Option<u32>, limit: Option<u32>) -> Result<(u32, u64), ApiError> {
    let Some(previous_pages) = page.unwrap_or(1).checked_sub(1) else {
        return Err(ApiError::invalid("page", "page must be 1 or higher"));
    };
    let limit = limit.unwrap_or(DEFAULT_PAGE_FILES);
    if !(1..=MAX_PAGE_FILES).contains(&limit) {
        let detail = format!("limit must be a number from 1 to {MAX_PAGE_FILES}");
        return Err(ApiError::invalid("limit", detail));
    }
    Ok((limit, u64::from(previous_pages) * u64::from(limit)))
}

/// `DELETE /api/v1/files/all`
#[utoipa::path(
    delete,
    path = "/api/v1/files/all",
    tag = "files",
    operation_id = "delete_all_files",
    summary = "Delete the images of all users. For administrators",
    responses((status = 200, description = "all images are deleted", body = Message)),
)]
async fn delete_all(
    State(app): State<Arc<App>>,
    Administrator(administrator): Administrator,
) -> Result<Json<Message>, ApiError> {
    app.files.delete_all().await?;
    tracing::info!("all files were deleted by {}", administrator.id);
    let message = "All files deleted successfully";
    Ok(Json(Message { message }))
}

/// `GET /api/v1/files/{id}`
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}",
    tag = "files",
    operation_id = "describe_file",
    summary = "Return an image's metadata",
    params(("id" = String, Path, description = "Id of the file.")),
    responses(
        (status = 200, description = "the metadata", body = File),
        (status = 404, description = "no such file, or a file of another user"),
    ),
)]
async fn describe(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<File>, ApiError> {
    let file = find(&app, &user, &id).await?;
    Ok(Json(File::new(file, &user)))
}

/// `DELETE /api/v1/files/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/files/{id}",
    tag = "files",
    operation_id = "delete_file",
    summary = "Delete an image",
    params(("id" = String, Path, description = "Id of the file.")),
    responses(
        (status = 200, description = "the image is deleted", body = Message),
        (status = 404, description = "no such file, or a file of another user"),
    ),
)]
async fn delete(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
) -> Result<Json<Message>, ApiError> {
    let file = find(&app, &user, &id).await?;
    app.files.delete(&file.id).await?;
    let message = "File deleted successfully";
    Ok(Json(Message { message }))
}

/// The file, if the user may read it.
async fn find(app: &App, user: &store::User, id: &str) -> Result<FileRow, ApiError> {
    let file = app.files.find(id, user).await?;
    file.ok_or_else(not_found)
}

/// Open WebUI's text, for unknown files and for those of other users.
pub(super) fn not_found() -> ApiError {
    let detail = "We could not find what you're looking for :/";
    ApiError::new(StatusCode::NOT_FOUND, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_prompts_retains_other_values_as_they_are() {
        for (metadata, expected) in [
            (
                r#"{"job":"j","request":{"prompt":"a"},"x":1.50}"#,
                r#"{"job":"j","x":1.50}"#,
            ),
            (r#"{"prompt":"a","revised_prompt":"b"}"#, "{}"),
            (r#"{"b": 1, "a": 2}"#, r#"{"b": 1, "a": 2}"#),
            ("null", "null"),
            ("", ""),
        ] {
            assert_eq!(without_prompts(metadata.to_owned()), expected);
        }
    }
}
