//! `ApiError`: a status, what the client reads, what the log reads.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{HeaderValue, RETRY_AFTER};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::engine;
use crate::engine::bindings::ErrorKind;
use crate::jobs;

/// A request that was not carried out. As Open WebUI says it: `{"detail": …}`.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    detail: String,
    code: Option<String>,
    param: Option<String>,
    retry_after_ms: Option<u64>,
}

/// The same as OpenAI says it: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug)]
pub(super) struct OpenAiError(pub(super) ApiError);

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            code: None,
            param: None,
            retry_after_ms: None,
        }
    }

    pub(super) fn invalid(param: &str, detail: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, detail);
        error.param = Some(param.to_owned());
        error
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// Our own failure: the log has the cause, the client only that it happened.
    pub(super) fn internal(error: &anyhow::Error) -> Self {
        tracing::error!("a request failed: {error:#}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server failed; its log says why",
        )
    }
}

impl From<jobs::Error> for ApiError {
    fn from(error: jobs::Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid
            | ErrorKind::Blocked
            | ErrorKind::NotFound
            | ErrorKind::Unsupported => StatusCode::BAD_REQUEST,
            ErrorKind::RateLimited | ErrorKind::Quota => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Forbidden if matches!(error, jobs::Error::Disabled(_)) => {
                StatusCode::FORBIDDEN
            }
            // The server's own key or right at the upstream is not the client's fault.
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::OutOfMemory
            | ErrorKind::Cancelled
            | ErrorKind::Upstream
            | ErrorKind::Protocol => StatusCode::BAD_GATEWAY,
        };
        let mut api = Self::new(status, error.to_string());
        api.code = Some(code(error.kind()).to_owned());
        match error {
            jobs::Error::Invalid { field, .. } | jobs::Error::Unsupported { field, .. } => {
                api.param = Some(field.to_owned());
            }
            jobs::Error::Engine { source, .. } => {
                if let engine::Error::Engine { error, .. } = *source {
                    api.code = error.code.or(api.code);
                    api.param = error.field;
                    api.retry_after_ms = error.retry_after_ms;
                }
            }
            jobs::Error::Disabled(_) => {}
        }
        api
    }
}

/// The kind's name in the contract.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "invalid",
        ErrorKind::Unauthorized => "unauthorized",
        ErrorKind::Forbidden => "forbidden",
        ErrorKind::Quota => "quota",
        ErrorKind::RateLimited => "rate-limited",
        ErrorKind::Blocked => "blocked",
        ErrorKind::NotFound => "not-found",
        ErrorKind::OutOfMemory => "out-of-memory",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Cancelled => "cancelled",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Upstream => "upstream",
        ErrorKind::Protocol => "protocol",
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"detail": self.detail});
        respond(self.status, self.retry_after_ms, body)
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let kind = match error.status {
            status if status.is_server_error() => "server_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            _ => "invalid_request_error",
        };
        let body = json!({"error": {
            "message": error.detail,
            "type": kind,
            "param": error.param,
            "code": error.code,
        }});
        respond(error.status, error.retry_after_ms, body)
    }
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<jobs::Error> for OpenAiError {
    fn from(error: jobs::Error) -> Self {
        Self(error.into())
    }
}

fn respond(status: StatusCode, retry_after_ms: Option<u64>, body: serde_json::Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    if let Some(ms) = retry_after_ms {
        let value = HeaderValue::from(ms.div_ceil(1000));
        response.headers_mut().insert(RETRY_AFTER, value);
    }
    response
}

/// A request's JSON body as `T`. Read it once it is known who asks: nobody else may fill our memory.
pub(super) async fn json_body<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let body = Bytes::from_request(request, &()).await;
    let body =
        body.map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
    serde_json::from_slice(&body).map_err(|error| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            format!("the body cannot be used: {error}"),
        )
    })
}
