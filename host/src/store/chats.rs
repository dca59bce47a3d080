//! The rows of chats.

use serde_json::{Map, Value};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::messages::{json, save_copy, text};
use super::{ChatMessage, Store, escaped, now};

/// Chats that one user may have.
pub const MAX_CHATS: u32 = 10_000;
/// Length of what clients keep with a chat besides its messages, in bytes of JSON.
const MAX_REST_BYTES: usize = 16 << 20;

/// A chat without its messages.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// A UUID.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// For a person.
    pub title: String,
    /// The message that clients show, where they show one.
    pub current_id: Option<String>,
    /// What clients keep with it besides.
    pub rest: Map<String, Value>,
    /// Put away by its owner.
    pub archived: bool,
    /// Put at the top by its owner.
    pub pinned: bool,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
}

/// A chat as a client has it. What is left out is as it was.
#[derive(Clone, Debug, Default)]
pub struct ChatCopy {
    /// For a person.
    pub title: Option<String>,
    /// The messages, and the id of the one that is shown.
    pub history: Option<(Option<String>, Vec<ChatMessage>)>,
    /// What else it keeps; each field takes the place of the one before.
    pub rest: Map<String, Value>,
}

/// A line of a list of chats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTitle {
    /// The chat.
    pub id: String,
    /// For a person.
    pub title: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
}

/// Which of a user's chats.
#[derive(Clone, Debug, Default)]
pub struct ChatFilter<'a> {
    /// Only those that are archived, or are not.
    pub archived: Option<bool>,
    /// Only those that are pinned, or are not.
    pub pinned: Option<bool>,
    /// Only those with this in their title or in a message; in ASCII, upper and lower case are one.
    pub text: Option<&'a str>,
}

/// What became of a chat that was to be saved. Where it was not, nothing is changed.
#[derive(Clone, Debug)]
pub enum Saved {
    /// As it is now.
    Chat(Box<Chat>),
    /// It is not there, or there is no room for one more.
    Missing,
    /// It would be longer than a chat may be.
    TooLong,
}

/// A mark of a chat that its owner turns on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatMark {
    /// Put away.
    Archived,
    /// Put at the top.
    Pinned,
}

impl Store {
    /// Whose chat it is; `None` where there is none.
    pub async fn chat_owner(&self, chat_id: &str) -> sqlx::Result<Option<String>> {
        let owner = sqlx::query_scalar("SELECT user_id FROM chats WHERE id = $1");
        owner.bind(chat_id).fetch_optional(&self.pool).await
    }

