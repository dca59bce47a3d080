//! The end of a turn whose process ended before: its job continued in this one, or did not continue.
//!
//! The language model's part of such a turn is lost, because the request is not stored. The message gets the image or
//! the reason, and its status says what happened.

use serde_json::{Map, Value, json};

use super::response_storage::StorageAttempts;
use super::{Chat, MAX_REASON_BYTES, status};
use crate::event::{COMPLETION, EventTarget};
use crate::files::file_entry;
use crate::jobs::{EndedJob, JobRecord};
use crate::store::{FinishedResponse, JobState, MessageLink};
use pinhole_ground::text::plain;

/// The status of an image that was finished after its process had ended.
const CREATED: &str = "Image created, after the server was restarted";
/// The response, because the language model was not asked.
const RESPONSE: &str = "Here is your image.";

/// Stores and emits the end of a turn whose job has ended here. Does nothing for a job without a chat.
pub async fn finish_turn(chat: &Chat, ended: &EndedJob) {
    let row = &ended.row;
    let Some(message_id) = &row.message_id else {
        return;
    };
    let events = chat.events.for_message(EventTarget {
        user_id: row.user_id.clone(),
        chat_id: row.chat_id.clone(),
        message_id: message_id.clone(),
    });
    let record = JobRecord::new(row);
    let failure = (row.state != JobState::Done)
        .then(|| plain(record.error_text().unwrap_or_default(), MAX_REASON_BYTES));
    let report = match &failure {
        None => json!({"description": CREATED, "done": true}),
        Some(reason) => json!({
            "description": "An error occurred while generating an image",
            "done": true,
            "error": true,
            "reason": reason,
        }),
    };
    status::emit(chat, &events, row.chat_id.as_deref(), report).await;
    if !ended.files.is_empty() {
        let entries: Vec<Value> = ended.files.iter().map(file_entry).collect();
        events.emit("files", json!({"files": entries}));
    }
    let Some(chat_id) = row.chat_id.as_deref() else {
        return;
    };
    let message = MessageLink {
        chat_id,
        message_id,
    };
    let attempts = StorageAttempts::new();
    let stored = loop {
        match store_response(chat, &row.user_id, message, failure.as_deref()).await {
            Err(error) if attempts.wait(&error).await => {}
            stored => break stored,
        }
    };
    match stored {
        Ok(false) => {}
        Ok(true) if failure.is_none() => {
            events.emit(COMPLETION, json!({"done": true, "content": RESPONSE}));
        }
        Ok(true) => {
            let error = json!({"error": {"content": failure}});
            events.emit("chat:message:error", error);
            events.emit("chat:tasks:cancel", Value::Null);
        }
        Err(error) => {
            tracing::error!("cannot store response {message_id} in chat {chat_id}: {error}");
        }
    }
}

/// Stores the response of a turn without a waiting client. Returns false if there is no such turn.
async fn store_response(
    chat: &Chat,
    user_id: &str,
    message: MessageLink<'_>,
    failure: Option<&str>,
) -> sqlx::Result<bool> {
    let MessageLink {
        chat_id,
        message_id,
    } = message;
    if !chat.store.is_running_turn(message).await? {
        return Ok(false);
    }
    let mut fields = Map::from_iter([("done".to_owned(), true.into())]);
    fields.extend(failure.map(|why| ("error".to_owned(), json!({"content": why}))));
    let response = FinishedResponse {
        user_id,
        chat_id,
        message_id,
        content: if failure.is_none() { RESPONSE } else { "" },
        fields: &fields,
    };
    chat.store.finish_response(response).await?;
    chat.store.remove_running_turn(chat_id, message_id).await?;
    Ok(true)
}
