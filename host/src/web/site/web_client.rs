//! A web client that the operator brought, such as Open WebUI's.
//!
//! Its page shows texts of language models and of other users, and the session is in its storage. So its policy
//! allows scripts of this server, and those of the page itself by their hashes, and no connection, image or form
//! to another server.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::SiteRequest;
use super::client_page::{SCRIPT_PATH, policy, with_script};
use super::file_response::{self, Caching};
use super::media_type::media_type;
use crate::app::App;
use crate::site::SiteFiles;

/// The directory whose files have a hash in their name.
const IMMUTABLE_FILES: &str = "/_app/immutable/";

/// The script that the page of every client gets.
pub(super) fn routes() -> Router<Arc<App>> {
    let script = get(async || {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(media_type("x.js"))),
            (CACHE_CONTROL, Caching::Revalidated.header()),
        ];
        (headers, include_str!("engine_choices.js"))
    });
    Router::new().route(SCRIPT_PATH, script)
}

/// The file or page of a request.
pub(super) async fn find(
    files: &SiteFiles,
    request: &SiteRequest<'_>,
) -> io::Result<Option<Response>> {
    if !request.is_page() {
        if let Some(file) = files.find(request.path, &[]).await? {
            let caching = if request.path.starts_with(IMMUTABLE_FILES) {
                Caching::Immutable
            } else {
                Caching::Revalidated
            };
            let mut response = file_response::send(file, request.path, caching, request).await?;
            set_policy(response.headers_mut(), "");
            return Ok(Some(response));
        }
        if !request.is_navigation() {
            return Ok(None);
        }
    }
    let page = with_script(files.page().await?);
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(media_type("x.html"))),
        (CACHE_CONTROL, Caching::Revalidated.header()),
    ]);
    set_policy(&mut headers, &page);
    Ok(Some((headers, page).into_response()))
}

/// Sets the policy for the scripts of this page.
fn set_policy(headers: &mut HeaderMap, page: &str) {
    if let Ok(value) = HeaderValue::try_from(policy(page)) {
        file_response::set_policy(headers, value);
    }
}
