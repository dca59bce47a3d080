//! Extractors for a request's path, query and JSON body. Their rejections have the error format of
//! the API that the request's path belongs to.
//!
//! Arguments of a handler are extracted in order, and the first error is the response. The body is the
//! last argument, so that only a caller who may use the route can make the server read one.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use pinhole_ground::text::plain;

use super::error::{ApiError, Rejection};

/// Length of a field name that an error repeats, in bytes.
const MAX_PARAM_BYTES: usize = 100;

/// A JSON body. As an extractor, it accepts any content type, as Open WebUI's clients need.
pub(super) struct Json<T>(pub(super) T);

/// Parameters of the query.
pub(super) struct Query<T>(pub(super) T);

/// Parameters of the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, _: &S) -> Result<Self, Rejection> {
        let uri = request.uri().clone();
        let body = json_body(request).await;
        body.map(Self).map_err(|error| error.rejection(&uri))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        match axum::extract::Query::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(refused) => {
                let error = ApiError::new(refused.status(), refused.body_text());
                Err(error.rejection(&parts.uri))
            }
        }
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(path)) => Ok(Self(path)),
            Err(refused) => {
                let error = ApiError::new(refused.status(), refused.body_text());
                Err(error.rejection(&parts.uri))
            }
        }
    }
}

/// Parses a JSON body, whatever its content type. Authenticate the caller first: the body is in
/// memory.
pub(super) async fn json_body<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    // Serde also reads a struct from an array of its fields, which the schema does not allow.
    if body.trim_ascii_start().starts_with(b"[") {
        let detail = "invalid JSON body: expected an object, received an array";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, detail));
    }
    let mut json = serde_json::Deserializer::from_slice(&body);
    let value =
        serde_path_to_error::deserialize(&mut json).map_err(|error| invalid_json(&error))?;
    json.end().map_err(|error| {
        let detail = format!("invalid JSON body: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(value)
}

/// Parses a JSON value, with the errors of [`json_body`].
pub(super) fn json_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| invalid_json(&error))
}

/// Names the top-level field that is invalid.
fn invalid_json(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let field = error.path().iter().find_map(|segment| match segment {
        Segment::Map { key } => Some(plain(key, MAX_PARAM_BYTES)),
        _ => None,
    });
    let cause = error.inner();
    let Some(field) = field else {
        let detail = format!("invalid JSON body: {cause}");
        return ApiError::new(StatusCode::BAD_REQUEST, detail);
    };
    ApiError::invalid(&field, format!("invalid JSON body: {cause} (in {field})"))
}
