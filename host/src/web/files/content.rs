//! A picture's bytes, whole, in part or small, and how they may be cached.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    IF_RANGE, RANGE,
};
use http::{Method, StatusCode};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use super::range::{Asked, asked};
use super::{find, not_found};
use crate::app::App;
use pinhole_ground::guard::Guard;
use crate::files::{THUMBNAIL_SIZES, Thumbnail};
use pinhole_images::MEDIA_TYPES;
use crate::store::FileRow;
use crate::web::error::ApiError;

/// A file never changes; a year is as long as caches keep anything.
const CACHED: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
/// Never a document, whatever the bytes are.
const NO_DOCUMENT: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");
/// No page of another site shows it or reads it.
const SAME_SITE: HeaderValue = HeaderValue::from_static("same-site");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");
/// The longer side of a thumbnail where a request names none, in pixels.
const THUMBNAIL_SIZE: u32 = 256;

/// How the bytes are to be sent.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// `true` to be saved and not shown.
    attachment: Option<String>,
}

/// Which thumbnail.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Size {
    /// The longer side, in pixels.
    #[param(schema_with = thumbnail_sizes)]
    size: Option<u32>,
}

fn thumbnail_sizes() -> Object {
    let object = ObjectBuilder::new().schema_type(Type::Integer);
    object.enum_values(Some(THUMBNAIL_SIZES)).build()
}

/// `GET /api/v1/files/{id}/content`: the bytes, or the range of them that is asked for.
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/content",
    tag = "files",
    operation_id = "read_file",
    summary = "A picture's bytes",
    params(("id" = String, Path, description = "The file's id."), How),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 206, description = "the range of them that was asked for", content_type = "image/*", body = [u8]),
        (status = 304, description = "the client has them already"),
        (status = 404, description = "not there, or somebody else's"),
        (status = 416, description = "the range is behind the end"),
    ),
)]
pub(super) async fn content(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    how: Result<Query<How>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = find(&app, &headers, id).await?;
    let Query(how) =
        how.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let saved = how.attachment.as_deref().is_some_and(is_true);
    let kind = if saved { "attachment" } else { "inline" };
    let tag = tag(&file, "");
    if is_known(&headers, tag.as_ref()) {
        return Ok(not_modified(tag));
    }
    let mut answer = described(
        &file.media_type,
        tag.as_ref(),
        &disposition(kind, &file.name),
    );
    answer.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let length = file.length();
    let range = headers.get(RANGE).and_then(|range| range.to_str().ok());
    // A range is of the bytes that the client has begun with, and means nothing for `HEAD`.
    let range = range.filter(|_| method == Method::GET && is_same(&headers, tag.as_ref()));
    let (status, range) = match range.map_or(Asked::Whole, |range| asked(range, length)) {
        Asked::Whole => (StatusCode::OK, 0..length),
        Asked::Part(range) => {
            let (first, last) = (range.start, range.end.saturating_sub(1));
            let of = text(format!("bytes {first}-{last}/{length}"));
            answer.insert(CONTENT_RANGE, of);
            (StatusCode::PARTIAL_CONTENT, range)
        }
        Asked::Unsatisfiable => {
            let error = ApiError::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("the file has {length} bytes, none of them in this range"),
            );
            let of = text(format!("bytes */{length}"));
            return Ok(([(CONTENT_RANGE, of)], error).into_response());
        }
    };
    let sent = range.end.saturating_sub(range.start);
    answer.insert(CONTENT_LENGTH, HeaderValue::from(sent));
    // For `HEAD` one byte is enough to know that they are there.
    let range = if method == Method::HEAD { 0..1 } else { range };
    let bytes = app.files.read(&file, range).await;
    let bytes = bytes.map_err(|error| ApiError::internal(&error))?;
    let bytes = Body::from_stream(bytes.ok_or_else(not_found)?);
    Ok((status, answer, bytes).into_response())
}

/// `GET /api/v1/files/{id}/content/{name}`: the same; the name is for people.
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/content/{name}",
    tag = "files",
    operation_id = "read_named_file",
    summary = "The same under a name for people",
    params(("id" = String, Path, description = "The file's id."), ("name" = String, Path, description = "Any name."), How),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 206, description = "the range of them that was asked for", content_type = "image/*", body = [u8]),
        (status = 304, description = "the client has them already"),
        (status = 404, description = "not there, or somebody else's"),
        (status = 416, description = "the range is behind the end"),
    ),
)]
pub(super) async fn named_content(
    app: State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
    how: Result<Query<How>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = path.map(|Path((id, _))| Path(id));
    content(app, id, how, method, headers).await
}

