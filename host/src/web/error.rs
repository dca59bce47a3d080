//! `ApiError`: a status with a message for the client and, if it is our own failure, one for the log.

mod failed_job;
mod openai;

use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use pinhole_ground::disk;
use pinhole_ground::fair_queue::QueueFull;
use pinhole_ground::memory::MemoryFull;

use crate::releases::ReleaseError;
use crate::store::{SearchError, Trouble};
use crate::{accounts, files, jobs};

pub(super) use openai::{OpenAiError, OpenAiErrorBody};

/// `false` forbids a retry. OpenAI's clients retry 408, 409, 429 and all 5xx otherwise, each as a new order.
///
/// Source: `_should_retry` of the Python client, `shouldRetry` of the JavaScript client.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Retry delay of a client whose request a server refuses that is about to stop, in milliseconds.
const DRAIN_RETRY_MS: u64 = 5_000;
/// Retry delay sent to a client whose job found the queue full, in milliseconds.
const QUEUE_FULL_RETRY_MS: u64 = 5000;
/// Retry delay sent to a client that waited for other writers or searches, in milliseconds.
const BUSY_RETRY_MS: u64 = 1000;
/// When a bucket that cannot be used has been checked again.
const BUCKET_RETRY_MS: u64 = 10_000;
/// Retry delay sent to a client whose request found the memory in use, in milliseconds.
const MEMORY_FULL_RETRY_MS: u64 = 2000;

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
    /// Sending the request again would be charged again, or cannot succeed.
    forbids_retry: bool,
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
            forbids_retry: false,
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

    /// A refusal that ends after this time: 429 if the limit is the user's, 503 if it is the server's.
    pub(super) fn retry_later(
        status: StatusCode,
        detail: impl Into<String>,
        retry_after_ms: u64,
    ) -> Self {
        let mut error = Self::new(status, detail);
        error.retry_after_ms = Some(retry_after_ms);
        error
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

    /// Adds the time after which the client may retry.
    fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Tells clients not to send the request again on their own: it may be charged again, or cannot succeed.
    pub(super) fn without_retry(mut self) -> Self {
        self.forbids_retry = true;
        self
    }

    /// Follows Open WebUI's image API: status 400 with the cause in brackets. Our own failures retain
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
        self.in_format(ErrorFormat::of(uri))
    }

    pub(super) fn in_format(self, format: ErrorFormat) -> Rejection {
        Rejection {
            error: self,
            format,
        }
    }

    /// 503: the server stopped the request. It may be charged again.
    pub(super) fn shutting_down() -> Self {
        let detail = "the server is shutting down";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).without_retry()
    }

    /// 422: another request with the same idempotency key had another body.
    pub(super) fn other_body() -> Self {
        let detail = "another request with this Idempotency-Key had another body: use a new key";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// 503: the server is about to stop, and nothing was started.
    pub(super) fn draining() -> Self {
        let detail = "the server is about to stop: retry later";
        Self::retry_later(StatusCode::SERVICE_UNAVAILABLE, detail, DRAIN_RETRY_MS)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not Found")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
    }

    /// 500: our own failure. Only the log contains the cause. 503 if others write to the database or the bucket
    /// cannot be used, and 507 if the disk is full.
    pub(super) fn internal(error: &anyhow::Error) -> Self {
        tracing::error!("request failed: {error:#}");
        if files::is_bucket_failure(error) {
            let detail = "the server cannot reach its image storage: try again";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(BUCKET_RETRY_MS);
        }
        match trouble(error) {
            Some(Trouble::Busy) => {
                let detail = "the server's database is busy: try again";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
                    .retry_after(BUSY_RETRY_MS);
            }
            Some(Trouble::Disk) => return files::NoRoom::DiskFull.into(),
            _ => {}
        }
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

/// A failure that another moment or more space may cure.
fn trouble(error: &anyhow::Error) -> Option<Trouble> {
    error.chain().find_map(|cause| {
        if let Some(cause) = cause.downcast_ref::<sqlx::Error>() {
            return Trouble::of(cause);
        }
        let cause = cause.downcast_ref::<std::io::Error>()?;
        disk::is_full(cause).then_some(Trouble::Disk)
    })
}

impl From<files::NoRoom> for ApiError {
    fn from(error: files::NoRoom) -> Self {
        match error {
            files::NoRoom::Internal(ours) => Self::internal(&ours),
            files::NoRoom::Quota { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()).without_retry()
            }
            files::NoRoom::DiskFull => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()).without_retry()
            }
            files::NoRoom::BucketLost => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    .retry_after(BUCKET_RETRY_MS)
            }
        }
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> Self {
        let detail = error.to_string();
        match error {
            SearchError::Store(ours) => ours.into(),
            SearchError::TooMany => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(BUSY_RETRY_MS)
            }
            SearchError::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(BUSY_RETRY_MS)
            }
            SearchError::TooSlow => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail),
        }
    }
}

