//! The messages of chats: each a row, and what is added to one is a row of its own.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, SqliteConnection};

use super::{FileRow, Store, now};

/// Messages of a chat that clients or the server may add.
pub const MAX_MESSAGES: usize = 5_000;
/// Statuses of a message that are kept.
const MAX_STATUSES: i64 = 200;
/// Length of all messages of a chat that are written one at a time, in characters of JSON.
const MAX_MESSAGES_LENGTH: i64 = 16 << 20;

/// A message as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredMessage {
    /// A client's name for it, unique in its chat.
    pub id: String,
    /// The message that it answers, which may not be there.
    pub parent_id: Option<String>,
    /// Such as `user` or `assistant`.
    pub role: String,
    /// A text, or a list of parts.
    pub content: Value,
    /// As in the client's `message.files`: first what was made here, the newest first.
    pub files: Vec<Value>,
}

/// A message with all that clients keep in it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatMessage {
    /// What is known here.
    pub stored: StoredMessage,
    /// What was told while it was made, the oldest first. Nothing in a client's copy.
    pub statuses: Vec<Value>,
    /// What clients keep besides.
    pub rest: Map<String, Value>,
}

impl Store {
    /// A message and those before it by their parents, the oldest first, at most `limit`. Empty
    /// where it is not there; parents that lead in a circle end where they would repeat. `limit` is
    /// some hundreds at most: a statement takes no more.
    pub async fn message_chain(
        &self,
        chat_id: &str,
        message_id: &str,
        limit: u32,
    ) -> sqlx::Result<Vec<StoredMessage>> {
        let mut connection = self.pool.acquire().await?;
        let rows = sqlx::query(
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
        .fetch_all(&mut *connection)
        .await?;
        // A circle ends where it would begin again, before anything long is read.
        let mut ids: Vec<String> = Vec::with_capacity(rows.len());
        let mut known = HashSet::new();
        for row in &rows {
            let id: String = row.try_get("id")?;
            if !known.insert(id.clone()) {
                break;
            }
            ids.push(id);
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let select = "SELECT id, parent_id, role, content FROM messages WHERE id IN (";
        let rows = rows_of(&mut connection, select, chat_id, &ids).await?;
        let mut chain = HashMap::with_capacity(rows.len());
        for row in &rows {
            let message = read(row)?;
            chain.insert(message.id.clone(), message);
        }
        let select = "SELECT message_id, entry FROM message_files WHERE message_id IN (";
        for row in rows_of(&mut connection, select, chat_id, &ids).await? {
            let id: String = row.try_get("message_id")?;
            let entry: String = row.try_get("entry")?;
            if let Some(message) = chain.get_mut(&id) {
                message.files.push(json(&entry)?);
            }
        }
        Ok(ids.iter().rev().filter_map(|id| chain.remove(id)).collect())
    }

    /// Adds a status to a message. False where the message is not there, or has as many as are kept.
    pub async fn add_status(
        &self,
        chat_id: &str,
        message_id: &str,
        status: &Value,
    ) -> sqlx::Result<bool> {
        let done = sqlx::query(
            "INSERT INTO message_statuses (chat_id, message_id, position, status)
             SELECT $1, $2, had.next, $3
             FROM messages, (SELECT COALESCE(MAX(position) + 1, 0) AS next FROM message_statuses
                 WHERE chat_id = $1 AND message_id = $2) AS had
             WHERE chat_id = $1 AND id = $2 AND had.next < $4",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(status.to_string())
        .bind(MAX_STATUSES)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// All messages of a chat, in the order in which clients came to know them.
    pub async fn messages(&self, chat_id: &str) -> sqlx::Result<Vec<ChatMessage>> {
        let mut connection = self.pool.acquire().await?;
        let rows = sqlx::query(
            "SELECT id, parent_id, role, content, rest FROM messages WHERE chat_id = $1
             ORDER BY position, id",
        );
        let rows = rows.bind(chat_id).fetch_all(&mut *connection).await?;
        let mut messages = Vec::with_capacity(rows.len());
        let mut places = HashMap::with_capacity(rows.len());
        for row in &rows {
            let stored = read(row)?;
            places.insert(stored.id.clone(), messages.len());
            let rest: String = row.try_get("rest")?;
            messages.push(ChatMessage {
                stored,
                statuses: Vec::new(),
                rest: json(&rest)?,
            });
        }
        let rows = sqlx::query(
            "SELECT message_id, entry FROM message_files WHERE chat_id = $1 ORDER BY position",
        );
        let rows = rows.bind(chat_id).fetch_all(&mut *connection).await?;
        for row in &rows {
            if let Some(message) = of(row, &places, &mut messages)? {
                let entry: String = row.try_get("entry")?;
                message.stored.files.push(json(&entry)?);
            }
        }
        let rows = sqlx::query(
            "SELECT message_id, status FROM message_statuses WHERE chat_id = $1 ORDER BY position",
        );
        let rows = rows.bind(chat_id).fetch_all(&mut *connection).await?;
        for row in &rows {
            if let Some(message) = of(row, &places, &mut messages)? {
                let status: String = row.try_get("status")?;
                message.statuses.push(json(&status)?);
            }
        }
        Ok(messages)
    }

    /// Sets a message's content and makes it the current one; it is added where it is missing. False,
    /// and nothing is changed, where the chat is not there or its messages would be too many or too
    /// long.
    pub async fn set_content(
        &self,
        chat_id: &str,
        message_id: &str,
        content: &Value,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.pool.begin().await?;
        let done = sqlx::query("UPDATE chats SET current_id = $2, updated_at = $3 WHERE id = $1")
            .bind(chat_id)
            .bind(message_id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        add_message(&mut transaction, chat_id, message_id).await?;
        let done = sqlx::query("UPDATE messages SET content = $3 WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(message_id)
            .bind(content.to_string())
            .execute(&mut *transaction)
            .await?;
        let length: i64 = sqlx::query_scalar(
            "SELECT CAST(COALESCE(SUM(LENGTH(content) + LENGTH(rest)), 0) AS BIGINT) FROM messages
             WHERE chat_id = $1",
        )
        .bind(chat_id)
        .fetch_one(&mut *transaction)
        .await?;
        let fits = done.rows_affected() > 0 && length <= MAX_MESSAGES_LENGTH;
        if fits {
            transaction.commit().await?;
        }
        Ok(fits)
    }
}

/// Adds an answer without words where there is no such message, unless the chat is full.
pub(super) async fn add_message(
    connection: &mut SqliteConnection,
    chat_id: &str,
    message_id: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO messages (chat_id, id, role, position, content, rest, seen)
         SELECT $1, $2, 'assistant', COALESCE(MAX(position) + 1, 0), '\"\"', '{}', 0
         FROM messages WHERE chat_id = $1 HAVING COUNT(*) < $3
         ON CONFLICT (chat_id, id) DO NOTHING",
    )
    .bind(chat_id)
    .bind(message_id)
    .bind(i64::try_from(MAX_MESSAGES).unwrap_or(i64::MAX))
    .execute(connection)
    .await
    .map(|_| ())
}

/// Links files, each with its entry, to a message, in front of those it has.
pub(super) async fn add_message_files(
    connection: &mut SqliteConnection,
    chat_id: &str,
    message_id: &str,
    files: &[(FileRow, Value)],
) -> sqlx::Result<()> {
    // The last one first, so that each goes in front.
    for (file, entry) in files.iter().rev() {
        sqlx::query(
            "INSERT INTO message_files (chat_id, message_id, position, file_id, entry)
             SELECT $1, $2, COALESCE(MIN(position), 0) - 1, $3, $4 FROM message_files
             WHERE chat_id = $1 AND message_id = $2 AND position < 0",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(&file.id)
        .bind(entry.to_string())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Makes a chat's messages those of a client's copy.
///
/// Only what differs is written. What was made here stays where the copy lacks it: statuses, files,
/// and messages that no client has seen.
pub(super) async fn save_copy(
    connection: &mut SqliteConnection,
    chat_id: &str,
    user_id: &str,
    copy: &[ChatMessage],
) -> sqlx::Result<()> {
    let rows = sqlx::query(
        "SELECT id, parent_id, role, position, content, rest, seen FROM messages WHERE chat_id = $1",
    );
    let rows = rows.bind(chat_id).fetch_all(&mut *connection).await?;
    let stored = rows.iter().map(Columns::read);
    let mut stored: HashMap<String, Columns> = stored.collect::<sqlx::Result<_>>()?;
    for (message, position) in copy.iter().zip(0..) {
        let columns = Columns::of(message, position);
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
    save_files(connection, chat_id, user_id, copy).await
}

/// What a client attached, for those of its messages where that has changed.
async fn save_files(
    connection: &mut SqliteConnection,
    chat_id: &str,
    user_id: &str,
    copy: &[ChatMessage],
) -> sqlx::Result<()> {
    let rows = sqlx::query(
        "SELECT message_id, position, file_id, entry FROM message_files WHERE chat_id = $1
         ORDER BY position",
    );
    let rows = rows.bind(chat_id).fetch_all(&mut *connection).await?;
    let mut made: HashSet<(String, String)> = HashSet::new();
    let mut attached: HashMap<String, Vec<String>> = HashMap::new();
    for row in &rows {
        let message_id: String = row.try_get("message_id")?;
        let file_id: Option<String> = row.try_get("file_id")?;
        match (row.try_get::<i64, _>("position")?, file_id) {
            (..0, Some(file_id)) => _ = made.insert((message_id, file_id)),
            (..0, None) => {}
            _ => attached
                .entry(message_id)
                .or_default()
                .push(row.try_get("entry")?),
        }
    }
    for ChatMessage { stored, .. } in copy {
        let is_made = |entry: &&Value| {
            file_id(entry).is_some_and(|id| made.contains(&(stored.id.clone(), id.to_owned())))
        };
        let wanted: Vec<_> = stored
            .files
            .iter()
            .filter(|entry| !is_made(entry))
            .collect();
        let texts: Vec<_> = wanted.iter().map(|entry| entry.to_string()).collect();
        if texts == attached.remove(&stored.id).unwrap_or_default() {
            continue;
        }
        sqlx::query(
            "DELETE FROM message_files WHERE chat_id = $1 AND message_id = $2 AND position >= 0",
        )
        .bind(chat_id)
        .bind(&stored.id)
        .execute(&mut *connection)
        .await?;
        for ((entry, text), position) in wanted.into_iter().zip(&texts).zip(0_i64..) {
            // A file that is somebody else's is none of the chat's.
            sqlx::query(
                "INSERT INTO message_files (chat_id, message_id, position, file_id, entry)
                 VALUES ($1, $2, $3, (SELECT id FROM files WHERE id = $4 AND user_id = $5), $6)",
            )
            .bind(chat_id)
            .bind(&stored.id)
            .bind(position)
            .bind(file_id(entry))
            .bind(user_id)
            .bind(text)
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}

/// The file that an entry of `message.files` names, by its address or else by its id.
#[must_use]
pub fn file_id(entry: &Value) -> Option<&str> {
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let address = text("url").and_then(|url| url.split_once("/api/v1/files/"));
    let by_address = address.and_then(|(_, path)| path.split(['/', '?', '#']).next());
    by_address
        .or_else(|| text("id"))
        .filter(|id| !id.is_empty())
}

/// The columns of a message that a client's copy decides.
#[derive(PartialEq)]
struct Columns {
    parent_id: Option<String>,
    role: String,
    position: i64,
    content: String,
    rest: String,
    seen: bool,
}

impl Columns {
    fn of(message: &ChatMessage, position: i64) -> Self {
        Self {
            parent_id: message.stored.parent_id.clone(),
            role: message.stored.role.clone(),
            position,
            content: message.stored.content.to_string(),
            rest: text(&message.rest),
            seen: true,
        }
    }

    fn read(row: &SqliteRow) -> sqlx::Result<(String, Self)> {
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

/// The message that a row is about; `None` where that was removed.
fn of<'a>(
    row: &SqliteRow,
    places: &HashMap<String, usize>,
    messages: &'a mut [ChatMessage],
) -> sqlx::Result<Option<&'a mut ChatMessage>> {
    let id: String = row.try_get("message_id")?;
    Ok(places.get(&id).and_then(|place| messages.get_mut(*place)))
}

/// What a statement that ends in `IN (` selects for these messages, by position.
async fn rows_of(
    connection: &mut SqliteConnection,
    select: &'static str,
    chat_id: &str,
    ids: &[String],
) -> sqlx::Result<Vec<SqliteRow>> {
    let mut query = QueryBuilder::new(select);
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id);
    }
    query.push(") AND chat_id = ").push_bind(chat_id);
    query.push(" ORDER BY position");
    query.build().fetch_all(connection).await
}

/// A message without its files.
fn read(row: &SqliteRow) -> sqlx::Result<StoredMessage> {
    let content: String = row.try_get("content")?;
    Ok(StoredMessage {
        id: row.try_get("id")?,
        parent_id: row.try_get("parent_id")?,
        role: row.try_get("role")?,
        content: json(&content)?,
        files: Vec::new(),
    })
}

pub(super) fn text(object: &Map<String, Value>) -> String {
    serde_json::to_string(object).unwrap_or_default()
}

pub(super) fn json<T: DeserializeOwned>(text: &str) -> sqlx::Result<T> {
    serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(error.into()))
}
