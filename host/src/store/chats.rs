//! Chats.

use serde_json::{Map, Value};

use super::chat_content::with_fields;
use super::database::{Connection, Row, query};
use super::message_copy::save_messages;
use super::messages::to_json;
use super::storage::Quota;
use super::users::lock_user;
use super::{ChatMessage, NEW_CHAT, Store, now};

/// Chats of one user.
pub const MAX_CHATS: u32 = 10_000;
/// Length of the fields that clients store with a chat, in bytes of JSON.
pub(super) const MAX_REST_BYTES: usize = 16 << 20;

/// A chat without its content.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRow {
    /// A UUID.
    pub id: String,
    /// The owner.
    pub user_id: String,
    pub title: String,
    /// The message that clients show.
    pub current_id: Option<String>,
    pub archived: bool,
    pub pinned: bool,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
}

/// A client's copy of a chat. Omitted fields retain their values.
#[derive(Clone, Debug, Default)]
pub struct ChatCopy {
    pub title: Option<String>,
    pub history: Option<ChatHistory>,
    /// Further fields. Each replaces the stored one.
    pub rest: Map<String, Value>,
}

/// The messages of a chat.
#[derive(Clone, Debug, Default)]
pub struct ChatHistory {
    /// The message that clients show.
    pub current_id: Option<String>,
    pub messages: Vec<ChatMessage>,
}

/// A chat in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSummary {
    pub id: String,
    pub title: String,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
}

/// Selects chats of a user. `None` matches every chat.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChatFilter {
    pub archived: Option<bool>,
    pub pinned: Option<bool>,
}

/// The result of saving a chat. Nothing is changed unless it is [`Self::Saved`].
#[derive(Clone, Debug)]
pub enum SaveOutcome {
    Saved(Box<ChatRow>),
    /// The chat does not exist, or the user has too many chats.
    Missing,
    /// The chat would exceed its maximum length.
    TooLong,
    /// The user would occupy more space than the quota.
    OverQuota,
}

/// A flag that the owner of a chat switches on and off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatFlag {
    Archived,
    Pinned,
}

impl Store {
    /// The owner of a chat.
    pub async fn chat_owner(&self, chat_id: &str) -> sqlx::Result<Option<String>> {
        query("SELECT user_id FROM chats WHERE id = $1")
            .bind(chat_id)
            .fetch_optional_value(&self.database)
            .await
    }

    /// A chat of any user.
    pub async fn chat(&self, id: &str) -> sqlx::Result<Option<ChatRow>> {
        let row = query(
            "SELECT id, user_id, title, current_id, archived, pinned, created_at, updated_at
             FROM chats WHERE id = $1",
        )
        .bind(id)
        .fetch_optional(&self.database)
        .await?;
        row.as_ref().map(chat_from_row).transpose()
    }

