//! The route table and the middleware stack, in order.

mod auth;
mod chat;
mod error;
mod events;
mod files;
mod images;
mod openai;
mod people;
mod socket;
mod source;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::Uri;
use http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::app::App;
use error::{ApiError, OpenAiError};

/// Length of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 32 << 20;

/// The whole server.
pub fn router(app: Arc<App>) -> Router {
    let socket = socket::route(app.clone());
    Router::new()
        .route(
            "/health",
            get(async || axum::Json(serde_json::json!({"status": true}))),
        )
        .route("/api/chat/completions", post(chat::complete))
        .route("/api/v1/chat/completions", post(chat::complete))
        .route("/api/events", get(events::listen))
        .route(socket::PATH, socket.clone())
        .route(&format!("{}/", socket::PATH), socket)
        .route("/api/v1/files", files_and_upload())
        .route("/api/v1/files/", files_and_upload())
        .route(
            "/api/v1/files/{id}",
            get(files::metadata).delete(files::delete),
        )
        .route("/api/v1/files/{id}/content", get(files::content))
        .route(
            "/api/v1/files/{id}/content/{name}",
            get(files::named_content),
        )
        .route("/api/v1/files/{id}/thumbnail", get(files::thumbnail))
        .route("/api/v1/images/generations", post(images::generate))
        .route(
            "/api/v1/images/edit",
            post(images::edit).layer(DefaultBodyLimit::max(source::MAX_EDIT_BODY_BYTES)),
        )
        .route("/api/v1/images/models", get(images::models))
        .route(
            "/api/v1/images/config/url/verify",
            get(images::verify_saved),
        )
        .route("/api/v1/images/verify", post(images::verify))
        .route("/v1/images/generations", post(openai::generate))
        .route(
            "/v1/images/edits",
            post(openai::edit).layer(DefaultBodyLimit::max(source::MAX_EDIT_BODY_BYTES)),
        )
        .route("/v1/models", get(openai::models))
        .merge(people::routes())
        .fallback(async |uri: Uri| unrouted(&uri, ApiError::not_found()))
        .method_not_allowed_fallback(async |uri: Uri| {
            unrouted(&uri, ApiError::method_not_allowed())
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(SetResponseHeaderLayer::if_not_present(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CatchPanicLayer::new())
        .with_state(app)
}

/// Clients write the path with a slash at its end and without.
fn files_and_upload() -> MethodRouter<Arc<App>> {
    let longer = DefaultBodyLimit::max(files::MAX_UPLOAD_BYTES);
    get(files::list).post(files::upload).layer(longer)
}

/// As the clients of the API that the path belongs to read it.
fn unrouted(uri: &Uri, error: ApiError) -> Response {
    match uri.path().starts_with("/v1/") {
        true => OpenAiError(error).into_response(),
        false => error.into_response(),
    }
}
