//! The messages before a turn: from the stored chat, or from the request.

use serde_json::{Map, Value};

use super::message::{role, text};
use super::{Error, Turn};
use crate::files::lookup::is_data_url;
use crate::store::{Store, StoredMessage};

/// Messages of a stored chat that a turn looks back on.
const MAX_CHAIN: u32 = 500;
/// Beginnings of ids of chats that are never stored, in the words of Open WebUI's releases.
const TEMPORARY: &[&str] = &["local:", "temporary:", "channel:"];

/// What is stored of a turn's chat.
#[derive(Debug)]
pub(super) enum History {
    /// Nothing, as the chat is nowhere or temporary: the request has it all.
    Request,
    /// The chat is in the store, with this message of the turn and those before it, the oldest
    /// first. Empty where none of the messages that the request names is there yet.
    Stored(Vec<StoredMessage>),
}

/// One message, as far as it matters for a picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// Written by the person?
    pub(super) is_users: bool,
    /// The first text of its content.
    pub(super) text: Option<&'a str>,
    /// What names its pictures: addresses, data URLs and ids of files.
    pub(super) pictures: Vec<&'a str>,
}

/// Is this the id of a chat that a client keeps to itself?
pub(super) fn is_temporary(chat_id: &str) -> bool {
    TEMPORARY.iter().any(|start| chat_id.starts_with(start))
}

/// Looks up what is stored.
pub(super) async fn read(store: &Store, turn: &Turn) -> Result<History, Error> {
    match check(store, turn).await? {
        None => Ok(History::Request),
        Some(_) if !turn.wants_picture => Ok(History::Stored(Vec::new())),
        Some(chat_id) => Ok(History::Stored(chain(store, turn, chat_id).await?)),
    }
}

/// The id of the turn's chat, where that is stored. That of somebody else is not there; an
/// administrator may take a turn in it, and the pictures are its owner's.
pub(super) async fn check<'a>(store: &Store, turn: &'a Turn) -> Result<Option<&'a str>, Error> {
    let chat_id = turn.chat_id.as_deref();
    let Some(chat_id) = chat_id.filter(|id| !is_temporary(id)) else {
        return Ok(None);
    };
    let owner = store.chat_owner(chat_id).await.map_err(Error::Store)?;
    match owner {
        None => Ok(None),
        Some(owner) if owner == turn.user.id || turn.user.role == "admin" => Ok(Some(chat_id)),
        Some(_) => Err(Error::NoChat),
    }
}

/// The chain of the first message that is there: the person's own, the answer's, or the one before.
///
/// Source: Open WebUI 0.6.43 sends `parent_id`, the person's message; later releases send it whole as
/// `user_message`, before it is stored, and `parent_id` is the one before.
async fn chain(store: &Store, turn: &Turn, chat_id: &str) -> Result<Vec<StoredMessage>, Error> {
    let own = turn.payload.get("user_message");
    let own = own.and_then(|own| own.get("id")).and_then(Value::as_str);
    let parent = turn.payload.get("parent_id").and_then(Value::as_str);
    let answer = Some(turn.message_id.as_str());
    for id in [own, answer, parent].into_iter().flatten() {
        let chain = store.message_chain(chat_id, id, MAX_CHAIN).await;
        let mut chain = chain.map_err(Error::Store)?;
        if chain.last().is_some_and(|last| last.id == turn.message_id) {
            // The answer itself is still to be written.
            chain.pop();
        }
        if !chain.is_empty() {
            return Ok(chain);
        }
    }
    Ok(Vec::new())
}

impl History {
    /// Is the chat in the store?
    pub(super) fn is_stored(&self) -> bool {
        matches!(self, Self::Stored(_))
    }