    /// A page of a user's chats, newest change first.
    pub async fn chats(
        &self,
        user_id: &str,
        filter: ChatFilter,
        limit: u32,
        offset: u64,
    ) -> sqlx::Result<Vec<ChatSummary>> {
        let rows = query(
            "SELECT id, title, created_at, updated_at FROM chats
             WHERE user_id = $1 AND (CAST($2 AS BIGINT) IS NULL OR archived = $2)
                 AND (CAST($3 AS BIGINT) IS NULL OR pinned = $3)
             ORDER BY updated_at DESC, id LIMIT $4 OFFSET $5",
        )
        .bind(user_id)
        .bind(filter.archived.map(i64::from))
        .bind(filter.pinned.map(i64::from))
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.database)
        .await?;
        rows.iter().map(summary_from_row).collect()
    }

    /// Adds a chat with its messages, unless the user has [`MAX_CHATS`] already. `quota` is in bytes.
    pub async fn add_chat(
        &self,
        user_id: &str,
        copy: ChatCopy,
        quota: Option<u64>,
    ) -> sqlx::Result<SaveOutcome> {
        let rest = to_json(&copy.rest);
        if rest.len() > MAX_REST_BYTES {
            return Ok(SaveOutcome::TooLong);
        }
        let mut transaction = self.begin().await?;
        lock_user(&mut transaction, user_id).await?;
        let quota = Quota::start(&mut transaction, user_id, quota).await?;
        let id = uuid::Uuid::new_v4().to_string();
        let history = copy.history.unwrap_or_default();
        let row = query(
            "INSERT INTO chats (id, user_id, title, current_id, rest, archived, pinned,
                 created_at, updated_at)
             SELECT $1, $2, $3, $4, $5, 0, 0, $6, $6
             WHERE (SELECT COUNT(*) FROM chats WHERE user_id = $2) < $7
             RETURNING id, user_id, title, current_id, archived, pinned, created_at, updated_at",
        )
        .bind(&id)
        .bind(user_id)
        .bind(copy.title.as_deref().unwrap_or(NEW_CHAT))
        .bind(&history.current_id)
        .bind(rest)
        .bind(now())
        .bind(i64::from(MAX_CHATS))
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else {
            return Ok(SaveOutcome::Missing);
        };
        save_messages(&mut transaction, &id, user_id, &history.messages).await?;
        if quota.is_exceeded(&mut transaction).await? {
            return Ok(SaveOutcome::OverQuota);
        }
        transaction.commit().await?;
        self.text_changed.notify_one();
        Ok(SaveOutcome::Saved(Box::new(chat_from_row(&row)?)))
    }

    /// Replaces a chat with a client's copy. Messages, files and statuses that the server added remain,
    /// even if the copy lacks them. `quota` is that of the chat's owner, in bytes.
    pub async fn save_chat(
        &self,
        id: &str,
        copy: ChatCopy,
        quota: Option<u64>,
    ) -> sqlx::Result<SaveOutcome> {
        let mut transaction = self.begin().await?;
        let row = query(
            "UPDATE chats SET updated_at = $2 WHERE id = $1
             RETURNING id, user_id, title, current_id, rest, archived, pinned, created_at,
                 updated_at",
        )
        .bind(id)
        .bind(now())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else {
            return Ok(SaveOutcome::Missing);
        };
        let mut chat = chat_from_row(&row)?;
        let quota = Quota::start(&mut transaction, &chat.user_id, quota).await?;
        let rest = with_fields(row.try_get("rest")?, &copy.rest)?;
        if rest.len() > MAX_REST_BYTES {
            return Ok(SaveOutcome::TooLong);
        }
        chat.title = copy.title.unwrap_or(chat.title);
        if let Some(history) = copy.history {
            chat.current_id = history.current_id;
            save_messages(&mut transaction, id, &chat.user_id, &history.messages).await?;
        }
        query("UPDATE chats SET title = $2, current_id = $3, rest = $4 WHERE id = $1")
            .bind(id)
            .bind(&chat.title)
            .bind(&chat.current_id)
            .bind(rest)
            .execute(&mut *transaction)
            .await?;
        if quota.is_exceeded(&mut transaction).await? {
            return Ok(SaveOutcome::OverQuota);
        }
        transaction.commit().await?;
        self.text_changed.notify_one();
        Ok(SaveOutcome::Saved(Box::new(chat)))
    }

    /// Switches a flag of a chat on or off. Returns `None` if the chat does not exist.
    pub async fn toggle_chat_flag(
        &self,
        id: &str,
        flag: ChatFlag,
    ) -> sqlx::Result<Option<ChatRow>> {
        let mut transaction = self.begin().await?;
        let row = query(match flag {
            ChatFlag::Archived => {
                "UPDATE chats SET archived = 1 - archived WHERE id = $1
                 RETURNING id, user_id, title, current_id, archived, pinned, created_at, updated_at"
            }
            ChatFlag::Pinned => {
                "UPDATE chats SET pinned = 1 - pinned WHERE id = $1
                 RETURNING id, user_id, title, current_id, archived, pinned, created_at, updated_at"
            }
        })
        .bind(id)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        row.as_ref().map(chat_from_row).transpose()
    }

    /// Removes a chat and those of its owner's files that no other chat contains. Returns the ids of
    /// the files, whose bytes the caller must remove, or `None` if the chat does not exist.
    pub async fn delete_chat(&self, id: &str) -> sqlx::Result<Option<Vec<String>>> {
        let mut transaction = self.begin_removal().await?;
        // First the chat, then its owner's storage, as all changes of a chat do.
        lock_chat(&mut transaction, id).await?;
        let files = query(
            "DELETE FROM files WHERE id IN (
                 SELECT file_id FROM message_files WHERE chat_id = $1)
             AND user_id = (SELECT user_id FROM chats WHERE id = $1)
             AND NOT EXISTS (
                 SELECT 1 FROM message_files WHERE file_id = files.id AND chat_id <> $1)
             RETURNING id",
        )
        .bind(id)
        .fetch_values(&mut *transaction)
        .await?;
        let deleted = query("DELETE FROM chats WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok((deleted > 0).then_some(files))
    }
}

/// Locks a chat until the transaction ends: other changes of its messages wait.
pub(super) async fn lock_chat(connection: &mut Connection, id: &str) -> sqlx::Result<()> {
    let chat = query("SELECT id FROM chats WHERE id = $1").bind(id);
    connection.lock_rows(chat).await
}

pub(super) fn summary_from_row(row: &Row) -> sqlx::Result<ChatSummary> {
    Ok(ChatSummary {
        id: row.try_get("id")?,
        title: row.try_get("title")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn chat_from_row(row: &Row) -> sqlx::Result<ChatRow> {
    Ok(ChatRow {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        title: row.try_get("title")?,
        current_id: row.try_get("current_id")?,
        archived: row.try_get_flag("archived")?,
        pinned: row.try_get_flag("pinned")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
