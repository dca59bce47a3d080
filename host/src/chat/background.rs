//! Runs a turn without a waiting client: emits the response as events and stores it in its chat.

mod response_text;

use std::time::Duration;

use pinhole_ground::text::plain;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message::{content_text, last_user_text, role};
use super::model::Completion;
use super::response_storage::StorageAttempts;
use super::{Chat, MAX_REASON_BYTES, Reply, Turn, status, upstream_work};
use crate::event::{COMPLETION, MessageEvents};
use crate::store::{FinishedResponse, MessageLink};
use response_text::{ResponseText, error_message};

/// Minimum time between two events with the text so far.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// Text that these events contain per second, in bytes. The longer the text, the rarer the events.
const MAX_BYTES_PER_SECOND: usize = 256 << 10;
/// Length of the title of a new chat, in bytes.
const MAX_TITLE_BYTES: usize = 100;
/// Length of an error response that is read, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// Runs the turn until it is done or stopped, stores its response, and emits its end. If another process continues the
/// turn's job, that one does so (`continued_turn`).
///
/// Source: Open WebUI `utils/middleware.py` and `main.py`: the text so far, and `done` at the end;
/// `chat:message:error` and `chat:tasks:cancel` after a failure; only the latter after a stop.
pub(super) async fn run(chat: &Chat, turn: Turn, stop: &CancellationToken) {
    let events = turn.events(&chat.events);
    record_start(chat, &events).await;
    let upstream_work = turn.upstream_work.clone();
    let new_title = name_chat(chat, &turn).await;
    let mut text = ResponseText::after(continued_text(&turn));
    // Dropping the turn cancels its job and its requests to the language model.
    let result = tokio::select! {
        biased;
        () = stop.cancelled() => None,
        // On the heap: the future of a turn is long.
        result = Box::pin(respond(chat, turn, &events, &mut text)) => Some(result),
    };
    if upstream_work.is_released() {
        return;
    }
    let failure = match &result {
        Some(Err(reason)) => Some(plain(reason, MAX_REASON_BYTES)),
        _ => None,
    };
    if result.is_none() && upstream_work.may_continue() {
        let target = &events.target;
        let status = json!({"description": upstream_work::NOTE, "done": true});
        status::emit(chat, &events, target.chat_id.as_deref(), status).await;
    }
    let failure = failure.as_deref();
    let mut stored = store_response(chat, &events, &text, failure).await;
    let stored_title = stored.as_ref().ok().cloned().flatten();
    emit_end(&events, result, failure, &text, stored_title);
    if let Some(title) = new_title {
        events.emit("chat:title", title.into());
    }
    let attempts = StorageAttempts::new();
    while let Err(error) = &stored {
        let message_id = &events.target.message_id;
        tracing::error!("cannot store response {message_id}: {error}");
        if !attempts.wait(error).await {
            return;
        }
        stored = store_response(chat, &events, &text, failure).await;
    }
}

/// Emits how the turn ended.
fn emit_end(
    events: &MessageEvents,
    result: Option<Result<(), String>>,
    failure: Option<&str>,
    text: &ResponseText,
    title: Option<String>,
) {
    if let Some(Ok(())) = result {
        let mut done = json!({"done": true, "content": text.content});
        if let Some(done) = done.as_object_mut() {
            done.extend(title.map(|title| ("title".to_owned(), title.into())));
            done.extend(text.usage.clone().map(|usage| ("usage".to_owned(), usage)));
        }
        return events.emit(COMPLETION, done);
    }
    if let Some(reason) = failure {
        let error = json!({"error": {"content": reason}});
        events.emit("chat:message:error", error);
    }
    events.emit("chat:tasks:cancel", Value::Null);
}

