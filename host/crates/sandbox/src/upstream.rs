//! The WIT interface `upstream`: requests to the upstreams of an engine.
//!
//! The life of an upstream request:
//!
//! 1. The guest calls `send` or `start` with an upstream's name, a method, a path, headers and a body.
//! 2. `State::prepare` checks the lengths of its texts, counts it, and checks that the engine declares the
//!    request and an administrator granted it. It reserves a connection and assembles the body.
//! 3. The [`OutgoingRequest`] runs as a host task, so a guest that waits uses no thread. Its sockets are on
//!    the server's runtime.
//! 4. The [`Destination`](egress::Destination) joins base URL and path, checks path and headers, adds the
//!    credential, and connects to allowed IP addresses only.
//! 5. The response is received in full, or up to its head if it is an event stream, within the limits of
//!    the response and of the call's memory. Base64 in JSON is decoded while it arrives: see `body_text`. The
//!    guest receives a handle.
//! 6. What the guest reads through the handle passes the redactor: a reflected secret never reaches it.
//!
//! An image at a URL in a response is another request: see `image_url`. A request to a URL in a response is one like
//! these: see `follow`.
//!
//! A refusal in steps 2 to 5 is recorded in the audit log with its guard. The guest receives only the error's
//! kind; the details are for the operator, in `Network::last_failure`.

mod document;
mod follow;
mod image_url;
mod response;
mod socket;

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use tokio::time::{Instant, timeout};
use tokio_util::context::TokioContext;
use tokio_util::task::AbortOnDropHandle;
use wasmtime::component::Resource;

use crate::call_usage::CountedRequest;
use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Error, Host, HostPending, Request};
use crate::network::{Denial, RequestFailure};
use crate::orphan_request::OrphanRequest;
use crate::outgoing_request::OutgoingRequest;
use crate::request_body::{check_texts, header_map};
use crate::resources::{
    PendingRequest, PendingResource, ResponseResource, SendError, SocketResource,
};
use crate::state::State;
use crate::traffic_recorder::{ExchangeRecorder, RequestParts};
use pinhole_egress as egress;
use pinhole_egress::OtherHost;
use pinhole_ground::guard::Refusal;

impl Host for State {
    async fn send(
        &mut self,
        request: Request,
    ) -> Result<Resource<ResponseResource>, UpstreamError> {
        self.budget.charge()?;
        self.send_to(None, request).await
    }

    async fn start(
        &mut self,
        request: Request,
    ) -> Result<Resource<PendingResource>, UpstreamError> {
        self.budget.charge()?;
        let outgoing = self.prepare(None, request)?;
        let pending = self.start_request(outgoing);
        Ok(self.table.push(PendingResource {
            request: Some(pending),
            is_cancel_known: self.knows_cancel,
        })?)
    }

    async fn connect(
        &mut self,
        upstream: String,
        path: String,
    ) -> Result<Resource<SocketResource>, UpstreamError> {
        self.budget.charge()?;
        check_texts(&upstream, "", &path)?;
        self.permit(&upstream, &Method::GET, &path)?;
        let connection = self
            .network
            .reserve_connection()
            .map_err(|denial| self.deny(denial))?;
        let (upstreams, deadline) = (self.network.upstreams.clone(), self.network.deadline());
        let upstream_name = upstream.as_str().into();
        let recorder = self.record_request(&RequestParts {
            upstream: Some(&upstream),
            base_url: self.base_url(&upstream),
            method: Method::GET.as_str(),
            path: &path,
            credential_parameter: self.credential_parameter(&upstream),
            credential_fields: self.credential_fields(&upstream),
            headers: &HeaderMap::new(),
            content_type: None,
            body: &Bytes::new(),
            is_web_socket: true,
        });
        let mut counted = CountedRequest::start(self.call_usage.traffic_row(Some(&upstream)), 0);
        let opening = AbortOnDropHandle::new(self.network.io.spawn(async move {
            let upstream = upstreams.get(&upstream).ok_or(egress::Error::Timeout)?;
            upstream.destination.connect(&path, deadline).await
        }));
        let cancel = self.context.cancel.clone();
        let opened = tokio::select! {
            opened = opening => opened?,
            () = cancel.cancelled() => return Err(self.tell_cancelled().into()),
        };
        if let Some(recorder) = &recorder {
            match &opened {
                Ok(_) => recorder.head(StatusCode::SWITCHING_PROTOCOLS, &HeaderMap::new()),
                Err(error) => recorder.failed(error),
            }
        }
        let socket = opened.map_err(|error| {
            counted.fail();
            self.report_failure(&error)
        })?;
        Ok(self.table.push(SocketResource {
            upstream: upstream_name,
            socket,
            counted,
            recorder,
            _connection: connection,
        })?)
    }

