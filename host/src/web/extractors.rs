//! Extractors for a request's path, query and JSON body. Their rejections have the error format of
//! the API that the request's path belongs to.
//!
//! Arguments of a handler are extracted in order, and the first error is the response. The body is the
//! last argument, so that only a caller who may use the route can make the server read one.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{ApiError, Rejection};
use super::json_body::JsonBody;

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
        let value = async {
            let body = JsonBody::read(request).await?;
            let value = body.parse()?;
            body.hold_memory();
            Ok(value)
        };
        let value = value.await;
        value
            .map(Self)
            .map_err(|error: ApiError| error.rejection(&uri))
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
