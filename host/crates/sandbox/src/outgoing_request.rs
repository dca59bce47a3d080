//! A request on its way: sent through the egress, its answer read.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::call::failed;
use super::job_context::Usage;
use super::limits::{Broken, Held, Holding};
use pinhole_egress as egress;
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
    /// Counts the answer while it is read.
    pub(super) holding: Holding,
    /// One of those that the call may have at the same time.
    pub(super) connection: OwnedSemaphorePermit,
    /// What the request's own body costs until it is sent.
    pub(super) held: Held,
}

/// An answer as the egress leaves it.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Result<AnswerBody, egress::Error>,
}

pub(super) enum AnswerBody {
    Whole(Bytes, Held),
    Events(Box<egress::Response>, OwnedSemaphorePermit),
}

/// Why there is no answer.
pub(super) enum Unanswered {
    /// For the guest to hear of.
    Egress(egress::Error),
    /// Ends the call.
    Broken(Broken),
}

impl From<egress::Error> for Unanswered {
    fn from(error: egress::Error) -> Self {
        Self::Egress(error)
    }
}

impl From<Broken> for Unanswered {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl Outgoing {
    /// Sends the request and, unless its answer is a stream of events, reads the whole answer.
    pub(super) async fn perform(self) -> Result<Answer, Unanswered> {
        let upstream = self.upstreams.get(&self.upstream).ok_or_else(|| {
            egress::Error::Connect(format!("there is no upstream {}", self.upstream))
        })?;
        let makes = !matches!(self.request.method, Method::GET | Method::HEAD);
        self.usage.count_order(makes);
        let sent = upstream
            .destination
            .send(self.request, self.max_bytes, self.deadline)
            .await;
        drop(self.held);
        if was_refused(&sent) {
            self.usage.take_back_order(makes);
        }
        let mut response = sent?;
        let kind = response.headers.get(CONTENT_TYPE);
        let streams = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
            && response.status.is_success();
        let (status, headers) = (response.status, std::mem::take(&mut response.headers));
        let body = match streams {
            true => Ok(AnswerBody::Events(Box::new(response), self.connection)),
            false => match whole(response, self.max_bytes, &self.holding).await {
                Ok((bytes, held)) => Ok(AnswerBody::Whole(bytes, held)),
                Err(Unanswered::Egress(error)) => Err(error),
                Err(broken) => return Err(broken),
            },
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
async fn whole(
    response: egress::Response,
    max_bytes: usize,
    holding: &Holding,
) -> Result<(Bytes, Held), Unanswered> {
    if response.length.is_some_and(|length| length > max_bytes) {
        return Err(egress::Error::TooLarge(max_bytes).into());
    }
    let held = holding.take(0)?;
    let short = response.length.filter(|length| *length <= SHORT_BODY_BYTES);
    if short.is_some() {
        return read(response, held).await;
    }
    let reading = AbortOnDropHandle::new(tokio::spawn(read(response, held)));
    let read = reading.await;
    read.unwrap_or_else(|crash| Err(egress::Error::Broken(failed(&crash)).into()))
}

/// Reads a body, and counts it as it comes.
async fn read(mut response: egress::Response, mut held: Held) -> Result<(Bytes, Held), Unanswered> {
    let mut whole = BytesMut::with_capacity(response.length.unwrap_or(0));
    while let Some(chunk) = response.chunk().await? {
        held.grow(chunk.len())?;
        whole.extend_from_slice(&chunk);
    }
    Ok((whole.freeze(), held))
}
