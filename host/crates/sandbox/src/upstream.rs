//! The WIT interface `upstream`: names become destinations, handles become bytes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::context::TokioContext;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::Resource;

use super::contract::pinhole::engine::upstream::{
    Error, Header, Host, HostDocument, HostPending, HostResponse, Request,
};
use super::request_body::{check_words, header_map};
use super::call::State;
use super::json_document::Document;
use super::host_task::Errand;
use super::images::HeldImage;
use super::limits::Held;
use super::outgoing_request::{Answer, AnswerBody, Outgoing, Unanswered};
use super::socket::HeldSocket;
use super::sse::EventStream;
use pinhole_ground::audit::RefusalKind;
use pinhole_ground::guard::Guard;
use pinhole_egress as egress;
use crate::grant::Verdict;
use pinhole_images::Image;

/// How much of a body an engine may read as text, in bytes.
const MAX_TEXT_BYTES: u32 = 64 << 10;
/// How much JSON, with its long strings cut, an engine may read at once, in bytes.
const MAX_JSON_BYTES: usize = 16 << 20;
/// Length of one event of a stream, in bytes.
const MAX_EVENT_BYTES: usize = 32 << 20;
/// Length of a JSON pointer, in bytes.
const MAX_POINTER_BYTES: usize = 4 << 10;

/// JSON that a guest looks into, with what it costs to keep.
pub struct HeldDocument {
    document: Document,
    _held: Arc<Held>,
}

/// An answer: its head, and its body as far as it has come.
pub struct HeldResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: HeldBody,
}

enum HeldBody {
    Whole(Bytes, Arc<Held>),
    Failed(egress::Error),
    Events(Box<Events>),
}

/// A stream of events, as far as it has come.
struct Events {
    response: egress::Response,
    stream: EventStream,
    _connection: OwnedSemaphorePermit,
}

/// A request under way; aborted when dropped.
pub struct HeldPending(Option<Underway>);

type Underway = Errand<Result<Answer, Unanswered>>;
pub(super) type Outcome<T> = wasmtime::Result<Result<T, Error>>;

impl Host for State {
    async fn send(&mut self, request: Request) -> Outcome<Resource<HeldResponse>> {
        self.charge()?;
        let stopping = self.control.cancel.is_cancelled();
        let outgoing = match self.outgoing(request)? {
            Ok(outgoing) => outgoing,
            Err(error) => return Ok(Err(error)),
        };
        let mut underway = self.begin(outgoing);
        let cancel = self.control.cancel.clone();
        let answer = tokio::select! {
            answer = &mut underway => answer,
            // Once cancelled, an engine may still tell its upstream to stop.
            () = cancel.cancelled(), if !stopping => return Ok(Err(Error::Cancelled)),
        };
        self.take(answer?)
    }

    async fn start(&mut self, request: Request) -> Outcome<Resource<HeldPending>> {
        self.charge()?;
        let outgoing = match self.outgoing(request)? {
            Ok(outgoing) => outgoing,
            Err(error) => return Ok(Err(error)),
        };
        let underway = self.begin(outgoing);
        Ok(Ok(self.table.push(HeldPending(Some(underway)))?))
    }

    async fn connect(&mut self, upstream: String, path: String) -> Outcome<Resource<HeldSocket>> {
        self.charge()?;
        let checked = check_words(&upstream, "", &path)
            .and_then(|()| self.permit(&upstream, &Method::GET, &path))
            .and_then(|()| self.connection());
        let connection = match checked {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        let (upstreams, deadline) = (self.upstreams.clone(), self.deadline);
        let opening = AbortOnDropHandle::new(self.io.spawn(async move {
            let upstream = upstreams.get(&upstream).ok_or(egress::Error::Timeout)?;
            upstream.destination.connect(&path, deadline).await
        }));
        let cancel = self.control.cancel.clone();
        let opened = tokio::select! {
            opened = opening => opened,
            () = cancel.cancelled() => return Ok(Err(Error::Cancelled)),
        };
        match opened? {
            Ok(stream) => Ok(Ok(self.table.push(HeldSocket {
                stream,
                _connection: connection,
            })?)),
            Err(error) => Ok(Err(self.failed(&error))),
        }
    }
}

impl State {
    /// Checks a request and assembles its body.
    fn outgoing(&mut self, request: Request) -> Outcome<Outgoing> {
        if let Err(error) = check_words(&request.upstream, &request.method, &request.path) {
            return Ok(Err(error));
        }
        let Ok(method) = request.method.parse::<Method>() else {
            return Ok(Err(Error::Denied("there is no such method".to_owned())));
        };
        if let Err(error) = self.permit(&request.upstream, &method, &request.path) {
            return Ok(Err(error));
        }
        let headers = match header_map(&request.headers) {
            Ok(headers) => headers,
            Err(error) => return Ok(Err(error)),
        };
        let connection = match self.connection() {
            Ok(connection) => connection,
            Err(error) => return Ok(Err(error)),
        };
        let body = match self.assemble(request.body)? {
            Ok(body) => body,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(Outgoing {
            upstreams: self.upstreams.clone(),
            upstream: request.upstream,
            request: egress::Request {
                method,
                path: request.path,
                headers,
                content_type: body.content_type,
                body: body.bytes,
            },
            max_bytes: self.limits.response_bytes,
            deadline: self.request_deadline(),
            usage: self.control.usage.clone(),
            holding: self.holding.clone(),
            connection,
            held: body.held,
        }))
    }

