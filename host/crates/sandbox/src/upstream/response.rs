//! Responses and their bodies.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::body_text::BodyReceiver;
use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Error, Header, HostResponse};
use crate::resources::{
    DocumentResource, EventBody, ImageResource, ResponseBody, ResponseResource, SendError,
    WholeBody,
};
use crate::sse::{Event, EventStream};
use crate::state::State;
use pinhole_egress as egress;
use pinhole_ground::guard::Guard;

/// Length of the text that an engine reads of a body, in bytes.
const MAX_TEXT_BYTES: u32 = 64 << 10;
/// Length of one event of a stream in bytes.
const MAX_EVENT_BYTES: usize = 32 << 20;
/// The data of OpenAI's event that ends a stream.
const END_OF_EVENTS: &[u8] = b"[DONE]";

impl State {
    /// The whole body of a response.
    fn whole_body(
        &mut self,
        response: &Resource<ResponseResource>,
    ) -> Result<WholeBody, UpstreamError> {
        let error = match &self.table.get(response)?.body {
            ResponseBody::Whole(body) => return Ok(body.clone()),
            ResponseBody::Events(_) | ResponseBody::WholeEvents { .. } => {
                let message = "the response is an event stream".to_owned();
                return Err(Error::Malformed(message).into());
            }
            ResponseBody::Failed(error) => error.clone(),
        };
        Err(self.report_broken_body(&error).into())
    }
}

impl State {
    /// Makes an event stream of a body that is one, although the response does not declare it.
    fn split_whole_body(
        &mut self,
        response: &Resource<ResponseResource>,
    ) -> Result<(), UpstreamError> {
        let ResponseBody::Whole(WholeBody { text, .. }) = &self.table.get(response)?.body else {
            return Ok(());
        };
        let bytes = text.shortened();
        if !EventStream::is_start_of_stream(bytes) {
            return Ok(());
        }
        let bytes = bytes.clone();
        let reservation = self.memory.reserve(bytes.len())?;
        let mut stream = EventStream::default();
        stream.push(&bytes);
        self.table.get_mut(response)?.body = ResponseBody::WholeEvents {
            stream,
            _reservation: reservation,
        };
        Ok(())
    }
}

impl EventBody {
    /// Receives the next event; `None` at the end of the stream.
    async fn receive(&mut self) -> Result<Option<Event>, SendError> {
        loop {
            if let Some(event) = self.stream.next_event() {
                return Ok(Some(self.recorded(event)));
            }
            let pending = self.stream.pending_bytes();
            if Guard::EventBytes.applies(pending > MAX_EVENT_BYTES) {
                return Err(SendError::Egress(egress::Error::TooLarge {
                    guard: Guard::EventBytes,
                    max_bytes: MAX_EVENT_BYTES,
                }));
            }
            self.lease
                .resize_job(pending)
                .map_err(|refusal| SendError::Limit(refusal.into()))?;
            let chunk = self.response.chunk().await;
            if let (Some(recorder), Err(error)) = (&self.recorder, &chunk) {
                recorder.failed(error);
            }
            match chunk.inspect_err(|_| self.counted.fail())? {
                Some(chunk) => {
                    self.counted.add_received(chunk.len());
                    self.stream.push(&chunk);
                }
                None => return Ok(self.stream.finish().map(|event| self.recorded(event))),
            }
        }
    }

    fn recorded(&self, event: Event) -> Event {
        if let Some(recorder) = &self.recorder {
            recorder.event(event.name.as_deref(), &event.data);
        }
        event
    }
}

impl HostResponse for State {
    async fn status(&mut self, response: Resource<ResponseResource>) -> wasmtime::Result<u16> {
        self.budget.charge()?;
        Ok(self.table.get(&response)?.status.as_u16())
    }

    async fn headers(
        &mut self,
        response: Resource<ResponseResource>,
    ) -> wasmtime::Result<Vec<Header>> {
        self.budget.charge()?;
        let redact = |text: &str| {
            self.redactor
                .redact_text(text, Guard::SecretHeaders)
                .into_owned()
        };
        let headers = self.table.get(&response)?.headers.iter();
        Ok(headers
            .map(|(name, value)| {
                self.context.usage.count_entered(value.len());
                Header {
                    name: redact(name.as_str()),
                    value: redact(&String::from_utf8_lossy(value.as_bytes())),
                }
            })
            .collect())
    }

    async fn document(
        &mut self,
        response: Resource<ResponseResource>,
    ) -> Result<Resource<DocumentResource>, UpstreamError> {
        self.budget.charge()?;
        let WholeBody { text, reservation } = self.whole_body(&response)?;
        let upstream = self.table.get(&response)?.upstream.clone();
        self.push_document(upstream, text, reservation, None).await
    }

    async fn image(
        &mut self,
        response: Resource<ResponseResource>,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        self.budget.charge()?;
        let body = self.whole_body(&response)?;
        self.push_upstream_image(body.text.shortened().clone())
    }

    async fn text(
        &mut self,
        response: Resource<ResponseResource>,
        max: u32,
    ) -> Result<String, UpstreamError> {
        self.budget.charge()?;
        let body = self.whole_body(&response)?;
        let max_bytes = max.min(MAX_TEXT_BYTES);
        // Redaction looks further than the engine reads.
        let looked_at = body
            .text
            .head(max_bytes as usize + egress::Redactor::REACH_BYTES);
        let head = self
            .redactor
            .redact_range(&looked_at, 0, max_bytes, Guard::SecretText);
        self.context.usage.count_entered(head.len());
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    async fn next_event(
        &mut self,
        response: Resource<ResponseResource>,
    ) -> Result<Option<Resource<DocumentResource>>, UpstreamError> {
        self.budget.charge()?;
        self.split_whole_body(&response)?;
        let cancel = self.context.cancel.clone();
        let ResponseResource { upstream, body, .. } = self.table.get_mut(&response)?;
        let upstream = upstream.clone();
        let received = match body {
            ResponseBody::Events(events) => tokio::select! {
                biased;
                received = events.receive() => received,
                () = cancel.cancelled() => return Err(self.tell_cancelled().into()),
            },
            ResponseBody::WholeEvents { stream, .. } => {
                Ok(stream.next_event().or_else(|| stream.finish()))
            }
            ResponseBody::Whole(_) | ResponseBody::Failed(_) => {
                let message = "the response is not an event stream".to_owned();
                return Err(Error::Malformed(message).into());
            }
        };
        let Event { name, data } = match received {
            Ok(Some(event)) => event,
            Ok(None) => return Ok(None),
            Err(SendError::Egress(error)) => return Err(self.report_broken_body(&error).into()),
            Err(SendError::Limit(exceeded)) => return Err(exceeded.into()),
        };
        if data.trim_ascii() == END_OF_EVENTS {
            return Ok(None);
        }
        let mut receiver = BodyReceiver::new(data.len(), self.memory.empty_reservation());
        receiver.push(&data)?;
        drop(data);
        let (text, reservation) = receiver.finish();
        self.push_document(upstream, text, Arc::new(reservation), name)
            .await
            .map(Some)
    }

    async fn drop(&mut self, response: Resource<ResponseResource>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}
