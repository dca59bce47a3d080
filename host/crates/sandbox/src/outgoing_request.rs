//! A request on its way: sent through the egress, and its response received.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER, SERVER};
use http::{Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::body_text::BodyReceiver;
use crate::call_usage::{CountedRequest, TrafficRow};
use crate::grant::Upstreams;
use crate::host_task::describe_crash;
use crate::job_context::Usage;
use crate::job_journal::{JobJournal, OrderError};
use crate::memory_budget::{MemoryBudget, Reservation};
use crate::resources::{EventBody, ResponseBody, ResponseResource, SendError, WholeBody};
use crate::sse::EventStream;
use crate::traffic_recorder::ExchangeRecorder;
use pinhole_egress as egress;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;

/// Length of a short body in bytes. It usually arrives in one or two chunks.
const SHORT_BODY_BYTES: usize = 64 << 10;

/// Client errors that a server sends after it waited for a result: a timeout, and nginx's "client closed
/// request".
const GAVE_UP_WAITING: [u16; 2] = [408, 499];

/// A request that passed all checks, with everything that sending it needs.
pub(crate) struct OutgoingRequest {
    pub(crate) upstreams: Arc<Upstreams>,
    pub(crate) upstream: String,
    pub(crate) request: egress::Request,
    pub(crate) max_response_bytes: usize,
    pub(crate) deadline: Instant,
    pub(crate) usage: Arc<Usage>,
    pub(crate) journal: Option<JobJournal>,
    pub(crate) traffic: Arc<TrafficRow>,
    /// The job is cancelled: the request asks the upstream to stop.
    pub(crate) is_after_cancel: bool,
    /// Counts the response while it is received.
    pub(crate) memory: MemoryBudget,
    pub(crate) connection: OwnedSemaphorePermit,
    /// Counts the request body until it is sent.
    pub(crate) body_reservation: Reservation,
    pub(crate) recorder: Option<ExchangeRecorder>,
}

impl OutgoingRequest {
    /// May the upstream generate an image for it?
    pub(crate) fn is_billable(&self) -> bool {
        !matches!(self.request.method, Method::GET | Method::HEAD)
    }

    /// Waits until the job may order. The upstream receives nothing before.
    async fn wait_for_order(&self) -> Result<(), egress::Error> {
        let Some(journal) = self.journal.as_ref().filter(|_| !self.is_after_cancel) else {
            return Ok(());
        };
        let ordering = tokio::time::timeout_at(self.deadline, journal.order());
        match ordering.await.map_err(|_| egress::Error::Timeout)? {
            Ok(()) => Ok(()),
            Err(OrderError::Refused(refusal)) => Err(egress::Error::Denied {
                kind: RefusalKind::Request,
                refusal,
            }),
            Err(OrderError::Closed) => {
                let reason = "the job is not this process's any more";
                Err(egress::Error::Connect(reason.to_owned()))
            }
        }
    }

    /// Sends the request. Receives the whole response, or only the head of an event stream.
    pub(crate) async fn send(self) -> Result<ResponseResource, SendError> {
        let Some(upstream) = self.upstreams.get(&self.upstream) else {
            let message = format!("there is no upstream {}", self.upstream);
            return Err(egress::Error::Connect(message).into());
        };
        let is_billable = self.is_billable();
        if is_billable {
            self.wait_for_order().await?;
            self.usage.add_billable_request();
        }
        let mut counted = CountedRequest::start(self.traffic, self.request.body.len());
        let sent = upstream
            .destination
            .send(self.request, self.max_response_bytes, self.deadline)
            .await;
        drop(self.body_reservation);
        if is_billable && is_refused(&sent) {
            self.usage.remove_billable_request();
        }
        if is_failed(&sent) {
            counted.fail();
        }
        if let (Some(recorder), Err(error)) = (&self.recorder, &sent) {
            recorder.failed(error);
        }
        let mut response = sent?;
        if is_billable && self.is_after_cancel && response.status.is_success() {
            self.usage.record_accepted_cancellation();
        }
        let (status, headers) = (response.status, std::mem::take(&mut response.headers));
        if let Some(recorder) = &self.recorder {
            recorder.head(status, &headers);
        }
        let is_event_stream = headers
            .get(CONTENT_TYPE)
            .is_some_and(|media_type| media_type.as_bytes().starts_with(b"text/event-stream"));
        let body = if is_event_stream && status.is_success() {
            ResponseBody::Events(Box::new(EventBody {
                response,
                stream: EventStream::default(),
                lease: self.memory.lease(),
                counted,
                recorder: self.recorder,
                _connection: self.connection,
            }))
        } else {
            // Boxed: while the request waits for its response, it needs no memory for this.
            let receiving = Box::pin(receive(
                response,
                self.max_response_bytes,
                &self.memory,
                counted,
            ));
            let received = receiving.await;
            if let Some(recorder) = &self.recorder {
                record_body(recorder, &received);
            }
            match received {
                Ok(body) => ResponseBody::Whole(body),
                Err(SendError::Egress(error)) => ResponseBody::Failed(error),
                Err(exceeded @ SendError::Limit(_)) => return Err(exceeded),
            }
        };
        Ok(ResponseResource {
            upstream: self.upstream.into(),
            status,
            headers,
            body,
        })
    }
}

pub(crate) fn record_body(recorder: &ExchangeRecorder, received: &Result<WholeBody, SendError>) {
    match received {
        Ok(body) => recorder.body(&body.text),
        Err(SendError::Egress(error)) => recorder.failed(error),
        Err(SendError::Limit(_)) => recorder.failed(&"the response exceeds a limit of the job"),
    }
}

/// Does the request count as failed?
pub(crate) fn is_failed(sent: &Result<egress::Response, egress::Error>) -> bool {
    sent.as_ref()
        .map_or(true, |response| response.status.as_u16() >= 400)
}

/// Did the upstream certainly generate nothing? Any other outcome may be charged: who gave up waiting (a
/// gateway with 502, 504 or 52x, a server with 408 or 499) may have passed the request on.
fn is_refused(sent: &Result<egress::Response, egress::Error>) -> bool {
    match sent {
        Err(error) => matches!(
            error,
            egress::Error::Connect(_) | egress::Error::Denied { .. }
        ),
        Ok(response) => {
            let is_overloaded = response.status == StatusCode::SERVICE_UNAVAILABLE
                && (response.headers.contains_key(RETRY_AFTER) || !is_from_envoy(response));
            let gave_up = GAVE_UP_WAITING.contains(&response.status.as_u16());
            (response.status.is_client_error() && !gave_up) || is_overloaded
        }
    }
}

/// Envoy responds with 503 also if the upstream dropped the connection after it had received the request.
fn is_from_envoy(response: &egress::Response) -> bool {
    response
        .headers
        .get(SERVER)
        .is_some_and(|server| server.as_bytes().ends_with(b"envoy"))
}

/// Receives a body. A separate task receives a long one, so that its chunks do not wake the guest's task.
pub(crate) async fn receive(
    response: egress::Response,
    max_bytes: usize,
    memory: &MemoryBudget,
    mut counted: CountedRequest,
) -> Result<WholeBody, SendError> {
    if response.length.is_some_and(|length| length > max_bytes) {
        counted.fail();
        return Err(egress::Error::TooLarge {
            guard: Guard::AnswerBytes,
            max_bytes,
        }
        .into());
    }
    let reservation = memory.empty_reservation();
    let is_short = |length: usize| length <= SHORT_BODY_BYTES;
    if response.length.is_some_and(is_short) {
        return receive_chunks(response, reservation, counted).await;
    }
    AbortOnDropHandle::new(tokio::spawn(receive_chunks(response, reservation, counted)))
        .await
        .unwrap_or_else(|crash| Err(egress::Error::Disconnected(describe_crash(&crash)).into()))
}

async fn receive_chunks(
    mut response: egress::Response,
    reservation: Reservation,
    mut counted: CountedRequest,
) -> Result<WholeBody, SendError> {
    let mut receiver = BodyReceiver::new(response.length.unwrap_or(0), reservation);
    while let Some(chunk) = response.chunk().await.inspect_err(|_| counted.fail())? {
        counted.add_received(chunk.len());
        receiver.push(&chunk)?;
    }
    let (text, held) = receiver.finish();
    Ok(WholeBody {
        text,
        reservation: Arc::new(held),
    })
}