/// 413 if the request can never fit, 429 if the user's other requests hold the memory, else 503.
impl From<MemoryFull> for ApiError {
    fn from(full: MemoryFull) -> Self {
        let (status, retry_after_ms) = match full {
            MemoryFull::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, None),
            MemoryFull::User => (StatusCode::TOO_MANY_REQUESTS, Some(MEMORY_FULL_RETRY_MS)),
            MemoryFull::All => (StatusCode::SERVICE_UNAVAILABLE, Some(MEMORY_FULL_RETRY_MS)),
        };
        let mut api = Self::new(status, full.to_string());
        api.retry_after_ms = retry_after_ms;
        api.coded("memory_full")
    }
}

impl From<accounts::Error> for ApiError {
    fn from(error: accounts::Error) -> Self {
        let status = match &error {
            accounts::Error::Internal(ours) => return Self::internal(ours),
            accounts::Error::SignUpDisabled | accounts::Error::WrongSetupCode => {
                StatusCode::FORBIDDEN
            }
            accounts::Error::SetupDone => StatusCode::CONFLICT,
            accounts::Error::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            accounts::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
            accounts::Error::Invalid { .. }
            | accounts::Error::EmailTaken
            | accounts::Error::InvalidCredentials
            | accounts::Error::UnknownKey => StatusCode::BAD_REQUEST,
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

/// An engine that was not changed.
impl From<ReleaseError> for ApiError {
    fn from(error: ReleaseError) -> Self {
        let status = match &error {
            ReleaseError::Internal(ours) => return Self::internal(ours),
            ReleaseError::Database(ours) => {
                tracing::error!("{error}: {ours}");
                if Trouble::of(ours) == Some(Trouble::Disk) {
                    return files::NoRoom::DiskFull.into();
                }
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())
                    .retry_after(BUSY_RETRY_MS);
            }
            ReleaseError::NotStored { .. } => StatusCode::INSUFFICIENT_STORAGE,
            ReleaseError::Unknown(_) => StatusCode::NOT_FOUND,
            ReleaseError::Refused { .. } => StatusCode::BAD_REQUEST,
            ReleaseError::Conflict(_) | ReleaseError::Moved => StatusCode::CONFLICT,
        };
        Self::new(status, error.to_string())
    }
}

impl From<QueueFull> for ApiError {
    fn from(full: QueueFull) -> Self {
        jobs::Error::QueueFull(full).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let head = self.head();
        head.respond(ErrorBody {
            detail: self.detail,
            reason: self.reason,
        })
    }
}

/// The format of an API's errors. It outlives the request's URI, which holds the buffer that the request arrived in.
#[derive(Clone, Copy, Debug)]
pub(super) enum ErrorFormat {
    OpenAi,
    OpenWebUi,
}

impl ErrorFormat {
    /// The format of the API that a request's path belongs to.
    pub(super) fn of(uri: &Uri) -> Self {
        if uri.path().starts_with("/v1/") {
            Self::OpenAi
        } else {
            Self::OpenWebUi
        }
    }
}

/// An error in the format of the API that the request's path belongs to.
#[derive(Debug)]
pub(super) struct Rejection {
    error: ApiError,
    format: ErrorFormat,
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        rejection.error
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        match self.format {
            ErrorFormat::OpenAi => OpenAiError(self.error).into_response(),
            ErrorFormat::OpenWebUi => self.error.into_response(),
        }
    }
}

/// Status and headers of an error response, in whatever format its body is.
struct ErrorHead {
    status: StatusCode,
    retry_after_ms: Option<u64>,
    forbids_retry: bool,
}

impl ApiError {
    fn head(&self) -> ErrorHead {
        ErrorHead {
            status: self.status,
            retry_after_ms: self.retry_after_ms,
            forbids_retry: self.forbids_retry,
        }
    }
}

impl ErrorHead {
    fn respond(self, body: impl Serialize) -> Response {
        let mut response = (self.status, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(ms) = self.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(ms.div_ceil(1000)));
        }
        if self.forbids_retry {
            headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat;

    #[test]
    fn lost_database_is_503_also_as_the_source_of_another_error() {
        let lost = || chat::Error::Store(sqlx::Error::PoolTimedOut);
        let context = anyhow::Error::from(sqlx::Error::PoolTimedOut).context("cannot read");
        for error in [
            lost().into(),
            anyhow::Error::from(lost()).context("a turn"),
            context,
        ] {
            let status = ApiError::internal(&error).status;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{error:#}");
        }
        let other = ApiError::internal(&anyhow::anyhow!("a bug"));
        assert_eq!(other.status, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
