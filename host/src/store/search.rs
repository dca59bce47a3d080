//! Searches of chats and files.
//!
//! A text of three and more characters is looked up in the [index](super::search_index), where the ids of a
//! user's texts are consecutive. Shorter texts, and texts that the index lacks yet, are compared one by one,
//! up to a limit.

use serde_json::Value;

use super::chats::summary_from_row;
use super::files::file_from_row;
use super::search_index::MAX_INDEXED_CHARS;
use super::{ChatFilter, ChatSummary, FileRow, SearchError, Store};

/// Characters of a text that the index can look up.
const MIN_INDEXED_CHARS: usize = 3;
/// Characters of a searched text that are compared. Further ones are ignored: each costs time in every
/// text whose trigrams are as frequent.
const MAX_COMPARED_CHARS: usize = 32;
/// The newest texts of a user that contain the searched text. Older ones are not found.
const MAX_FOUND_TEXTS: i64 = 5_000;
/// The newest texts of a user that are compared without the index.
const MAX_SCANNED_TEXTS: i64 = 2_000;
/// Characters of each of them: those that the index has of a text.
const MAX_SCANNED_CHARS: i64 = MAX_INDEXED_CHARS as i64;

/// `own` is the range of the ids of the user's texts, as the migration assigns them.
const SEARCH_CHATS: &str = "WITH own (first_id, last_id) AS (
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
            WHERE $12 = 0
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
    ORDER BY updated_at DESC, id LIMIT $10 OFFSET $11";

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
        let compared = beginning(text, MAX_COMPARED_CHARS);
        let is_indexed = compared.chars().count() >= MIN_INDEXED_CHARS;
        let rows = sqlx::query(SEARCH_CHATS)
            .bind(user_id)
            .bind(phrase(&compared))
            .bind(MAX_FOUND_TEXTS)
            .bind(MAX_SCANNED_TEXTS)
            .bind(containing_pattern(&compared))
            .bind(containing_pattern(&escape_json(&compared)))
            .bind(MAX_SCANNED_CHARS)
            .bind(filter.archived.map(i64::from))
            .bind(filter.pinned.map(i64::from))
            .bind(i64::from(page.limit))
            .bind(i64::try_from(page.offset).unwrap_or(i64::MAX))
            .bind(i64::from(is_indexed))
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
             WHERE deleted_at IS NULL AND (CAST($1 AS TEXT) IS NULL OR user_id = $1)
                 AND name LIKE $2 ESCAPE '\\'
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

/// The beginning of a text, without NUL, where SQLite ends a text.
pub(super) fn beginning(text: &str, max_chars: usize) -> String {
    let chars = text.chars().take(max_chars);
    chars.map(|c| if c == '\0' { ' ' } else { c }).collect()
}

