//! The server's own pages.
//!
//! They show texts of engines, language models and other users. So the policy allows scripts and styles of this
//! server only, none within the page, and no script may turn a text into HTML.

use std::io;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

use super::SiteRequest;
use super::file_response::{self, Caching};
use crate::site::SiteFiles;

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
     connect-src 'self'; font-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
);
const CROSS_ORIGIN_OPENER_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-opener-policy");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");

/// The directory whose files have a hash in their name.
const IMMUTABLE_FILES: &str = "/ui/";
const PAGE_PATH: &str = "/index.html";

/// The response to a browser, if the server has no pages.
const ABSENCE: &str = "This server has no pages: build them with `npm ci && npm run build` in host/ui and set \
                       PINHOLE_UI_DIR to host/ui/dist, or use a program that contains them; its API is described at /docs.\n";

/// The file or page of a request.
pub(super) async fn find(
    files: &SiteFiles,
    request: &SiteRequest<'_>,
) -> io::Result<Option<Response>> {
    let encodings = file_response::accepted_encodings(request.headers);
    let is_immutable = request.path.starts_with(IMMUTABLE_FILES);
    let mut path = if request.is_page() {
        PAGE_PATH
    } else {
        request.path
    };
    let mut file = files.find(path, &encodings).await?;
    // A page of an earlier version asks for files that no longer exist: the page in their place would be run as a script.
    if file.is_none() && !is_immutable && request.is_navigation() {
        path = PAGE_PATH;
        file = files.find(path, &encodings).await?;
    }
    let Some(file) = file else {
        return Ok(None);
    };
    let caching = if is_immutable {
        Caching::Immutable
    } else {
        Caching::Revalidated
    };
    let mut response = file_response::send(file, path, caching, request).await?;
    // Scripts and stylesheets have the policy of the page that loads them, and there are many of them.
    if !is_immutable {
        let headers = response.headers_mut();
        file_response::set_policy(headers, POLICY);
        headers.insert(CROSS_ORIGIN_OPENER_POLICY, SAME_ORIGIN);
    }
    Ok(Some(response))
}

/// A sentence for a person who opens a server without pages.
pub(super) fn explain_absence(request: &SiteRequest<'_>) -> Option<Response> {
    if !request.is_page() && !request.is_navigation() {
        return None;
    }
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
    Some((StatusCode::NOT_FOUND, headers, ABSENCE).into_response())
}
