//! Searches of chats and files.
//!
//! A text of three and more characters is looked up in the [index](super::search_index), where the ids of a
//! user's texts are consecutive. Shorter texts, and texts that the index lacks yet, are compared one by one,
//! up to a limit.

use serde_json::Value;

use super::chats::summary_from_row;
use super::files::file_from_row;
use super::{ChatFilter, ChatSummary, FileRow, SearchError, Store};

/// Characters of a text that the index can look up.
const MIN_INDEXED_CHARS: usize = 3;
/// Characters of a searched text that are compared. Further ones are ignored.
const MAX_COMPARED_CHARS: usize = 64;
/// The newest texts of a user that contain the searched text. Older ones are not found.
const MAX_FOUND_TEXTS: i64 = 5_000;
/// The newest texts of a user that are compared without the index.
const MAX_SCANNED_TEXTS: i64 = 2_000;
/// Characters of each of them. Equals what the index has of a text.
const MAX_SCANNED_CHARS: i64 = 64 << 10;

/// A page of results.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    pub limit: u32,
    pub offset: u64,
}

impl Store {
    /// A page of a user's chats whose title or messages contain the text, newest change first. Case is
    /// ignored.
    pub async fn search_chats(
        &self,
        user_id: &str,
        text: &str,
        filter: ChatFilter,
        page: Page,
    ) -> Result<Vec<ChatSummary>, SearchError> {
        let mut search = self.searches.start(user_id).await?;
        let compared = compared_part(text);
        let is_indexed = compared.chars().count() >= MIN_INDEXED_CHARS;
        // The ids of a user's texts: see the migration.
        let rows = sqlx::query(
            "WITH own (first_id, last_id) AS (
                 SELECT number * 4294967296, (number + 1) * 4294967296 - 1 FROM user_storage
                 WHERE user_id = $1),
             scanned (chat_id, message_id) AS (
                 SELECT * FROM (
                     SELECT chat_id, message_id FROM search_rows INDEXED BY stale_search_rows
                     WHERE is_stale = 1
                         AND id BETWEEN (SELECT first_id FROM own) AND (SELECT last_id FROM own)
                     ORDER BY id DESC LIMIT $4)
                 UNION ALL
                 SELECT * FROM (
                     SELECT chat_id, message_id FROM search_rows
                     WHERE $2 = ''
                         AND id BETWEEN (SELECT first_id FROM own) AND (SELECT last_id FROM own)
                     ORDER BY id DESC LIMIT $4)),
             found (chat_id) AS (
                 SELECT chat_id FROM search_rows WHERE id IN (
                     SELECT rowid FROM search_index
                     WHERE search_index MATCH $2
                         AND rowid BETWEEN (SELECT first_id FROM own) AND (SELECT last_id FROM own)
                     ORDER BY rowid DESC LIMIT $3)
                 UNION
                 SELECT chat_id FROM scanned
                 WHERE CASE message_id
                     WHEN '' THEN (SELECT title FROM chats WHERE id = chat_id) LIKE $5 ESCAPE '\\'
                     ELSE (SELECT SUBSTR(content, 1, $7) FROM messages
                         WHERE messages.chat_id = scanned.chat_id AND id = message_id)
                         LIKE $6 ESCAPE '\\' END)
             SELECT id, title, created_at, updated_at FROM chats
             WHERE id IN (SELECT chat_id FROM found) AND user_id = $1
                 AND (CAST($8 AS BIGINT) IS NULL OR archived = $8)
                 AND (CAST($9 AS BIGINT) IS NULL OR pinned = $9)
             ORDER BY updated_at DESC, id LIMIT $10 OFFSET $11",
        )
        .bind(user_id)
        .bind(if is_indexed { phrase(&compared) } else { String::new() })
        .bind(MAX_FOUND_TEXTS)
        .bind(MAX_SCANNED_TEXTS)
        .bind(containing_pattern(&compared))
        .bind(containing_pattern(&escape_json(&compared)))
        .bind(MAX_SCANNED_CHARS)
        .bind(filter.archived.map(i64::from))
        .bind(filter.pinned.map(i64::from))
        .bind(i64::from(page.limit))
        .bind(i64::try_from(page.offset).unwrap_or(i64::MAX))
        .fetch_all(search.connection())
        .await?;
        Ok(rows
            .iter()
            .map(summary_from_row)
            .collect::<sqlx::Result<_>>()?)
    }

    /// A page of the files of an owner, or of all users, whose name matches a pattern, newest first. The
    /// search is `searcher_id`'s.
    ///
    /// In the pattern, `*` matches any text and `?` one character. ASCII letters match in upper and lower
    /// case.
    pub async fn search_files(
        &self,
        searcher_id: &str,
        owner_id: Option<&str>,
        pattern: &str,
        page: Page,
    ) -> Result<Vec<FileRow>, SearchError> {
        let mut search = self.searches.start(searcher_id).await?;
        let rows = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE (CAST($1 AS TEXT) IS NULL OR user_id = $1) AND name LIKE $2 ESCAPE '\\'
             ORDER BY created_at DESC, id LIMIT $3 OFFSET $4",
        )
        .bind(owner_id)
        .bind(escape_like(pattern).replace('*', "%").replace('?', "_"))
        .bind(i64::from(page.limit))
        .bind(i64::try_from(page.offset).unwrap_or(i64::MAX))
        .fetch_all(search.connection())
        .await?;
        Ok(rows
            .iter()
            .map(file_from_row)
            .collect::<sqlx::Result<_>>()?)
    }
}

/// The beginning of a searched text. It contains no NUL, where SQLite ends a text.
fn compared_part(text: &str) -> String {
    let chars = text.chars().take(MAX_COMPARED_CHARS);
    chars.map(|c| if c == '\0' { ' ' } else { c }).collect()
}

/// An FTS5 expression that matches the text itself: nothing in it is an operator.
fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A `LIKE` pattern for values that contain the text.
fn containing_pattern(text: &str) -> String {
    format!("%{}%", escape_like(text))
}

/// Escapes the wildcards of a `LIKE` pattern with `\`.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}

/// The text as it appears within JSON, the form in which messages are stored.
fn escape_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}
