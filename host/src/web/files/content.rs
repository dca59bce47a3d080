//! An image's bytes, or a range of them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, COOKIE, HeaderMap, HeaderValue,
    IF_RANGE, LOCATION, RANGE,
};
use http::{Method, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;

use super::image_headers::{
    allow_other_sites, disposition, entity_tag, image_headers, is_cached, not_modified, safe_type,
};
use super::range::{ByteRange, parse_range};
use super::{find, not_found};
use crate::app::App;
use crate::files::SignedHeaders;
use crate::store::{FileRow, now};
use crate::web::auth::User;
use crate::web::error::{ApiError, Rejection};
use crate::web::extractors::{Path, Query};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ContentQuery {
    /// `true` downloads the image instead of showing it.
    attachment: Option<String>,
}

impl ContentQuery {
    fn disposition_kind(&self) -> &'static str {
        let attachment = self.attachment.as_deref().unwrap_or_default();
        let is_true = ["true", "1", "on", "yes"]
            .iter()
            .any(|value| attachment.eq_ignore_ascii_case(value));
        if is_true { "attachment" } else { "inline" }
    }
}

/// `GET /api/v1/files/{id}/content`
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/content",
    tag = "files",
    operation_id = "read_file",
    summary = "Return an image's bytes",
    params(("id" = String, Path, description = "Id of the file."), ContentQuery),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 206, description = "the requested range", content_type = "image/*", body = [u8]),
        (status = 302, description = "the bytes are at another URL for a minute, if PINHOLE_FILES_REDIRECT is true"),
        (status = 304, description = "the client's copy is current"),
        (status = 404, description = "no such file, or a file of another user"),
        (status = 416, description = "the range is beyond the end"),
    ),
)]
pub(super) async fn content(
    State(app): State<Arc<App>>,
    User(user): User,
    Path(id): Path<String>,
    query: Result<Query<ContentQuery>, Rejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = find(&app, &user, &id).await?;
    let Query(query) = query?;
    let request = ContentRequest {
        query: &query,
        method: &method,
        headers: &headers,
        max_lifetime: Duration::MAX,
    };
    respond(&app, &file, request).await
}

/// A request for the bytes of a file that the client may read.
#[derive(Clone, Copy)]
struct ContentRequest<'a> {
    query: &'a ContentQuery,
    method: &'a Method,
    headers: &'a HeaderMap,
    /// How long a URL may work that the client gets instead.
    max_lifetime: Duration,
}

async fn respond(
    app: &App,
    file: &FileRow,
    request: ContentRequest<'_>,
) -> Result<Response, ApiError> {
    let ContentRequest {
        query,
        method,
        headers,
        ..
    } = request;
    let tag = entity_tag(file, "");
    if is_cached(headers, tag.as_ref()) {
        return Ok(not_modified(tag));
    }
    let disposition = disposition(query.disposition_kind(), &file.name);
    if let Some(redirect) = redirect(app, file, &disposition, request).await? {
        return Ok(redirect);
    }
    let mut response = image_headers(&file.media_type, tag.as_ref(), &disposition);
    response.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let length = file.length();
    let (status, range) = match requested_range(method, headers, tag.as_ref(), length) {
        ByteRange::Whole => (StatusCode::OK, 0..length),
        ByteRange::Part(range) => {
            let (first, last) = (range.start, range.end.saturating_sub(1));
            let part = ascii_value(format!("bytes {first}-{last}/{length}"));
            response.insert(CONTENT_RANGE, part);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        ByteRange::Unsatisfiable => return Ok(unsatisfiable(length)),
    };
    let sent_bytes = range.end.saturating_sub(range.start);
    response.insert(CONTENT_LENGTH, HeaderValue::from(sent_bytes));
    // `HEAD` reads one byte to check that the file exists.
    let range = if *method == Method::HEAD { 0..1 } else { range };
    let bytes = app.files.read(file, range).await?.ok_or_else(not_found)?;
    Ok((status, response, Body::from_stream(bytes)).into_response())
}

/// A redirect to the bucket, if the operator allows it.
///
/// Pages send cookies, and their policy allows images of this server only, so they get the bytes from here.
async fn redirect(
    app: &App,
    file: &FileRow,
    disposition: &str,
    request: ContentRequest<'_>,
) -> Result<Option<Response>, ApiError> {
    if request.method != Method::GET || request.headers.contains_key(COOKIE) {
        return Ok(None);
    }
    let (media_type, disposition) = safe_type(&file.media_type, disposition);
    let signed = SignedHeaders {
        media_type,
        disposition,
    };
    let url = app.files.signed_url(file, signed, request.max_lifetime);
    let Some(url) = url.await? else {
        return Ok(None);
    };
    let headers = [
        (LOCATION, ascii_value(url.into())),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok(Some((StatusCode::FOUND, headers).into_response()))
}

/// `GET /api/v1/files/{id}/content/{name}`
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/content/{name}",
    tag = "files",
    operation_id = "read_named_file",
    summary = "Return an image's bytes, at a URL that ends with a file name",
    params(("id" = String, Path, description = "Id of the file."), ("name" = String, Path, description = "Any name."), ContentQuery),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 206, description = "the requested range", content_type = "image/*", body = [u8]),
        (status = 302, description = "the bytes are at another URL for a minute, if PINHOLE_FILES_REDIRECT is true"),
        (status = 304, description = "the client's copy is current"),
        (status = 404, description = "no such file, or a file of another user"),
        (status = 416, description = "the range is beyond the end"),
    ),
)]
pub(super) async fn named_content(
    app: State<Arc<App>>,
    user: User,
    Path((id, _name)): Path<(String, String)>,
    query: Result<Query<ContentQuery>, Rejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    content(app, user, Path(id), query, method, headers).await
}

