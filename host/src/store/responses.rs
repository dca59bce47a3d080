//! Responses of language models in stored chats.

use serde_json::{Map, Value};

use super::Store;
use super::chat_content::with_fields;
use super::chats::lock_chat;
use super::database::query;

/// A response to store in a chat of this user.
#[derive(Clone, Copy, Debug)]
pub struct FinishedResponse<'a> {
    pub user_id: &'a str,
    pub chat_id: &'a str,
    pub message_id: &'a str,
    /// Empty leaves the message's content as it is.
    pub content: &'a str,
    /// Fields to add to the message.
    pub fields: &'a Map<String, Value>,
}

impl Store {
    /// Stores a response in its message. Returns the chat's title, or `None` and stores nothing if the
    /// user has no such chat.
    pub async fn finish_response(
        &self,
        response: FinishedResponse<'_>,
    ) -> sqlx::Result<Option<String>> {
        let FinishedResponse {
            user_id,
            chat_id,
            message_id,
            content,
            fields,
        } = response;
        let title = query("SELECT title FROM chats WHERE id = $1 AND user_id = $2")
            .bind(chat_id)
            .bind(user_id)
            .fetch_optional_value(&self.database)
            .await?;
        let Some(title) = title else {
            return Ok(None);
        };
        if !content.is_empty()
            && !self
                .set_content(chat_id, message_id, &content.into())
                .await?
        {
            tracing::warn!("response {message_id} is not stored: chat {chat_id} is full");
        }
        self.add_message_fields(chat_id, message_id, fields).await?;
        Ok(Some(title))
    }

    async fn add_message_fields(
        &self,
        chat_id: &str,
        message_id: &str,
        fields: &Map<String, Value>,
    ) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        lock_chat(&mut transaction, chat_id).await?;
        let row = query("SELECT rest FROM messages WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(message_id)
            .fetch_optional(&mut *transaction)
            .await?;
        let Some(row) = row else { return Ok(()) };
        let rest: String = row.try_get("rest")?;
        let rest = with_fields(&rest, fields)?;
        query("UPDATE messages SET rest = $3 WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(message_id)
            .bind(rest)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}
