//! A chat as a client sends it: its own copy of everything.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::{ChatCopy, ChatMessage, MAX_MESSAGES, StoredMessage};
use crate::web::error::ApiError;

/// Length of a chat's title, in bytes.
const MAX_TITLE_BYTES: usize = 2_000;
/// Length of a message with all that is kept in it, in bytes of JSON.
pub(super) const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Entries in the `files` of one message.
const MAX_MESSAGE_FILES: usize = 100;
/// Length of a message's id, in bytes.
const MAX_ID_BYTES: usize = 200;
/// Length of a message's role, in bytes.
const MAX_ROLE_BYTES: usize = 32;

/// What is sent: the chat, and beside it what is not taken, such as a folder.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChatForm)]
pub(super) struct Form {
    chat: Chat,
}

/// A chat as clients keep it. What is left out stays as it was.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChatCopy)]
struct Chat {
    title: Option<String>,
    history: Option<History>,
    /// Follows from `history`.
    #[serde(default, rename = "messages")]
    #[schema(value_type = Value)]
    _branch: IgnoredAny,
    /// Whatever else the client keeps.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = ChatHistory)]
struct History {
    /// By their ids.
    #[schema(value_type = std::collections::HashMap<String, Map<String, Value>>)]
    messages: Messages,
    #[serde(rename = "currentId")]
    current_id: Option<String>,
}

/// An object of messages, in the order in which they were written.
struct Messages(Vec<(String, Map<String, Value>)>);

impl<'de> Deserialize<'de> for Messages {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Messages;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an object of messages")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Messages, M::Error> {
                let mut messages = Vec::new();
                while let Some(message) = map.next_entry()? {
                    messages.push(message);
                }
                Ok(Messages(messages))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Form {
    /// The copy, within its limits.
    pub(super) fn checked(self) -> Result<ChatCopy, ApiError> {
        let Self { chat } = self;
        if let Some(title) = &chat.title
            && (title.len() > MAX_TITLE_BYTES || title.contains('\0'))
        {
            let detail = format!("the title must be a text of at most {MAX_TITLE_BYTES} bytes");
            return Err(ApiError::invalid("title", detail));
        }
        let history = chat.history.map(History::checked).transpose()?;
        Ok(ChatCopy {
            title: chat.title,
            history,
            rest: chat.rest,
        })
    }
}

impl History {
    fn checked(self) -> Result<(Option<String>, Vec<ChatMessage>), ApiError> {
        let Messages(messages) = self.messages;
        if messages.len() > MAX_MESSAGES {
            let detail = format!("the chat has more than the {MAX_MESSAGES} messages allowed");
            return Err(ApiError::invalid("messages", detail));
        }
        if let Some(id) = &self.current_id {
            check_id("currentId", id)?;
        }
        let mut known = HashSet::new();
        let messages = messages.into_iter().map(|(id, message)| {
            check_id("a message's id", &id)?;
            if !known.insert(id.clone()) {
                return Err(wrong(&id, "is there twice"));
            }
            message_of(id, message)
        });
        Ok((self.current_id, messages.collect::<Result<_, _>>()?))
    }
}

fn message_of(id: String, mut message: Map<String, Value>) -> Result<ChatMessage, ApiError> {
    // Follow from the place, and from the parents of the others.
    message.remove("id");
    message.remove("childrenIds");
    let parent_id = match message.remove("parentId") {
        None | Some(Value::Null) => None,
        Some(Value::String(parent)) => {
            check_id("parentId", &parent)?;
            Some(parent)
        }
        Some(_) => return Err(wrong(&id, "has a parentId that is no text")),
    };
    let role = match message.remove("role") {
        Some(Value::String(role)) if is_role(&role) => role,
        _ => {
            let detail = format!("needs a role: a word of at most {MAX_ROLE_BYTES} bytes");
            return Err(wrong(&id, &detail));
        }
    };
    let content = match message.remove("content") {
        None | Some(Value::Null) => Value::from(""),
        Some(content @ (Value::String(_) | Value::Array(_))) => content,
        Some(_) => return Err(wrong(&id, "has a content that is neither text nor a list")),
    };
    let files = match message.remove("files") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(files)) if files.iter().all(Value::is_object) => files,
        Some(_) => return Err(wrong(&id, "has files that are no list of objects")),
    };
    if files.len() > MAX_MESSAGE_FILES {
        let detail = format!("has more than the {MAX_MESSAGE_FILES} files allowed");
        return Err(wrong(&id, &detail));
    }
    let entries = files.iter().map(length).sum::<usize>();
    let rest = message.values().map(length).sum::<usize>();
    if length(&content) + entries + rest > MAX_MESSAGE_BYTES {
        let detail = format!("message {id} is longer than the {MAX_MESSAGE_BYTES} bytes allowed");
        return Err(ApiError::too_long("messages", detail));
    }
    Ok(ChatMessage {
        stored: StoredMessage {
            id,
            parent_id,
            role,
            content,
            files,
        },
        statuses: Vec::new(),
        rest: message,
    })
}

