//! A message and its ancestors.

use std::collections::{HashMap, HashSet};

use super::database::{Connection, Row, query};
use super::messages::{message_from_row, parse_small_json};
use super::{Store, StoredMessage};

impl Store {
    /// A message and its ancestors, oldest first, at most `limit`. Empty if the message is missing.
    /// A cycle of parents ends before the first repetition.
    ///
    /// `limit` must not exceed a few hundred, the number of parameters that a statement accepts.
    pub async fn message_chain(
        &self,
        chat_id: &str,
        message_id: &str,
        limit: u32,
    ) -> sqlx::Result<Vec<StoredMessage>> {
        let mut connection = self.database.acquire().await?;
        let ids = select_chain(&mut connection, chat_id, message_id, limit).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let select = "SELECT id, parent_id, role, content FROM messages WHERE id IN (";
        let message_rows = select_by_ids(&mut connection, select, chat_id, &ids).await?;
        let mut chain = HashMap::with_capacity(message_rows.len());
        for row in &message_rows {
            let message = message_from_row(row)?;
            chain.insert(message.id.clone(), message);
        }
        let select_files = "SELECT message_id, entry FROM message_files
             WHERE NOT EXISTS (SELECT 1 FROM files WHERE id = file_id AND deleted_at IS NOT NULL)
             AND message_id IN (";
        for row in select_by_ids(&mut connection, select_files, chat_id, &ids).await? {
            let id: String = row.try_get("message_id")?;
            let entry: String = row.try_get("entry")?;
            if let Some(message) = chain.get_mut(&id) {
                message.files.push(parse_small_json(&entry)?);
            }
        }
        Ok(ids.iter().rev().filter_map(|id| chain.remove(id)).collect())
    }
}

/// The ids of the message and its ancestors, newest first. Ends a cycle before any content is read.
async fn select_chain(
    connection: &mut Connection,
    chat_id: &str,
    message_id: &str,
    limit: u32,
) -> sqlx::Result<Vec<String>> {
    let rows = query(
        "WITH RECURSIVE chain (id, parent_id, depth) AS (
             SELECT id, parent_id, CAST(1 AS BIGINT) FROM messages
             WHERE chat_id = $1 AND id = $2
             UNION ALL
             SELECT messages.id, messages.parent_id, depth + 1 FROM chain
             JOIN messages ON messages.chat_id = $1 AND messages.id = chain.parent_id
             WHERE depth < $3)
         SELECT id FROM chain ORDER BY depth",
    )
    .bind(chat_id)
    .bind(message_id)
    .bind(i64::from(limit))
    .fetch_all(connection)
    .await?;
    let mut ids: Vec<String> = Vec::with_capacity(rows.len());
    let mut seen = HashSet::new();
    for row in &rows {
        let id: String = row.try_get("id")?;
        if !seen.insert(id.clone()) {
            break;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Completes a statement that ends in `IN (` with the ids of messages and runs it.
async fn select_by_ids(
    connection: &mut Connection,
    select: &'static str,
    chat_id: &str,
    ids: &[String],
) -> sqlx::Result<Vec<Row>> {
    query(select)
        .push_list(ids)
        .push(") AND chat_id = ")
        .push_bind(chat_id)
        .push(" ORDER BY position")
        .fetch_all(connection)
        .await
}