/// `GET /api/v1/files/{id}/thumbnail?size=256`: a small picture of it.
#[utoipa::path(
    get,
    path = "/api/v1/files/{id}/thumbnail",
    tag = "files",
    operation_id = "read_thumbnail",
    summary = "A small picture of a picture",
    params(("id" = String, Path, description = "The file's id."), Size),
    responses(
        (status = 200, description = "the bytes", content_type = "image/*", body = [u8]),
        (status = 304, description = "the client has them already"),
        (status = 404, description = "not there, or somebody else's"),
        (status = 422, description = "no thumbnail can be made of it"),
    ),
)]
pub(super) async fn thumbnail(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    size: Result<Query<Size>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let file = find(&app, &headers, id).await?;
    let Query(size) =
        size.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let size = size.size.unwrap_or(THUMBNAIL_SIZE);
    if !THUMBNAIL_SIZES.contains(&size) {
        let sizes = THUMBNAIL_SIZES.map(|size| size.to_string()).join(", ");
        return Err(ApiError::invalid(
            "size",
            format!("size must be one of {sizes}"),
        ));
    }
    let tag = tag(&file, &format!("-{size}"));
    if is_known(&headers, tag.as_ref()) {
        return Ok(not_modified(tag));
    }
    let made = app.files.thumbnail(&file, size).await;
    match made.map_err(|error| ApiError::internal(&error))? {
        Thumbnail::Made(image) => {
            let answer = described(image.media_type(), tag.as_ref(), "inline");
            Ok((answer, image.bytes().clone()).into_response())
        }
        Thumbnail::Gone => Err(not_found()),
        Thumbnail::Impossible(why) => Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, why)),
    }
}

/// A strong tag: the hash of the bytes, and what was made of them. `None` where there is no hash.
fn tag(file: &FileRow, made: &str) -> Option<HeaderValue> {
    let tag = HeaderValue::try_from(format!("\"{}{made}\"", file.hash)).ok();
    tag.filter(|_| !file.hash.is_empty())
}

/// The client keeps what it has, with the headers that it has.
fn not_modified(tag: Option<HeaderValue>) -> Response {
    let mut answer = HeaderMap::from_iter([(CACHE_CONTROL, CACHED)]);
    answer.extend(tag.map(|tag| (ETAG, tag)));
    (StatusCode::NOT_MODIFIED, answer).into_response()
}

fn described(media_type: &str, tag: Option<&HeaderValue>, disposition: &str) -> HeaderMap {
    let mut answer = HeaderMap::new();
    let picture = MEDIA_TYPES.into_iter().find(|known| *known == media_type);
    // What is none of the pictures that we know is never shown, only saved.
    let (media_type, disposition) = match picture {
        Some(picture) => (picture, disposition),
        None => ("application/octet-stream", "attachment"),
    };
    answer.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer.insert(CACHE_CONTROL, CACHED);
    if Guard::NoDocument.holds() {
        answer.insert(CONTENT_SECURITY_POLICY, NO_DOCUMENT);
        answer.insert(CROSS_ORIGIN_RESOURCE_POLICY, SAME_SITE);
    }
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        answer.insert(CONTENT_DISPOSITION, disposition);
    }
    if let Some(tag) = tag {
        answer.insert(ETAG, tag.clone());
    }
    answer
}

/// Has the client these bytes already?
fn is_known(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let Some(tag) = tag.and_then(|tag| tag.to_str().ok()) else {
        return false;
    };
    let mut tags = headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    tags.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

/// Is what the client has begun with this file? Only a strong tag says so.
fn is_same(headers: &HeaderMap, tag: Option<&HeaderValue>) -> bool {
    let begun = headers.get(IF_RANGE);
    begun.is_none_or(|begun| Some(begun) == tag)
}

/// Our own words, which are always plain.
fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn is_true(text: &str) -> bool {
    ["true", "1", "on", "yes"].contains(&text.to_ascii_lowercase().as_str())
}

/// A name for people as a header takes it: in ASCII, and besides as it is where that differs.
///
/// Source: RFC 6266.
fn disposition(kind: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._ ".contains(c);
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let mut text = format!("{kind}; filename=\"{plain}\"");
    if plain != name {
        text.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            match byte {
                b'-' | b'.' | b'_' => text.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => text.push(char::from(byte)),
                byte => text.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_sent_in_ascii_and_as_it_is() {
        let check = |name: &str, expected: &str| assert_eq!(disposition("inline", name), expected);
        check("a fox.png", "inline; filename=\"a fox.png\"");
        check(
            "Füchse \"1\".png",
            "inline; filename=\"F_chse _1_.png\"; filename*=UTF-8''F%C3%BCchse%20%221%22.png",
        );
        check(
            "a\r\nb;c",
            "inline; filename=\"a__b_c\"; filename*=UTF-8''a%0D%0Ab%3Bc",
        );
    }

    fn known(value: &'static str) -> bool {
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
        is_known(&headers, Some(&HeaderValue::from_static("\"ab\"")))
    }

    #[test]
    fn a_client_names_what_it_has() {
        for value in [
            "\"ab\"",
            "W/\"ab\"",
            "*",
            "\"x\", \"ab\"",
            "\"x\",W/\"ab\" ",
        ] {
            assert!(known(value), "{value}");
        }
        for value in ["", "ab", "\"abc\"", "\"x\", \"y\"", "w/\"ab\""] {
            assert!(!known(value), "{value}");
        }
        assert!(!is_known(&HeaderMap::new(), None));
    }
}
