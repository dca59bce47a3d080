//! Resources: the values behind a guest's handles.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;
use tokio::sync::OwnedSemaphorePermit;

use crate::body_text::BodyText;
use crate::call_usage::CountedRequest;
use crate::host_task::HostTask;
use crate::json_document::Document;
use crate::limits::LimitExceeded;
use crate::memory_budget::Reservation;
use crate::sse::EventStream;
use crate::traffic_recorder::ExchangeRecorder;
use pinhole_egress as egress;
use pinhole_ground::memory::MemoryLease;
use pinhole_images::Image;

/// An image.
pub struct ImageResource {
    pub(crate) image: Image,
    pub(crate) reservation: Reservation,
}

/// A JSON document.
pub struct DocumentResource {
    pub(crate) document: Document,
    /// The name of the event, if the document is one.
    pub(crate) event_name: Option<String>,
    /// The name of the upstream that sent it, here and below.
    pub(crate) upstream: Arc<str>,
    pub(crate) _text_reservation: Arc<Reservation>,
    pub(crate) _values_reservation: Reservation,
}

/// A response: its head, and as much of its body as was received.
pub struct ResponseResource {
    pub(crate) upstream: Arc<str>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: ResponseBody,
}

pub(crate) enum ResponseBody {
    Whole(WholeBody),
    /// The head was received, the body was not.
    Failed(egress::Error),
    Events(Box<EventBody>),
    /// The rest of an event stream that arrived as a whole body.
    WholeEvents {
        stream: EventStream,
        _reservation: Reservation,
    },
}

/// A body in memory. Clones share the bytes.
#[derive(Clone)]
pub(crate) struct WholeBody {
    pub(crate) text: BodyText,
    pub(crate) reservation: Arc<Reservation>,
}

/// An event stream that is still being received.
pub(crate) struct EventBody {
    pub(crate) response: egress::Response,
    pub(crate) stream: EventStream,
    /// Counts the part of the stream that is no event yet.
    pub(crate) lease: MemoryLease,
    pub(crate) counted: CountedRequest,
    pub(crate) recorder: Option<ExchangeRecorder>,
    pub(crate) _connection: OwnedSemaphorePermit,
}

/// A pending request, aborted when dropped.
pub struct PendingResource {
    /// `None` after its response was returned.
    pub(crate) request: Option<PendingRequest>,
    /// The guest knows that the job was cancelled. It can still wait for the response.
    pub(crate) is_cancel_known: bool,
}

pub(crate) type PendingRequest = HostTask<Result<ResponseResource, SendError>>;

/// Why a request has no response.
pub(crate) enum SendError {
    /// Returned to the guest.
    Egress(egress::Error),
    /// Stops the call.
    Limit(LimitExceeded),
}

impl From<egress::Error> for SendError {
    fn from(error: egress::Error) -> Self {
        Self::Egress(error)
    }
}

impl From<LimitExceeded> for SendError {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::Limit(exceeded)
    }
}

/// A binary WebSocket message.
pub struct MessageResource {
    pub(crate) bytes: Bytes,
    pub(crate) _reservation: Reservation,
}

/// A WebSocket.
pub struct SocketResource {
    pub(crate) upstream: Arc<str>,
    pub(crate) socket: egress::WebSocket,
    pub(crate) counted: CountedRequest,
    pub(crate) recorder: Option<ExchangeRecorder>,
    pub(crate) _connection: OwnedSemaphorePermit,
}
