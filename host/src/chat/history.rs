//! The messages of a turn's conversation, from the stored chat or from the request.

use pinhole_ground::memory::MemoryLease;
use serde_json::{Map, Value};

use super::image_references::image_references;
use super::message::{content_text, role};
use super::{Error, Turn};
use crate::store::{Store, StoredMessage};

/// Messages of a stored chat that a turn reads.
pub(super) const MAX_CHAIN: u32 = 500;
/// A parsed value uses at most this number of times its text.
const MAX_GROWTH: usize = 32;
/// Memory of the parsed values of a chain, in bytes, without their texts.
const MAX_VALUES_BYTES: usize = 32 << 20;
/// Prefixes of the ids of chats that are never stored, in Open WebUI's releases.
const TEMPORARY: &[&str] = &["local:", "temporary:", "channel:"];

/// The stored messages of a turn's chat.
#[derive(Debug)]
pub(super) enum History {
    /// The chat is not stored: the request contains all messages.
    Request,
    /// The turn's message and its ancestors, oldest first. Empty if none of the messages that the request
    /// names is stored yet.
    Stored(Vec<StoredMessage>),
}

/// The parts of a message that matter for images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) is_from_user: bool,
    /// The first text of the content.
    pub(super) text: Option<&'a str>,
    /// References to images: URLs, data URLs and file ids.
    pub(super) images: Vec<&'a str>,
}

/// True for the id of a chat that only the client stores.
#[must_use]
pub fn is_temporary(chat_id: &str) -> bool {
    TEMPORARY.iter().any(|prefix| chat_id.starts_with(prefix))
}

/// Loads the stored messages.
pub(super) async fn load(store: &Store, turn: &mut Turn) -> Result<History, Error> {
    let Some(chat_id) = stored_chat_id(store, turn).await?.map(str::to_owned) else {
        return Ok(History::Request);
    };
    if !turn.wants_image {
        return Ok(History::Stored(Vec::new()));
    }
    count_chain(store, &chat_id, &mut turn.memory).await?;
    let chain = load_chain(store, turn, &chat_id).await?;
    Ok(History::Stored(chain))
}

/// Counts the messages of a chat before they are read.
pub(super) async fn count_chain(
    store: &Store,
    chat_id: &str,
    memory: &mut MemoryLease,
) -> Result<(), Error> {
    let text_bytes = store.chat_bytes(chat_id).await.map_err(Error::Store)?;
    let values_bytes = text_bytes.saturating_mul(MAX_GROWTH).min(MAX_VALUES_BYTES);
    let bytes = text_bytes.saturating_mul(2).saturating_add(values_bytes);
    memory.grow(bytes).await.map_err(Error::MemoryFull)
}

/// The id of the turn's chat if it is stored.
///
/// Fails if the chat belongs to another user, unless the user is an administrator. The images then belong
/// to the chat's owner.
pub(super) async fn stored_chat_id<'a>(
    store: &Store,
    turn: &'a Turn,
) -> Result<Option<&'a str>, Error> {
    let Some(chat_id) = turn.chat_id.as_deref() else {
        return Ok(None);
    };
    if is_temporary(chat_id) {
        return Ok(None);
    }
    match store.chat_owner(chat_id).await.map_err(Error::Store)? {
        None => Ok(None),
        Some(owner) if owner == turn.user.id || turn.user.role == "admin" => Ok(Some(chat_id)),
        Some(_) => Err(Error::UnknownChat),
    }
}

/// The chain of the first stored message of these: the user's message, the response, the parent.
///
/// Source: Open WebUI 0.6.43 sends the id of the user's message as `parent_id`. Later releases send the
/// whole message as `user_message` before it is stored, and the id of the previous one as `parent_id`.
async fn load_chain(
    store: &Store,
    turn: &Turn,
    chat_id: &str,
) -> Result<Vec<StoredMessage>, Error> {
    let user_message = turn.payload.get("user_message");
    let own = user_message
        .and_then(|message| message.get("id"))
        .and_then(Value::as_str);
    let parent = turn.payload.get("parent_id").and_then(Value::as_str);
    let response = Some(turn.message_id.as_str());
    for id in [own, response, parent].into_iter().flatten() {
        let mut chain = store
            .message_chain(chat_id, id, MAX_CHAIN)
            .await
            .map_err(Error::Store)?;
        if chain.last().is_some_and(|last| last.id == turn.message_id) {
            // The response is not written yet.
            chain.pop();
        }
        if !chain.is_empty() {
            return Ok(chain);
        }
    }
    Ok(Vec::new())
}

/// The text of the user's newest message. The error is for the user.
pub(super) fn image_prompt(messages: &[Message<'_>]) -> Result<String, String> {
    let newest = messages.iter().rfind(|message| message.is_from_user);
    let text = newest
        .and_then(|newest| newest.text)
        .ok_or("there is no message with text to use as the prompt")?;
    Ok(text.to_owned())
}

impl History {
    /// True if the chat is stored.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_))
    }

    /// The messages up to this turn's, oldest first.
    ///
    /// The user's newest message has the text of the request, because the client or a filter may have
    /// changed it since it was stored. Its images are those of both.
    pub(super) fn messages<'a>(&'a self, payload: &'a Map<String, Value>) -> Vec<Message<'a>> {
        let list = payload.get("messages").and_then(Value::as_array);
        let mut sent: Vec<Message> = list.into_iter().flatten().map(request_message).collect();
        let newest = sent.iter().rposition(|message| message.is_from_user);
        if let Some(newest) = newest.and_then(|newest| sent.get_mut(newest)) {
            for field in ["user_message", "parent_message"] {
                let copy = payload.get(field).map(request_message);
                if let Some(copy) = copy.filter(|copy| copy.is_from_user) {
                    // Its text is older than any filter's.
                    newest.add_images(copy.images);
                }
            }
        }
        let Self::Stored(chain) = self else {
            return sent;
        };
        if chain.is_empty() {
            return sent;
        }
        let mut messages: Vec<Message> = chain.iter().map(stored_message).collect();
        if let Some(mut newest) = newest.and_then(|newest| sent.into_iter().nth(newest)) {
            if let Some(copy) = messages.pop_if(|last| last.is_from_user) {
                newest.text = newest.text.or(copy.text);
                newest.add_images(copy.images);
            }
            messages.push(newest);
        }
        messages
    }
}

