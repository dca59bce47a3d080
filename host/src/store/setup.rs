//! The setup of the first administrator, who has a key and no account.

use super::accounts::account_from_row;
use super::{Account, AddAccountError, NewAccount, Store, now};

impl Store {
    /// True if there are administrators, and none has an account.
    pub async fn needs_setup(&self) -> sqlx::Result<bool> {
        let found: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM (SELECT id FROM users WHERE role = 'admin' AND NOT EXISTS (
                 SELECT 1 FROM accounts JOIN users AS others ON others.id = accounts.user_id
                 WHERE others.role = 'admin') LIMIT 1) AS found",
        )
        .fetch_one(&self.pool)
        .await?;
        Ok(found > 0)
    }

    /// Gives the first administrator a name and an account. `None` if an administrator has one already. Later sign-ups
    /// do not become administrators.
    pub async fn set_up_administrator(
        &self,
        new: NewAccount<'_>,
    ) -> Result<Option<Account>, AddAccountError> {
        let mut transaction = self.begin().await?;
        let first: Option<String> = sqlx::query_scalar(
            "SELECT id FROM users WHERE role = 'admin' AND NOT EXISTS (
                 SELECT 1 FROM accounts JOIN users AS others ON others.id = accounts.user_id
                 WHERE others.role = 'admin') ORDER BY created_at, id LIMIT 1",
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(id) = first else {
            return Ok(None);
        };
        sqlx::query(
            "INSERT INTO first_account (id, created_at) VALUES (1, $1) ON CONFLICT DO NOTHING",
        )
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE users SET name = $2 WHERE id = $1")
            .bind(&id)
            .bind(new.name)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO accounts (user_id, email, password, epoch) VALUES ($1, $2, $3, 0)",
        )
        .bind(&id)
        .bind(new.email)
        .bind(new.password)
        .execute(&mut *transaction)
        .await?;
        let row = sqlx::query(
            "SELECT users.id, name, role, email, password, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
        )
        .bind(&id)
        .fetch_one(&mut *transaction)
        .await?;
        let account = account_from_row(&row)?;
        transaction.commit().await?;
        Ok(Some(account))
    }
}
