//! Whether an engine's upstream answers. Asking changes nothing.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use http::StatusCode;
use http::header::HeaderMap;

use super::fields::Fields;
use crate::app::App;
use crate::jobs::Error;
use crate::web::auth;
use crate::web::error::ApiError;
use crate::web::openapi::shape;

/// `GET /api/v1/images/config/url/verify`: the engine that generates, as it is set. For administrators.
#[utoipa::path(
    get,
    path = "/api/v1/images/config/url/verify",
    tag = "images",
    operation_id = "verify_engine",
    summary = "Does the engine that generates work as it is set? For administrators",
    responses(
        (status = 200, description = "it does", body = shape::Done),
        (status = 400, description = "it does not, with the reason"),
    ),
)]
pub(super) async fn verify_saved(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
) -> Result<Json<bool>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let detail = "Oops! The URL you provided is invalid. Please double-check and try again.";
    told(app.jobs.verify(None).await, detail)
}

/// `POST /api/v1/images/verify`: an engine at an address that is not set yet. For administrators.
#[utoipa::path(
    post,
    path = "/api/v1/images/verify",
    tag = "images",
    operation_id = "verify_address",
    summary = "Does an engine work at an address that is not set yet? For administrators",
    request_body = shape::Address,
    responses(
        (status = 200, description = "it does", body = shape::Done),
        (status = 422, description = "fields of the body cannot be used"),
    ),
)]
pub(super) async fn verify(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<bool>, ApiError> {
    auth::administrator(&app, &headers).await?;
    let mut fields = Fields::read(request).await?;
    let (engine, url) = (fields.required_text("engine"), fields.required_text("url"));
    let key = fields.text("key").filter(|key| !key.is_empty());
    fields.finish()?;
    let current = app.jobs.current();
    let binding = current.binding(&engine);
    if binding.is_none_or(|it| it.component.description.upstreams.is_empty()) {
        let detail = "Unsupported image engine";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    let verified = app.jobs.verify_at(&engine, &url, key.as_deref()).await;
    let detail = "The URL you provided is invalid. Please double-check and try again.";
    told(verified, detail)
}

/// Open WebUI's words, and the engine's besides.
fn told(verified: Result<(), Error>, detail: &str) -> Result<Json<bool>, ApiError> {
    verified.map(|()| Json(true)).map_err(|error| {
        tracing::warn!("verified without success: {}", error.for_operator());
        ApiError::new(StatusCode::BAD_REQUEST, detail).because(error.to_string())
    })
}