/// An FTS5 expression that matches the text itself: nothing in it is an operator. Without a trigram it
/// matches nothing.
fn phrase(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A `LIKE` pattern for values that contain the text.
pub(super) fn containing_pattern(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};
    use tempfile::TempDir;

    use super::*;
    use crate::store::{ChatCopy, ChatHistory, ChatMessage, SaveOutcome, StoredMessage};

    struct TestStore {
        store: Store,
        user_id: String,
        _directory: TempDir,
    }

    impl TestStore {
        async fn open() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).await.unwrap();
            let key = store.create_first_administrator().await.unwrap().unwrap();
            let user = store.user_by_key(&key).await.unwrap().unwrap();
            Self {
                store,
                user_id: user.id,
                _directory: directory,
            }
        }

        async fn add_chat(&self, title: &str, contents: &[Value]) -> String {
            let message = |(number, content): (usize, &Value)| ChatMessage {
                stored: StoredMessage {
                    id: format!("m{number}"),
                    parent_id: None,
                    role: "user".to_owned(),
                    content: content.clone(),
                    files: Vec::new(),
                },
                rest: Map::new(),
            };
            let copy = ChatCopy {
                title: Some(title.to_owned()),
                history: Some(ChatHistory {
                    current_id: None,
                    messages: contents.iter().enumerate().map(message).collect(),
                }),
                rest: Map::new(),
            };
            match self
                .store
                .add_chat(&self.user_id, copy, None)
                .await
                .unwrap()
            {
                SaveOutcome::Saved(chat) => chat.id,
                other => panic!("{other:?}"),
            }
        }

        async fn index(&self) {
            while self.store.index_batch().await.unwrap() {}
        }

        /// The titles of the chats that contain the text, sorted.
        async fn find(&self, text: &str) -> Vec<String> {
            let page = Page {
                limit: 60,
                offset: 0,
            };
            let filter = ChatFilter::default();
            let found = self.store.search_chats(&self.user_id, text, filter, page);
            let mut titles: Vec<_> = found
                .await
                .unwrap()
                .into_iter()
                .map(|it| it.title)
                .collect();
            titles.sort();
            titles
        }
    }

    #[tokio::test]
    async fn search_finds_the_same_before_and_after_indexing() {
        let test = TestStore::open().await;
        let parts = json!([{"type": "text", "text": "a purple heron"}, {"type": "image_url"}]);
        test.add_chat("Birds", &[json!("the quick \"wren\" 50%\\"), parts])
            .await;
        test.add_chat("Hens 100%_", &[json!("狐狸 jumps")]).await;
        for is_indexed in [false, true] {
            for (text, expected) in [
                ("wren", &["Birds"][..]),
                ("WREN", &["Birds"]),
                ("ple her", &["Birds"]),
                ("\"wren\" 50%\\", &["Birds"]),
                ("bird", &["Birds"]),
                ("100%_", &["Hens 100%_"]),
                ("s", &["Birds", "Hens 100%_"]),
                ("狐", &["Hens 100%_"]),
                ("狐狸 j", &["Hens 100%_"]),
                ("w%n", &[]),
                ("w_en", &[]),
                ("wren OR heron", &[]),
                ("wren*", &[]),
            ] {
                assert_eq!(test.find(text).await, expected, "{text} {is_indexed}");
            }
            test.index().await;
        }
        // Only the index ignores the case of other letters than ASCII.
        test.add_chat("Füchse", &[]).await;
        test.index().await;
        assert_eq!(test.find("FÜCHSE").await, ["Füchse"]);
        assert_eq!(test.find("image_url").await.len(), 0);
    }

    #[tokio::test]
    async fn search_treats_operators_as_text() {
        let test = TestStore::open().await;
        test.add_chat("plain", &[json!("nothing special")]).await;
        test.index().await;
        for text in [
            "\"",
            "\"\"\"",
            "\"a",
            "NEAR(",
            "NEAR(a b, 3)",
            "a AND b OR NOT c",
            "text : x",
            "{text} : \"x\"",
            "^not",
            "***",
            "%%%",
            "(((((((",
            "a\0b\"c",
            "\0\0\0",
            &"a".repeat(500),
            &"\"".repeat(500),
            &"%_".repeat(250),
            &"🦊".repeat(125),
        ] {
            assert_eq!(test.find(text).await.len(), 0, "{text:?}");
        }
    }

    #[tokio::test]
    async fn index_follows_changes_and_removals() {
        let test = TestStore::open().await;
        let id = test.add_chat("Foxes", &[json!("a red fox")]).await;
        test.index().await;
        let wolf = json!("a grey wolf");
        assert!(test.store.set_content(&id, "m0", &wolf).await.unwrap());
        for _ in 0..2 {
            assert_eq!(test.find("red fox").await.len(), 0);
            assert_eq!(test.find("grey wolf").await, ["Foxes"]);
            test.index().await;
        }
        let renamed = ChatCopy {
            title: Some("Wolves".to_owned()),
            ..ChatCopy::default()
        };
        test.store.save_chat(&id, renamed, None).await.unwrap();
        test.index().await;
        assert_eq!(test.find("Foxes").await.len(), 0);
        assert_eq!(test.find("wolves").await, ["Wolves"]);
        test.store.delete_chat(&id).await.unwrap();
        assert_eq!(test.find("wolves").await.len(), 0);
        let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM search_rows")
            .fetch_one(&test.store.pool)
            .await
            .unwrap();
        let use_after = test.store.storage_use(&test.user_id).await.unwrap();
        assert_eq!((rows, use_after.total()), (0, 0));
    }

    #[tokio::test]
    async fn storage_use_counts_titles_messages_and_fields() {
        let test = TestStore::open().await;
        let id = test.add_chat("abc", &[json!("de"), json!("ü")]).await;
        // The fields of a chat and of two messages are `{}`, and texts are JSON.
        let bytes = test
            .store
            .storage_use(&test.user_id)
            .await
            .unwrap()
            .chat_bytes;
        assert_eq!(bytes, 3 + 2 + (4 + 2) + (4 + 2));
        let longer = json!("defg");
        assert!(test.store.set_content(&id, "m0", &longer).await.unwrap());
        let bytes_after = test
            .store
            .storage_use(&test.user_id)
            .await
            .unwrap()
            .chat_bytes;
        assert_eq!(bytes_after, bytes + 2);
    }
}
