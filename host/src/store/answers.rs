//! What was said in a chat, and how it ended.

use serde_json::{Map, Value};
use sqlx::Row;

use super::Store;

impl Store {
    /// Keeps the words of an answer, and adds `rest` to what its message has besides, in a chat of
    /// this user. The chat's title; `None`, and nothing is kept, where there is no such chat.
    pub async fn finish_answer(
        &self,
        user_id: &str,
        chat_id: &str,
        message_id: &str,
        words: &str,
        rest: &Map<String, Value>,
    ) -> sqlx::Result<Option<String>> {
        let title = sqlx::query_scalar("SELECT title FROM chats WHERE id = $1 AND user_id = $2");
        let title = title.bind(chat_id).bind(user_id);
        let Some(title) = title.fetch_optional(&self.pool).await? else {
            return Ok(None);
        };
        if !words.is_empty() && !self.set_content(chat_id, message_id, &words.into()).await? {
            tracing::warn!("chat {chat_id} has no room for the answer {message_id}");
        }
        self.add_to_message(chat_id, message_id, rest).await?;
        Ok(Some(title))
    }

    async fn add_to_message(
        &self,
        chat_id: &str,
        message_id: &str,
        added: &Map<String, Value>,
    ) -> sqlx::Result<()> {
        let mut transaction = self.pool.begin().await?;
        // Written first, so that nobody else writes between reading and writing.
        let row = sqlx::query(
            "UPDATE messages SET seen = seen WHERE chat_id = $1 AND id = $2 RETURNING rest",
        )
        .bind(chat_id)
        .bind(message_id)
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(row) = row else { return Ok(()) };
        let rest: String = row.try_get("rest")?;
        let rest: Map<String, Value> =
            serde_json::from_str(&rest).map_err(|error| sqlx::Error::Decode(error.into()))?;
        let rest: Map<String, Value> = rest.into_iter().chain(added.clone()).collect();
        sqlx::query("UPDATE messages SET rest = $3 WHERE chat_id = $1 AND id = $2")
            .bind(chat_id)
            .bind(message_id)
            .bind(Value::Object(rest).to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}
