//! `ApiError`: a status with a message for the client and, if it is our own failure, one for the log.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use utoipa::ToSchema;

use pinhole_ground::text::plain;
use pinhole_sandbox as sandbox;
use pinhole_sandbox::contract::ErrorKind;

use crate::{accounts, jobs};

/// Retry delay sent to a client whose job found the queue full, in milliseconds.
const QUEUE_FULL_RETRY_MS: u64 = 5000;
/// Length of a field name that an error repeats, in bytes.
const MAX_PARAM_BYTES: usize = 100;

/// Open WebUI's text for a missing permission.
const PROHIBITED: &str = "You do not have permission to access this resource. Please contact your administrator for assistance.";

/// A failed request. Its response is [`ErrorBody`], as Open WebUI's clients expect.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    detail: Detail,
    reason: Option<String>,
    code: Option<String>,
    param: Option<String>,
    retry_after_ms: Option<u64>,
}

/// Error in Open WebUI's format.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorBody {
    detail: Detail,
    /// Cause of the error, if `detail` does not contain it.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Error message, or the list of invalid fields.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Detail {
    Text(String),
    Fields(Box<[InvalidField]>),
}

/// An invalid field, in FastAPI's format.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InvalidField {
    /// Kind of error.
    pub(super) r#type: String,
    /// Path of the field: names, and positions in lists.
    pub(super) loc: Vec<Value>,
    /// Error message.
    pub(super) msg: String,
}

/// An [`ApiError`] whose response is [`OpenAiErrorBody`], as OpenAI's clients expect.
#[derive(Debug)]
pub(super) struct OpenAiError(pub(super) ApiError);

/// Error in OpenAI's format.
#[derive(Serialize, ToSchema)]
#[schema(as = OpenAiError)]
pub(super) struct OpenAiErrorBody {
    error: OpenAiErrorFields,
}

#[derive(Serialize, ToSchema)]
struct OpenAiErrorFields {
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

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::with_detail(status, Detail::Text(detail.into()))
    }

    fn with_detail(status: StatusCode, detail: Detail) -> Self {
        Self {
            status,
            detail,
            reason: None,
            code: None,
            param: None,
            retry_after_ms: None,
        }
    }

    /// 400: an invalid field or parameter.
    pub(super) fn invalid(param: &str, detail: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::BAD_REQUEST, detail);
        error.param = Some(param.to_owned());
        error
    }

    /// 413: a field that exceeds its limit.
    pub(super) fn too_long(param: &str, detail: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
        error.param = Some(param.to_owned());
        error
    }

    /// 422: a body with invalid fields.
    pub(super) fn unprocessable(fields: Vec<InvalidField>) -> Self {
        Self::with_detail(
            StatusCode::UNPROCESSABLE_ENTITY,
            Detail::Fields(fields.into()),
        )
    }

    /// 403: a disabled feature, or one that the user has no permission for.
    pub(super) fn prohibited() -> Self {
        Self::new(StatusCode::FORBIDDEN, PROHIBITED)
    }

    /// 401, as Open WebUI responds to a role without access to the route.
    pub(super) fn wrong_role() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, PROHIBITED)
    }

    /// Adds the cause.
    pub(super) fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Adds a stable, machine-readable code.
    pub(super) fn coded(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    /// Follows Open WebUI's image API: status 400 with the cause in brackets. Our own failures keep
    /// their status.
    pub(super) fn bracketed(mut self) -> Self {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            return self;
        }
        if let Detail::Text(detail) = &self.detail {
            self.detail = Detail::Text(format!("[ERROR: {detail}]"));
            self.status = StatusCode::BAD_REQUEST;
        }
        self
    }

    /// This error as the response to a request of this URI.
    pub(super) fn rejection(self, uri: &Uri) -> Rejection {
        Rejection {
            error: self,
            is_openai: uri.path().starts_with("/v1/"),
        }
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// 500: our own failure. Only the log contains the cause.
    pub(super) fn internal(error: &anyhow::Error) -> Self {
        tracing::error!("request failed: {error:#}");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal server error; the server's log contains the cause",
        )
    }
}

/// A failure of the server itself, such as of its files.
impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::internal(&error)
    }
}

/// A failure of the database.
impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(&error.into())
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
            // The server's credential and permissions at the upstream are not the client's fault.
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::OutOfMemory
            | ErrorKind::Cancelled
            | ErrorKind::Upstream
            | ErrorKind::Protocol => StatusCode::BAD_GATEWAY,
        };
        let mut api = Self::new(status, error.to_string());
        api.code = Some(error.kind().name().to_owned());
        match error {
            jobs::Error::Invalid { field, .. } | jobs::Error::Unsupported { field, .. } => {
                api.param = Some(field.to_owned());
            }
            jobs::Error::Engine { source, .. } => match *source {
                sandbox::Error::Engine { error, .. } => {
                    api.code = error.code.or(api.code);
                    api.param = error.field;
                    api.retry_after_ms = error.retry_after_ms;
                }
                sandbox::Error::QueueFull(_) | sandbox::Error::UserQueueFull(_) => {
                    api.retry_after_ms = Some(QUEUE_FULL_RETRY_MS);
                }
                _ => {}
            },
            jobs::Error::Disabled(_) => {}
        }
        api
    }
}

impl From<accounts::Error> for ApiError {
    fn from(error: accounts::Error) -> Self {
        let status = match &error {
            accounts::Error::Internal(ours) => return Self::internal(ours),
            accounts::Error::SignUpDisabled => StatusCode::FORBIDDEN,
            accounts::Error::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            accounts::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
            accounts::Error::Invalid { .. }
            | accounts::Error::EmailTaken
            | accounts::Error::InvalidCredentials => StatusCode::BAD_REQUEST,
        };
        let mut api = Self::new(status, error.to_string());
        match error {
            accounts::Error::Invalid { field, .. } => api.param = Some(field.to_owned()),
            accounts::Error::TooManyAttempts { retry_after_ms } => {
                api.retry_after_ms = Some(retry_after_ms)
            }
            _ => {}
        }
        api
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            detail: self.detail,
            reason: self.reason,
        };
        respond(self.status, self.retry_after_ms, body)
    }
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

    pub(super) fn into_body(self) -> OpenAiErrorBody {
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
        let Self(error) = &self;
        let (status, retry_after_ms) = (error.status, error.retry_after_ms);
        respond(status, retry_after_ms, self.into_body())
    }
}

impl From<ApiError> for OpenAiError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

/// An error in the format of the API that the request's path belongs to.
#[derive(Debug)]
pub(super) struct Rejection {
    error: ApiError,
    is_openai: bool,
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        rejection.error
    }
}

impl From<Rejection> for OpenAiError {
    fn from(rejection: Rejection) -> Self {
        Self(rejection.error)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let Self { error, is_openai } = self;
        if is_openai {
            return OpenAiError(error).into_response();
        }
        error.into_response()
    }
}

impl From<jobs::Error> for OpenAiError {
    fn from(error: jobs::Error) -> Self {
        Self(error.into())
    }
}

fn respond(status: StatusCode, retry_after_ms: Option<u64>, body: impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(ms) = retry_after_ms {
        let secs = HeaderValue::from(ms.div_ceil(1000));
        response.headers_mut().insert(RETRY_AFTER, secs);
    }
    response
}

/// Parses a JSON body, whatever its content type. Authenticate the caller first: the body is in
/// memory.
pub(super) async fn json_body<T: DeserializeOwned>(request: Request) -> Result<T, ApiError> {
    let body = Bytes::from_request(request, &())
        .await
        .map_err(|rejection| ApiError::new(rejection.status(), rejection.body_text()))?;
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