    /// One more at the same time, if the call may have it.
    fn connection(&mut self) -> Result<OwnedSemaphorePermit, Error> {
        self.connections.clone().try_acquire_owned().map_err(|_| {
            let (engine, most) = (&self.engine, self.limits.connections);
            let what = format!("engine {engine} has {most} requests under way and began another");
            self.refuse(RefusalKind::Request, &what);
            Error::Denied("too many requests at the same time".to_owned())
        })
    }

    /// Sends a request off. Its sockets, and all that it spawns, live on the server's runtime.
    fn begin(&self, outgoing: Outgoing) -> Underway {
        self.errands
            .run(TokioContext::new(outgoing.perform(), self.io.clone()))
    }

    /// Is this within the grant, and within the number of requests a job may make?
    fn permit(&mut self, name: &str, method: &Method, path: &str) -> Result<(), Error> {
        let Some(left) = self.requests_left.checked_sub(1) else {
            let (engine, most) = (&self.engine, self.limits.requests);
            let what = format!("engine {engine} made {most} requests and began another");
            self.refuse(RefusalKind::Request, &what);
            return Err(Error::Denied("too many requests for one job".to_owned()));
        };
        self.requests_left = left;
        self.control.usage.count_request();
        // What an earlier request met is over: the engine went on.
        self.last_failure = None;
        let engine = &self.engine;
        let refusal = match self.upstreams.get(name) {
            None => {
                format!("engine {engine} has no upstream {name:?}, or no address is set for it")
            }
            Some(upstream) => {
                let remedy = match upstream.verdict(method, path) {
                    Verdict::Allowed => return Ok(()),
                    Verdict::NotGranted(missing) => format!(
                        "allow it with: pinhole engine grant {engine} --allow '{name} {missing}'"
                    ),
                    Verdict::NotDeclared => {
                        "it does not declare it, so no grant can allow it".to_owned()
                    }
                };
                let path = path.split('?').next().unwrap_or_default();
                format!("engine {engine} may not {method} {path:?} on upstream {name}: {remedy}")
            }
        };
        self.refuse(RefusalKind::Grant, &refusal);
        self.last_failure = Some(refusal);
        Err(Error::Denied("not granted".to_owned()))
    }

    /// After a cancel only a short time is left to tell the upstream.
    fn request_deadline(&self) -> Instant {
        match self.control.cancel.is_cancelled() {
            true => Instant::now() + self.limits.grace,
            false => self.deadline,
        }
    }

    /// What the guest hears of a failed request. The operator's text is kept aside: it names hosts.
    pub(super) fn failed(&mut self, error: &egress::Error) -> Error {
        self.last_failure = Some(error.to_string());
        match error {
            egress::Error::Denied(denial) => {
                let what = format!("refused a request of engine {}: {denial}", self.engine);
                self.refuse(denial.kind, &what);
                Error::Denied("not granted".to_owned())
            }
            egress::Error::Connect(_) | egress::Error::Broken(_) => {
                Error::Connect("the upstream cannot be reached".to_owned())
            }
            egress::Error::Timeout => Error::Timeout,
            egress::Error::TooLarge(_) => {
                let what = format!("refused an answer to engine {}: {error}", self.engine);
                self.refuse(RefusalKind::Answer, &what);
                Error::TooLarge
            }
            egress::Error::Unusable(_) => {
                let what = format!("refused an answer to engine {}: {error}", self.engine);
                self.refuse(RefusalKind::Answer, &what);
                Error::Malformed("the upstream's answer cannot be used".to_owned())
            }
        }
    }

