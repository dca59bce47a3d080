//! Searches of chats and files.
//!
//! A text of three and more characters is looked up in the [index](super::search_index), where the ids of a
//! user's texts are consecutive. Shorter texts, and texts that the index lacks yet, are compared one by one,
//! up to a limit.

use serde_json::Value;

use super::chats::summary_from_row;
use super::database::{Dialect, query};
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

/// The statement of a search: which index it reads, how that compares, and how texts without index are compared.
/// `own` is the range of the ids of the user's texts, as the migration assigns them.
macro_rules! search_chats {
    ($stale_index:literal, $matches:literal, $like:literal) => {
        concat!(
            "WITH own (first_id, last_id) AS (
        SELECT number * 4294967296, (number + 1) * 4294967296 - 1 FROM user_storage
        WHERE user_id = $1),
    scanned (chat_id, message_id) AS (
        SELECT * FROM (
            SELECT chat_id, message_id FROM search_rows ",
            $stale_index,
            "
            WHERE is_stale = 1
                AND id BETWEEN (SELECT first_id FROM own) AND (SELECT last_id FROM own)
            ORDER BY id DESC LIMIT $4) AS stale_rows
        UNION ALL
        SELECT * FROM (
            SELECT chat_id, message_id FROM search_rows
            WHERE $12 = 0
                AND id BETWEEN (SELECT first_id FROM own) AND (SELECT last_id FROM own)
            ORDER BY id DESC LIMIT $4) AS newest_rows),
    found (chat_id) AS (
        SELECT chat_id FROM search_rows WHERE id IN (
            SELECT rowid FROM search_index
            WHERE ",
            $matches,
            "
                AND rowid BETWEEN (SELECT first_id FROM own) AND (SELECT last_id FROM own)
            ORDER BY rowid DESC LIMIT $3)
        UNION
        SELECT chat_id FROM scanned
        WHERE CASE message_id
            WHEN '' THEN (SELECT title FROM chats WHERE id = chat_id) ",
            $like,
            " $5 ESCAPE '\\'
            ELSE (SELECT SUBSTR(content, 1, CAST($7 AS INTEGER)) FROM messages
                WHERE messages.chat_id = scanned.chat_id AND id = message_id)
                ",
            $like,
            " $6 ESCAPE '\\' END)
    SELECT id, title, created_at, updated_at FROM chats
    WHERE id IN (SELECT chat_id FROM found) AND user_id = $1
        AND (CAST($8 AS BIGINT) IS NULL OR archived = $8)
        AND (CAST($9 AS BIGINT) IS NULL OR pinned = $9)
    ORDER BY updated_at DESC, id LIMIT $10 OFFSET $11"
        )
    };
}

const SEARCH_CHATS_SQLITE: &str = search_chats!(
    "INDEXED BY stale_search_rows",
    "search_index MATCH $2",
    "LIKE"
);
const SEARCH_CHATS_POSTGRES: &str = search_chats!("", "text LIKE $2 ESCAPE '\\'", "ILIKE");

