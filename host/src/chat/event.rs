//! What clients are told while a turn runs.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::broadcast;

/// Events kept for a listener that is slow; older ones are lost to it.
const BACKLOG: usize = 1024;

/// One thing a client is told.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose clients hear it.
    pub user_id: String,
    /// Where it belongs.
    pub place: Place,
    /// Such as `status` or `files`.
    pub kind: &'static str,
    /// What the kind carries.
    pub data: Value,
}

/// A message of a chat.
#[derive(Clone, Debug)]
pub struct Place {
    /// The chat; `None` where the caller named none.
    pub chat_id: Option<String>,
    /// The message.
    pub message_id: String,
}

/// Carries events to everybody who listens.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Arc<Event>>);

impl Events {
    /// Without listeners yet.
    #[must_use]
    pub fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    /// Tells everybody who listens; nobody listening is fine.
    pub fn emit(&self, event: Event) {
        self.0.send(Arc::new(event)).ok();
    }

    /// Hears every event from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.subscribe()
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// As Open WebUI's clients read it.
    ///
    /// Source: Open WebUI `socket/main.py`, the payload of `events`.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "chat_id": self.place.chat_id,
            "message_id": self.place.message_id,
            "data": {"type": self.kind, "data": self.data},
        })
    }
}
