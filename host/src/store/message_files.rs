//! Files of messages.
//!
//! Files that the server added have negative positions, those that a client attached others.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::database::{BATCH_ROWS, Connection, Parameter, query};
use super::{ChatMessage, NewFile};

/// The stored files of all messages of a chat.
#[derive(Default)]
struct LinkedFiles {
    /// Message and file of each file that the server added.
    generated: HashSet<(String, String)>,
    /// The entries that clients attached to each message.
    attached: HashMap<String, Vec<String>>,
}

/// Links files to a message, each with its entry, before those that it has.
pub(super) async fn add_message_files(
    connection: &mut Connection,
    chat_id: &str,
    message_id: &str,
    files: &[NewFile],
) -> sqlx::Result<()> {
    // The last one first, so that each goes in front.
    for file in files.iter().rev() {
        query(
            "INSERT INTO message_files (chat_id, message_id, position, file_id, entry)
             SELECT $1, $2, COALESCE(MIN(position), 0) - 1, $3, $4 FROM message_files
             WHERE chat_id = $1 AND message_id = $2 AND position < 0",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(&file.row.id)
        .bind(file.entry.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Replaces the files that clients attached, for each message whose attached files have changed.
pub(super) async fn save_attached_files(
    connection: &mut Connection,
    chat_id: &str,
    user_id: &str,
    copy: &[ChatMessage],
) -> sqlx::Result<()> {
    let mut linked = load_linked_files(connection, chat_id).await?;
    let mut changed_ids = Vec::new();
    let mut attachments = Vec::new();
    for ChatMessage { stored, .. } in copy {
        let is_generated = |entry: &Value| {
            entry_file_id(entry).is_some_and(|id| {
                linked
                    .generated
                    .contains(&(stored.id.clone(), id.to_owned()))
            })
        };
        let attached: Vec<_> = stored
            .files
            .iter()
            .filter(|entry| !is_generated(entry))
            .collect();
        let texts: Vec<_> = attached.iter().map(|entry| entry.to_string()).collect();
        if texts == linked.attached.remove(&stored.id).unwrap_or_default() {
            continue;
        }
        changed_ids.push(&stored.id);
        let entries = attached.into_iter().zip(texts).zip(0..);
        attachments.extend(entries.map(|((entry, text), position)| Attachment {
            message_id: &stored.id,
            position,
            file_id: entry_file_id(entry),
            entry: text,
        }));
    }
    for batch in changed_ids.chunks(BATCH_ROWS) {
        query("DELETE FROM message_files WHERE chat_id = $1 AND position >= 0 AND message_id IN (")
            .bind(chat_id)
            .push_list(batch.iter().copied())
            .push(")")
            .execute(&mut *connection)
            .await?;
    }
    for batch in attachments.chunks(BATCH_ROWS) {
        attach(connection, chat_id, user_id, batch).await?;
    }
    Ok(())
}

/// A file that a client attached to a message.
struct Attachment<'a> {
    message_id: &'a str,
    position: i64,
    file_id: Option<&'a str>,
    /// JSON.
    entry: String,
}

async fn attach(
    connection: &mut Connection,
    chat_id: &str,
    user_id: &str,
    attachments: &[Attachment<'_>],
) -> sqlx::Result<()> {
    let mut insert =
        query("INSERT INTO message_files (chat_id, message_id, position, file_id, entry) VALUES ");
    let mut separator = "(";
    for attachment in attachments {
        let values: [Parameter<'_>; 3] = [
            chat_id.into(),
            attachment.message_id.into(),
            attachment.position.into(),
        ];
        // A file of another user is not linked to the chat.
        insert = insert
            .push(separator)
            .push_list(values)
            .push(", (SELECT id FROM files WHERE id = ")
            .push_bind(attachment.file_id)
            .push(" AND user_id = ")
            .push_bind(user_id)
            .push("), ")
            .push_bind(&attachment.entry)
            .push(")");
        separator = ", (";
    }
    insert.execute(connection).await.map(|_| ())
}

async fn load_linked_files(
    connection: &mut Connection,
    chat_id: &str,
) -> sqlx::Result<LinkedFiles> {
    let rows = query(
        "SELECT message_id, position, file_id, entry FROM message_files WHERE chat_id = $1
         ORDER BY position",
    )
    .bind(chat_id)
    .fetch_all(connection)
    .await?;
    let mut linked = LinkedFiles::default();
    for row in &rows {
        let message_id: String = row.try_get("message_id")?;
        let file_id: Option<String> = row.try_get("file_id")?;
        match (row.try_get::<i64>("position")?, file_id) {
            (..0, Some(file_id)) => _ = linked.generated.insert((message_id, file_id)),
            (..0, None) => {}
            _ => linked
                .attached
                .entry(message_id)
                .or_default()
                .push(row.try_get("entry")?),
        }
    }
    Ok(linked)
}

/// The id of the file that an entry of `message.files` names, by its URL or else by its id.
#[must_use]
pub fn entry_file_id(entry: &Value) -> Option<&str> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let id_in_url = text("url")
        .and_then(|url| url.split_once("/api/v1/files/"))
        .and_then(|(_, path)| path.split(['/', '?', '#']).next());
    id_in_url.or_else(|| text("id")).filter(|id| !id.is_empty())
}