/// The files of an owner, or of all users, whose name matches.
macro_rules! search_files {
    ($like:literal) => {
        concat!(
            "SELECT id, user_id, name, media_type, size_bytes, hash, meta, created_at FROM files
             WHERE deleted_at IS NULL AND (CAST($1 AS TEXT) IS NULL OR user_id = $1)
                 AND name ",
            $like,
            " $2 ESCAPE '\\'
             ORDER BY created_at DESC, id LIMIT $3 OFFSET $4"
        )
    };
}

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
        let (statement, indexed_text) = match self.database.dialect() {
            Dialect::Sqlite => (SEARCH_CHATS_SQLITE, Some(phrase(&compared))),
            Dialect::Postgres => {
                let pattern = containing_pattern(&compared.to_lowercase());
                // NULL matches nothing, as a phrase without a trigram does.
                (SEARCH_CHATS_POSTGRES, is_indexed.then_some(pattern))
            }
        };
        let rows = query(statement)
            .bind(user_id)
            .bind(&indexed_text)
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
        let rows = query(match self.database.dialect() {
            Dialect::Sqlite => search_files!("LIKE"),
            Dialect::Postgres => search_files!("ILIKE"),
        })
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

    use super::*;
    use crate::store::test_database::TestDatabase;
    use crate::store::{ChatCopy, ChatHistory, ChatMessage, SaveOutcome, StoredMessage};

    struct Chats {
        test: TestDatabase,
        user_id: String,
    }

    impl Chats {
        async fn new(test: TestDatabase) -> Self {
            let key = test.store.create_first_administrator().await.unwrap();
            let user = test.store.user_by_key(&key.unwrap()).await.unwrap();
            Self {
                user_id: user.unwrap().id,
                test,
            }
        }

        fn store(&self) -> &Store {
            &self.test.store
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
                .store()
                .add_chat(&self.user_id, copy, None)
                .await
                .unwrap()
            {
                SaveOutcome::Saved(chat) => chat.id,
                other => panic!("{other:?}"),
            }
        }

        async fn index(&self) {
            while self.store().index_batch().await.unwrap() {}
        }

        /// The titles of the chats that contain the text, sorted.
        async fn find(&self, text: &str) -> Vec<String> {
            let page = Page {
                limit: 60,
                offset: 0,
            };
            let filter = ChatFilter::default();
            let found = self.store().search_chats(&self.user_id, text, filter, page);
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
        TestDatabase::each(async |test| {
            let name = test.name;
            let chats = Chats::new(test).await;
            let parts = json!([{"type": "text", "text": "a purple heron"}, {"type": "image_url"}]);
            chats
                .add_chat("Birds", &[json!("the quick \"wren\" 50%\\"), parts])
                .await;
            chats.add_chat("Hens 100%_", &[json!("狐狸 jumps")]).await;
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
                    assert_eq!(
                        chats.find(text).await,
                        expected,
                        "{text} {is_indexed} {name}"
                    );
                }
                chats.index().await;
            }
            // Only the index ignores the case of other letters than ASCII.
            chats.add_chat("Füchse", &[]).await;
            chats.index().await;
            assert_eq!(chats.find("FÜCHSE").await, ["Füchse"]);
            assert_eq!(chats.find("image_url").await.len(), 0);
        })
        .await;
    }

    #[tokio::test]
    async fn search_treats_operators_as_text() {
        TestDatabase::each(async |test| {
            let chats = Chats::new(test).await;
            chats.add_chat("plain", &[json!("nothing special")]).await;
            chats.index().await;
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
                assert_eq!(chats.find(text).await.len(), 0, "{text:?}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn index_follows_changes_and_removals() {
        TestDatabase::each(async |test| {
            let chats = Chats::new(test).await;
            let id = chats.add_chat("Foxes", &[json!("a red fox")]).await;
            chats.index().await;
            let wolf = json!("a grey wolf");
            assert!(chats.store().set_content(&id, "m0", &wolf).await.unwrap());
            for _ in 0..2 {
                assert_eq!(chats.find("red fox").await.len(), 0);
                assert_eq!(chats.find("grey wolf").await, ["Foxes"]);
                chats.index().await;
            }
            let renamed = ChatCopy {
                title: Some("Wolves".to_owned()),
                ..ChatCopy::default()
            };
            chats.store().save_chat(&id, renamed, None).await.unwrap();
            chats.index().await;
            assert_eq!(chats.find("Foxes").await.len(), 0);
            assert_eq!(chats.find("wolves").await, ["Wolves"]);
            chats.store().delete_chat(&id).await.unwrap();
            assert_eq!(chats.find("wolves").await.len(), 0);
            let rows = query("SELECT id FROM search_rows");
            let rows = chats.test.fetch_all(rows).await.len();
            let use_after = chats.store().storage_use(&chats.user_id).await.unwrap();
            assert_eq!((rows, use_after.total()), (0, 0));
        })
        .await;
    }

    #[tokio::test]
    async fn storage_use_counts_titles_messages_and_fields() {
        TestDatabase::each(async |test| {
            let chats = Chats::new(test).await;
            let id = chats.add_chat("abc", &[json!("de"), json!("ü")]).await;
            // The fields of a chat and of two messages are `{}`, and texts are JSON.
            let bytes = chats
                .store()
                .storage_use(&chats.user_id)
                .await
                .unwrap()
                .chat_bytes;
            assert_eq!(bytes, 3 + 2 + (4 + 2) + (4 + 2));
            let longer = json!("defg");
            assert!(chats.store().set_content(&id, "m0", &longer).await.unwrap());
            let bytes_after = chats
                .store()
                .storage_use(&chats.user_id)
                .await
                .unwrap()
                .chat_bytes;
            assert_eq!(bytes_after, bytes + 2);
        })
        .await;
    }
}
