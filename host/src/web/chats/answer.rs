//! A chat as clients read it.

use std::collections::{HashMap, HashSet};

use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::store::{Chat, ChatMessage, ChatTitle};

/// A chat with all its messages.
///
/// Source: Open WebUI, `ChatResponse`.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = Chat)]
pub(super) struct Answer {
    id: String,
    user_id: String,
    title: String,
    chat: Body,
    updated_at: i64,
    created_at: i64,
    /// Chats are not shared.
    share_id: Option<String>,
    archived: bool,
    pinned: bool,
    #[schema(value_type = Object)]
    meta: Map<String, Value>,
    /// There are no folders.
    folder_id: Option<String>,
}

/// What clients keep of it, with what was made here.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = ChatBody)]
struct Body {
    #[serde(flatten)]
    rest: Map<String, Value>,
    title: String,
    history: History,
    /// The branch that leads to the current message.
    messages: Vec<Value>,
}

#[derive(serde::Serialize, ToSchema)]
#[schema(as = ChatBodyHistory)]
#[serde(rename_all = "camelCase")]
struct History {
    /// By their ids.
    #[schema(value_type = HashMap<String, Map<String, Value>>)]
    messages: Messages,
    current_id: Option<String>,
}

/// An object of messages, in the order in which they came.
struct Messages(Vec<(String, Value)>);

impl Serialize for Messages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(messages) = self;
        serializer.collect_map(messages.iter().map(|(id, message)| (id, message)))
    }
}

/// A chat in a list.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = ChatTitle)]
pub(super) struct Line {
    id: String,
    title: String,
    updated_at: i64,
    created_at: i64,
}

impl From<ChatTitle> for Line {
    fn from(chat: ChatTitle) -> Self {
        Self {
            id: chat.id,
            title: chat.title,
            updated_at: chat.updated_at,
            created_at: chat.created_at,
        }
    }
}

impl Answer {
    pub(super) fn new(chat: Chat, messages: Vec<ChatMessage>) -> Self {
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
                let children = children.remove(&message.stored.id).unwrap_or_default();
                (message.stored.id.clone(), object(message, children))
            })
            .collect();
        let branch = branch(chat.current_id.as_deref(), &parents);
        let by_id: HashMap<_, _> = messages.iter().map(|(id, it)| (id.as_str(), it)).collect();
        let branch = branch.iter().filter_map(|id| by_id.get(id));
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
            chat: Body {
                rest: chat.rest,
                title: chat.title,
                messages: branch.map(|message| (*message).clone()).collect(),
                history: History {
                    messages: Messages(messages),
                    current_id: chat.current_id,
                },
            },
        }
    }
}

/// The ids that lead to a message, the oldest first. Parents that lead in a circle end it.
fn branch<'a>(
    current_id: Option<&'a str>,
    parents: &'a HashMap<String, Option<String>>,
) -> Vec<&'a str> {
    let mut ids = Vec::new();
    let mut known = HashSet::new();
    let mut next = current_id;
    while let Some(id) = next.filter(|id| known.insert(*id)) {
        let Some(parent) = parents.get(id) else {
            break;
        };
        ids.push(id);
        next = parent.as_deref();
    }
    ids.reverse();
    ids
}

/// A message as clients keep it. Of two histories of statuses, ours is the whole one.
fn object(message: ChatMessage, children: Vec<Value>) -> Value {
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
    fn a_branch_ends_at_its_root_or_where_it_would_repeat() {
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
