//! Reports a turn's image to the client: status events, and the files at the end.

use pinhole_ground::text::plain;
use serde_json::{Map, Value, json};

use super::history::is_temporary;
use super::outcome::{Outcome, TurnImages};
use super::{Chat, MAX_REASON_BYTES, Turn};
use crate::event::MessageEvents;
use crate::files::file_entry;
use crate::jobs::CostEntry;

/// The status events of a turn.
///
/// Source: Open WebUI `utils/middleware.py`, the image generation handler: three status texts, then
/// `files`. Temporary chats do not receive the first one. A failure also has `error` and `reason`, and
/// the last status `prompt` if a language model wrote the prompt, `revised_prompt` if the upstream
/// rewrote it, `warnings` if the images differ from the request, and `seeds` and `cost` if the engine knows
/// them. A status with the warnings as its text follows.
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
                self.emit(created_status(&images)).await;
                // The newest status is the one that Open WebUI's client shows.
                if let Some(note) = images.note() {
                    self.emit(json!({"description": note, "done": true})).await;
                }
                let entries: Vec<Value> = images.files.iter().map(file_entry).collect();
                self.events.emit("files", json!({"files": entries}));
                Ok(images)
            }
            // The process that continues the job reports it.
            Err(reason) if self.turn.upstream_work.is_released() => Err(reason),
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

    async fn emit(&self, status: Value) {
        emit(self.chat, &self.events, self.stored_chat_id, status).await;
    }
}

/// Stores a status with its message, then emits it, so that a client that reloads the chat misses none.
pub(super) async fn emit(
    chat: &Chat,
    events: &MessageEvents,
    stored_chat_id: Option<&str>,
    status: Value,
) {
    if let Some(chat_id) = stored_chat_id {
        let message_id = &events.target.message_id;
        let stored = chat.store.add_status(chat_id, message_id, &status).await;
        if let Err(error) = stored {
            tracing::error!("cannot store a status of chat {chat_id}: {error}");
        }
    }
    events.emit("status", status);
}

/// The status of a turn with images.
fn created_status(images: &TurnImages) -> Value {
    let mut status = Map::from_iter([
        ("description".to_owned(), "Image created".into()),
        ("done".to_owned(), true.into()),
    ]);
    let mut add = |name: &str, text: &Option<String>| {
        let value = text.as_deref().map(|text| (name.to_owned(), text.into()));
        status.extend(value);
    };
    add("prompt", &images.written_prompt);
    add("revised_prompt", &images.revised_prompt);
    if !images.warnings.is_empty() {
        status.insert("warnings".to_owned(), images.warnings.clone().into());
    }
    if images.seeds.iter().any(Option::is_some) {
        status.insert("seeds".to_owned(), images.seeds.clone().into());
    }
    if let Some(cost) = &images.cost {
        status.insert("cost".to_owned(), json!(CostEntry::from(cost)));
    }
    status.into()
}

#[cfg(test)]
mod tests {
    use pinhole_sandbox::contract::Cost;

    use super::*;

    #[test]
    fn created_status_has_only_what_is_known() {
        let images = |seeds: &[Option<u64>], cost: Option<f64>| TurnImages {
            files: Vec::new(),
            is_edit: false,
            written_prompt: None,
            revised_prompt: None,
            warnings: Vec::new(),
            seeds: seeds.to_vec(),
            cost: cost.map(|amount| Cost {
                amount,
                unit: "USD".to_owned(),
            }),
        };
        let known = created_status(&images(&[Some(7), None], Some(0.04)));
        assert_eq!(known["seeds"], json!([7, null]));
        assert_eq!(known["cost"], json!({"amount": 0.04, "unit": "USD"}));
        let unknown = created_status(&images(&[None], None));
        assert_eq!(
            unknown,
            json!({"description": "Image created", "done": true})
        );
    }
}