    /// One chat, whoever it belongs to.
    pub async fn chat(&self, id: &str) -> sqlx::Result<Option<Chat>> {
        let row = sqlx::query(
            "SELECT id, user_id, title, current_id, rest, archived, pinned, created_at, updated_at
             FROM chats WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// A user's chats, those changed last first, `limit` after the first `offset`.
    pub async fn chats(
        &self,
        user_id: &str,
        filter: ChatFilter<'_>,
        limit: u32,
        offset: u64,
    ) -> sqlx::Result<Vec<ChatTitle>> {
        let rows = sqlx::query(
            "SELECT id, title, created_at, updated_at FROM chats
             WHERE user_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR archived = $2)
                 AND (CAST($3 AS BIGINT) IS NULL OR pinned = $3)
                 AND (CAST($4 AS TEXT) IS NULL OR LOWER(title) LIKE LOWER($4) ESCAPE '\\' OR EXISTS (
                     SELECT 1 FROM messages
                     WHERE chat_id = chats.id AND LOWER(content) LIKE LOWER($5) ESCAPE '\\'))
             ORDER BY updated_at DESC, id LIMIT $6 OFFSET $7",
        )
        .bind(user_id)
        .bind(filter.archived.map(i64::from))
        .bind(filter.pinned.map(i64::from))
        .bind(filter.text.map(containing))
        .bind(filter.text.map(|text| containing(&in_json(text))))
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let title = |row: &SqliteRow| {
            Ok(ChatTitle {
                id: row.try_get("id")?,
                title: row.try_get("title")?,
                created_at: row.try_get("created_at")?,
                updated_at: row.try_get("updated_at")?,
            })
        };
        rows.iter().map(title).collect()
    }

    /// Adds a chat with its messages, unless the user has as many as there may be.
    pub async fn add_chat(&self, user_id: &str, copy: ChatCopy) -> sqlx::Result<Saved> {
        let rest = text(&copy.rest);
        if rest.len() > MAX_REST_BYTES {
            return Ok(Saved::TooLong);
        }
        let mut transaction = self.pool.begin().await?;
        let id = uuid::Uuid::new_v4().to_string();
        let (current_id, messages) = match &copy.history {
            Some((current_id, messages)) => (current_id.as_deref(), messages.as_slice()),
            None => (None, &[][..]),
        };
        let row = sqlx::query(
            "INSERT INTO chats (id, user_id, title, current_id, rest, archived, pinned,
                 created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, 0, 0, $6, $6
             WHERE (SELECT COUNT(*) FROM chats WHERE user_id = $2) < $7
             RETURNING id, user_id, title, current_id, rest, archived, pinned, created_at,
                 updated_at",
        )
        .bind(&id)
        .bind(user_id)
        .bind(copy.title.as_deref().unwrap_or("New Chat"))
        .bind(current_id)
        .bind(rest)
        .bind(now())
        .bind(i64::from(MAX_CHATS))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else {
            return Ok(Saved::Missing);
        };
        save_copy(&mut transaction, &id, user_id, messages).await?;
        transaction.commit().await?;
        Ok(Saved::Chat(Box::new(read(&row)?)))
    }

    /// Makes a chat what a client's copy says. What was made here stays where the copy lacks it.
    pub async fn save_chat(&self, id: &str, copy: ChatCopy) -> sqlx::Result<Saved> {
        let mut transaction = self.pool.begin().await?;
        // Written first: from here on nobody else writes.
        let row = sqlx::query(
            "UPDATE chats SET updated_at = $2 WHERE id = $1
             RETURNING id, user_id, title, current_id, rest, archived, pinned, created_at,
                 updated_at",
        )
        .bind(id)
        .bind(now())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(mut chat) = row.as_ref().map(read).transpose()? else {
            return Ok(Saved::Missing);
        };
        chat.rest.extend(copy.rest);
        let rest = text(&chat.rest);
        if rest.len() > MAX_REST_BYTES {
            return Ok(Saved::TooLong);
        }
        chat.title = copy.title.unwrap_or(chat.title);
        if let Some((current_id, messages)) = copy.history {
            chat.current_id = current_id;
            save_copy(&mut transaction, id, &chat.user_id, &messages).await?;
        }
        sqlx::query("UPDATE chats SET title = $2, current_id = $3, rest = $4 WHERE id = $1")
            .bind(id)
            .bind(&chat.title)
            .bind(&chat.current_id)
            .bind(rest)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Saved::Chat(Box::new(chat)))
    }

    /// Turns a mark of a chat on where it is off, and off where it is on. `None` where the chat is
    /// not there.
    pub async fn toggle_chat(&self, id: &str, mark: ChatMark) -> sqlx::Result<Option<Chat>> {
        let row = sqlx::query(match mark {
            ChatMark::Archived => {
                "UPDATE chats SET archived = 1 - archived WHERE id = $1
                 RETURNING id, user_id, title, current_id, rest, archived, pinned, created_at,
                     updated_at"
            }
            ChatMark::Pinned => {
                "UPDATE chats SET pinned = 1 - pinned WHERE id = $1
                 RETURNING id, user_id, title, current_id, rest, archived, pinned, created_at,
                     updated_at"
            }
        })
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Removes a chat, and of its files those that are its owner's and in no other chat: their ids,
    /// for their bytes to follow. `None` where the chat is not there.
    pub async fn delete_chat(&self, id: &str) -> sqlx::Result<Option<Vec<String>>> {
        let mut transaction = self.pool.begin().await?;
        // Written first: nobody can link a file meanwhile.
        let locked = sqlx::query("UPDATE chats SET updated_at = updated_at WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        if locked.rows_affected() == 0 {
            return Ok(None);
        }
        let files = sqlx::query_scalar(
            "DELETE FROM files WHERE id IN (
                 SELECT file_id FROM message_files WHERE chat_id = $1)
             AND user_id = (SELECT user_id FROM chats WHERE id = $1)
             AND NOT EXISTS (
                 SELECT 1 FROM message_files WHERE file_id = files.id AND chat_id <> $1)
             RETURNING id",
        )
        .bind(id)
        .fetch_all(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM chats WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(files))
    }
}

/// A pattern for what contains this text.
fn containing(text: &str) -> String {
    format!("%{}%", escaped(text))
}

/// A text as it stands inside JSON, which messages are kept in.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    let inner = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

fn read(row: &SqliteRow) -> sqlx::Result<Chat> {
    let rest: String = row.try_get("rest")?;
    Ok(Chat {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        title: row.try_get("title")?,
        current_id: row.try_get("current_id")?,
        rest: json(&rest)?,
        archived: row.try_get::<i64, _>("archived")? == 1,
        pinned: row.try_get::<i64, _>("pinned")? == 1,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
