//! Saves a client's copy of the messages of a chat.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::ChatMessage;
use super::message_files::save_attached_files;
use super::messages::to_json;

/// The columns of a message that a client's copy replaces.
#[derive(PartialEq)]
struct MessageColumns {
    parent_id: Option<String>,
    role: String,
    position: i64,
    content: String,
    rest: String,
    /// A client has seen the message.
    seen: bool,
}

impl MessageColumns {
    fn new(message: &ChatMessage, position: i64) -> Self {
        Self {
            parent_id: message.stored.parent_id.clone(),
            role: message.stored.role.clone(),
            position,
            content: message.stored.content.to_string(),
            rest: to_json(&message.rest),
            seen: true,
        }
    }

    fn from_row(row: &SqliteRow) -> sqlx::Result<(String, Self)> {
        let columns = Self {
            parent_id: row.try_get("parent_id")?,
            role: row.try_get("role")?,
            position: row.try_get("position")?,
            content: row.try_get("content")?,
            rest: row.try_get("rest")?,
            seen: row.try_get::<i64, _>("seen")? == 1,
        };
        Ok((row.try_get("id")?, columns))
    }

    async fn write(
        &self,
        connection: &mut SqliteConnection,
        chat_id: &str,
        id: &str,
    ) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO messages (chat_id, id, parent_id, role, position, content, rest, seen)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (chat_id, id) DO UPDATE SET
                 parent_id = excluded.parent_id, role = excluded.role,
                 position = excluded.position, content = excluded.content,
                 rest = excluded.rest, seen = excluded.seen",
        )
        .bind(chat_id)
        .bind(id)
        .bind(&self.parent_id)
        .bind(&self.role)
        .bind(self.position)
        .bind(&self.content)
        .bind(&self.rest)
        .bind(i64::from(self.seen))
        .execute(connection)
        .await
        .map(|_| ())
    }
}

/// Replaces the messages of a chat with those of a client's copy.
///
/// Writes only what differs. What the server added remains even if the copy lacks it: statuses, files,
/// and messages that no client has seen.
pub(super) async fn save_messages(
    connection: &mut SqliteConnection,
    chat_id: &str,
    user_id: &str,
    copy: &[ChatMessage],
) -> sqlx::Result<()> {
    let rows = sqlx::query(
        "SELECT id, parent_id, role, position, content, rest, seen FROM messages WHERE chat_id = $1",
    )
    .bind(chat_id)
    .fetch_all(&mut *connection)
    .await?;
    let mut stored: HashMap<String, MessageColumns> = rows
        .iter()
        .map(MessageColumns::from_row)
        .collect::<sqlx::Result<_>>()?;
    for (message, position) in copy.iter().zip(0..) {
        let columns = MessageColumns::new(message, position);
        if stored.remove(&message.stored.id).as_ref() != Some(&columns) {
            columns
                .write(connection, chat_id, &message.stored.id)
                .await?;
        }
    }
    for (id, columns) in &stored {
        if columns.seen {
            sqlx::query("DELETE FROM messages WHERE chat_id = $1 AND id = $2")
                .bind(chat_id)
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
    }
    save_attached_files(connection, chat_id, user_id, copy).await
}
