//! Turns of chats: a user's message and its empty responses, stored before a language model responds.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::database::{Connection, query};
use super::message_files::save_attached_files;
use super::messages::{MAX_MESSAGES_LENGTH, parse_json, to_json};
use super::storage::Quota;
use super::{ChatMessage, MAX_MESSAGES, Store, now};

/// The title of a chat that has none yet. Clients give it to new chats.
pub const NEW_CHAT: &str = "New Chat";

/// Messages to store in a chat of this user.
#[derive(Clone, Copy, Debug)]
pub struct NewTurn<'a> {
    pub user_id: &'a str,
    pub chat_id: &'a str,
    pub user_message: &'a ChatMessage,
    /// The responses, whose parent is the user's message.
    pub responses: &'a [ChatMessage],
}

/// The result of storing a turn. Nothing is changed unless it is [`Self::Saved`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnOutcome {
    Saved,
    /// The user has no such chat.
    ChatMissing,
    /// The chat does not have the message that the user's message follows.
    ParentMissing,
    /// The chat has another message with the id of one of these.
    MessageExists,
    /// The chat would have too many or too long messages.
    TooLong,
    /// The user would occupy more space than the quota.
    OverQuota,
}

impl Store {
    /// Adds a turn to a chat and makes its first response the current message. A user's message that exists
    /// already remains as it is, and gets further responses.
    pub async fn add_turn(
        &self,
        turn: NewTurn<'_>,
        quota: Option<u64>,
    ) -> sqlx::Result<TurnOutcome> {
        let mut transaction = self.begin().await?;
        let quota = Quota::start(&mut transaction, turn.user_id, quota).await?;
        let current = turn.responses.first().unwrap_or(turn.user_message);
        let chat = query(
            "UPDATE chats SET current_id = $3, updated_at = $4 WHERE id = $1 AND user_id = $2",
        )
        .bind(turn.chat_id)
        .bind(turn.user_id)
        .bind(&current.stored.id)
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        if chat == 0 {
            return Ok(TurnOutcome::ChatMissing);
        }
        if let Some(refused) = add_messages(&mut transaction, turn).await? {
            return Ok(refused);
        }
        if is_too_long(&mut transaction, turn.chat_id).await? {
            return Ok(TurnOutcome::TooLong);
        }
        if quota.is_exceeded(&mut transaction).await? {
            return Ok(TurnOutcome::OverQuota);
        }
        transaction.commit().await?;
        self.text_changed.notify_one();
        Ok(TurnOutcome::Saved)
    }

    /// Gives a user's chat this title if it has none yet. Returns false if it has one.
    pub async fn name_chat(&self, user_id: &str, chat_id: &str, title: &str) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        let named =
            query("UPDATE chats SET title = $3 WHERE id = $1 AND user_id = $2 AND title = $4")
                .bind(chat_id)
                .bind(user_id)
                .bind(title)
                .bind(NEW_CHAT)
                .execute(&mut *transaction)
                .await?;
        transaction.commit().await?;
        self.text_changed.notify_one();
        Ok(named > 0)
    }
}

/// `Some` if the chat's other messages refuse them.
async fn add_messages(
    connection: &mut Connection,
    turn: NewTurn<'_>,
) -> sqlx::Result<Option<TurnOutcome>> {
    let message = &turn.user_message.stored;
    match find(connection, turn.chat_id, &message.id).await? {
        Some(existing) if existing.role != message.role => {
            return Ok(Some(TurnOutcome::MessageExists));
        }
        Some(_) => {}
        None => {
            if let Some(parent) = &message.parent_id
                && find(connection, turn.chat_id, parent).await?.is_none()
            {
                return Ok(Some(TurnOutcome::ParentMissing));
            }
            insert(connection, turn.chat_id, turn.user_message).await?;
            let attached = std::slice::from_ref(turn.user_message);
            save_attached_files(connection, turn.chat_id, turn.user_id, attached).await?;
        }
    }
    for response in turn.responses {
        let response_id = &response.stored.id;
        match find(connection, turn.chat_id, response_id).await? {
            Some(existing) if !existing.awaits_response(response) => {
                return Ok(Some(TurnOutcome::MessageExists));
            }
            Some(_) => {}
            None => insert(connection, turn.chat_id, response).await?,
        }
    }
    Ok(None)
}

/// A message that the chat has already.
struct ExistingMessage {
    role: String,
    parent_id: Option<String>,
    content: String,
    is_done: bool,
}

impl ExistingMessage {
    /// Is it the empty message that a client stored for this response?
    fn awaits_response(&self, response: &ChatMessage) -> bool {
        let response = &response.stored;
        let content = response.content.to_string();
        self.role == response.role
            && self.parent_id == response.parent_id
            && self.content == content
            && !self.is_done
    }
}

/// The field of a message with which a client ends a response.
#[derive(Deserialize)]
struct CompletionField {
    done: Option<Box<RawValue>>,
}

impl CompletionField {
    /// A client may have stored any value.
    fn is_done(&self) -> bool {
        let done = self.done.as_deref().map(RawValue::get);
        !matches!(done, None | Some("false" | "null" | "0"))
    }
}

async fn find(
    connection: &mut Connection,
    chat_id: &str,
    id: &str,
) -> sqlx::Result<Option<ExistingMessage>> {
    let row =
        query("SELECT role, parent_id, content, rest FROM messages WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(id)
            .fetch_optional(connection)
            .await?;
    let Some(row) = row else { return Ok(None) };
    let rest: String = row.try_get("rest")?;
    let fields: CompletionField = parse_json(&rest)?;
    Ok(Some(ExistingMessage {
        role: row.try_get("role")?,
        parent_id: row.try_get("parent_id")?,
        content: row.try_get("content")?,
        is_done: fields.is_done(),
    }))
}

async fn insert(
    connection: &mut Connection,
    chat_id: &str,
    message: &ChatMessage,
) -> sqlx::Result<()> {
    let stored = &message.stored;
    query(
        "INSERT INTO messages (chat_id, id, parent_id, role, position, content, rest, seen)
         SELECT $1, $2, $3, $4, COALESCE(MAX(position) + 1, 0), $5, $6, 1
         FROM messages WHERE chat_id = $1",
    )
    .bind(chat_id)
    .bind(&stored.id)
    .bind(&stored.parent_id)
    .bind(&stored.role)
    .bind(Value::to_string(&stored.content))
    .bind(to_json(&message.rest))
    .execute(connection)
    .await
    .map(|_| ())
}

async fn is_too_long(connection: &mut Connection, chat_id: &str) -> sqlx::Result<bool> {
    let row = query(
        "SELECT COUNT(*) AS number,
             CAST(COALESCE(SUM(LENGTH(content) + LENGTH(rest)), 0) AS BIGINT) AS length
         FROM messages WHERE chat_id = $1",
    )
    .bind(chat_id)
    .fetch_one(connection)
    .await?;
    let number: i64 = row.try_get("number")?;
    let max_number = i64::try_from(MAX_MESSAGES).unwrap_or(i64::MAX);
    Ok(number > max_number || row.try_get::<i64>("length")? > MAX_MESSAGES_LENGTH)
}
