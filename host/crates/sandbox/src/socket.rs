//! WebSockets and their messages, as the WIT interface `upstream` has them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use wasmtime::component::Resource;

use super::contract::pinhole::engine::upstream::{Error, Frame, HostMessage, HostSocket};
use super::call::State;
use super::images::HeldImage;
use super::limits::Held;
use super::upstream::Outcome;
use pinhole_ground::guard::Guard;
use pinhole_egress::{self as egress, Received};

/// A binary message.
pub struct HeldMessage {
    bytes: Bytes,
    _held: Held,
}

/// A WebSocket.
pub struct HeldSocket {
    pub(super) stream: egress::Socket,
    pub(super) _connection: OwnedSemaphorePermit,
}

impl HostMessage for State {
    async fn length(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<u64> {
        self.charge()?;
        Ok(self.table.get(&message)?.bytes.len() as u64)
    }

    async fn read(
        &mut self,
        message: Resource<HeldMessage>,
        offset: u64,
        length: u32,
    ) -> wasmtime::Result<Vec<u8>> {
        self.charge()?;
        let bytes = &self.table.get(&message)?.bytes;
        let part = self.echo.part(bytes, offset, length, Guard::SecretMessage);
        self.control.usage.count_entered(part.len());
        Ok(part.into_owned())
    }

    async fn image_from(
        &mut self,
        message: Resource<HeldMessage>,
        offset: u64,
    ) -> Outcome<Resource<HeldImage>> {
        self.charge()?;
        let bytes = self.table.get(&message)?.bytes.clone();
        let offset = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        self.image(bytes.slice(offset..))
    }

    async fn drop(&mut self, message: Resource<HeldMessage>) -> wasmtime::Result<()> {
        self.table.delete(message)?;
        Ok(())
    }
}

impl HostSocket for State {
    async fn send(&mut self, socket: Resource<HeldSocket>, text: String) -> Outcome<()> {
        self.charge()?;
        let (cancel, deadline) = (self.control.cancel.clone(), self.deadline);
        if text.len() > Guard::RequestBytes.limit(self.limits.request_bytes) {
            return Ok(Err(Error::TooLarge));
        }
        if let Err(error) = self.count_sent(text.len()) {
            return Ok(Err(error));
        }
        let HeldSocket { stream, .. } = self.table.get_mut(&socket)?;
        let sent = tokio::select! {
            sent = tokio::time::timeout_at(deadline, stream.send(text)) => sent,
            () = cancel.cancelled() => return Ok(Err(Error::Cancelled)),
        };
        Ok(match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => Err(Error::Timeout),
        })
    }

    async fn receive(
        &mut self,
        socket: Resource<HeldSocket>,
        timeout_ms: u32,
    ) -> Outcome<Option<Frame>> {
        self.charge()?;
        let cancel = self.control.cancel.clone();
        let HeldSocket { stream, .. } = self.table.get_mut(&socket)?;
        let until = Instant::now() + Duration::from_millis(timeout_ms.into());
        let message = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(Err(Error::Cancelled)),
            message = tokio::time::timeout_at(until, stream.receive()) => message,
        };
        let message = match message {
            Err(_) => return Ok(Ok(None)),
            Ok(Ok(message)) => message,
            Ok(Err(error)) => return Ok(Err(self.failed(&error))),
        };
        match message {
            None => Ok(Err(Error::Connect("the socket was closed".to_owned()))),
            Some(Received::Text(bytes)) => {
                let held = Arc::new(self.holding.take(bytes.len())?);
                let document = self.parse(bytes, held).await?;
                Ok(document.map(|document| Some(Frame::Text(document))))
            }
            Some(Received::Binary(bytes)) => {
                let held = self.holding.take(bytes.len())?;
                let message = self.table.push(HeldMessage { bytes, _held: held })?;
                Ok(Ok(Some(Frame::Binary(message))))
            }
        }
    }

    async fn drop(&mut self, socket: Resource<HeldSocket>) -> wasmtime::Result<()> {
        self.table.delete(socket)?;
        Ok(())
    }
}
