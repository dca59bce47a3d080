//! Messages of chats. The statuses and files of a message are rows of their own.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Store, now};

/// Messages of a chat.
pub const MAX_MESSAGES: usize = 5_000;
/// Stored statuses of a message.
const MAX_STATUSES: i64 = 200;
/// Length of all messages of a chat that are written one by one, in characters of JSON.
const MAX_MESSAGES_LENGTH: i64 = 16 << 20;

/// The fields of a message that the server uses.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// Chosen by a client; unique in its chat.
    pub id: String,
    /// The previous message, which may be missing.
    pub parent_id: Option<String>,
    /// Such as `user` or `assistant`.
    pub role: String,
    /// A text, or a list of parts.
    pub content: Value,
    /// The client's `message.files`. Files that the server added come first, newest first.
    pub files: Vec<Value>,
}

/// A message with all its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatMessage {
    pub stored: StoredMessage,
    /// Status events, oldest first. Empty in a client's copy.
    pub statuses: Vec<Value>,
    /// Further fields of clients.
    pub rest: Map<String, Value>,
}

impl Store {
    /// Adds a status to a message. Returns false if the message is missing or has too many statuses.
    pub async fn add_status(
        &self,
        chat_id: &str,
        message_id: &str,
        status: &Value,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "INSERT INTO message_statuses (chat_id, message_id, position, status)
             SELECT $1, $2, had.next, $3
             FROM messages, (SELECT COALESCE(MAX(position) + 1, 0) AS next FROM message_statuses
                 WHERE chat_id = $1 AND message_id = $2) AS had
             WHERE chat_id = $1 AND id = $2 AND had.next < $4",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(status.to_string())
        .bind(MAX_STATUSES)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// All messages of a chat in their order.
    pub async fn messages(&self, chat_id: &str) -> sqlx::Result<Vec<ChatMessage>> {
        let mut connection = self.pool.acquire().await?;
        let message_rows = sqlx::query(
            "SELECT id, parent_id, role, content, rest FROM messages WHERE chat_id = $1
             ORDER BY position, id",
        )
        .bind(chat_id)
        .fetch_all(&mut *connection)
        .await?;
        let mut messages = ChatMessages::from_rows(&message_rows)?;
        let file_rows = sqlx::query(
            "SELECT message_id, entry FROM message_files WHERE chat_id = $1 ORDER BY position",
        )
        .bind(chat_id)
        .fetch_all(&mut *connection)
        .await?;
        for row in &file_rows {
            if let Some(message) = messages.of_row(row)? {
                let entry: String = row.try_get("entry")?;
                message.stored.files.push(parse_json(&entry)?);
            }
        }
        let status_rows = sqlx::query(
            "SELECT message_id, status FROM message_statuses WHERE chat_id = $1 ORDER BY position",
        )
        .bind(chat_id)
        .fetch_all(&mut *connection)
        .await?;
        for row in &status_rows {
            if let Some(message) = messages.of_row(row)? {
                let status: String = row.try_get("status")?;
                message.statuses.push(parse_json(&status)?);
            }
        }
        Ok(messages.list)
    }

    /// Sets the content of a message, which is added if it is missing, and makes it the current message.
    ///
    /// Returns false and changes nothing if the chat is missing, or if it would have too many or too long
    /// messages.
    pub async fn set_content(
        &self,
        chat_id: &str,
        message_id: &str,
        content: &Value,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        let chat = sqlx::query("UPDATE chats SET current_id = $2, updated_at = $3 WHERE id = $1")
            .bind(chat_id)
            .bind(message_id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        if chat.rows_affected() == 0 {
            return Ok(false);
        }
        add_message(&mut transaction, chat_id, message_id).await?;
        let message =
            sqlx::query("UPDATE messages SET content = $3 WHERE chat_id = $1 AND id = $2")
                .bind(chat_id)
                .bind(message_id)
                .bind(content.to_string())
                .execute(&mut *transaction)
                .await?;
        let length: i64 = sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(LENGTH(content) + LENGTH(rest)), 0) AS BIGINT) FROM messages
             WHERE chat_id = $1",
        )
        .bind(chat_id)
        .fetch_one(&mut *transaction)
        .await?;
        let fits = message.rows_affected() > 0 && length <= MAX_MESSAGES_LENGTH;
        if fits {
            transaction.commit().await?;
            self.text_changed.notify_one();
        }
        Ok(fits)
    }
}

/// Adds an empty response if the message is missing, unless the chat is full.
pub(super) async fn add_message(
    connection: &mut SqliteConnection,
    chat_id: &str,
    message_id: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO messages (chat_id, id, role, position, content, rest, seen)
         SELECT $1, $2, 'assistant', COALESCE(MAX(position) + 1, 0), '\"\"', '{}', 0
         FROM messages WHERE chat_id = $1 HAVING COUNT(*) < $3
         ON CONFLICT (chat_id, id) DO NOTHING",
    )
    .bind(chat_id)
    .bind(message_id)
    .bind(i64::try_from(MAX_MESSAGES).unwrap_or(i64::MAX))
    .execute(connection)
    .await
    .map(|_| ())
}

/// The messages of a chat while their files and statuses are added.
struct ChatMessages {
    list: Vec<ChatMessage>,
    index_by_id: HashMap<String, usize>,
}

impl ChatMessages {
    fn from_rows(rows: &[SqliteRow]) -> sqlx::Result<Self> {
        let mut messages = Self {
            list: Vec::with_capacity(rows.len()),
            index_by_id: HashMap::with_capacity(rows.len()),
        };
        for row in rows {
            let stored = message_from_row(row)?;
            let rest: String = row.try_get("rest")?;
            messages
                .index_by_id
                .insert(stored.id.clone(), messages.list.len());
            messages.list.push(ChatMessage {
                stored,
                statuses: Vec::new(),
                rest: parse_json(&rest)?,
            });
        }
        Ok(messages)
    }

    /// The message that a row belongs to. `None` if it was removed.
    fn of_row(&mut self, row: &SqliteRow) -> sqlx::Result<Option<&mut ChatMessage>> {
        let id: String = row.try_get("message_id")?;
        let index = self.index_by_id.get(&id);
        Ok(index.and_then(|index| self.list.get_mut(*index)))
    }
}

/// A message without its files.
pub(super) fn message_from_row(row: &SqliteRow) -> sqlx::Result<StoredMessage> {
    let content: String = row.try_get("content")?;
    Ok(StoredMessage {
        id: row.try_get("id")?,
        parent_id: row.try_get("parent_id")?,
        role: row.try_get("role")?,
        content: parse_json(&content)?,
        files: Vec::new(),
    })
}

pub(super) fn to_json(object: &Map<String, Value>) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

pub(super) fn parse_json<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
