//! The route table and the middleware stack, in order.

mod audit;
mod auth;
mod chat;
mod chats;
mod error;
mod events;
mod extractors;
mod files;
mod images;
mod openai;
mod openapi;
mod accounts;
mod settings;
mod socket;
mod image_reference;
mod tasks;

use std::any::Any;
use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use http::Uri;
use http::header::{HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use error::ApiError;

/// Length of a request's body, in bytes.
const MAX_BODY_BYTES: usize = 32 << 20;

/// The whole server. Each face registers its routes together with what the document says of them.
pub fn router(app: Arc<App>) -> Router {
    let socket = socket::route(app.clone());
    let (routes, document) = OpenApiRouter::with_openapi(openapi::empty())
        .routes(routes!(health))
        .merge(audit::routes())
        .merge(chat::routes())
        .merge(chats::routes())
        .merge(events::routes())
        .merge(files::routes())
        .merge(images::routes())
        .merge(openai::routes())
        .merge(accounts::routes())
        .merge(settings::routes())
        .merge(tasks::routes())
        .split_for_parts();
    routes
        .merge(openapi::routes(&document))
        .route(socket::PATH, socket.clone())
        .route(&format!("{}/", socket::PATH), socket)
        .fallback(async |uri: Uri| ApiError::not_found().rejection(&uri))
        .method_not_allowed_fallback(async |uri: Uri| {
            ApiError::method_not_allowed().rejection(&uri)
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(SetResponseHeaderLayer::if_not_present(
            X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ))
        .layer(CatchPanicLayer::custom(failed))
        .with_state(app)
}

#[utoipa::path(
    get,
    path = "/health",
    tag = "server",
    operation_id = "health",
    summary = "Is the server there?",
    responses((status = 200, description = "it is", body = openapi::shape::Status)),
    security(()),
)]
async fn health() -> Json<Value> {
    Json(json!({"status": true}))
}

/// A handler that panicked. What it says may quote what somebody sent: the log has the place alone.
fn failed(_: Box<dyn Any + Send>) -> Response {
    ApiError::internal(&anyhow::anyhow!("its handler panicked")).into_response()
}
