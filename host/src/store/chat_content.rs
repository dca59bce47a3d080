//! The content of a chat as it is stored: JSON texts, which are never parsed as a whole.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::Store;
use super::database::{Connection, Row, query};
use super::messages::parse_json;

/// The content of a chat. Each text is JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatContent {
    /// An object: further fields of clients.
    pub rest: String,
    /// In their order.
    pub messages: Vec<MessageText>,
}

/// A message as it is stored. Each text but the ids and the role is JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageText {
    pub id: String,
    pub parent_id: Option<String>,
    pub role: String,
    /// A string, or a list of parts.
    pub content: String,
    /// An object: further fields of clients.
    pub rest: String,
    /// Objects. Files that the server added come first, newest first.
    pub files: Vec<String>,
    /// Objects, oldest first.
    pub statuses: Vec<String>,
}

impl ChatContent {
    /// Length of all texts in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.rest.len() + self.messages.iter().map(MessageText::length).sum::<usize>()
    }
}

impl MessageText {
    /// Length of all texts in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        let entries = self.files.iter().chain(&self.statuses);
        self.content.len() + self.rest.len() + entries.map(String::len).sum::<usize>()
    }
}

impl Store {
    /// Length of the content of a chat in bytes, without reading it. 0 if the chat does not exist.
    pub async fn chat_bytes(&self, chat_id: &str) -> sqlx::Result<usize> {
        let bytes: Option<i64> = query(
            "SELECT CAST(OCTET_LENGTH(rest)
                 + (SELECT COALESCE(SUM(OCTET_LENGTH(content) + OCTET_LENGTH(rest)), 0)
                    FROM messages WHERE chat_id = $1)
                 + (SELECT COALESCE(SUM(OCTET_LENGTH(entry)), 0)
                    FROM message_files WHERE chat_id = $1)
                 + (SELECT COALESCE(SUM(OCTET_LENGTH(status)), 0)
                    FROM message_statuses WHERE chat_id = $1) AS BIGINT)
             FROM chats WHERE id = $1",
        )
        .bind(chat_id)
        .fetch_optional_value(&self.database)
        .await?;
        Ok(usize::try_from(bytes.unwrap_or(0)).unwrap_or(usize::MAX))
    }

    /// The content of a chat. `None` if the chat does not exist.
    pub async fn chat_content(&self, chat_id: &str) -> sqlx::Result<Option<ChatContent>> {
        let mut connection = self.database.acquire().await?;
        let rest: Option<String> = query("SELECT rest FROM chats WHERE id = $1")
            .bind(chat_id)
            .fetch_optional_value(&mut connection)
            .await?;
        let Some(rest) = rest else {
            return Ok(None);
        };
        let mut messages = Messages::default();
        let select = query(
            "SELECT id, parent_id, role, content, rest FROM messages WHERE chat_id = $1
             ORDER BY position, id",
        )
        .bind(chat_id);
        let add = |row: &Row| {
            messages.add(MessageText {
                id: row.try_get("id")?,
                parent_id: row.try_get("parent_id")?,
                role: row.try_get("role")?,
                content: row.try_get("content")?,
                rest: row.try_get("rest")?,
                files: Vec::new(),
                statuses: Vec::new(),
            });
            Ok(())
        };
        select.for_each(&mut connection, add).await?;
        // A file that its owner deleted, and may restore, is not shown.
        let select_files = "SELECT message_id, entry AS text FROM message_files WHERE chat_id = $1
             AND NOT EXISTS (SELECT 1 FROM files WHERE id = file_id AND deleted_at IS NOT NULL)
             ORDER BY position";
        for_each_text(&mut connection, select_files, chat_id, |id, text| {
            messages.extend(id, |message| message.files.push(text));
        })
        .await?;
        let select_statuses =
            "SELECT message_id, status AS text FROM message_statuses WHERE chat_id = $1
             ORDER BY position";
        for_each_text(&mut connection, select_statuses, chat_id, |id, text| {
            messages.extend(id, |message| message.statuses.push(text));
        })
        .await?;
        Ok(Some(ChatContent {
            rest,
            messages: messages.list,
        }))
    }
}

/// The messages of a chat while their files and statuses are added.
#[derive(Default)]
struct Messages {
    list: Vec<MessageText>,
    index_by_id: HashMap<String, usize>,
}

impl Messages {
    fn add(&mut self, message: MessageText) {
        self.index_by_id.insert(message.id.clone(), self.list.len());
        self.list.push(message);
    }

    /// Ignores a message that was removed.
    fn extend(&mut self, id: &str, extend: impl FnOnce(&mut MessageText)) {
        let index = self.index_by_id.get(id);
        if let Some(message) = index.and_then(|index| self.list.get_mut(*index)) {
            extend(message);
        }
    }
}

/// Reads the columns `message_id` and `text` of each row.
async fn for_each_text(
    connection: &mut Connection,
    select: &'static str,
    chat_id: &str,
    mut each: impl FnMut(&str, String),
) -> sqlx::Result<()> {
    let add = |row: &Row| {
        each(row.try_get("message_id")?, row.try_get("text")?);
        Ok(())
    };
    query(select).bind(chat_id).for_each(connection, add).await
}

/// The JSON text of an object with these fields added. The values of the object are not parsed.
pub(super) fn with_fields(object: &str, fields: &Map<String, Value>) -> sqlx::Result<String> {
    let mut merged: BTreeMap<String, Box<RawValue>> = parse_json(object)?;
    for (name, value) in fields {
        let value = to_raw_value(value).map_err(|error| sqlx::Error::Encode(error.into()))?;
        merged.insert(name.clone(), value);
    }
    serde_json::to_string(&merged).map_err(|error| sqlx::Error::Encode(error.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn with_fields_adds_and_replaces() {
        let fields = Map::from_iter([("b".to_owned(), json!([2])), ("c".to_owned(), json!("x"))]);
        let merged = with_fields(r#"{"a": [1, {"z":0}], "b": 1}"#, &fields).unwrap();
        assert_eq!(merged, r#"{"a":[1, {"z":0}],"b":[2],"c":"x"}"#);
        assert!(with_fields("[]", &fields).is_err());
    }
}
