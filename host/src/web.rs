//! The HTTP server: route table and middleware.
//!
//! [`router`] merges the `routes()` of the modules below. A module registers its handlers with
//! `routes!`, which adds each to the router and to the OpenAPI document, so the generated page
//! `docs/reference/api.md` is the complete table of routes. A second path of a handler, such as one without the
//! slash at the end, is added with `route` and is not in the document.
//!
//! The body of a request or response is a type that derives `ToSchema`, and the user of a request is an
//! extractor of `auth`.

mod absent_features;
mod accounts;
mod audit;
mod auth;
mod bindings;
mod chat;
mod chats;
mod client_ip;
mod connections;
mod control;
mod engines;
mod error;
mod events;
mod extractors;
mod files;
mod form_body;
mod gallery;
mod held_body;
mod images;
mod jobs;
mod json_body;
mod keyed_job;
mod openai;
mod openapi;
mod pace;
mod profile_images;
mod request_body;
mod request_memory;
mod request_origin;
mod same_origin;
mod settings;
mod shutdown;
mod site;
mod socket;
mod source_images;
mod tasks;
mod user_settings;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::clients::AllowedOrigins;
use error::ApiError;
use extractors::Json;
use json_body::JsonLimits;

pub use crate::chat_copy::MAX_CHAT_BYTES;
pub use chat::{MAX_COMPLETION_BODY_BYTES, MAX_RESPONSES};
pub use connections::serve;
pub use control::serve_commands;
pub use gallery::{MAX_ARCHIVE_IMAGES, MAX_CHANGED_IMAGES, MAX_PAGE_IMAGES};
pub use source_images::MAX_EDIT_BODY_BYTES;

/// Length of a request body, in bytes, unless a route has its own limit.
pub const MAX_BODY_BYTES: usize = JsonLimits::FORM.max_bytes;

/// How long browsers remember what a page of another origin may send.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// Headers of responses that scripts of other origins may read: clients decide by them whether to retry.
const EXPOSED_HEADERS: [&str; 5] = [
    "content-disposition",
    "retry-after",
    "retry-after-ms",
    "x-request-id",
    "x-should-retry",
];

/// The OpenAPI document, as JSON.
#[must_use]
pub fn openapi_document() -> Value {
    let (_, document) = documented_routes().split_for_parts();
    openapi::complete(&document)
}

/// The routes that the OpenAPI document describes.
fn documented_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::empty())
        .routes(routes!(health))
        .routes(routes!(ready))
        .merge(absent_features::routes())
        .merge(audit::routes())
        .merge(bindings::routes())
        .merge(chat::routes())
        .merge(chats::routes())
        .merge(engines::routes())
        .merge(events::routes())
        .merge(files::routes())
        .merge(gallery::routes())
        .merge(images::routes())
        .merge(jobs::routes())
        .merge(openai::routes())
        .merge(accounts::routes())
        .merge(settings::routes())
        .merge(tasks::routes())
        .merge(user_settings::routes())
        .merge(profile_images::routes())
}

/// All routes of the server.
pub fn router(app: Arc<App>) -> Router {
    let socket = socket::route(app.clone());
    let (routes, document) = documented_routes().split_for_parts();
    let routes = routes
        .merge(openapi::routes(&document))
        .merge(site::routes())
        .route(socket::PATH, socket.clone())
        .route(&format!("{}/", socket::PATH), socket)
        .fallback(site::respond)
        .method_not_allowed_fallback(async |uri: Uri| {
            ApiError::method_not_allowed().rejection(&uri)
        })
        .layer(from_fn_with_state(app.clone(), request_body::limit_pace))
        .layer(from_fn_with_state(app.clone(), shutdown::respond))
        .layer(from_fn_with_state(
            app.clone(),
            request_memory::count_memory,
        ))
        .layer(SetResponseHeaderLayer::if_not_present(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CatchPanicLayer::custom(panic_response));
    let origins = &app.clients.origins;
    let routes = if origins.is_empty() {
        routes
    } else {
        routes.layer(cors(origins.clone()))
    };
    routes.with_state(app)
}

/// Lets pages of the operator's origins call the server. Only those that are listed may send the cookie.
fn cors(origins: AllowedOrigins) -> CorsLayer {
    let listed = origins.clone();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            origins.allows(origin)
        }))
        .allow_credentials(AllowCredentials::predicate(move |origin, _| {
            listed.lists(origin)
        }))
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(EXPOSED_HEADERS.map(HeaderName::from_static))
        .max_age(CORS_MAX_AGE)
}

#[derive(Serialize, ToSchema)]
struct Status {
    status: bool,
}

#[derive(Serialize, ToSchema)]
struct Readiness {
    status: bool,
    /// Why the server is not ready.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    operation_id = "health",
    summary = "Check that the server is running",
    responses((status = 200, description = "the server is running", body = Status)),
    security(()),
)]
async fn health() -> Json<Status> {
    Json(Status { status: true })
}

#[utoipa::path(
    get,
    path = "/ready",
    tag = "server",
    operation_id = "ready",
    summary = "Check that images can be generated with the default engine, and stored",
    responses(
        (status = 200, description = "the default engine can be used", body = Readiness),
        (status = 503, description = "engines are being compiled, the default engine does not exist, the database does not respond, the bucket of the images cannot be used, or the server is about to stop", body = Readiness),
    ),
    security(()),
)]
async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let reason = if app.active_jobs.is_draining() {
        Some("the server is about to stop")
    } else if !app.store.responds().await {
        Some("the database does not respond")
    } else if !app.files.is_available() {
        Some("the bucket of the images cannot be used")
    } else if !app.jobs.snapshot().is_ready() || app.releases.is_behind_others() {
        Some("engines are being compiled, or the default engine does not exist")
    } else {
        None
    };
    let (code, status) = match reason {
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, false),
        None => (StatusCode::OK, true),
    };
    (code, Json(Readiness { status, reason }))
}

/// The response if a handler panicked, possibly after a job was charged. The panic's message may quote the request, so it is not logged
/// here; the panic hook logs the location.
fn panic_response(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal(&anyhow::anyhow!("the handler panicked"))
        .without_retry()
        .into_response()
}
