//! A request for a generated image, at a URL that an upstream returned.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use crate::grant::{Upstream, Upstreams};
use crate::memory_budget::MemoryBudget;
use crate::outgoing_request::receive;
use crate::resources::{SendError, WholeBody};
use pinhole_egress as egress;
use pinhole_egress::{ImageRoute, Url, redirect_target};

/// Time before a connection that could not be opened is tried again. The image is made and paid for.
const CONNECT_RETRY_DELAY: Duration = Duration::from_millis(500);

/// A request that passed all checks, with everything that sending it needs.
pub(crate) struct ImageRequest {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) upstream: Arc<str>,
    pub(crate) url: Url,
    pub(crate) route: ImageRoute,
    pub(crate) max_bytes: usize,
    pub(crate) deadline: Instant,
    /// Counts the body while it is received.
    pub(crate) memory: MemoryBudget,
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

impl ImageRequest {
    /// Sends the request and receives the whole body of a successful response.
    pub(crate) async fn send(self) -> Result<ImageResponse, SendError> {
        let Some(upstream) = self.upstreams.get(&*self.upstream) else {
            let message = format!("there is no upstream {}", self.upstream);
            return Err(egress::Error::Connect(message).into());
        };
        let response = match self.get(upstream).await {
            Err(egress::Error::Connect(_)) if self.has_time_to_retry() => {
                sleep(CONNECT_RETRY_DELAY).await;
                self.get(upstream).await?
            }
            first => first?,
        };
        if response.status.is_success() {
            let body = receive(response, self.max_bytes, &self.memory).await?;
            return Ok(ImageResponse::Body(body));
        }
        if response.status.is_redirection() {
            let target = redirect_target(&self.url, &response)?;
            return Ok(ImageResponse::Redirect(target));
        }
        Ok(ImageResponse::Status(response.status))
    }

    async fn get(&self, upstream: &Upstream) -> Result<egress::Response, egress::Error> {
        let (max_bytes, deadline) = (self.max_bytes, self.deadline);
        upstream
            .destination
            .get_image(&self.url, self.route, max_bytes, deadline)
            .await
    }

    fn has_time_to_retry(&self) -> bool {
        Instant::now() + CONNECT_RETRY_DELAY < self.deadline
    }
}
