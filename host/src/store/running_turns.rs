//! Turns that run in the background: which of them a process did not finish.

use serde_json::{Map, Value, json};

use super::chats::lock_chat;
use super::database::query;
use super::job_leases::LEASE_SECS;
use super::messages::add_message;
use super::{FinishedResponse, MessageLink, Store};

/// What a message shows whose turn ended with its process.
const INTERRUPTED: &str = "the server stopped before the response was complete: try again";

impl Store {
    /// Records that a turn runs on this host, if the user has such a chat.
    pub async fn add_running_turn(
        &self,
        user_id: &str,
        message: MessageLink<'_>,
        host: Option<&str>,
    ) -> sqlx::Result<()> {
        let MessageLink {
            chat_id,
            message_id,
        } = message;
        let mut transaction = self.begin().await?;
        query(
            "INSERT INTO running_turns (chat_id, message_id, host)
             SELECT id, $2, $4 FROM chats WHERE id = $1 AND user_id = $3
             ON CONFLICT (chat_id, message_id) DO NOTHING",
        )
        .bind(chat_id)
        .bind(message_id)
        .bind(user_id)
        .bind(host)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }

    /// True if a turn was recorded and not finished.
    pub async fn is_running_turn(&self, message: MessageLink<'_>) -> sqlx::Result<bool> {
        let found = query("SELECT 1 FROM running_turns WHERE chat_id = $1 AND message_id = $2")
            .bind(message.chat_id)
            .bind(message.message_id)
            .fetch_optional(&self.database)
            .await?;
        Ok(found.is_some())
    }

    /// Forgets a turn whose response is stored.
    pub async fn remove_running_turn(&self, chat_id: &str, message_id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        query("DELETE FROM running_turns WHERE chat_id = $1 AND message_id = $2")
            .bind(chat_id)
            .bind(message_id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }

    /// Gives the messages of recorded turns an error whose host has ended, except those whose job continues. `own_host`
    /// is this process. Returns their number.
    pub async fn fail_interrupted_turns(&self, own_host: &str) -> sqlx::Result<usize> {
        let rows = query(
            "SELECT running_turns.chat_id, message_id, user_id FROM running_turns
             JOIN chats ON chats.id = running_turns.chat_id
             WHERE COALESCE(running_turns.host, '') <> $1
                 AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.chat_id = running_turns.chat_id
                     AND jobs.message_id = running_turns.message_id AND ended_at IS NULL)
                 AND NOT EXISTS (SELECT 1 FROM hosts WHERE hosts.id = running_turns.host
                     AND seen_at > ",
        )
        .push(self.database.dialect().current_secs())
        .push(" - $2)")
        .bind(own_host)
        .bind(LEASE_SECS)
        .fetch_all(&self.database)
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
        lock_chat(&mut transaction, chat_id).await?;
        add_message(&mut transaction, chat_id, message_id).await?;
        let last_status: Option<String> = query(
            "SELECT status FROM message_statuses WHERE chat_id = $1 AND message_id = $2
             ORDER BY position DESC LIMIT 1",
        )
        .bind(chat_id)
        .bind(message_id)
        .fetch_optional_value(&mut *transaction)
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
