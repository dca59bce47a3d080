//! WebSockets and their messages.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use wasmtime::component::Resource;

use crate::contract::UpstreamError;
use crate::contract::pinhole::engine::upstream::{Error, Frame, HostMessage, HostSocket};
use crate::resources::{ImageResource, MessageResource, SocketResource};
use crate::state::State;
use pinhole_egress::Message;
use pinhole_ground::guard::Guard;

impl HostMessage for State {
    async fn length(&mut self, message: Resource<MessageResource>) -> wasmtime::Result<u64> {
        self.budget.charge()?;
        Ok(self.table.get(&message)?.bytes.len() as u64)
    }

    async fn read(
        &mut self,
        message: Resource<MessageResource>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        self.budget.charge()?;
        let bytes = &self.table.get(&message)?.bytes;
        let part = self
            .redactor
            .redact_range(bytes, offset, length, Guard::SecretMessage);
        self.context.usage.count_entered(part.len());
        Ok(part.into_owned())
    }

    async fn image_from(
        &mut self,
        message: Resource<MessageResource>,
        offset: u64,
    ) -> Result<Resource<ImageResource>, UpstreamError> {
        self.budget.charge()?;
        let bytes = self.table.get(&message)?.bytes.clone();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.push_upstream_image(bytes.slice(offset.min(bytes.len())..))
    }

    async fn drop(&mut self, message: Resource<MessageResource>) -> wasmtime::Result<()> {
        self.table.delete(message)?;
        Ok(())
    }
}

impl HostSocket for State {
    async fn send(
        &mut self,
        socket: Resource<SocketResource>,
        text: String,
    ) -> Result<(), UpstreamError> {
        self.budget.charge()?;
        if Guard::RequestBytes.applies(text.len() > self.limits.request_bytes) {
            return Err(Error::TooLarge.into());
        }
        self.count_sent(text.len())?;
        let (cancel, deadline) = (self.context.cancel.clone(), self.network.deadline());
        let SocketResource {
            socket,
            counted,
            recorder,
            ..
        } = self.table.get_mut(&socket)?;
        counted.add_sent(text.len());
        if let Some(recorder) = recorder {
            recorder.sent(&text);
        }
        let sent = tokio::select! {
            sent = timeout_at(deadline, socket.send(text)) => sent.map_err(|_| Error::Timeout)?,
            () = cancel.cancelled() => return Err(self.tell_cancelled().into()),
        };
        if sent.is_err() {
            counted.fail();
        }
        sent.map_err(|error| self.report_failure(&error))?;
        Ok(())
    }

    async fn receive(
        &mut self,
        socket: Resource<SocketResource>,
        timeout_ms: u32,
    ) -> Result<Option<Frame>, UpstreamError> {
        self.budget.charge()?;
        let cancel = self.context.cancel.clone();
        let SocketResource {
            socket,
            upstream,
            counted,
            recorder,
            ..
        } = self.table.get_mut(&socket)?;
        let upstream = upstream.clone();
        let deadline = Instant::now() + Duration::from_millis(timeout_ms.into());
        let received = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(self.tell_cancelled().into()),
            received = timeout_at(deadline, socket.receive()) => received,
        };
        let Ok(received) = received else {
            return Ok(None);
        };
        if let Some(recorder) = recorder {
            match &received {
                Ok(Some(Message::Text(bytes))) => recorder.received_text(bytes),
                Ok(Some(Message::Binary(bytes))) => recorder.received_binary(bytes),
                Ok(None) => {}
                Err(error) => recorder.failed(error),
            }
        }
        match &received {
            Ok(Some(Message::Text(bytes) | Message::Binary(bytes))) => {
                counted.add_received(bytes.len());
            }
            Ok(None) => {}
            Err(_) => counted.fail(),
        }
        match received.map_err(|error| self.report_failure(&error))? {
            None => Err(Error::Connect("the socket was closed".to_owned()).into()),
            Some(Message::Text(bytes)) => {
                let reservation = Arc::new(self.memory.reserve(bytes.len())?);
                let document = self
                    .push_document(upstream, bytes.into(), reservation, None)
                    .await?;
                Ok(Some(Frame::Text(document)))
            }
            Some(Message::Binary(bytes)) => {
                let reservation = self.memory.reserve(bytes.len())?;
                Ok(Some(Frame::Binary(self.table.push(MessageResource {
                    bytes,
                    _reservation: reservation,
                })?)))
            }
        }
    }

    async fn drop(&mut self, socket: Resource<SocketResource>) -> wasmtime::Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
