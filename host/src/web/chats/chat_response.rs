//! A chat in a response, written from its stored texts while it is sent.
//!
//! Parsed values would need many times the memory of the texts, and the whole response twice their length:
//! it contains the messages of the current branch two times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::iter;
use std::sync::Arc;

use axum::body::Bytes;
use pinhole_ground::memory::MemoryLease;
use serde::Serialize;
use serde::ser::{Error as _, SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::{ChatContent, ChatRow, MessageText};

/// A chat with all its messages. [`chat_parts`] writes the messages between the last fields.
///
/// Source: Open WebUI, `ChatResponse`.
#[derive(Serialize, ToSchema)]
#[schema(as = Chat)]
pub(super) struct ChatResponse {
    id: String,
    user_id: String,
    title: String,
    /// Seconds since 1970.
    updated_at: i64,
    /// Seconds since 1970.
    created_at: i64,
    /// Always `null`: chats cannot be shared.
    share_id: Option<String>,
    archived: bool,
    pinned: bool,
    #[schema(value_type = Object)]
    meta: Map<String, Value>,
    /// Always `null`: there are no folders.
    folder_id: Option<String>,
    // The last field.
    chat: ChatBody,
}

/// The client's copy of the chat, with content that the server generated.
#[derive(Serialize, ToSchema)]
struct ChatBody {
    #[serde(flatten)]
    #[schema(value_type = Map<String, Value>)]
    rest: BTreeMap<String, Box<RawValue>>,
    title: String,
    /// The branch that ends at the current message.
    #[schema(value_type = Vec<Value>)]
    messages: [(); 0],
    // The last field.
    history: ChatBodyHistory,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChatBodyHistory {
    current_id: Option<String>,
    /// Messages by id, in order of creation.
    // The last field.
    #[schema(value_type = HashMap<String, Map<String, Value>>)]
    messages: Map<String, Value>,
}

impl ChatResponse {
    /// A chat without messages.
    fn new(chat: ChatRow, rest: &str) -> serde_json::Result<Self> {
        Ok(Self {
            id: chat.id,
            user_id: chat.user_id,
            title: chat.title.clone(),
            updated_at: chat.updated_at,
            created_at: chat.created_at,
            share_id: None,
            archived: chat.archived,
            pinned: chat.pinned,
            meta: Map::new(),
            folder_id: None,
            chat: ChatBody {
                rest: serde_json::from_str(rest)?,
                title: chat.title,
                messages: [],
                history: ChatBodyHistory {
                    current_id: chat.current_id,
                    messages: Map::new(),
                },
            },
        })
    }
}

/// The messages of a chat, and their memory until they are sent.
struct Messages {
    list: Vec<MessageText>,
    /// The ids of the children of each message in the list.
    children: Vec<Vec<String>>,
    _lease: MemoryLease,
}

impl Messages {
    fn new(list: Vec<MessageText>, lease: MemoryLease) -> Self {
        let mut by_parent: HashMap<&str, Vec<String>> = HashMap::new();
        for message in &list {
            if let Some(parent) = &message.parent_id {
                by_parent
                    .entry(parent)
                    .or_default()
                    .push(message.id.clone());
            }
        }
        let children = list
            .iter()
            .map(|message| by_parent.remove(message.id.as_str()).unwrap_or_default())
            .collect();
        Self {
            children,
            list,
            _lease: lease,
        }
    }

    /// The indices of the messages from the root to a message.
    fn branch(&self, current_id: Option<&str>) -> Vec<usize> {
        let indices: HashMap<&str, usize> = self
            .list
            .iter()
            .enumerate()
            .map(|(index, message)| (message.id.as_str(), index))
            .collect();
        let parents = self
            .list
            .iter()
            .map(|message| (message.id.clone(), message.parent_id.clone()))
            .collect();
        let ids = branch(current_id, &parents).into_iter();
        ids.filter_map(|id| indices.get(id).copied()).collect()
    }

    /// The JSON of a message, after a prefix. A stored text that is not JSON leaves `null`.
    fn json(&self, prefix: &str, index: usize) -> Bytes {
        let message = self.list.get(index).zip(self.children.get(index));
        let object = message.map(|(text, children)| MessageObject { text, children });
        let mut json = prefix.as_bytes().to_vec();
        let start = json.len();
        if let Err(error) = serde_json::to_writer(&mut json, &object) {
            tracing::error!("a stored message is not valid: {error}");
            json.truncate(start);
            json.extend_from_slice(b"null");
        }
        json.into()
    }
}

/// The JSON of a chat in parts, each written when it is asked for. They hold the lease.
pub(super) fn chat_parts(
    chat: ChatRow,
    content: ChatContent,
    lease: MemoryLease,
) -> serde_json::Result<impl Iterator<Item = Bytes> + Send + use<>> {
    let messages = Arc::new(Messages::new(content.messages, lease));
    let branch = messages.branch(chat.current_id.as_deref());
    let response = ChatResponse::new(chat, &content.rest)?;
    // The end of the JSON text, from the end of the branch, and from the end of the history.
    const END: &str = "}}}}";
    let history = serde_json::to_string(&response.chat.history)?;
    let end = format!("],\"history\":{history}}}}}");
    let mut head = serde_json::to_string(&response)?;
    head.truncate(head.len() - end.len());
    let between = end.strip_suffix(END).unwrap_or_default().to_owned();
    let (of_branch, of_history) = (messages.clone(), messages);
    let branch_parts = branch
        .into_iter()
        .zip(iter::once("").chain(iter::repeat(",")))
        .map(move |(index, separator)| of_branch.json(separator, index));
    let history_parts = (0..of_history.list.len())
        .zip(iter::once("").chain(iter::repeat(",")))
        .map(move |(index, separator)| {
            let id = of_history
                .list
                .get(index)
                .map(|message| message.id.as_str());
            let key = Value::from(id.unwrap_or_default());
            of_history.json(&format!("{separator}{key}:"), index)
        });
    Ok(iter::once(Bytes::from(head))
        .chain(branch_parts)
        .chain(iter::once(Bytes::from(between)))
        .chain(history_parts)
        .chain(iter::once(Bytes::from_static(END.as_bytes()))))
}

/// The ids from the root to a message. A cycle of parents ends the branch.
fn branch<'a>(
    current_id: Option<&'a str>,
    parents: &'a HashMap<String, Option<String>>,
) -> Vec<&'a str> {
    let mut ids = Vec::new();
    let mut visited = HashSet::new();
    let mut next = current_id;
    while let Some(id) = next.filter(|id| visited.insert(*id)) {
        let Some(parent) = parents.get(id) else {
            break;
        };
        ids.push(id);
        next = parent.as_deref();
    }
    ids.reverse();
    ids
}