    /// The messages up to this turn's, the oldest first. The newest of the person's is as the
    /// request has it, who sends it or a filter in between may have changed it since it was stored;
    /// its pictures are those of both.
    pub(super) fn messages<'a>(&'a self, payload: &'a Map<String, Value>) -> Vec<Message<'a>> {
        let sent = payload.get("messages").and_then(Value::as_array);
        let mut sent: Vec<Message> = sent.into_iter().flatten().map(in_request).collect();
        let newest = sent.iter().rposition(|message| message.is_users);
        if let Some(newest) = newest.and_then(|newest| sent.get_mut(newest)) {
            for whole in ["user_message", "parent_message"] {
                let whole = payload.get(whole).map(in_request);
                let whole = whole.filter(|whole| whole.is_users);
                // Its words are those from before any filter.
                newest.add(whole.map(|whole| Message {
                    text: None,
                    ..whole
                }));
            }
        }
        let Self::Stored(chain) = self else {
            return sent;
        };
        if chain.is_empty() {
            return sent;
        }
        let mut messages: Vec<Message> = chain.iter().map(stored).collect();
        if let Some(mut newest) = newest.and_then(|newest| sent.into_iter().nth(newest)) {
            newest.add(messages.pop_if(|last| last.is_users));
            messages.push(newest);
        }
        messages
    }
}

impl<'a> Message<'a> {
    /// Takes over what another copy of the message has besides.
    fn add(&mut self, copy: Option<Self>) {
        let Some(copy) = copy else { return };
        self.text = self.text.or(copy.text);
        for picture in copy.pictures {
            if !self.pictures.contains(&picture) {
                self.pictures.push(picture);
            }
        }
    }
}

fn in_request(message: &Value) -> Message<'_> {
    let files = message.get("files").and_then(Value::as_array);
    let content = message.get("content").unwrap_or(&Value::Null);
    Message {
        is_users: role(message) == Some("user"),
        text: text(content),
        pictures: pictures(files.map_or(&[], Vec::as_slice), content),
    }
}

fn stored(message: &StoredMessage) -> Message<'_> {
    Message {
        is_users: message.role == "user",
        text: text(&message.content),
        pictures: pictures(&message.files, &message.content),
    }
}

/// What names the pictures of a message, each once: its files first, then the parts of its content.
fn pictures<'a>(files: &'a [Value], content: &'a Value) -> Vec<&'a str> {
    let parts = content.as_array().map_or(&[][..], Vec::as_slice);
    let named = files.iter().filter_map(of_file);
    let named = named.chain(parts.iter().filter_map(of_part));
    let mut pictures = Vec::new();
    for name in named.filter(|name| !is_svg_url(name)) {
        if !pictures.contains(&name) {
            pictures.push(name);
        }
    }
    pictures
}

/// An entry of `files` that is a picture: one that was made, or an upload with the type of one.
///
/// Source: Open WebUI knows `image` only, and its client sends uploads as `file`.
fn of_file(entry: &Value) -> Option<&str> {
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let types = [
        "/content_type",
        "/file/meta/content_type",
        "/meta/content_type",
    ];
    let media_type = types.into_iter().find_map(text);
    let is_picture = match (text("/type")?, media_type) {
        ("image", None) => true,
        ("image" | "file", Some(media_type)) => {
            media_type.starts_with("image/") && !media_type.starts_with("image/svg")
        }
        _ => false,
    };
    let names = ["/url", "/id", "/file/id"];
    let named = names
        .into_iter()
        .find_map(|name| text(name).filter(|name| !name.is_empty()));
    named.filter(|_| is_picture)
}

/// A part of a message's content that is a picture.
fn of_part(part: &Value) -> Option<&str> {
    let is_picture = part.get("type").and_then(Value::as_str) == Some("image_url");
    let url = part.get("image_url").filter(|_| is_picture)?;
    let url = url.get("url").unwrap_or(url).as_str()?;
    (!url.is_empty()).then_some(url)
}

