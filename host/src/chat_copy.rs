//! The JSON of a chat as Open WebUI's clients and database have it: its fields and all its messages.

use std::collections::HashSet;
use std::fmt;

use pinhole_ground::json_bounds::JsonBounds;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::{self, ChatMessage, MAX_MESSAGES, StoredMessage};

/// Length of the JSON of a chat, in bytes.
pub const MAX_CHAT_BYTES: usize = 16 << 20;
/// Bounds of the JSON of a chat.
pub(crate) const CHAT_BOUNDS: JsonBounds = JsonBounds {
    max_values: 200_000,
    max_depth: 64,
    max_string_bytes: MAX_CHAT_BYTES,
};
/// Length of a chat's title, in bytes.
pub(crate) const MAX_TITLE_BYTES: usize = 2_000;
/// Length of a message with all its fields, in bytes of JSON.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4 << 20;
/// Entries in the `files` of one message.
const MAX_MESSAGE_FILES: usize = 100;
/// Length of a message's id, in bytes.
const MAX_ID_BYTES: usize = 200;
/// Length of a message's role, in bytes.
const MAX_ROLE_BYTES: usize = 32;

/// A client's copy of a chat. Omitted fields keep their current value.
#[derive(Default, ToSchema)]
pub(crate) struct ChatCopy {
    title: Option<String>,
    history: Option<ChatHistory>,
    /// Ignored: derived from `history`.
    #[serde(default, rename = "messages")]
    #[schema(value_type = Value)]
    _branch: (),
    /// Further fields of the client, which are stored.
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Reads each field once. A derived implementation would first copy all of them, because of the further
/// fields.
impl<'de> Deserialize<'de> for ChatCopy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CopyVisitor;
        impl<'de> Visitor<'de> for CopyVisitor {
            type Value = ChatCopy;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an object with the fields of a chat")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<ChatCopy, M::Error> {
                let mut copy = ChatCopy::default();
                while let Some(name) = map.next_key::<String>()? {
                    match name.as_str() {
                        "title" => copy.title = map.next_value()?,
                        "history" => copy.history = map.next_value()?,
                        "messages" => _ = map.next_value::<IgnoredAny>()?,
                        _ => _ = copy.rest.insert(name, map.next_value()?),
                    }
                }
                Ok(copy)
            }
        }
        deserializer.deserialize_map(CopyVisitor)
    }
}

#[derive(Deserialize, ToSchema)]
struct ChatHistory {
    /// Messages by id.
    #[schema(value_type = std::collections::HashMap<String, Map<String, Value>>)]
    messages: MessagesById,
    #[serde(rename = "currentId")]
    current_id: Option<String>,
}

/// An object of messages, in its order in the JSON text.
struct MessagesById(Vec<(String, Map<String, Value>)>);

impl<'de> Deserialize<'de> for MessagesById {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = MessagesById;

            fn expecting(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
                text.write_str("an object of messages")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<MessagesById, M::Error> {
                let mut messages = Vec::new();
                while let Some(message) = map.next_entry()? {
                    messages.push(message);
                }
                Ok(MessagesById(messages))
            }
        }
        deserializer.deserialize_map(EntryVisitor)
    }
}

/// A field of a chat that cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct CopyError {
    pub(crate) field: &'static str,
    pub(crate) message: String,
    /// The field is longer than its limit.
    pub(crate) is_too_long: bool,
}

impl CopyError {
    fn invalid(field: &'static str, message: String) -> Self {
        Self {
            field,
            message,
            is_too_long: false,
        }
    }
}

impl ChatCopy {
    /// Checks the limits.
    pub(crate) fn into_store(self) -> Result<store::ChatCopy, CopyError> {
        if let Some(title) = &self.title
            && (title.len() > MAX_TITLE_BYTES || title.contains('\0'))
        {
            let detail = format!("the title must be text of at most {MAX_TITLE_BYTES} bytes");
            return Err(CopyError::invalid("title", detail));
        }
        let history = self.history.map(ChatHistory::into_history).transpose()?;
        Ok(store::ChatCopy {
            title: self.title,
            history,
            rest: self.rest,
        })
    }

    /// Replaces the title.
    pub(crate) fn set_title(&mut self, title: String) {
        self.title = Some(title);
    }

    /// Removes the messages without a role, which have only statuses or files. Returns their number.
    pub(crate) fn remove_messages_without_role(&mut self) -> usize {
        let Some(ChatHistory { messages, .. }) = &mut self.history else {
            return 0;
        };
        let before = messages.0.len();
        messages
            .0
            .retain(|(_, message)| message.contains_key("role"));
        before - messages.0.len()
    }
}

impl ChatHistory {
    fn into_history(self) -> Result<store::ChatHistory, CopyError> {
        let MessagesById(messages) = self.messages;
        if messages.len() > MAX_MESSAGES {
            let detail = format!("the chat has more than {MAX_MESSAGES} messages");
            return Err(CopyError::invalid("messages", detail));
        }
        if let Some(id) = &self.current_id {
            check_id("messages", "currentId", id)?;
        }
        let mut ids = HashSet::new();
        let messages = messages
            .into_iter()
            .map(|(id, message)| {
                check_id("messages", "the message id", &id)?;
                if !ids.insert(id.clone()) {
                    return Err(invalid_message(&id, "appears twice"));
                }
                parse_message(id, message)
            })
            .collect::<Result<_, _>>()?;
        Ok(store::ChatHistory {
            current_id: self.current_id,
            messages,
        })
    }
}

