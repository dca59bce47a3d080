//! A request for a generated image, at a URL that an upstream returned.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, RETRY_AFTER};
use http::{Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};
use url::Position;

use crate::call_usage::{CountedRequest, TrafficRow};
use crate::grant::{Upstream, Upstreams};
use crate::memory_budget::MemoryBudget;
use crate::outgoing_request::{is_failed, receive, record_body};
use crate::resources::{SendError, WholeBody};
use crate::traffic_recorder::{CallRecorder, ExchangeRecorder, RequestParts};
use pinhole_egress as egress;
use pinhole_egress::{ImageRoute, Url, redirect_target};

/// Times that a request is sent again while its host is overloaded. The image is made and paid for.
const MAX_RETRIES: u32 = 5;
/// Time before the first retry, unless the response names another. It doubles with each retry.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Longest time that a response can ask for.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(30);
/// The statuses of a host that will have the image later.
const TEMPORARY: [u16; 4] = [429, 502, 503, 504];

/// A request that passed all checks, with everything that sending it needs.
pub(crate) struct ImageRequest {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) upstream: Arc<str>,
    pub(crate) url: Url,
    pub(crate) route: ImageRoute,
    pub(crate) max_bytes: usize,
    pub(crate) deadline: Instant,
    pub(crate) traffic: Arc<TrafficRow>,
    /// Counts the body while it is received.
    pub(crate) memory: MemoryBudget,
    pub(crate) recorder: Option<Arc<CallRecorder>>,
    /// Held until the body is received.
    pub(crate) _connection: OwnedSemaphorePermit,
}

/// The response to an [`ImageRequest`].
pub(crate) enum ImageResponse {
    Body(WholeBody),
    /// Not followed: its target is checked like the first URL.
    Redirect(Url),
    /// Neither a success nor a redirect.
    Status(StatusCode),
}

/// The head of a response.
struct Received {
    response: egress::Response,
    counted: CountedRequest,
    recorder: Option<ExchangeRecorder>,
}

impl ImageRequest {
    /// Sends the request and receives the whole body of a successful response.
    pub(crate) async fn send(self) -> Result<ImageResponse, SendError> {
        let Some(upstream) = self.upstreams.get(&*self.upstream) else {
            let message = format!("there is no upstream {}", self.upstream);
            return Err(egress::Error::Connect(message).into());
        };
        let Received {
            response,
            counted,
            recorder,
        } = self.get_with_retries(upstream).await?;
        if response.status.is_success() {
            let received = receive(response, self.max_bytes, &self.memory, counted).await;
            if let Some(recorder) = recorder {
                record_body(&recorder, &received);
            }
            return Ok(ImageResponse::Body(received?));
        }
        if response.status.is_redirection() {
            let target = redirect_target(&self.url, &response)?;
            return Ok(ImageResponse::Redirect(target));
        }
        Ok(ImageResponse::Status(response.status))
    }

    async fn get(&self, upstream: &Upstream) -> Result<Received, egress::Error> {
        let (max_bytes, deadline) = (self.max_bytes, self.deadline);
        let mut counted = CountedRequest::start(self.traffic.clone(), 0);
        let recorder = self.record_request();
        let sent = upstream
            .destination
            .get_image(&self.url, self.route, max_bytes, deadline)
            .await;
        if is_failed(&sent) {
            counted.fail();
        }
        if let Some(recorder) = &recorder {
            match &sent {
                Ok(response) => recorder.head(response.status, &response.headers),
                Err(error) => recorder.failed(error),
            }
        }
        Ok(Received {
            response: sent?,
            counted,
            recorder,
        })
    }

    fn record_request(&self) -> Option<ExchangeRecorder> {
        let recorder = self.recorder.as_ref()?;
        let origin = self.url.origin().ascii_serialization();
        Some(recorder.start(&RequestParts {
            upstream: None,
            base_url: &origin,
            method: Method::GET.as_str(),
            path: &self.url[Position::BeforePath..Position::AfterQuery],
            credential_parameter: None,
            credential_fields: Vec::new(),
            headers: &HeaderMap::new(),
            content_type: None,
            body: &Bytes::new(),
            is_web_socket: false,
        }))
    }

    /// Requests the image again while its host cannot be reached, or returns a temporary status.
    async fn get_with_retries(&self, upstream: &Upstream) -> Result<Received, egress::Error> {
        let mut default_delay = RETRY_DELAY;
        for retry in 0..MAX_RETRIES {
            let delay = match self.get(upstream).await {
                Ok(Received { response, .. }) if TEMPORARY.contains(&response.status.as_u16()) => {
                    retry_after(&response).unwrap_or(default_delay)
                }
                // A second failure will last.
                Err(egress::Error::Connect(_)) if retry == 0 => default_delay,
                outcome => return outcome,
            };
            let delay = delay.min(MAX_RETRY_DELAY);
            if Instant::now() + delay >= self.deadline {
                break;
            }
            sleep(delay).await;
            default_delay *= 2;
        }
        self.get(upstream).await
    }
}

/// The delay in seconds that a response asks for.
fn retry_after(response: &egress::Response) -> Option<Duration> {
    let text = response.headers.get(RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}