    fn convert_error(&mut self, error: UpstreamError) -> wasmtime::Result<Error> {
        error.into_guest()
    }
}

impl State {
    /// Sends a request to the upstream's own host, or to another one that is granted, and waits for the response.
    async fn send_to(
        &mut self,
        host: Option<OtherHost>,
        request: Request,
    ) -> Result<Resource<ResponseResource>, UpstreamError> {
        let cancel = self.context.cancel.clone();
        // A cancelled engine can still ask its upstream to stop.
        let is_cleanup = self.knows_cancel;
        let outgoing = self.prepare(host, request)?;
        let pending = self.start_request(outgoing);
        let sent = tokio::select! {
            sent = pending => sent?,
            () = cancel.cancelled(), if !is_cleanup => return Err(self.tell_cancelled().into()),
        };
        self.push_response(sent)
    }

    /// Checks a request and assembles its body.
    fn prepare(
        &mut self,
        host: Option<OtherHost>,
        request: Request,
    ) -> Result<OutgoingRequest, UpstreamError> {
        check_texts(&request.upstream, &request.method, &request.path)?;
        if self.context.cancel.is_cancelled() && !self.knows_cancel {
            return Err(self.tell_cancelled().into());
        }
        let Ok(method) = request.method.parse::<Method>() else {
            return Err(Error::Denied("the method is invalid".to_owned()).into());
        };
        self.permit(&request.upstream, &method, &request.path)?;
        let headers = header_map(&request.headers)?;
        let connection = self
            .network
            .reserve_connection()
            .map_err(|denial| self.deny(denial))?;
        let body = self.assemble_body(request.body)?;
        let recorder = self.record_request(&RequestParts {
            upstream: Some(&request.upstream),
            base_url: self.base_url(&request.upstream),
            method: method.as_str(),
            path: &request.path,
            credential_parameter: self.credential_parameter(&request.upstream),
            credential_fields: self.credential_fields(&request.upstream),
            headers: &headers,
            content_type: body.content_type.as_ref().map(HeaderValue::as_bytes),
            body: &body.bytes,
            is_web_socket: false,
        });
        Ok(OutgoingRequest {
            traffic: self.call_usage.traffic_row(Some(&request.upstream)),
            upstreams: self.network.upstreams.clone(),
            upstream: request.upstream,
            request: egress::Request {
                method,
                host,
                path: request.path,
                headers,
                content_type: body.content_type,
                body: body.bytes,
            },
            max_response_bytes: self.limits.response_bytes,
            deadline: self.request_deadline(),
            usage: self.context.usage.clone(),
            journal: self.context.journal.clone(),
            is_after_cancel: self.knows_cancel,
            memory: self.memory.clone(),
            connection,
            body_reservation: body.reservation,
            recorder,
        })
    }

    /// Records a request, if the job has a recorder.
    fn record_request(&self, request: &RequestParts<'_>) -> Option<ExchangeRecorder> {
        self.recorder.as_ref().map(|it| it.start(request))
    }

    fn base_url(&self, upstream: &str) -> &str {
        let upstream = self.network.upstreams.get(upstream);
        upstream.map_or("", |it| it.destination.base_url())
    }

    fn credential_parameter(&self, upstream: &str) -> Option<&str> {
        let upstream = self.network.upstreams.get(upstream)?;
        upstream.destination.credential_parameters().next()
    }

    /// For the recorder, so empty without one.
    fn credential_fields(&self, upstream: &str) -> Vec<String> {
        if self.recorder.is_none() {
            return Vec::new();
        }
        let upstream = self.network.upstreams.get(upstream);
        let fields = upstream.map(|it| it.destination.credential_fields());
        fields.into_iter().flatten().map(str::to_owned).collect()
    }

    /// Counts a request and checks that it is granted.
    fn permit(&mut self, upstream: &str, method: &Method, path: &str) -> Result<(), Error> {
        let counted = self.network.count_request();
        counted.map_err(|denial| self.deny(denial))?;
        self.context.usage.count_request();
        // The engine continued after its previous failure, so that one does not matter any more.
        self.network.last_failure = None;
        if let Err(denial) = self.network.check_grant(upstream, method, path) {
            self.network.last_failure = Some(RequestFailure::of_upstream(&denial.refusal));
            return Err(self.deny(denial));
        }
        Ok(())
    }

