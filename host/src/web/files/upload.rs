//! Uploads of images.

use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use pinhole_ground::audit::{Actor, Event, RefusalKind};
use pinhole_images::Image;

use super::File;
use crate::app::App;
use crate::files::{UPLOAD_LIMITS, stored_name};
use crate::web::auth::User;
use crate::web::error::ApiError;
use crate::web::extractors::Json;
use crate::web::form_body::read_slowly;
use crate::web::json_body::JsonLimits;
use crate::web::request_memory::RequestMemory;

/// Length of a request body, in bytes: the image and the form around it.
pub(super) const MAX_UPLOAD_BYTES: usize = UPLOAD_LIMITS.max_bytes + (256 << 10);
/// Parts of a form.
const MAX_PARTS: usize = 16;
/// Length of an upload's metadata, in bytes of JSON.
pub(super) const MAX_METADATA_BYTES: usize = 64 << 10;
/// Open WebUI's text for an upload without bytes.
const NO_BYTES: &str = "[ERROR: Error uploading file]";

/// Image to store.
#[derive(Default, ToSchema)]
pub(super) struct UploadForm {
    /// PNG, JPEG, WebP, GIF or AVIF, detected by its bytes. Its file name is stored.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream", required = true)]
    file: Option<Bytes>,
    #[schema(ignore)]
    file_name: String,
    /// JSON object that is stored with the image.
    #[schema(value_type = Option<String>, max_length = 65536)]
    metadata: Map<String, Value>,
}

/// `POST /api/v1/files/`
#[utoipa::path(
    post,
    path = "/api/v1/files/",
    tag = "files",
    operation_id = "upload_file",
    summary = "Store an image",
    request_body(content = UploadForm, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "the stored image's metadata", body = File),
        (status = 413, description = "the image is too long, or exceeds the user's storage"),
        (status = 422, description = "the form has no part `file`"),
        (status = 429, description = "the user's other requests use too much memory; retry later"),
        (status = 503, description = "the server's memory is in use; retry later"),
        (status = 507, description = "the server's disk is full"),
    ),
)]
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    User(user): User,
    request: Request,
) -> Result<Json<File>, ApiError> {
    app.files
        .require_image_room(&user, content_length(&request))
        .await?;
    let form = UploadForm::read(request).await?;
    let Some(bytes) = form.file else {
        let detail = "file: Field required";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    };
    if bytes.is_empty() {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, NO_BYTES));
    }
    let image = Image::from_upload(bytes, UPLOAD_LIMITS).map_err(|refusal| {
        app.audit.record(&Event {
            kind: RefusalKind::Picture,
            guard: refusal.guard,
            actor: Actor::User(&user.id),
            engine: "",
            job: "",
            message: &format!("an upload: {refusal}"),
        });
        bad_request(&refusal.reason)
    })?;
    let length = image.bytes().len() as u64;
    app.files.require_image_room(&user, length).await?;
    let name = stored_name(&form.file_name, &image);
    let metadata = Value::Object(form.metadata);
    let file = app.files.save_as(name, &user.id, &image, &metadata).await?;
    Ok(Json(File {
        status: Some(true),
        ..File::new(file, &user)
    }))
}

/// The length of the body, if the client declares it. A longer one than permitted is refused later.
fn content_length(request: &Request) -> u64 {
    let declared = request.headers().get(CONTENT_LENGTH);
    let length: Option<u64> = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    length.unwrap_or(0).min(MAX_UPLOAD_BYTES as u64)
}

impl UploadForm {
    /// Reads a form. No part uses more memory than its limit.
    async fn read(request: Request) -> Result<Self, ApiError> {
        let memory = RequestMemory::of(request.extensions())?;
        let mut parts = Multipart::from_request(read_slowly(request), &())
            .await
            .map_err(|rejection| bad_request(&rejection.body_text()))?;
        let mut form = Self::default();
        let mut part_count = 0;
        while let Some(part) = parts.next_field().await.map_err(unreadable)? {
            part_count += 1;
            if part_count > MAX_PARTS {
                let reason = format!("the form has more than {MAX_PARTS} parts");
                return Err(bad_request(&reason));
            }
            match part.name() {
                Some("file") => {
                    form.file_name = part.file_name().unwrap_or_default().to_owned();
                    form.file = Some(read_part(part, UPLOAD_LIMITS.max_bytes, &memory).await?);
                }
                Some("metadata") => {
                    let metadata = read_part(part, MAX_METADATA_BYTES, &memory).await?;
                    form.metadata = parse_metadata(&metadata)?;
                }
                // Skipped when the next part is read.
                _ => {}
            }
        }
        Ok(form)
    }
}

/// The bytes of a part, counted while they are held.
async fn read_part(
    mut part: Field<'_>,
    max_bytes: usize,
    memory: &RequestMemory,
) -> Result<Bytes, ApiError> {
    let (mut bytes, mut lease) = (Vec::new(), memory.share().request());
    while let Some(chunk) = part.chunk().await.map_err(unreadable)? {
        if bytes.len() + chunk.len() > max_bytes {
            let name = part.name().unwrap_or_default();
            let detail = format!("{name} is longer than {max_bytes} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        lease.grow(chunk.len()).await?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(lease.attach(bytes))
}

/// A JSON object, `null` or nothing.
fn parse_metadata(text: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    if let Err(refusal) = JsonLimits::FORM.bounds.check(text) {
        return Err(bad_request(&format!("the metadata: {refusal}")));
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(metadata)) => Ok(metadata),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(bad_request("Invalid metadata format")),
    }
}

/// Includes a body that ends early, which is not the server's failure.
fn unreadable(error: MultipartError) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        let detail = format!("the form is longer than {MAX_UPLOAD_BYTES} bytes");
        return ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
    }
    bad_request(&format!("invalid form: {}", error.body_text()))
}

/// 400 in Open WebUI's format.
fn bad_request(reason: &str) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, format!("[ERROR: {reason}]"))
}
