//! Messages of chats. The statuses and files of a message are rows of their own.

use pinhole_ground::json_bounds::JsonBounds;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::database::{Connection, Row, query};
use super::{Store, now};

/// Messages of a chat.
pub const MAX_MESSAGES: usize = 5_000;
/// Stored statuses of a message.
const MAX_STATUSES: i64 = 200;
/// Length of all messages of a chat that are written one by one, in characters of JSON.
pub(super) const MAX_MESSAGES_LENGTH: i64 = 16 << 20;

/// Bounds of a stored text that is parsed: the content of a message, or the entry of a file.
const PARSED_BOUNDS: JsonBounds = JsonBounds {
    max_values: 1_000,
    max_depth: 64,
    max_string_bytes: usize::MAX,
};

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

/// A message of a client's copy, with all its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatMessage {
    pub stored: StoredMessage,
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
        let message = query("SELECT id FROM messages WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(message_id);
        transaction.lock_rows(message).await?;
        let done = query(
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
        Ok(done > 0)
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
        let chat = query("UPDATE chats SET current_id = $2, updated_at = $3 WHERE id = $1")
            .bind(chat_id)
            .bind(message_id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        if chat == 0 {
            return Ok(false);
        }
        add_message(&mut transaction, chat_id, message_id).await?;
        let message = query("UPDATE messages SET content = $3 WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(message_id)
            .bind(content.to_string())
            .execute(&mut *transaction)
            .await?;
        let length: i64 = query(
            "SELECT CAST(COALESCE(SUM(LENGTH(content) + LENGTH(rest)), 0) AS BIGINT) FROM messages
             WHERE chat_id = $1",
        )
        .bind(chat_id)
        .fetch_value(&mut *transaction)
        .await?;
        let fits = message > 0 && length <= MAX_MESSAGES_LENGTH;
        if fits {
            transaction.commit().await?;
            self.text_changed.notify_one();
        }
        Ok(fits)
    }
}

/// Adds an empty response if the message is missing, unless the chat is full.
pub(super) async fn add_message(
    connection: &mut Connection,
    chat_id: &str,
    message_id: &str,
) -> sqlx::Result<()> {
    query(
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

/// A message without its files.
pub(super) fn message_from_row(row: &Row) -> sqlx::Result<StoredMessage> {
    let content: String = row.try_get("content")?;
    Ok(StoredMessage {
        id: row.try_get("id")?,
        parent_id: row.try_get("parent_id")?,
        role: row.try_get("role")?,
        content: parse_small_json(&content)?,
        files: Vec::new(),
    })
}

pub(super) fn to_json(object: &Map<String, Value>) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

/// Parses a text that a client stored. It is null if the text has more values than any that a client shows.
pub(super) fn parse_small_json(text: &str) -> sqlx::Result<Value> {
    if PARSED_BOUNDS.check(text.as_bytes()).is_err() {
        return Ok(Value::Null);
    }
    parse_json(text)
}

pub(super) fn parse_json<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
