//! Saves a client's copy of the messages of a chat.

use std::collections::{BTreeMap, HashMap};

use super::ChatMessage;
use super::database::{BATCH_ROWS, Connection, Parameter, Row, query};
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

    fn from_row(row: &Row) -> sqlx::Result<(String, Self)> {
        let columns = Self {
            parent_id: row.try_get("parent_id")?,
            role: row.try_get("role")?,
            position: row.try_get("position")?,
            content: row.try_get("content")?,
            rest: row.try_get("rest")?,
            seen: row.try_get_flag("seen")?,
        };
        Ok((row.try_get("id")?, columns))
    }

    /// The values of [`UPSERT`].
    fn values<'q>(&'q self, chat_id: &'q str, id: &'q str) -> [Parameter<'q>; 8] {
        [
            chat_id.into(),
            id.into(),
            (&self.parent_id).into(),
            (&self.role).into(),
            self.position.into(),
            (&self.content).into(),
            (&self.rest).into(),
            i64::from(self.seen).into(),
        ]
    }
}

/// Writes messages: before and after their values.
const UPSERT: [&str; 2] = [
    "INSERT INTO messages (chat_id, id, parent_id, role, position, content, rest, seen) VALUES ",
    " ON CONFLICT (chat_id, id) DO UPDATE SET
         parent_id = excluded.parent_id, role = excluded.role,
         position = excluded.position, content = excluded.content,
         rest = excluded.rest, seen = excluded.seen",
];

async fn upsert(
    connection: &mut Connection,
    chat_id: &str,
    messages: &BTreeMap<&str, MessageColumns>,
) -> sqlx::Result<()> {
    let messages: Vec<_> = messages.iter().collect();
    for batch in messages.chunks(BATCH_ROWS) {
        let rows = batch
            .iter()
            .map(|(id, columns)| columns.values(chat_id, id));
        query(UPSERT[0])
            .push_rows(rows)
            .push(UPSERT[1])
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Replaces the messages of a chat with those of a client's copy.
///
/// Writes only what differs. What the server added remains even if the copy lacks it: statuses, files,
/// and messages that no client has seen.
pub(super) async fn save_messages(
    connection: &mut Connection,
    chat_id: &str,
    user_id: &str,
    copy: &[ChatMessage],
) -> sqlx::Result<()> {
    let rows = query(
        "SELECT id, parent_id, role, position, content, rest, seen FROM messages WHERE chat_id = $1",
    )
    .bind(chat_id)
    .fetch_all(&mut *connection)
    .await?;
    let mut stored: HashMap<String, MessageColumns> = rows
        .iter()
        .map(MessageColumns::from_row)
        .collect::<sqlx::Result<_>>()?;
    let mut changed = BTreeMap::new();
    for (message, position) in copy.iter().zip(0..) {
        let columns = MessageColumns::new(message, position);
        let id = message.stored.id.as_str();
        if stored.remove(id).as_ref() != Some(&columns) {
            changed.insert(id, columns);
        }
    }
    upsert(connection, chat_id, &changed).await?;
    let removed = stored.iter().filter(|(_, columns)| columns.seen);
    let removed_ids: Vec<_> = removed.map(|(id, _)| id).collect();
    for batch in removed_ids.chunks(BATCH_ROWS) {
        query("DELETE FROM messages WHERE chat_id = $1 AND id IN (")
            .bind(chat_id)
            .push_list(batch.iter().copied())
            .push(")")
            .execute(&mut *connection)
            .await?;
    }
    save_attached_files(connection, chat_id, user_id, copy).await
}
