//! Sessions that were revoked before they expired.

use super::users::user_from_row;
use super::{CredentialId, Store, User, now};

impl Store {
    /// The user of a session. `None` if the session was revoked or the password has changed since. Its expiry is not
    /// checked.
    pub async fn user_by_session(
        &self,
        user_id: &str,
        epoch: i64,
        session_id: &str,
    ) -> sqlx::Result<Option<User>> {
        let credential = CredentialId::Session {
            id: session_id.to_owned(),
            user_id: user_id.to_owned(),
            epoch,
            expires_at: None,
        };
        let read = async || {
            let row = sqlx::query(
                "SELECT users.id, name, role FROM users
                 JOIN accounts ON accounts.user_id = users.id
                 WHERE users.id = $1 AND epoch = $2
                     AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE ended_sessions.id = $3)",
            )
            .bind(user_id)
            .bind(epoch)
            .bind(session_id)
            .fetch_optional(&self.pool)
            .await?;
            row.as_ref().map(user_from_row).transpose()
        };
        self.writer.identities.user(credential, read).await
    }

    /// Revokes a session. Deletes records of revoked sessions that have expired since.
    pub async fn revoke_session(&self, session_id: &str, expires_at: i64) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        sqlx::query("DELETE FROM ended_sessions WHERE expires_at < $1")
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO ended_sessions (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(session_id)
        .bind(expires_at)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await
    }
}