fn is_svg_url(name: &str) -> bool {
    const START: &str = "data:image/svg";
    is_data_url(name)
        && name
            .get(..START.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(START))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check_file(entry: Value, expected: Option<&str>) {
        assert_eq!(of_file(&entry), expected, "{entry}");
    }

    #[test]
    fn pictures_are_known_among_files() {
        check_file(
            json!({"type": "image", "url": "/api/v1/files/5/content"}),
            Some("/api/v1/files/5/content"),
        );
        check_file(json!({"type": "image", "id": "5"}), Some("5"));
        let upload = json!({"type": "file", "id": "5", "url": "5", "content_type": "image/webp"});
        check_file(upload, Some("5"));
        let deep =
            json!({"type": "file", "file": {"id": "5", "meta": {"content_type": "image/png"}}});
        check_file(deep, Some("5"));
        for other in [
            json!({"type": "file", "url": "5", "content_type": "application/pdf"}),
            json!({"type": "file", "url": "5", "content_type": "image/svg+xml"}),
            json!({"type": "image", "url": "5", "content_type": "image/svg+xml"}),
            json!({"type": "file", "url": "5"}),
            json!({"type": "collection", "url": "5", "content_type": "image/png"}),
            json!({"url": "5"}),
            json!({"type": "image", "url": ""}),
            json!({"type": "image", "url": 5}),
            json!("5"),
        ] {
            check_file(other, None);
        }
    }

    fn picture(name: &str) -> Value {
        json!({"type": "image_url", "image_url": {"url": name}})
    }

    fn check(history: &History, payload: Value, expected: &[(bool, Option<&str>, &[&str])]) {
        let messages = history.messages(payload.as_object().unwrap());
        let messages: Vec<_> = messages
            .iter()
            .map(|it| (it.is_users, it.text, it.pictures.as_slice()))
            .collect();
        assert_eq!(messages, expected, "{payload}");
    }

    #[test]
    fn a_request_alone_has_it_all() {
        let payload = json!({"messages": [
            {"role": "user", "content": "one", "files": [{"type": "image", "url": "a"}]},
            {"role": "assistant", "content": "two", "files": [{"type": "image", "url": "b"}]},
            {"role": "user", "content": [picture("c"), picture("c"), picture("data:image/svg+xml,x"), {"type": "text", "text": "three"}]},
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
    fn the_clients_own_copy_of_the_newest_message_adds_its_files() {
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

    fn stored_message(id: &str, role: &str, text: &str, files: Value) -> StoredMessage {
        StoredMessage {
            id: id.to_owned(),
            parent_id: None,
            role: role.to_owned(),
            content: text.into(),
            files: files.as_array().unwrap().clone(),
        }
    }

    #[test]
    fn a_stored_chat_goes_before_the_requests_newest_message() {
        let made = json!([{"type": "image", "url": "made"}]);
        let upload = json!([{"type": "file", "url": "upload", "content_type": "image/png"}]);
        let mut chain = vec![
            stored_message("1", "user", "one", json!([])),
            stored_message("2", "assistant", "two", made),
            stored_message("3", "user", "three", upload),
        ];
        let payload = json!({"messages": [
            {"role": "user", "content": "not stored"},
            {"role": "user", "content": [{"type": "text", "text": "filtered"}, picture("sent")]},
        ]});
        let stored = History::Stored(chain.clone());
        let newest = (true, Some("filtered"), &["sent", "upload"][..]);
        let before = [
            (true, Some("one"), &[][..]),
            (false, Some("two"), &["made"][..]),
        ];
        check(&stored, payload.clone(), &[before[0], before[1], newest]);
        // Without words or a message of the person's in the request, the stored ones hold.
        let wordless = json!({"messages": [{"role": "user", "content": [picture("sent")]}]});
        let newest = (true, Some("three"), &["sent", "upload"][..]);
        check(&stored, wordless, &[before[0], before[1], newest]);
        let newest = (true, Some("three"), &["upload"][..]);
        check(
            &stored,
            json!({"messages": []}),
            &[before[0], before[1], newest],
        );

        chain.pop();
        let newest = (true, Some("filtered"), &["sent"][..]);
        check(
            &History::Stored(chain),
            payload,
            &[before[0], before[1], newest],
        );
    }

    #[test]
    fn temporary_chats_are_known_by_their_ids() {
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
