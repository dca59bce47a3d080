//! Stored pictures, for their owners.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap,
};

use super::auth;
use super::error::ApiError;
use crate::app::App;

/// `GET /api/v1/files/{id}/content`: the bytes. Somebody else's file is not found.
pub(super) async fn content(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let user = auth::user(&app, &headers).await?;
    let Path(id) =
        id.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    let found = app.files.read(&id, &user.id).await;
    let found = found.map_err(|error| ApiError::internal(&error))?;
    let Some((row, bytes)) = found else {
        let detail = "We could not find what you're looking for :/";
        return Err(ApiError::new(StatusCode::NOT_FOUND, detail));
    };
    let disposition = format!("inline; filename=\"{}\"", row.name);
    let headers = [
        (CONTENT_TYPE, row.media_type.as_str()),
        (CONTENT_DISPOSITION, disposition.as_str()),
        // Never a document, whatever the bytes are.
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (CACHE_CONTROL, "private, max-age=31536000, immutable"),
    ];
    Ok((headers, bytes).into_response())
}
