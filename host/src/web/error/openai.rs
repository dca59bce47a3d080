//! Errors in OpenAI's format.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{ApiError, Detail, Rejection};
use crate::jobs;

/// An [`ApiError`] whose response is [`OpenAiErrorBody`], as OpenAI's clients expect.
#[derive(Debug)]
pub(in crate::web) struct OpenAiError(pub(in crate::web) ApiError);

/// Error in OpenAI's format.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiError)]
pub(in crate::web) struct OpenAiErrorBody {
    error: OpenAiErrorFields,
}

#[derive(Serialize, ToSchema)]
struct OpenAiErrorFields {
    #[schema(value_type = String)]
    message: Detail,
    r#type: OpenAiErrorType,
    /// Name of the invalid field.
    #[schema(required = true)]
    param: Option<String>,
    /// Stable, machine-readable error code.
    #[schema(required = true)]
    code: Option<String>,
}

#[derive(Serialize, ToSchema)]
enum OpenAiErrorType {
    #[serde(rename = "invalid_request_error")]
    InvalidRequest,
    #[serde(rename = "rate_limit_error")]
    RateLimit,
    #[serde(rename = "server_error")]
    Server,
}

impl OpenAiError {
    fn error_type(&self) -> OpenAiErrorType {
        let Self(error) = self;
        if error.status.is_server_error() {
            return OpenAiErrorType::Server;
        }
        if error.status == StatusCode::TOO_MANY_REQUESTS {
            return OpenAiErrorType::RateLimit;
        }
        OpenAiErrorType::InvalidRequest
    }

    pub(in crate::web) fn into_body(self) -> OpenAiErrorBody {
        let r#type = self.error_type();
        let Self(error) = self;
        OpenAiErrorBody {
            error: OpenAiErrorFields {
                message: error.detail,
                r#type,
                param: error.param,
                code: error.code,
            },
        }
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let head = self.0.head();
        head.respond(self.into_body())
    }
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<Rejection> for OpenAiError {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.error)
    }
}

impl From<jobs::Error> for OpenAiError {
    fn from(error: jobs::Error) -> Self {
        Self(error.into())
    }
}