    /// Makes a finished request's answer the guest's.
    fn take(&mut self, answer: Result<Answer, Unanswered>) -> Outcome<Resource<HeldResponse>> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Unanswered::Egress(error)) => return Ok(Err(self.failed(&error))),
            Err(Unanswered::Broken(broken)) => return Err(broken.into()),
        };
        let body = match answer.body {
            Ok(AnswerBody::Whole(bytes, held)) => HeldBody::Whole(bytes, Arc::new(held)),
            Ok(AnswerBody::Events(response, connection)) => HeldBody::Events(Box::new(Events {
                response: *response,
                stream: EventStream::default(),
                _connection: connection,
            })),
            Err(error) => HeldBody::Failed(error),
        };
        Ok(Ok(self.table.push(HeldResponse {
            status: answer.status,
            headers: answer.headers,
            body,
        })?))
    }

    /// The whole body of a response, or why it is not there.
    fn whole(&mut self, response: &Resource<HeldResponse>) -> Outcome<(Bytes, Arc<Held>)> {
        let failure = match &self.table.get(response)?.body {
            HeldBody::Whole(bytes, held) => return Ok(Ok((bytes.clone(), held.clone()))),
            HeldBody::Failed(error) => error.clone(),
            HeldBody::Events(..) => {
                return Ok(Err(Error::Malformed(
                    "the answer is a stream of events".to_owned(),
                )));
            }
        };
        Ok(Err(self.broken_off(&failure)))
    }

    /// What the guest hears where an answer had begun: its connection was no refused one.
    fn broken_off(&mut self, error: &egress::Error) -> Error {
        match self.failed(error) {
            Error::Connect(_) => Error::Malformed("the upstream's answer broke off".to_owned()),
            other => other,
        }
    }

    pub(super) async fn parse(
        &mut self,
        bytes: Bytes,
        held: Arc<Held>,
    ) -> Outcome<Resource<HeldDocument>> {
        self.computed.make_way(bytes.len()).await;
        match Document::parse(bytes) {
            Ok(document) => Ok(Ok(self.table.push(HeldDocument {
                document,
                _held: held,
            })?)),
            Err(reason) => {
                self.last_failure = Some(reason.clone());
                Ok(Err(Error::Malformed(reason)))
            }
        }
    }

    pub(super) fn image(&mut self, bytes: Bytes) -> Outcome<Resource<HeldImage>> {
        match Image::from_bytes(bytes, self.limits.image) {
            Ok(image) => Ok(Ok(self.hold(image)?)),
            Err(reason) => {
                self.refuse_picture(&reason);
                Ok(Err(Error::Malformed(reason)))
            }
        }
    }
}

/// A guest hears of a pointer again that leads nowhere.
fn check_pointer(pointer: &str) -> Result<(), Error> {
    match pointer.len() > Guard::HandedOver.limit(MAX_POINTER_BYTES) {
        true => Err(Error::Malformed("the JSON pointer is too long".to_owned())),
        false => Ok(()),
    }
}

impl HostDocument for State {
    async fn json(&mut self, document: Resource<HeldDocument>, max_string: u32) -> Outcome<String> {
        self.charge()?;
        let document = &self.table.get(&document)?.document;
        let text = document.skeleton(max_string, &self.echo);
        match text.len() > MAX_JSON_BYTES {
            true => Ok(Err(Error::TooLarge)),
            false => {
                self.control.usage.count_entered(text.len());
                Ok(Ok(text))
            }
        }
    }

    async fn text_at(
        &mut self,
        document: Resource<HeldDocument>,
        pointer: String,
        max: u32,
    ) -> Outcome<String> {
        self.charge()?;
        if let Err(error) = check_pointer(&pointer) {
            return Ok(Err(error));
        }
        let max = MAX_JSON_BYTES.min(max as usize);
        Ok(
            match self.table.get(&document)?.document.text_at(&pointer) {
                Ok(text) if text.len() > max => Err(Error::TooLarge),
                Ok(text) => {
                    self.control.usage.count_entered(text.len());
                    Ok(self.echo.text(text, Guard::SecretJson).into_owned())
                }
                Err(reason) => Err(Error::Malformed(reason)),
            },
        )
    }

    async fn image_at(
        &mut self,
        document: Resource<HeldDocument>,
        pointer: String,
    ) -> Outcome<Resource<HeldImage>> {
        self.charge()?;
        if let Err(error) = check_pointer(&pointer) {
            return Ok(Err(error));
        }
        match self.table.get(&document)?.document.base64_at(&pointer) {
            Ok(bytes) => self.image(bytes.into()),
            Err(reason) => Ok(Err(Error::Malformed(reason))),
        }
    }

