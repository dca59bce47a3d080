//! Turns that run in the background: which of them a process did not finish.

use serde_json::{Map, Value, json};
use sqlx::Row;

use super::messages::add_message;
use super::{FinishedResponse, Store};

/// What a message shows whose turn ended with its process.
const INTERRUPTED: &str = "the server stopped before the response was complete: try again";

impl Store {
    /// Records that a turn runs, if the user has such a chat.
    pub async fn add_running_turn(
        &self,
        user_id: &str,
        chat_id: &str,
        message_id: &str,
    ) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO running_turns (chat_id, message_id)
             SELECT id, $2 FROM chats WHERE id = $1 AND user_id = $3
             ON CONFLICT (chat_id, message_id) DO NOTHING",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(user_id)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// Forgets a turn whose response is stored.
    pub async fn remove_running_turn(&self, chat_id: &str, message_id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        sqlx::query("DELETE FROM running_turns WHERE chat_id = $1 AND message_id = $2")
            .bind(chat_id)
            .bind(message_id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Gives the messages of all recorded turns an error. For the start of a server, before it starts
    /// turns. Returns their number.
    pub async fn fail_interrupted_turns(&self) -> sqlx::Result<usize> {
        let rows = sqlx::query(
            "SELECT running_turns.chat_id, message_id, user_id FROM running_turns
             JOIN chats ON chats.id = running_turns.chat_id",
        )
        .fetch_all(&self.pool)
        .await?;
        for row in &rows {
            let chat_id: String = row.try_get("chat_id")?;
            let message_id: String = row.try_get("message_id")?;
            let user_id: String = row.try_get("user_id")?;
            self.fail_turn(&user_id, &chat_id, &message_id).await?;
        }
        Ok(rows.len())
    }

    async fn fail_turn(&self, user_id: &str, chat_id: &str, message_id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        add_message(&mut transaction, chat_id, message_id).await?;
        let last_status: Option<String> = sqlx::query_scalar(
            "SELECT status FROM message_statuses WHERE chat_id = $1 AND message_id = $2
             ORDER BY position DESC LIMIT 1",
        )
        .bind(chat_id)
        .bind(message_id)
        .fetch_optional(&mut *transaction)
        .await?;
        transaction.commit().await?;
        let last_status: Option<Value> =
            last_status.and_then(|status| serde_json::from_str(&status).ok());
        if last_status.is_some_and(|status| status.get("done") == Some(&false.into())) {
            let status = json!({
                "description": "An error occurred while generating an image",
                "done": true,
                "error": true,
                "reason": INTERRUPTED,
            });
            self.add_status(chat_id, message_id, &status).await?;
        }
        let fields = Map::from_iter([
            ("done".to_owned(), true.into()),
            ("error".to_owned(), json!({"content": INTERRUPTED})),
        ]);
        self.finish_response(FinishedResponse {
            user_id,
            chat_id,
            message_id,
            content: "",
            fields: &fields,
        })
        .await?;
        self.remove_running_turn(chat_id, message_id).await
    }
}
