//! The index of all texts that users can search: FTS5 with trigrams on SQLite, `pg_trgm` on PostgreSQL.
//!
//! Indexing a megabyte takes a third of a second, and SQLite has one writer. Within the transaction that
//! saves a chat, it would let a user with large chats stop all others. So triggers only mark changed texts
//! as stale, and this task indexes them in short transactions. Until then searches compare stale texts one
//! by one.

use std::time::Duration;

use serde_json::Value;

use super::Store;
use super::database::{Dialect, query};
use super::messages::parse_json;
use super::search::beginning;

/// Characters of a text that are indexed, from its beginning.
pub(super) const MAX_INDEXED_CHARS: usize = 64 << 10;
/// Texts that one transaction indexes.
const BATCH_TEXTS: i64 = 50;
/// Bytes after which a transaction ends.
const BATCH_BYTES: usize = 64 << 10;
/// Time after a failure until the next attempt.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

impl Store {
    /// Indexes changed texts, first those that an earlier process left. Never returns.
    pub async fn index_texts(self) {
        loop {
            match self.index_batch().await {
                Ok(true) => {}
                Ok(false) => self.text_changed.notified().await,
                Err(error) => {
                    tracing::warn!("cannot index chats for searches, will retry: {error}");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }

    /// Indexes a few texts. Returns false if none is stale, or if other servers index those that are.
    pub async fn index_batch(&self) -> sqlx::Result<bool> {
        let stale: Option<i64> = query(STALE_IDS)
            .bind(1_i64)
            .fetch_optional_value(&self.database)
            .await?;
        if stale.is_none() {
            return Ok(false);
        }
        let mut transaction = self.begin().await?;
        // Read again: nothing changes from here on. Other servers index other texts.
        let dialect = self.database.dialect();
        let ids: Vec<i64> = query(STALE_IDS)
            .bind(BATCH_TEXTS)
            .skip_locked(dialect)
            .fetch_values(&mut *transaction)
            .await?;
        if ids.is_empty() {
            return Ok(false);
        }
        let mut bytes = 0;
        for id in ids {
            let row = query(
                "SELECT title, content FROM search_rows
                 JOIN chats ON chats.id = search_rows.chat_id
                 LEFT JOIN messages ON messages.chat_id = search_rows.chat_id
                     AND messages.id = search_rows.message_id
                 WHERE search_rows.id = $1",
            )
            .bind(id)
            .fetch_optional(&mut *transaction)
            .await?;
            if let Some(row) = row {
                let content: Option<String> = row.try_get("content")?;
                let text = match content {
                    Some(content) => text_of(&parse_json(&content).unwrap_or_default()),
                    None => row.try_get("title")?,
                };
                let mut text = beginning(&text, MAX_INDEXED_CHARS);
                if dialect == Dialect::Postgres {
                    text = text.to_lowercase();
                }
                bytes += text.len();
                query("INSERT INTO search_index (rowid, text) VALUES ($1, $2)")
                    .bind(id)
                    .bind(text)
                    .execute(&mut *transaction)
                    .await?;
            }
            query("UPDATE search_rows SET is_stale = 0 WHERE id = $1")
                .bind(id)
                .execute(&mut *transaction)
                .await?;
            if bytes >= BATCH_BYTES {
                break;
            }
        }
        transaction.commit().await?;
        Ok(true)
    }
}

const STALE_IDS: &str = "SELECT id FROM search_rows WHERE is_stale = 1 ORDER BY id LIMIT $1";

/// The text of a message: the content itself, or the texts of its parts.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &Value| Some(part.get("text")?.as_str()?.to_owned());
            let texts: Vec<String> = parts.iter().filter_map(text).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}
