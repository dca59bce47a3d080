//! The site: the files of the server's own pages or of a web client, for every path without a route.
//!
//! A path names a file, or else, if a browser navigates to it, the site's page, whose scripts read the path. A path
//! of an API is never a file or a page: a client that misspells one needs an error.

mod client_page;
mod file_response;
mod media_type;
mod pages;
mod web_client;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, HeaderMap, HeaderName};
use http::{Method, Uri};
use pinhole_ground::guard::Guard;

use super::error::ApiError;
use crate::app::App;
use crate::site::{Site, is_api_path};

const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The parts of a request that decide the response.
struct SiteRequest<'a> {
    path: &'a str,
    method: &'a Method,
    headers: &'a HeaderMap,
}

impl SiteRequest<'_> {
    /// Is it for the site's page, whatever files there are?
    fn is_page(&self) -> bool {
        ["/", "/index.html"].contains(&self.path)
    }

    /// Does a browser open the URL as a page?
    fn is_navigation(&self) -> bool {
        if let Some(mode) = self.headers.get(SEC_FETCH_MODE) {
            return mode == "navigate";
        }
        let accept = self.headers.get(ACCEPT);
        let accept = accept.and_then(|accept| accept.to_str().ok());
        accept.is_some_and(|accept| accept.contains("text/html"))
    }
}

/// The script that the page of every web client gets.
pub(super) fn routes() -> Router<Arc<App>> {
    web_client::routes()
}

/// The response to a request that has no route.
pub(super) async fn respond(
    State(app): State<Arc<App>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let request = SiteRequest {
        path: uri.path(),
        method: &method,
        headers: &headers,
    };
    let not_found = ApiError::not_found().rejection(&uri);
    let is_api = Guard::ClientFiles.applies(is_api_path(request.path));
    if is_api || ![Method::GET, Method::HEAD].contains(&method) {
        return not_found.into_response();
    }
    match find(&app.site, &request).await {
        Ok(Some(response)) => response,
        Ok(None) => not_found.into_response(),
        Err(error) => {
            let error = anyhow::Error::new(error).context("cannot read the files of the pages");
            ApiError::internal(&error).into_response()
        }
    }
}

async fn find(site: &Site, request: &SiteRequest<'_>) -> io::Result<Option<Response>> {
    match site {
        Site::Off => Ok(None),
        Site::Missing => Ok(pages::explain_absence(request)),
        Site::Pages(files) => pages::find(files, request).await,
        Site::WebClient(files) => web_client::find(files, request).await,
    }
}
