//! The files of a web client, and its page for every path that is a place in the client.
//!
//! Without a route, a path names a file of the client, or else, if a browser navigates to it, the client's page.
//!
//! The page shows texts of language models and of other users, and the session is in its storage. So its policy
//! allows scripts of this server, and those of the page itself by their hashes, and no connection, image or form
//! to another server.

mod page;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, REFERRER_POLICY,
};
use http::{Method, StatusCode, Uri};
use pinhole_ground::guard::Guard;

use super::error::ApiError;
use super::files::is_cached;
use crate::app::App;
use crate::client_files::{ClientFile, ClientFiles, is_api_path};
use crate::file_chunks::{FileChunks, blocking};

/// The directory whose files have a hash in their name.
const IMMUTABLE_FILES: &str = "/_app/immutable/";
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATED: HeaderValue = HeaderValue::from_static("no-cache");
/// Paths of chats and messages stay on this server.
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The script that the page of every client gets.
pub(super) fn routes() -> Router<Arc<App>> {
    let script = get(async || {
        let headers = [
            (
                CONTENT_TYPE,
                HeaderValue::from_static("text/javascript; charset=utf-8"),
            ),
            (CACHE_CONTROL, REVALIDATED),
        ];
        (headers, include_str!("client_files/engine_choices.js"))
    });
    Router::new().route(page::SCRIPT_PATH, script)
}

/// The response to a request that has no route.
pub(super) async fn respond(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let not_found = ApiError::not_found().rejection(&uri);
    let Some(files) = &app.client_files else {
        return not_found.into_response();
    };
    let path = uri.path();
    let is_api = Guard::ClientFiles.applies(is_api_path(path));
    if is_api || ![Method::GET, Method::HEAD].contains(&method) {
        return not_found.into_response();
    }
    match find(files, path, &method, &headers).await {
        Ok(Some(response)) => response,
        Ok(None) => not_found.into_response(),
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot read the web client's files");
            ApiError::internal(&error).into_response()
        }
    }
}

async fn find(
    files: &ClientFiles,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> io::Result<Option<Response>> {
    let is_page = ["/", "/index.html"].contains(&path);
    if !is_page {
        if let Some(file) = files.find(path).await? {
            return send(file, path, method, headers).await.map(Some);
        }
        if !is_navigation(headers) {
            return Ok(None);
        }
    }
    let page = page::with_script(files.page().await?);
    let policy = page::policy(&page);
    let mut response = (response_headers("html", &policy), page).into_response();
    response.headers_mut().insert(CACHE_CONTROL, REVALIDATED);
    Ok(Some(response))
}

/// Does a browser open the URL as a page?
fn is_navigation(headers: &HeaderMap) -> bool {
    if let Some(mode) = headers.get(SEC_FETCH_MODE) {
        return mode == "navigate";
    }
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

async fn send(
    file: ClientFile,
    path: &str,
    method: &Method,
    headers: &HeaderMap,
) -> io::Result<Response> {
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let mut response = response_headers(extension, &page::policy(""));
    let is_immutable = path.starts_with(IMMUTABLE_FILES);
    response.insert(
        CACHE_CONTROL,
        if is_immutable { IMMUTABLE } else { REVALIDATED },
    );
    let tag = HeaderValue::try_from(format!("\"{}\"", file.version)).ok();
    response.extend(tag.clone().map(|tag| (ETAG, tag)));
    if is_cached(headers, tag.as_ref()) {
        return Ok((StatusCode::NOT_MODIFIED, response).into_response());
    }
    response.insert(CONTENT_LENGTH, HeaderValue::from(file.length));
    if method == Method::HEAD {
        return Ok((response, Body::empty()).into_response());
    }
    let chunks = FileChunks::new(file.file, file.length);
    let body = match blocking(move || chunks.next()).await? {
        Some((first, rest)) => Body::from_stream(rest.into_stream(first)),
        None => Body::empty(),
    };
    Ok((response, body).into_response())
}

/// The headers of a file with this extension.
fn response_headers(extension: &str, policy: &str) -> HeaderMap {
    let media_type = HeaderValue::from_static(media_type(extension));
    let mut headers =
        HeaderMap::from_iter([(CONTENT_TYPE, media_type), (REFERRER_POLICY, SAME_ORIGIN)]);
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers
}

/// The media type of the files of web clients. Browsers run and show nothing of another type.
fn media_type(extension: &str) -> &'static str {
    match extension.to_ascii_lowercase().as_str() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "xml" => "application/xml",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/vnd.microsoft.icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "mp3" => "audio/mpeg",
        "wav" => "audio/wav",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}
