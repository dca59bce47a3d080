//! A picture that somebody brings along.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::HeaderMap;
use serde_json::{Map, Value};

use super::row;
use crate::app::App;
use pinhole_ground::audit::{Event, RefusalKind};
use crate::files::{UPLOAD_LIMITS, UploadRoom};
use pinhole_images::Image;
use crate::web::auth;
use crate::web::error::ApiError;
use crate::web::openapi::shape;

/// Length of a request's body: the picture and the form around it.
pub(super) const MAX_UPLOAD_BYTES: usize = UPLOAD_LIMITS.max_bytes + (256 << 10);
/// Parts of a form.
const MAX_PARTS: usize = 16;
/// Time that a request's body may take to come.
const MAX_UPLOAD_TIME: Duration = Duration::from_secs(300);
/// Length of what is said of a picture, as JSON.
const MAX_METADATA_BYTES: usize = 64 << 10;
/// Length of a picture's name; what is longer is cut.
const MAX_NAME_BYTES: usize = 200;
/// What Open WebUI says of every upload that failed.
const FAILED: &str = "[ERROR: Error uploading file]";

/// What the form holds.
#[derive(Default)]
struct Form {
    name: String,
    bytes: Option<Bytes>,
    metadata: Map<String, Value>,
}

/// `POST /api/v1/files/`: keeps the picture in the part `file`, with the JSON object in `metadata`.
#[utoipa::path(
    post,
    path = "/api/v1/files/",
    tag = "files",
    operation_id = "upload_file",
    summary = "Keep a picture",
    request_body(content = shape::Upload, content_type = "multipart/form-data"),
    responses(
        (status = 200, description = "what is known of it", body = shape::File),
        (status = 408, description = "the upload took too long"),
        (status = 422, description = "the form has no part `file`"),
        (status = 503, description = "too much is uploaded at this moment: try again"),
    ),
)]
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let user = auth::user(&app, &headers).await?;
    // Held until the picture is kept.
    let mut room = app.files.upload_room();
    let reading = tokio::time::timeout(MAX_UPLOAD_TIME, read(request, &mut room)).await;
    let form = reading.map_err(|_| too_slow())??;
    let missing = || ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "file: Field required");
    let bytes = form.bytes.ok_or_else(missing)?;
    if bytes.is_empty() {
        return Err(refused(FAILED));
    }
    let image = Image::from_upload(bytes, UPLOAD_LIMITS).map_err(|why| {
        let what = format!("an upload of user {}: {why}", user.id);
        app.audit.record(&Event {
            kind: RefusalKind::Picture,
            guard: None,
            engine: "",
            job: "",
            message: &what,
        });
        because(&why)
    })?;
    let name = name(&form.name, &image);
    let metadata = Value::Object(form.metadata);
    let kept = app.files.save_as(name, &user.id, &image, &metadata).await;
    let mut answer = row(&kept.map_err(|error| ApiError::internal(&error))?);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("status".to_owned(), true.into());
    }
    Ok(Json(answer))
}

/// Reads the form. No part is kept beyond its limit.
async fn read(request: Request, room: &mut UploadRoom) -> Result<Form, ApiError> {
    let form = Multipart::from_request(request, &()).await;
    let mut parts = form.map_err(|rejection| because(&rejection.body_text()))?;
    let mut form = Form::default();
    let mut left = MAX_PARTS;
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        left = left
            .checked_sub(1)
            .ok_or_else(|| because(&format!("the form has more than {MAX_PARTS} parts")))?;
        match part.name() {
            Some("file") => {
                part.file_name()
                    .unwrap_or_default()
                    .clone_into(&mut form.name);
                form.bytes = Some(whole(part, UPLOAD_LIMITS.max_bytes, room).await?);
            }
            Some("metadata") => {
                form.metadata = metadata(&whole(part, MAX_METADATA_BYTES, room).await?)?;
            }
            // Read over when the next one is asked for.
            _ => {}
        }
    }
    Ok(form)
}

/// All bytes of a part.
async fn whole(
    mut part: Field<'_>,
    max_bytes: usize,
    room: &mut UploadRoom,
) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = part.chunk().await.map_err(broken)? {
        if bytes.len() + chunk.len() > max_bytes {
            let name = part.name().unwrap_or_default();
            let detail = format!("{name} is longer than the {max_bytes} bytes allowed");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail));
        }
        if !room.take(chunk.len()) {
            return Err(crowded());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// A JSON object, or nothing at all.
fn metadata(text: &[u8]) -> Result<Map<String, Value>, ApiError> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(metadata)) => Ok(metadata),
        Ok(Value::Null) => Ok(Map::new()),
        _ => Err(refused("[ERROR: Invalid metadata format]")),
    }
}

/// The last part of the path that a client named, or a name of our own.
fn name(given: &str, image: &Image) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    match name.trim() {
        "" | "." | ".." => format!("upload.{}", image.extension()),
        name => name.to_owned(),
    }
}

fn broken(error: MultipartError) -> ApiError {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the form is longer than the {MAX_UPLOAD_BYTES} bytes allowed");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
        }
        // Also a body that broke off, which is never our failure.
        _ => because(&format!("the form cannot be read: {}", error.body_text())),
    }
}

fn too_slow() -> ApiError {
    let detail = format!(
        "[ERROR: the picture did not come within {} s]",
        MAX_UPLOAD_TIME.as_secs()
    );
    ApiError::new(StatusCode::REQUEST_TIMEOUT, detail)
}

fn crowded() -> ApiError {
    let detail = "[ERROR: there is no room for one more upload now: try again in a moment]";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, detail)
}

/// As Open WebUI says why.
fn because(why: &str) -> ApiError {
    refused(format!("[ERROR: {why}]"))
}

fn refused(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: &str) {
        assert_eq!(name(given, &Image::sample(1, 0)), expected, "{given:?}");
    }

    #[test]
    fn a_name_is_one_line_without_a_path() {
        check("fox.png", "fox.png");
        check(" Füchse 🦊.png ", "Füchse 🦊.png");
        check("../../etc/fox.png", "fox.png");
        check("C:\\pictures\\fox.png", "fox.png");
        check("a\r\nset-cookie: x\0.png", "aset-cookie: x.png");
        for nothing in ["", " ", "..", ".", "a/", "\u{7}"] {
            check(nothing, "upload.png");
        }
        check(&"ü".repeat(150), &"ü".repeat(100));
        check(
            &format!("x{}", "ü".repeat(150)),
            &format!("x{}", "ü".repeat(99)),
        );
    }
}