/// `GET /api/v1/files/{id}/content/{expires}/{signature}/{name}`
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/content/{expires}/{signature}/{name}",
    tag = "files",
    operation_id = "read_linked_file",
    summary = "Return an image's bytes to anyone who has the link",
    params(
        ("id" = String, Path, description = "Id of the file."),
        ("expires" = String, Path, description = "When the link expires, in seconds since 1970."),
        ("signature" = String, Path, description = "The server's signature of both."),
        ("name" = String, Path, description = "Any name."),
        ContentQuery,
    ),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 206, description = "the requested range", content_type = "image/*", body = [u8]),
        (status = 302, description = "the bytes are at another URL for a minute, if PINHOLE_FILES_REDIRECT is true"),
        (status = 304, description = "the client's copy is current"),
        (status = 403, description = "the server did not make this link, or it has expired"),
        (status = 404, description = "the file was deleted"),
        (status = 416, description = "the range is beyond the end"),
    ),
    security(()),
)]
pub(super) async fn linked_content(
    State(app): State<Arc<App>>,
    Path((id, expires, signature, _name)): Path<(String, String, String, String)>,
    query: Result<Query<ContentQuery>, Rejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let verified = app.accounts.links.verify(&id, &expires, &signature, now());
    let left_secs =
        verified.map_err(|refusal| ApiError::new(StatusCode::FORBIDDEN, refusal.reason))?;
    let Query(query) = query?;
    let file = app.files.find_linked(&id).await?.ok_or_else(not_found)?;
    let request = ContentRequest {
        query: &query,
        method: &method,
        headers: &headers,
        max_lifetime: Duration::from_secs(left_secs),
    };
    let mut response = respond(&app, &file, request).await?;
    if response.status() != StatusCode::FOUND {
        allow_other_sites(response.headers_mut(), left_secs);
    }
    Ok(response)
}

/// `Range` has no meaning for `HEAD`, and is ignored if the client's part is of another file.
fn requested_range(
    method: &Method,
    headers: &HeaderMap,
    tag: Option<&HeaderValue>,
    length: u64,
) -> ByteRange {
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    match range {
        Some(range) if method == Method::GET && continues_this_file(headers, tag) => {
            parse_range(range, length)
        }
        _ => ByteRange::Whole,
    }
}

/// Is `If-Range` absent, or this file's strong tag?
fn continues_this_file(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let if_range = headers.get(IF_RANGE);
    if_range.is_none_or(|if_range| Some(if_range) == tag)
}

fn unsatisfiable(length: u64) -> Response {
    let error = ApiError::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        format!("the range is beyond the end of the file, which has {length} bytes"),
    );
    let size = ascii_value(format!("bytes */{length}"));
    ([(CONTENT_RANGE, size)], error).into_response()
}

/// Our own text is always ASCII.
fn ascii_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