fn is_role(role: &str) -> bool {
    (1..=MAX_ROLE_BYTES).contains(&role.len()) && !role.contains(char::is_control)
}

/// Length of a value, in bytes of JSON.
fn length(value: &Value) -> usize {
    value.to_string().len()
}

/// Checks an id that a client made up.
pub(super) fn check_id(what: &str, id: &str) -> Result<(), ApiError> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) && !id.contains(char::is_control) {
        return Ok(());
    }
    let detail = format!("{what} must be a line of 1 to {MAX_ID_BYTES} bytes");
    Err(ApiError::invalid("messages", detail))
}

fn wrong(id: &str, what: &str) -> ApiError {
    ApiError::invalid("messages", format!("message {id} {what}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn copy(chat: &str) -> Result<ChatCopy, String> {
        let form: Form = serde_json::from_str(&format!("{{\"chat\": {chat}}}"))
            .map_err(|error| error.to_string())?;
        form.checked().map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn messages_keep_their_order_and_lose_what_follows_from_others() {
        let copy = copy(
            r#"{"title": "Foxes", "models": ["m"], "messages": [5],
                "history": {"currentId": "a", "messages": {
                    "z": {"id": "z", "parentId": null, "childrenIds": ["a"], "role": "user",
                          "content": "draw", "files": [{"type": "file", "id": "f"}], "done": true},
                    "a": {"parentId": "z", "role": "assistant", "content": null}}}}"#,
        );
        let copy = copy.unwrap();
        assert_eq!(copy.title.as_deref(), Some("Foxes"));
        assert_eq!(Value::from(copy.rest), json!({"models": ["m"]}));
        let (current, messages) = copy.history.unwrap();
        assert_eq!(current.as_deref(), Some("a"));
        let [z, a] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!((z.stored.id.as_str(), a.stored.id.as_str()), ("z", "a"));
        assert_eq!(z.stored.files, [json!({"type": "file", "id": "f"})]);
        assert_eq!(Value::from(z.rest.clone()), json!({"done": true}));
        assert_eq!(a.stored.parent_id.as_deref(), Some("z"));
        assert_eq!(a.stored.content, "");
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let message = |message: &str| {
            format!(r#"{{"history": {{"messages": {{"m1": {message}}}, "currentId": null}}}}"#)
        };
        let long = "x".repeat(MAX_MESSAGE_BYTES);
        let files = vec!["{}"; MAX_MESSAGE_FILES + 1].join(",");
        for (chat, expected) in [
            (message(r#"{"content": "x"}"#), "message m1 needs a role"),
            (message(r#"{"role": 5}"#), "message m1 needs a role"),
            (message(r#"{"role": "user", "content": 5}"#), "neither text"),
            (message(r#"{"role": "user", "parentId": 5}"#), "parentId"),
            (message(r#"{"role": "user", "parentId": ""}"#), "parentId"),
            (
                message(r#"{"role": "user", "files": {}}"#),
                "list of objects",
            ),
            (
                message(r#"{"role": "user", "files": [5]}"#),
                "list of objects",
            ),
            (
                message(&format!(r#"{{"role": "user", "files": [{files}]}}"#)),
                "100 files",
            ),
            (
                message(&format!(r#"{{"role": "user", "content": "{long}"}}"#)),
                "4194304 bytes",
            ),
            (
                message(&format!(r#"{{"role": "user", "x": "{long}"}}"#)),
                "4194304 bytes",
            ),
            (message("[]"), "expected a map"),
            (r#"{"history": {}}"#.to_owned(), "missing field `messages`"),
            (
                r#"{"history": {"messages": []}}"#.to_owned(),
                "object of messages",
            ),
            (r#"{"title": 5}"#.to_owned(), "expected a string"),
            (
                format!(r#"{{"title": "{}"}}"#, "x".repeat(MAX_TITLE_BYTES + 1)),
                "the title",
            ),
            (
                r#"{"history": {"messages": {"a": {"role": "u"}, "a": {"role": "u"}}}}"#.to_owned(),
                "message a is there twice",
            ),
            (
                r#"{"history": {"messages": {"": {"role": "u"}}}}"#.to_owned(),
                "1 to 200 bytes",
            ),
            (
                r#"{"history": {"messages": {"a\u0000": {"role": "u"}}}}"#.to_owned(),
                "1 to 200 bytes",
            ),
        ] {
            let refused = copy(&chat).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let many: Vec<_> = (0..=MAX_MESSAGES)
            .map(|id| format!(r#""{id}": {{}}"#))
            .collect();
        let many = format!(r#"{{"history": {{"messages": {{{}}}}}}}"#, many.join(","));
        assert!(copy(&many).unwrap_err().contains("5000 messages"));
    }
}
