//! A chat in a response.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::{ChatMessage, ChatRow};

/// A chat with all its messages.
///
/// Source: Open WebUI, `ChatResponse`.
#[derive(Serialize, ToSchema)]
#[schema(as = Chat)]
pub(super) struct ChatResponse {
    id: String,
    user_id: String,
    title: String,
    chat: ChatBody,
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
}

/// The client's copy of the chat, with content that the server generated.
#[derive(Serialize, ToSchema)]
struct ChatBody {
    #[serde(flatten)]
    rest: Map<String, Value>,
    title: String,
    history: ChatBodyHistory,
    /// The branch that ends at the current message.
    messages: Vec<Value>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ChatBodyHistory {
    /// Messages by id.
    #[schema(value_type = HashMap<String, Map<String, Value>>)]
    messages: MessagesById,
    current_id: Option<String>,
}

/// Serialized as an object, in order of creation.
struct MessagesById(Vec<(String, Value)>);

impl Serialize for MessagesById {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(messages) = self;
        serializer.collect_map(messages.iter().map(|(id, message)| (id, message)))
    }
}

impl ChatResponse {
    pub(super) fn new(chat: ChatRow, messages: Vec<ChatMessage>) -> Self {
        let mut children: HashMap<String, Vec<Value>> = HashMap::new();
        let mut parents: HashMap<String, Option<String>> = HashMap::new();
        for ChatMessage { stored, .. } in &messages {
            if let Some(parent) = &stored.parent_id {
                let id = Value::from(stored.id.as_str());
                children.entry(parent.clone()).or_default().push(id);
            }
            parents.insert(stored.id.clone(), stored.parent_id.clone());
        }
        let messages: Vec<_> = messages
            .into_iter()
            .map(|message| {
                let id = message.stored.id.clone();
                let children = children.remove(&id).unwrap_or_default();
                (id, message_object(message, children))
            })
            .collect();
        let by_id: HashMap<_, _> = messages.iter().map(|(id, it)| (id.as_str(), it)).collect();
        let branch = branch(chat.current_id.as_deref(), &parents)
            .into_iter()
            .filter_map(|id| by_id.get(id).map(|message| (*message).clone()))
            .collect();
        Self {
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
                rest: chat.rest,
                title: chat.title,
                messages: branch,
                history: ChatBodyHistory {
                    messages: MessagesById(messages),
                    current_id: chat.current_id,
                },
            },
        }
    }
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
fn message_object(message: ChatMessage, children: Vec<Value>) -> Value {
    let ChatMessage {
        stored,
        statuses,
        mut rest,
    } = message;
    for (key, value) in [
        ("id", stored.id.into()),
        ("parentId", stored.parent_id.into()),
        ("childrenIds", children.into()),
        ("role", stored.role.into()),
        ("content", stored.content),
    ] {
        rest.insert(key.to_owned(), value);
    }
    if !stored.files.is_empty() {
        rest.insert("files".to_owned(), stored.files.into());
    }
    if !statuses.is_empty() {
        rest.insert("statusHistory".to_owned(), statuses.into());
    }
    rest.into()
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
