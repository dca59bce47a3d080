//! Reports a turn's image to the client: status events, and the files at the end.

use pinhole_ground::text::plain;
use serde_json::{Value, json};

use super::event::MessageEvents;
use super::history::is_temporary;
use super::outcome::Outcome;
use super::{Chat, MAX_REASON_BYTES, Turn};
use crate::files::file_entry;

/// The status events of a turn.
///
/// Source: Open WebUI `utils/middleware.py`, the image generation handler: three status texts, then
/// `files`. Temporary chats do not receive the first one. A failure also has `error` and `reason`, and
/// the last status `prompt` if a language model wrote the prompt.
pub(super) struct StatusReport<'a> {
    chat: &'a Chat,
    turn: &'a Turn,
    events: MessageEvents,
    /// The chat in which statuses are stored.
    stored_chat_id: Option<&'a str>,
}

impl<'a> StatusReport<'a> {
    pub(super) fn new(chat: &'a Chat, turn: &'a Turn, is_stored: bool) -> Self {
        let chat_id = turn.chat_id.as_deref();
        Self {
            chat,
            turn,
            events: turn.events(&chat.events),
            stored_chat_id: if is_stored { chat_id } else { None },
        }
    }

    /// Generates the image and reports its start and its outcome.
    pub(super) async fn run(&self, image: impl Future<Output = Outcome>) -> Outcome {
        if !self.turn.chat_id.as_deref().is_some_and(is_temporary) {
            self.emit(json!({"description": "Creating image", "done": false}))
                .await;
        }
        match image.await {
            Ok(images) => {
                let mut status = json!({"description": "Image created", "done": true});
                if let (Some(status), Some(prompt)) =
                    (status.as_object_mut(), &images.written_prompt)
                {
                    status.insert("prompt".to_owned(), prompt.as_str().into());
                }
                self.emit(status).await;
                let entries: Vec<Value> = images.files.iter().map(file_entry).collect();
                self.events.emit("files", json!({"files": entries}));
                Ok(images)
            }
            Err(reason) => {
                let reason = plain(&reason, MAX_REASON_BYTES);
                self.emit(json!({
                    "description": "An error occurred while generating an image",
                    "done": true,
                    "error": true,
                    "reason": reason,
                }))
                .await;
                Err(reason)
            }
        }
    }

    /// Stores a status with its message, then emits it, so that a client that reloads the chat misses
    /// none.
    async fn emit(&self, status: Value) {
        if let Some(chat_id) = self.stored_chat_id {
            let store = &self.chat.store;
            let stored = store
                .add_status(chat_id, &self.turn.message_id, &status)
                .await;
            if let Err(error) = stored {
                tracing::error!("cannot store a status of chat {chat_id}: {error}");
            }
        }
        self.events.emit("status", status);
    }
}