/// A message in the client's format. The server's status history replaces the client's, which may be
/// incomplete.
struct MessageObject<'a> {
    text: &'a MessageText,
    children: &'a [String],
}

impl MessageObject<'_> {
    /// Does the server have a value of its own for this field?
    fn replaces(&self, name: &str) -> bool {
        match name {
            "id" | "parentId" | "childrenIds" | "role" | "content" => true,
            "files" => !self.text.files.is_empty(),
            "statusHistory" => !self.text.statuses.is_empty(),
            _ => false,
        }
    }
}

impl Serialize for MessageObject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { text, children } = self;
        let rest: BTreeMap<String, &RawValue> =
            serde_json::from_str(&text.rest).map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in rest.iter().filter(|(name, _)| !self.replaces(name)) {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("id", &text.id)?;
        map.serialize_entry("parentId", &text.parent_id)?;
        map.serialize_entry("childrenIds", children)?;
        map.serialize_entry("role", &text.role)?;
        map.serialize_entry("content", raw::<S::Error>(&text.content)?)?;
        for (name, texts) in [("files", &text.files), ("statusHistory", &text.statuses)] {
            if texts.is_empty() {
                continue;
            }
            let values = texts.iter().map(|it| raw::<S::Error>(it));
            map.serialize_entry(name, &values.collect::<Result<Vec<_>, _>>()?)?;
        }
        map.end()
    }
}

/// A stored text as the JSON value that it is.
fn raw<E: serde::ser::Error>(text: &str) -> Result<&RawValue, E> {
    serde_json::from_str(text).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current_id: Option<&str>, parents: &[(&str, Option<&str>)], expected: &[&str]) {
        let owned =
            |(id, parent): &(&str, Option<&str>)| ((*id).to_owned(), parent.map(str::to_owned));
        let parents = parents.iter().map(owned).collect();
        assert_eq!(branch(current_id, &parents), expected);
    }

    #[test]
    fn branch_ends_at_root_or_cycle() {
        let tree = [
            ("a", None),
            ("b", Some("a")),
            ("c", Some("b")),
            ("x", Some("a")),
        ];
        check(Some("c"), &tree, &["a", "b", "c"]);
        check(Some("x"), &tree, &["a", "x"]);
        check(Some("gone"), &tree, &[]);
        check(None, &tree, &[]);
        check(
            Some("b"),
            &[("a", Some("b")), ("b", Some("a"))],
            &["a", "b"],
        );
        check(Some("a"), &[("a", Some("a"))], &["a"]);
        check(Some("a"), &[("a", Some("gone"))], &["a"]);
    }
}
