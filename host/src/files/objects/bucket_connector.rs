//! Sends the requests of the object store client through the egress.
//!
//! A bucket that responds slowly, or without an end, costs neither a task nor memory: each request and each pause in
//! a response has a time limit, and each response has a length limit.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Frame};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use pinhole_egress::{BucketClient, BucketFailure, BucketRequestError};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::files::MAX_OBJECT_BYTES;

/// Time of a request until the head of its response arrives, with the upload of an image.
pub(in crate::files) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a response may pause between two chunks.
pub(in crate::files) const READ_TIMEOUT: Duration = Duration::from_secs(15);
/// Requests that wait for the head of their response at the same time. Further ones wait for these.
pub(in crate::files) const MAX_BUCKET_REQUESTS: usize = 64;
/// Length of a response with an error, in bytes.
const MAX_ERROR_BYTES: u64 = 64 << 10;
/// Length of a page of a list, in bytes. A page has at most 5,000 objects.
const MAX_LIST_BYTES: u64 = 8 << 20;

/// Gives each part of the object store client, such as that of its credentials, the same HTTP client.
#[derive(Clone, Debug)]
pub(in crate::files) struct BucketConnector {
    client: BucketClient,
    requests: Arc<Semaphore>,
}

/// Why a response is not used.
#[derive(Debug, thiserror::Error)]
enum BadResponse {
    #[error("it did not respond within {} seconds", REQUEST_TIMEOUT.as_secs())]
    Late,
    #[error("its response paused for {} seconds", READ_TIMEOUT.as_secs())]
    Paused,
    #[error("its response is longer than the {0} bytes allowed")]
    TooLong(u64),
    #[error("the server stops")]
    Closed,
}

impl BucketConnector {
    pub(in crate::files) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            client: BucketClient::new()?,
            requests: Arc::new(Semaphore::new(MAX_BUCKET_REQUESTS)),
        })
    }

    /// Sends a request as soon as fewer than the limit wait.
    async fn send(
        &self,
        request: HttpRequest,
    ) -> Result<
        http::Response<impl Body<Data = Bytes, Error = BucketRequestError> + Send + Sync + use<>>,
        HttpError,
    > {
        let permit = self.requests.acquire().await;
        let _permit =
            permit.map_err(|_| HttpError::new(HttpErrorKind::Unknown, BadResponse::Closed))?;
        self.client.send(request).await.map_err(request_failure)
    }
}

impl HttpConnector for BucketConnector {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for BucketConnector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_list = query.contains("list-type=") || query.contains("comp=list");
        let sent = timeout(REQUEST_TIMEOUT, self.send(request)).await;
        let response =
            sent.map_err(|_| HttpError::new(HttpErrorKind::Timeout, BadResponse::Late))??;
        let max_bytes = if !response.status().is_success() {
            MAX_ERROR_BYTES
        } else if is_list {
            MAX_LIST_BYTES
        } else {
            MAX_OBJECT_BYTES
        };
        Ok(response.map(|body| limited(body, max_bytes)))
    }
}

/// The body, which fails beyond this length or after a long pause.
fn limited(
    body: impl Body<Data = Bytes, Error = BucketRequestError> + Send + Sync + 'static,
    max_bytes: u64,
) -> HttpResponseBody {
    let start = (Box::pin(body), max_bytes);
    let frames = stream::try_unfold(start, move |(mut rest, mut left)| async move {
        loop {
            let frame = timeout(READ_TIMEOUT, rest.frame()).await;
            let frame =
                frame.map_err(|_| HttpError::new(HttpErrorKind::Timeout, BadResponse::Paused))?;
            let Some(frame) = frame.transpose().map_err(request_failure)? else {
                return Ok(None);
            };
            // Trailers are ignored.
            let Ok(bytes) = frame.into_data() else {
                continue;
            };
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                HttpError::new(HttpErrorKind::Decode, BadResponse::TooLong(max_bytes))
            })?;
            return Ok(Some((Frame::data(bytes), (rest, left))));
        }
    });
    HttpResponseBody::new(StreamBody::new(frames))
}

fn request_failure(error: BucketRequestError) -> HttpError {
    let kind = match error.failure {
        BucketFailure::Connect => HttpErrorKind::Connect,
        BucketFailure::Interrupted => HttpErrorKind::Interrupted,
        BucketFailure::Other => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, error)
}
