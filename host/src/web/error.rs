//! `ApiError`: a status, what the client reads, what the log reads.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use http::header::{HeaderValue, RETRY_AFTER};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::Segment;

use pinhole_sandbox as engine;
use pinhole_sandbox::contract::ErrorKind;
use crate::jobs;
use crate::accounts;
use pinhole_ground::text::plain;

/// When a client may try again that found too many jobs waiting, in milliseconds.
const CROWDED_RETRY_MS: u64 = 5000;
/// Length of a field's name that the client is told, in bytes.
const MAX_PARAM_BYTES: usize = 100;

/// What Open WebUI says to whom a thing is not for.
const PROHIBITED: &str = "You do not have permission to access this resource. Please contact your administrator for assistance.";

/// A request that was not carried out. As Open WebUI says it: `{"detail": …}`.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    detail: Detail,
    /// Why, where the detail does not say.
    reason: Option<String>,
    code: Option<String>,
    param: Option<String>,
    retry_after_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Detail {
    Text(String),
    /// The fields that are wrong.
    Fields(Box<[Value]>),
}

/// The same as OpenAI says it: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug)]
pub(super) struct OpenAiError(pub(super) ApiError);

impl ApiError {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self::detailed(status, Detail::Text(detail.into()))
    }

    fn detailed(status: StatusCode, detail: Detail) -> Self {
        Self {
            status,
            detail,
            reason: None,
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

    /// A field that is longer than anybody may send.
    pub(super) fn too_long(param: &str, detail: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail);
        error.param = Some(param.to_owned());
        error
    }

    /// A body of the wrong shape: the fields as FastAPI lists them, each with `type`, `loc` and `msg`.
    pub(super) fn unprocessable(wrong: Vec<Value>) -> Self {
        Self::detailed(
            StatusCode::UNPROCESSABLE_ENTITY,
            Detail::Fields(wrong.into()),
        )
    }

    /// Something that is switched off, or not for this user.
    pub(super) fn prohibited() -> Self {
        Self::new(StatusCode::FORBIDDEN, PROHIBITED)
    }

    /// Something that the caller's role is not for, whose refusal has another status in Open WebUI.
    pub(super) fn wrong_role() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, PROHIBITED)
    }

    /// The same with the reason besides.
    pub(super) fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// The same with a word that programs branch on.
    pub(super) fn coded(mut self, code: &str) -> Self {
        self.code = Some(code.to_owned());
        self
    }

    /// As Open WebUI's image API says whatever failed: 400, and why in brackets. Our own failures
    /// stay what they are.
    pub(super) fn bracketed(mut self) -> Self {
        let ours = self.status == StatusCode::INTERNAL_SERVER_ERROR;
        if let (false, Detail::Text(why)) = (ours, &self.detail) {
            self.detail = Detail::Text(format!("[ERROR: {why}]"));
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
        api.code = Some(error.kind().name().to_owned());
        match error {
            jobs::Error::Invalid { field, .. } | jobs::Error::Unsupported { field, .. } => {
                api.param = Some(field.to_owned());
            }
            jobs::Error::Engine { source, .. } => match *source {
                engine::Error::Engine { error, .. } => {
                    api.code = error.code.or(api.code);
                    api.param = error.field;
                    api.retry_after_ms = error.retry_after_ms;
                }
                engine::Error::QueueFull(_) | engine::Error::UserQueueFull(_) => {
                    api.retry_after_ms = Some(CROWDED_RETRY_MS);
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
            accounts::Error::Ours(ours) => return Self::internal(ours),
            accounts::Error::Closed => StatusCode::FORBIDDEN,
            accounts::Error::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            accounts::Error::Busy => StatusCode::SERVICE_UNAVAILABLE,
            accounts::Error::Invalid { .. } | accounts::Error::Taken | accounts::Error::Credentials => {
                StatusCode::BAD_REQUEST
            }
        };
        let mut api = Self::new(status, error.to_string());
        match error {
            accounts::Error::Invalid { field, .. } => api.param = Some(field.to_owned()),
            accounts::Error::TooMany { wait_ms } => api.retry_after_ms = Some(wait_ms),
            _ => {}
        }
        api
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({"detail": self.detail});
        if let (Some(reason), Some(body)) = (self.reason, body.as_object_mut()) {
            body.insert("reason".to_owned(), reason.into());
        }
        respond(self.status, self.retry_after_ms, body)
    }
}

impl OpenAiError {
    /// What the client reads.
    pub(super) fn body(&self) -> Value {
        let Self(error) = self;
        let kind = match error.status {
            status if status.is_server_error() => "server_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            _ => "invalid_request_error",
        };
        json!({"error": {
            "message": error.detail,
            "type": kind,
            "param": error.param,
            "code": error.code,
        }})
    }
}

impl IntoResponse for OpenAiError {
    fn into_response(self) -> Response {
        let body = self.body();
        let Self(error) = self;
        respond(error.status, error.retry_after_ms, body)
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

fn respond(status: StatusCode, retry_after_ms: Option<u64>, body: Value) -> Response {
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
    let mut json = serde_json::Deserializer::from_slice(&body);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| unusable(&error))?;
    json.end().map_err(|error| {
        let detail = format!("the body cannot be used: {error}");
        ApiError::new(StatusCode::BAD_REQUEST, detail)
    })?;
    Ok(value)
}

/// The same of what has been read already.
pub(super) fn json_value<T: DeserializeOwned>(value: Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| unusable(&error))
}

/// Names the field at the top that cannot be used.
fn unusable(error: &serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let field = error.path().iter().find_map(|segment| match segment {
        Segment::Map { key } => Some(plain(key, MAX_PARAM_BYTES)),
        _ => None,
    });
    let place = field
        .as_ref()
        .map_or_else(String::new, |field| format!(" (in {field})"));
    let detail = format!("the body cannot be used: {}{place}", error.inner());
    let mut unusable = ApiError::new(StatusCode::BAD_REQUEST, detail);
    unusable.param = field;
    unusable
}