/// Runs the turn and reads its response. The error is for the user.
async fn respond(
    chat: &Chat,
    turn: Turn,
    events: &MessageEvents,
    text: &mut ResponseText,
) -> Result<(), String> {
    match Box::pin(super::run(chat, turn)).await {
        Ok(Reply::Text(reply)) => text.append(&reply),
        Ok(Reply::Completion { completion, .. }) => {
            read_completion(*completion, events, text).await
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Reads the language model's response, and emits the text so far.
async fn read_completion(
    mut completion: Completion,
    events: &MessageEvents,
    text: &mut ResponseText,
) -> Result<(), String> {
    if !completion.status().is_success() {
        return Err(read_error(completion).await);
    }
    text.is_stream = completion.is_stream();
    let (mut emitted_bytes, mut next_event) = (0, Instant::now());
    loop {
        let chunk = tokio::select! {
            chunk = completion.chunk() => chunk,
            () = tokio::time::sleep_until(next_event), if text.content.len() > emitted_bytes => {
                emitted_bytes = text.content.len();
                events.emit(COMPLETION, json!({"content": text.content}));
                next_event = Instant::now() + interval_after(emitted_bytes);
                continue;
            }
        };
        match chunk {
            Ok(Some(chunk)) => text.push(&chunk)?,
            Ok(None) => return text.finish(),
            Err(error) => {
                tracing::warn!("the language model's response is incomplete: {error}");
                return Err("the language model's response is incomplete".to_owned());
            }
        }
    }
}

/// The message of a response without success.
async fn read_error(mut completion: Completion) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = completion.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ERROR_BYTES {
            break;
        }
    }
    error_message(completion.status(), &body)
}

/// The time after an event of this length until the next one.
fn interval_after(bytes: usize) -> Duration {
    let micros = bytes.saturating_mul(1_000_000) / MAX_BYTES_PER_SECOND;
    MIN_INTERVAL.max(Duration::from_micros(micros as u64))
}

/// The text that the response continues: that of the conversation's last message, if it is a response.
///
/// Source: Open WebUI `utils/middleware.py`.
fn continued_text(turn: &Turn) -> &str {
    let messages = turn.payload.get("messages").and_then(Value::as_array);
    let last = messages.and_then(|messages| messages.last());
    last.filter(|last| role(last) == Some("assistant"))
        .and_then(|last| content_text(last.get("content")?))
        .unwrap_or_default()
}

/// Gives a chat without a title the beginning of its first message, if the client requests a title. Returns the new
/// title. No language model is asked, which the operator would pay.
async fn name_chat(chat: &Chat, turn: &Turn) -> Option<String> {
    let requested = turn
        .payload
        .get("background_tasks")?
        .get("title_generation")?;
    let chat_id = turn.chat_id.as_deref()?;
    let messages = turn.payload.get("messages")?.as_array()?;
    let text = last_user_text(messages)?.trim_start();
    let title = plain(text.lines().next()?.trim_end(), MAX_TITLE_BYTES);
    if !requested.is_boolean() || title.is_empty() {
        return None;
    }
    match chat.store.name_chat(&turn.user.id, chat_id, &title).await {
        Ok(is_named) => is_named.then_some(title),
        Err(error) => {
            tracing::error!("cannot store the title of chat {chat_id}: {error}");
            None
        }
    }
}

/// Records that the turn runs, so that the next start of the server sees what this one did not finish.
async fn record_start(chat: &Chat, events: &MessageEvents) {
    let target = &events.target;
    let Some(chat_id) = target.chat_id.as_deref() else {
        return;
    };
    let message = MessageLink {
        chat_id,
        message_id: &target.message_id,
    };
    let host = chat.active_jobs.durable_host();
    let recorded = chat.store.add_running_turn(&target.user_id, message, host);
    if let Err(error) = recorded.await {
        tracing::error!("cannot record a turn of chat {chat_id}: {error}");
    }
}

/// Stores the response if the user has such a chat. Returns the chat's title.
async fn store_response(
    chat: &Chat,
    events: &MessageEvents,
    text: &ResponseText,
    failure: Option<&str>,
) -> sqlx::Result<Option<String>> {
    let target = &events.target;
    let Some(chat_id) = target.chat_id.as_deref() else {
        return Ok(None);
    };
    let mut fields = Map::from_iter([("done".to_owned(), true.into())]);
    fields.extend(failure.map(|why| ("error".to_owned(), json!({"content": why}))));
    fields.extend(text.usage.clone().map(|usage| ("usage".to_owned(), usage)));
    let response = FinishedResponse {
        user_id: &target.user_id,
        chat_id,
        message_id: &target.message_id,
        content: &text.content,
        fields: &fields,
    };
    let title = chat.store.finish_response(response).await?;
    let message_id = &target.message_id;
    chat.store.remove_running_turn(chat_id, message_id).await?;
    Ok(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_after_grows_with_the_text() {
        assert_eq!(interval_after(0), MIN_INTERVAL);
        assert_eq!(interval_after(MAX_BYTES_PER_SECOND), Duration::from_secs(1));
    }
}
