//! The socket of one job. The server knows it by the client id, so another connection with the same id
//! continues it.

use pinhole_sdk::upstream::{Error as UpstreamError, Frame, Socket, connect};
use pinhole_sdk::{Error, job, log};

use crate::{UPSTREAM, wire};

/// Maximum silence before the first frame. ComfyUI greets immediately, so a longer silence means that
/// a proxy accepted the socket without a connection to ComfyUI.
const GREETING_TIMEOUT_MS: u32 = 5_000;
/// Connections of one job after the first one. Proxies close a socket that is idle for long.
const MAX_RECONNECTIONS: u32 = 5;
/// Delay before the first of them, which doubles with each.
const RECONNECTION_DELAY_MS: u32 = 250;
/// Frames that are not JSON, of one job.
const MAX_UNREADABLE_FRAMES: u32 = 100;

pub(super) struct JobSocket {
    client_id: String,
    socket: Option<Socket>,
    /// The server has sent a frame over this connection.
    is_greeted: bool,
    reconnections: u32,
    unreadable_frames: u32,
}

/// What arrived on the socket.
pub(super) enum Received {
    Frame(Frame),
    /// A frame that is not JSON. The socket stays open.
    Unreadable,
    /// Nothing within the timeout.
    Silence,
    /// There is no connection. Frames may be lost.
    Broken,
}

impl JobSocket {
    /// Opens the socket, unless that fails, as with some proxies.
    pub(super) fn open(client_id: String) -> Result<Self, Error> {
        let mut opened = Self {
            client_id,
            socket: None,
            is_greeted: false,
            reconnections: 0,
            unreadable_frames: 0,
        };
        if !opened.connect()? {
            let message = "no WebSocket, so no progress: polling the history instead";
            log::write(log::Level::Warn, message);
            opened.reconnections = MAX_RECONNECTIONS;
        }
        Ok(opened)
    }

    /// Whether there is a connection to ComfyUI itself.
    pub(super) fn await_greeting(&mut self) -> Result<bool, Error> {
        let is_greeted = matches!(self.receive(GREETING_TIMEOUT_MS)?, Received::Frame(_));
        Ok(is_greeted)
    }

    /// Waits for a frame. Fails only if the job is cancelled or its time is over.
    pub(super) fn receive(&mut self, timeout_ms: u32) -> Result<Received, Error> {
        let Some(socket) = &self.socket else {
            return Ok(Received::Broken);
        };
        let timeout_ms = if self.is_greeted {
            timeout_ms
        } else {
            GREETING_TIMEOUT_MS
        };
        match socket.receive(timeout_ms) {
            Ok(Some(frame)) => {
                self.is_greeted = true;
                Ok(Received::Frame(frame))
            }
            Ok(None) if self.is_greeted => Ok(Received::Silence),
            Ok(None) => {
                self.socket = None;
                // Another connection would be as silent.
                self.reconnections = MAX_RECONNECTIONS;
                Ok(Received::Broken)
            }
            Err(error @ (UpstreamError::Cancelled | UpstreamError::Timeout)) => Err(error.into()),
            Err(UpstreamError::Malformed(_)) if self.unreadable_frames < MAX_UNREADABLE_FRAMES => {
                self.unreadable_frames += 1;
                Ok(Received::Unreadable)
            }
            Err(error) => {
                let message = format!("the WebSocket failed: {}", Error::from(error).message);
                log::write(log::Level::Warn, &message);
                self.socket = None;
                Ok(Received::Broken)
            }
        }
    }

    pub(super) fn can_reconnect(&self) -> bool {
        self.reconnections < MAX_RECONNECTIONS
    }

    /// Connects again after a delay. Returns false if that fails, or if it was done too often.
    pub(super) fn reconnect(&mut self) -> Result<bool, Error> {
        while self.can_reconnect() {
            let delay_ms = RECONNECTION_DELAY_MS << self.reconnections;
            self.reconnections += 1;
            if !job::sleep(delay_ms) {
                return Err(UpstreamError::Cancelled.into());
            }
            if self.connect()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn connect(&mut self) -> Result<bool, Error> {
        self.is_greeted = false;
        let connected = connect(UPSTREAM, &wire::socket_path(&self.client_id)).and_then(|socket| {
            socket.send(&wire::feature_flags())?;
            Ok(socket)
        });
        match connected {
            Ok(socket) => self.socket = Some(socket),
            Err(UpstreamError::Cancelled) => return Err(UpstreamError::Cancelled.into()),
            Err(_) => self.socket = None,
        }
        Ok(self.socket.is_some())
    }
}