    /// The error that tells the guest that its job is cancelled.
    pub(crate) fn tell_cancelled(&mut self) -> Error {
        self.knows_cancel = true;
        Error::Cancelled
    }

    /// Records a denial. Returns the error for the guest.
    fn deny(&self, denial: Denial) -> Error {
        // A check of a component or of its settings has no requests. Engines whose `verify` sends one are healthy.
        if self.limits.requests > 0 {
            self.record(denial.kind, &denial.refusal);
        }
        Error::Denied(denial.guest_message.to_owned())
    }

    /// After cancellation, requests have only the grace period.
    fn request_deadline(&self) -> Instant {
        if self.knows_cancel {
            return Instant::now() + self.limits.grace;
        }
        self.network.deadline()
    }

    /// Starts a request. Its sockets, and all that it spawns, are on the server's runtime.
    fn start_request(&self, outgoing: OutgoingRequest) -> PendingRequest {
        let io = self.network.io.clone();
        let may_outlive_job = outgoing.is_billable() && !outgoing.is_after_cancel;
        if may_outlive_job && let Some(place) = &self.place {
            let held = place.clone();
            let request = OrphanRequest {
                task: io.spawn(async move {
                    let sent = outgoing.send().await;
                    drop(held);
                    sent
                }),
                engine: self.engine.clone(),
                context: self.context.clone(),
                place: place.clone(),
            };
            return self.network.host_tasks.spawn(request);
        }
        self.network
            .host_tasks
            .spawn(TokioContext::new(outgoing.send(), io))
    }

    /// Gives the guest the response of a request that ended.
    fn push_response(
        &mut self,
        sent: Result<ResponseResource, SendError>,
    ) -> Result<Resource<ResponseResource>, UpstreamError> {
        match sent {
            Ok(response) => Ok(self.table.push(response)?),
            Err(SendError::Egress(error)) => Err(self.report_failure(&error).into()),
            Err(SendError::Limit(exceeded)) => Err(exceeded.into()),
        }
    }

    /// Retains a failure for the operator, and records it if it is a refusal. Returns the error for the guest,
    /// which names no hosts.
    fn report_failure(&mut self, error: &egress::Error) -> Error {
        if let Some(kind) = error.refusal_kind() {
            let refused = match error {
                egress::Error::Denied { .. } => "request of",
                _ => "response to",
            };
            let refusal = Refusal {
                guard: error.guard(),
                reason: format!("refused a {refused} engine {}: {error}", self.engine),
            };
            self.record(kind, &refusal);
        }
        self.network.last_failure = Some(RequestFailure::of_upstream(error));
        match error {
            egress::Error::Denied { .. } => Error::Denied("not granted".to_owned()),
            egress::Error::Connect(_) | egress::Error::Disconnected(_) => {
                Error::Connect("the upstream cannot be reached".to_owned())
            }
            egress::Error::Timeout => Error::Timeout,
            egress::Error::TooLarge { .. } => Error::TooLarge,
            egress::Error::Unusable(_) => {
                Error::Malformed("the upstream's response cannot be used".to_owned())
            }
        }
    }

    /// As [`Self::report_failure`], after the head of a response was received: the connection was not refused.
    fn report_broken_body(&mut self, error: &egress::Error) -> Error {
        match self.report_failure(error) {
            Error::Connect(_) => Error::Malformed("the upstream's response broke off".to_owned()),
            other => other,
        }
    }
}

impl HostPending for State {
    async fn wait(
        &mut self,
        pending: Resource<PendingResource>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Option<Result<Resource<ResponseResource>, Error>>> {
        self.budget.charge()?;
        let cancel = self.context.cancel.clone();
        let PendingResource {
            request: slot,
            is_cancel_known,
        } = self.table.get_mut(&pending)?;
        let Some(request) = slot else {
            let message = "the response was returned already".to_owned();
            return Ok(Some(Err(Error::Malformed(message))));
        };
        let ended = tokio::select! {
            biased;
            ended = timeout(Duration::from_millis(timeout_ms.into()), request) => ended,
            // Its supervisor ends the call after the grace period.
            () = cancel.cancelled(), if !*is_cancel_known => {
                *is_cancel_known = true;
                return Ok(Some(Err(self.tell_cancelled())));
            }
        };
        let Ok(sent) = ended else {
            return Ok(None);
        };
        *slot = None;
        match self.push_response(sent?) {
            Ok(response) => Ok(Some(Ok(response))),
            Err(error) => Ok(Some(Err(error.into_guest()?))),
        }
    }

    async fn drop(&mut self, pending: Resource<PendingResource>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}