/// Checks the fields of a message with this id.
pub(crate) fn parse_message(
    id: String,
    mut message: Map<String, Value>,
) -> Result<ChatMessage, CopyError> {
    // Derived from the key, and from the parents of the other messages.
    message.remove("id");
    message.remove("childrenIds");
    let parent_id = match message.remove("parentId") {
        None | Some(Value::Null) => None,
        Some(Value::String(parent)) => {
            check_id("messages", "parentId", &parent)?;
            Some(parent)
        }
        Some(_) => return Err(invalid_message(&id, "has a parentId that is not text")),
    };
    let role = match message.remove("role") {
        Some(Value::String(role)) if is_role(&role) => role,
        _ => {
            let detail = format!("needs a role: one line of at most {MAX_ROLE_BYTES} bytes");
            return Err(invalid_message(&id, &detail));
        }
    };
    let content = match message.remove("content") {
        None | Some(Value::Null) => Value::from(""),
        Some(content @ (Value::String(_) | Value::Array(_))) => content,
        Some(_) => {
            return Err(invalid_message(
                &id,
                "has content that is neither text nor a list",
            ));
        }
    };
    let files = match message.remove("files") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(files)) if files.iter().all(Value::is_object) => files,
        Some(_) => {
            return Err(invalid_message(
                &id,
                "has files that are not a list of objects",
            ));
        }
    };
    if files.len() > MAX_MESSAGE_FILES {
        let detail = format!("has more than {MAX_MESSAGE_FILES} files");
        return Err(invalid_message(&id, &detail));
    }
    let values = files.iter().chain(message.values()).chain([&content]);
    if values.map(json_bytes).sum::<usize>() > MAX_MESSAGE_BYTES {
        let detail = format!("message {id} is longer than {MAX_MESSAGE_BYTES} bytes");
        return Err(CopyError {
            field: "messages",
            message: detail,
            is_too_long: true,
        });
    }
    Ok(ChatMessage {
        stored: StoredMessage {
            id,
            parent_id,
            role,
            content,
            files,
        },
        rest: message,
    })
}

fn is_role(role: &str) -> bool {
    (1..=MAX_ROLE_BYTES).contains(&role.len()) && !role.contains(char::is_control)
}

fn json_bytes(value: &Value) -> usize {
    value.to_string().len()
}

/// Checks an id that a client chose. `field` and `name` are for the error.
pub(crate) fn check_id(field: &'static str, name: &str, id: &str) -> Result<(), CopyError> {
    if (1..=MAX_ID_BYTES).contains(&id.len()) && !id.contains(char::is_control) {
        return Ok(());
    }
    let detail = format!("{name} must be one line of 1 to {MAX_ID_BYTES} bytes");
    Err(CopyError::invalid(field, detail))
}

fn invalid_message(id: &str, problem: &str) -> CopyError {
    CopyError::invalid("messages", format!("message {id} {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse_copy(chat: &str) -> Result<store::ChatCopy, String> {
        let copy: ChatCopy = serde_json::from_str(chat).map_err(|error| error.to_string())?;
        copy.into_store().map_err(|error| error.to_string())
    }

    #[test]
    fn chat_copy_retains_message_order_and_drops_derived_fields() {
        let copy = parse_copy(
            r#"{"title": "Foxes", "models": ["m"], "messages": [5],
                "history": {"currentId": "a", "messages": {
                    "z": {"id": "z", "parentId": null, "childrenIds": ["a"], "role": "user",
                          "content": "draw", "files": [{"type": "file", "id": "f"}], "done": true},
                    "a": {"parentId": "z", "role": "assistant", "content": null}}}}"#,
        )
        .unwrap();
        assert_eq!(copy.title.as_deref(), Some("Foxes"));
        assert_eq!(Value::from(copy.rest), json!({"models": ["m"]}));
        let history = copy.history.unwrap();
        assert_eq!(history.current_id.as_deref(), Some("a"));
        let [z, a] = history.messages.as_slice() else {
            panic!("{history:?}")
        };
        assert_eq!((z.stored.id.as_str(), a.stored.id.as_str()), ("z", "a"));
        assert_eq!(z.stored.files, [json!({"type": "file", "id": "f"})]);
        assert_eq!(Value::from(z.rest.clone()), json!({"done": true}));
        assert_eq!(a.stored.parent_id.as_deref(), Some("z"));
        assert_eq!(a.stored.content, "");
    }

    #[test]
    fn chat_copy_names_invalid_field() {
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
                "message a appears twice",
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
            let error = parse_copy(&chat).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let many: Vec<_> = (0..=MAX_MESSAGES)
            .map(|id| format!(r#""{id}": {{}}"#))
            .collect();
        let many = format!(r#"{{"history": {{"messages": {{{}}}}}}}"#, many.join(","));
        assert!(parse_copy(&many).unwrap_err().contains("5000 messages"));
    }
}
