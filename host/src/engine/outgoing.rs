//! A request on its way: sent through the egress, its answer read.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderMap};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

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
        let mut response = upstream
            .destination
            .send(self.request, self.max_bytes, self.deadline)
            .await?;
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
    read.unwrap_or_else(|crash| Err(egress::Error::Connect(crash.to_string())))
}
