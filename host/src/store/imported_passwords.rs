//! Password hashes of imported accounts, until their users sign in.

use super::Store;
use super::database::query;

impl Store {
    /// True if an account has a bcrypt hash.
    pub async fn has_bcrypt_accounts(&self) -> sqlx::Result<bool> {
        let found: Option<String> =
            query("SELECT user_id FROM accounts WHERE password LIKE '$2%' LIMIT 1")
                .fetch_optional_value(&self.database)
                .await?;
        Ok(found.is_some())
    }

    /// Replaces the hash of an unchanged password. Sessions remain valid.
    pub async fn replace_hash(&self, user_id: &str, old: &str, new: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin().await?;
        query("UPDATE accounts SET password = $3 WHERE user_id = $1 AND password = $2")
            .bind(user_id)
            .bind(old)
            .bind(new)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}