    async fn drop(&mut self, document: Resource<HeldDocument>) -> wasmtime::Result<()> {
        self.table.delete(document)?;
        Ok(())
    }
}

impl HostResponse for State {
    async fn status(&mut self, response: Resource<HeldResponse>) -> wasmtime::Result<u16> {
        self.charge()?;
        Ok(self.table.get(&response)?.status.as_u16())
    }

    async fn headers(&mut self, response: Resource<HeldResponse>) -> wasmtime::Result<Vec<Header>> {
        self.charge()?;
        let headers = self.table.get(&response)?.headers.iter();
        let shown = |text: &str| self.echo.text(text, Guard::SecretHeaders).into_owned();
        let text = |value: &HeaderValue| {
            self.control.usage.count_entered(value.len());
            shown(&String::from_utf8_lossy(value.as_bytes()))
        };
        Ok(headers
            .map(|(name, value)| Header {
                name: shown(name.as_str()),
                value: text(value),
            })
            .collect())
    }

    async fn document(
        &mut self,
        response: Resource<HeldResponse>,
    ) -> Outcome<Resource<HeldDocument>> {
        self.charge()?;
        match self.whole(&response)? {
            Ok((bytes, held)) => self.parse(bytes, held).await,
            Err(error) => Ok(Err(error)),
        }
    }

    async fn image(&mut self, response: Resource<HeldResponse>) -> Outcome<Resource<HeldImage>> {
        self.charge()?;
        match self.whole(&response)? {
            Ok((bytes, _)) => self.image(bytes),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn text(&mut self, response: Resource<HeldResponse>, max: u32) -> Outcome<String> {
        self.charge()?;
        match self.whole(&response)? {
            Ok((bytes, _)) => {
                let max = max.min(MAX_TEXT_BYTES);
                let head = self.echo.part(&bytes, 0, max, Guard::SecretText);
                self.control.usage.count_entered(head.len());
                Ok(Ok(String::from_utf8_lossy(&head).into_owned()))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn next_event(
        &mut self,
        response: Resource<HeldResponse>,
    ) -> Outcome<Option<Resource<HeldDocument>>> {
        self.charge()?;
        let cancel = self.control.cancel.clone();
        let HeldBody::Events(events) = &mut self.table.get_mut(&response)?.body else {
            return Ok(Err(Error::Malformed(
                "the answer is no stream of events".to_owned(),
            )));
        };
        let data = loop {
            if let Some(data) = events.stream.next() {
                break Some(data);
            }
            if events.stream.pending() > Guard::EventBytes.limit(MAX_EVENT_BYTES) {
                return Ok(Err(self.failed(&egress::Error::TooLarge(MAX_EVENT_BYTES))));
            }
            let chunk = tokio::select! {
                chunk = events.response.chunk() => chunk,
                () = cancel.cancelled() => return Ok(Err(Error::Cancelled)),
            };
            match chunk {
                Ok(Some(chunk)) => events.stream.push(&chunk),
                Ok(None) => break events.stream.finish(),
                Err(error) => {
                    return Ok(Err(self.broken_off(&error)));
                }
            }
        };
        match data {
            // OpenAI's way to say that nothing follows.
            None => Ok(Ok(None)),
            Some(data) if data.as_ref() == b"[DONE]" => Ok(Ok(None)),
            Some(data) => {
                let held = Arc::new(self.holding.take(data.len())?);
                Ok(self.parse(data, held).await?.map(Some))
            }
        }
    }

    async fn drop(&mut self, response: Resource<HeldResponse>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

impl HostPending for State {
    async fn wait(
        &mut self,
        pending: Resource<HeldPending>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Option<Result<Resource<HeldResponse>, Error>>> {
        self.charge()?;
        let cancel = self.control.cancel.clone();
        let slot = &mut self.table.get_mut(&pending)?.0;
        let Some(underway) = slot else {
            return Ok(Some(Err(Error::Malformed(
                "the answer was already taken".to_owned(),
            ))));
        };
        let answer = tokio::select! {
            answer = timeout(Duration::from_millis(timeout_ms.into()), underway) => answer,
            () = cancel.cancelled() => return Ok(Some(Err(Error::Cancelled))),
        };
        let Ok(answer) = answer else {
            return Ok(None);
        };
        *slot = None;
        self.take(answer?).map(Some)
    }

    async fn drop(&mut self, pending: Resource<HeldPending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}
