//! Stored pictures, for their owners and for administrators.

mod content;
mod range;
mod upload;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::routing::get;
use http::StatusCode;
use http::header::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::IntoParams;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::auth;
use super::error::ApiError;
use super::openapi::shape;
use crate::app::App;
use crate::store::FileRow;

/// Files in one answer where a request names no number.
const PAGE_FILES: u32 = 100;
/// Files in one answer.
const MAX_PAGE_FILES: u32 = 1000;
/// Length of a pattern for names, in bytes.
const MAX_PATTERN_BYTES: usize = 200;

/// Every route of files. Clients write the first path with a slash at its end and without.
pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    let longer = DefaultBodyLimit::max(upload::MAX_UPLOAD_BYTES);
    OpenApiRouter::new()
        .routes(routes!(list, upload::upload).layer(longer))
        .route(
            "/api/v1/files",
            get(list).post(upload::upload).layer(longer),
        )
        .routes(routes!(search))
        .routes(routes!(delete_all))
        .routes(routes!(metadata, delete))
        .routes(routes!(content::content))
        .routes(routes!(content::named_content))
        .routes(routes!(content::thumbnail))
}

/// Which part of a list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Page {
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Files on a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Which names.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Search {
    /// `*` stands for any text, `?` for one character.
    #[param(max_length = 200)]
    filename: String,
    /// From 1.
    #[param(minimum = 1)]
    page: Option<u32>,
    /// Files on a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// `GET /api/v1/files/`: the caller's files, an administrator's are everybody's; the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/files/",
    tag = "files",
    operation_id = "list_files",
    summary = "The caller's pictures, an administrator's are everybody's; the newest first",
    params(Page),
    responses((status = 200, description = "a page of them", body = [shape::File])),
)]
async fn list(
    State(app): State<Arc<App>>,
    page: Result<Query<Page>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Query(asked) =
        page.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let (limit, offset) = part(asked.page, asked.limit)?;
    let files = app.files.list(&user, limit, offset).await;
    let files = files.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(files.iter().map(row).collect()))
}

/// `GET /api/v1/files/search?filename=`: the same, of those with such a name.
#[utoipa::path(
    get,
    path = "/api/v1/files/search",
    tag = "files",
    operation_id = "search_files",
    summary = "The caller's pictures with such a name, an administrator's are everybody's; the newest first",
    params(Search),
    responses(
        (status = 200, description = "a page of them", body = [shape::File]),
        (status = 404, description = "there is none"),
    ),
)]
async fn search(
    State(app): State<Arc<App>>,
    asked: Result<Query<Search>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Query(asked) =
        asked.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    if asked.filename.len() > MAX_PATTERN_BYTES {
        let detail = format!("filename is longer than the {MAX_PATTERN_BYTES} bytes allowed");
        return Err(ApiError::invalid("filename", detail));
    }
    let (limit, offset) = part(asked.page, asked.limit)?;
    let files = app
        .files
        .search(&user, &asked.filename, limit, offset)
        .await;
    let files = files.map_err(|error| ApiError::internal(&error))?;
    if files.is_empty() {
        let detail = "No files found matching the pattern.";
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    }
    Ok(Json(files.iter().map(row).collect()))
}

/// How many after how many.
fn part(page: Option<u32>, limit: Option<u32>) -> Result<(u32, u64), ApiError> {
    let (page, limit) = (page.unwrap_or(1), limit.unwrap_or(PAGE_FILES));
    if page == 0 {
        return Err(ApiError::invalid("page", "pages are counted from 1"));
    }
    if !(1..=MAX_PAGE_FILES).contains(&limit) {
        let detail = format!("limit must be a whole number from 1 to {MAX_PAGE_FILES}");
        return Err(ApiError::invalid("limit", detail));
    }
    Ok((limit, u64::from(page - 1) * u64::from(limit)))
}

/// `DELETE /api/v1/files/all`: everybody's.
#[utoipa::path(
    delete,
    path = "/api/v1/files/all",
    tag = "files",
    operation_id = "delete_all_files",
    summary = "Remove everybody's pictures. For administrators",
    responses((status = 200, description = "they are gone", body = shape::Message)),
)]
async fn delete_all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let administrator = auth::administrator(&app, &headers).await?;
    let deleted = app.files.delete_all().await;
    deleted.map_err(|error| ApiError::internal(&error))?;
    tracing::info!("all files were removed by {}", administrator.id);
    Ok(Json(json!({"message": "All files deleted successfully"})))
}

/// `GET /api/v1/files/{id}`: what is known of a file.
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}",
    tag = "files",
    operation_id = "describe_file",
    summary = "What is known of a picture",
    params(("id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "what is known", body = shape::File),
        (status = 404, description = "not there, or somebody else's"),
    ),
)]
async fn metadata(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let file = find(&app, &headers, id).await?;
    Ok(Json(row(&file)))
}

/// `DELETE /api/v1/files/{id}`
#[utoipa::path(
    delete,
    path = "/api/v1/files/{id}",
    tag = "files",
    operation_id = "delete_file",
    summary = "Remove a picture",
    params(("id" = String, Path, description = "The file's id.")),
    responses(
        (status = 200, description = "it is removed", body = shape::Message),
        (status = 404, description = "not there, or somebody else's"),
    ),
)]
async fn delete(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Json<Value>, ApiError> {
    let file = find(&app, &headers, id).await?;
    let deleted = app.files.delete(&file.id).await;
    deleted.map_err(|error| ApiError::internal(&error))?;
    Ok(Json(json!({"message": "File deleted successfully"})))
}

/// The file of a path. Somebody else's is not found.
async fn find(
    app: &App,
    headers: &HeaderMap,
    id: Result<Path<String>, PathRejection>,
) -> Result<FileRow, ApiError> {
    let user = auth::user(app, headers).await?;
    let Path(id) =
        id.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let found = app.files.find(&id, &user).await;
    found
        .map_err(|error| ApiError::internal(&error))?
        .ok_or_else(not_found)
}

/// As Open WebUI says it, for what is not there and for what is somebody else's.
fn not_found() -> ApiError {
    let detail = "We could not find what you're looking for :/";
    ApiError::new(StatusCode::NOT_FOUND, detail)
}

/// A file as Open WebUI describes it, without where it lies.
fn row(file: &FileRow) -> Value {
    let hash = Some(&file.hash).filter(|hash| !hash.is_empty());
    json!({
        "id": file.id,
        "user_id": file.user_id,
        "hash": hash,
        "filename": file.name,
        "data": {},
        "meta": {
            "name": file.name,
            "content_type": file.media_type,
            "size": file.size_bytes,
            "data": serde_json::from_str::<Value>(&file.meta).unwrap_or_default(),
        },
        "created_at": file.created_at,
        // A file never changes.
        "updated_at": file.created_at,
    })
}