impl<'a> Message<'a> {
    /// Adds the images that the message lacks.
    fn add_images(&mut self, images: Vec<&'a str>) {
        for image in images {
            if !self.images.contains(&image) {
                self.images.push(image);
            }
        }
    }
}

fn request_message(message: &Value) -> Message<'_> {
    let files = message.get("files").and_then(Value::as_array);
    let content = message.get("content").unwrap_or(&Value::Null);
    Message {
        is_from_user: role(message) == Some("user"),
        text: content_text(content),
        images: image_references(files.map_or(&[], Vec::as_slice), content),
    }
}

fn stored_message(message: &StoredMessage) -> Message<'_> {
    Message {
        is_from_user: message.role == "user",
        text: content_text(&message.content),
        images: image_references(&message.files, &message.content),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image_part(url: &str) -> Value {
        json!({"type": "image_url", "image_url": {"url": url}})
    }

    fn check(history: &History, payload: Value, expected: &[(bool, Option<&str>, &[&str])]) {
        let messages = history.messages(payload.as_object().unwrap());
        let fields: Vec<_> = messages
            .iter()
            .map(|it| (it.is_from_user, it.text, it.images.as_slice()))
            .collect();
        assert_eq!(fields, expected, "{payload}");
    }

    #[test]
    fn messages_come_from_the_request_without_a_stored_chat() {
        let payload = json!({"messages": [
            {"role": "user", "content": "one", "files": [{"type": "image", "url": "a"}]},
            {"role": "assistant", "content": "two", "files": [{"type": "image", "url": "b"}]},
            {"role": "user", "content": [image_part("c"), image_part("c"), image_part("data:image/svg+xml,x"), {"type": "text", "text": "three"}]},
            null,
        ]});
        let expected = [
            (true, Some("one"), &["a"][..]),
            (false, Some("two"), &["b"]),
            (true, Some("three"), &["c"]),
            (false, None, &[]),
        ];
        check(&History::Request, payload.clone(), &expected);
        check(&History::Stored(Vec::new()), payload, &expected);
    }

    #[test]
    fn messages_include_files_of_the_clients_copy_of_the_newest_message() {
        let whole =
            json!({"role": "user", "content": "one", "files": [{"type": "image", "url": "a"}]});
        let mut payload = json!({"messages": [{"role": "user", "content": "two"}]});
        for name in ["user_message", "parent_message"] {
            payload[name] = whole.clone();
            check(
                &History::Request,
                payload.clone(),
                &[(true, Some("two"), &["a"])],
            );
        }
        payload["user_message"]["role"] = json!("assistant");
        payload["parent_message"] = json!("one");
        check(&History::Request, payload, &[(true, Some("two"), &[])]);
    }

    fn new_stored_message(id: &str, role: &str, text: &str, files: Value) -> StoredMessage {
        StoredMessage {
            id: id.to_owned(),
            parent_id: None,
            role: role.to_owned(),
            content: text.into(),
            files: files.as_array().unwrap().clone(),
        }
    }

    #[test]
    fn messages_combine_a_stored_chat_with_the_requests_newest_message() {
        let generated = json!([{"type": "image", "url": "generated"}]);
        let upload = json!([{"type": "file", "url": "upload", "content_type": "image/png"}]);
        let mut chain = vec![
            new_stored_message("1", "user", "one", json!([])),
            new_stored_message("2", "assistant", "two", generated),
            new_stored_message("3", "user", "three", upload),
        ];
        let payload = json!({"messages": [
            {"role": "user", "content": "not stored"},
            {"role": "user", "content": [{"type": "text", "text": "filtered"}, image_part("sent")]},
        ]});
        let stored = History::Stored(chain.clone());
        let earlier = [
            (true, Some("one"), &[][..]),
            (false, Some("two"), &["generated"][..]),
        ];
        let filtered = (true, Some("filtered"), &["sent", "upload"][..]);
        check(
            &stored,
            payload.clone(),
            &[earlier[0], earlier[1], filtered],
        );
        // If the request has no text or no user message, the stored one counts.
        let without_text = json!({"messages": [{"role": "user", "content": [image_part("sent")]}]});
        let both = (true, Some("three"), &["sent", "upload"][..]);
        check(&stored, without_text, &[earlier[0], earlier[1], both]);
        let stored_only = (true, Some("three"), &["upload"][..]);
        check(
            &stored,
            json!({"messages": []}),
            &[earlier[0], earlier[1], stored_only],
        );

        chain.pop();
        let sent_only = (true, Some("filtered"), &["sent"][..]);
        check(
            &History::Stored(chain),
            payload,
            &[earlier[0], earlier[1], sent_only],
        );
    }

    #[test]
    fn is_temporary_recognizes_the_prefixes_of_open_webui() {
        for (id, expected) in [
            ("local:x", true),
            ("temporary:", true),
            ("channel:5", true),
            ("c1", false),
            ("", false),
        ] {
            assert_eq!(is_temporary(id), expected, "{id}");
        }
    }
}
