//! A request on its way: sent through the egress, its answer read.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::control::Usage;
use crate::egress;
use crate::grant::Upstreams;

/// Bodies up to this length, in bytes, usually come in one or two pieces.
const SHORT_BODY_BYTES: usize = 64 << 10;

/// A request that was checked, and what it needs to be sent.
pub(super) struct Outgoing {
    pub(super) upstreams: Arc<Upstreams>,
    pub(super) upstream: String,
    pub(super) request: egress::Request,
    pub(super) max_bytes: usize,
    pub(super) deadline: Instant,
    pub(super) usage: Arc<Usage>,
}

/// An answer as the egress leaves it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<AnswerBody, egress::Error>,
}

pub(super) enum AnswerBody {
    Whole(Bytes),
    Events(Box<egress::Response>),
}

impl Outgoing {
    /// Sends the request and, unless its answer is a stream of events, reads the whole answer.
    pub(super) async fn perform(self) -> Result<Answer, egress::Error> {
        let upstream = self.upstreams.get(&self.upstream).ok_or_else(|| {
            egress::Error::Denied(format!("there is no upstream {}", self.upstream))
        })?;
        let makes = !matches!(self.request.method, Method::GET | Method::HEAD);
        self.usage.count_order(makes);
        let sent = upstream
            .destination
            .send(self.request, self.max_bytes, self.deadline)
            .await;
        if was_refused(&sent) {
            self.usage.take_back_order(makes);
        }
        let mut response = sent?;
        let kind = response.headers.get(CONTENT_TYPE);
        let streams = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
            && response.status.is_success();
        let (status, headers) = (response.status, std::mem::take(&mut response.headers));
        let body = match streams {
            true => Ok(AnswerBody::Events(Box::new(response))),
            false => whole(response).await.map(AnswerBody::Whole),
        };
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

/// Was nothing made for it, and so nothing paid? Any other answer, and none, may mean that it was.
fn was_refused(sent: &Result<egress::Response, egress::Error>) -> bool {
    match sent {
        Err(error) => matches!(error, egress::Error::Connect(_) | egress::Error::Denied(_)),
        Ok(response) => {
            let overloaded = response.status == StatusCode::SERVICE_UNAVAILABLE;
            response.status.is_client_error() || overloaded
        }
    }
}

/// Reads a body. A long one is read by a task of its own, so that its many pieces do not each wake
/// whoever waits for it.
async fn whole(mut response: egress::Response) -> Result<Bytes, egress::Error> {
    if response
        .length
        .is_some_and(|length| length <= SHORT_BODY_BYTES)
    {
        return response.bytes().await;
    }
    let reading = tokio::spawn(async move { response.bytes().await });
    let read = AbortOnDropHandle::new(reading).await;
    read.unwrap_or_else(|crash| Err(egress::Error::Broken(crash.to_string())))
}
