//! The setup of the first administrator, who has a key and no account.

use super::accounts::{insert_account, mark_first_account};
use super::database::{Connection, Lock, query};
use super::{Account, AddAccountError, NewAccount, Store};

impl Store {
    /// True if there are administrators, and none has an account.
    pub async fn needs_setup(&self) -> sqlx::Result<bool> {
        let mut connection = self.database.acquire().await?;
        let found = administrator_without_account(&mut connection).await?;
        Ok(found.is_some())
    }

    /// Gives the first administrator a name and an account. `None` if an administrator has one already. Later sign-ups
    /// do not become administrators.
    pub async fn set_up_administrator(
        &self,
        new: NewAccount<'_>,
    ) -> Result<Option<Account>, AddAccountError> {
        let mut transaction = self.begin().await?;
        transaction.lock(Lock::Administrators).await?;
        let first = administrator_without_account(&mut transaction).await?;
        let Some(id) = first else {
            return Ok(None);
        };
        mark_first_account(&mut transaction).await?;
        query("UPDATE users SET name = $2 WHERE id = $1")
            .bind(&id)
            .bind(new.name)
            .execute(&mut *transaction)
            .await?;
        let account = insert_account(&mut transaction, &id, &new).await?;
        transaction.commit().await?;
        Ok(Some(account))
    }
}

/// The id of the first administrator. `None` if an administrator has an account.
async fn administrator_without_account(
    connection: &mut Connection,
) -> sqlx::Result<Option<String>> {
    query(
        "SELECT id FROM users WHERE role = 'admin' AND NOT EXISTS (
             SELECT 1 FROM accounts JOIN users AS others ON others.id = accounts.user_id
             WHERE others.role = 'admin') ORDER BY created_at, id LIMIT 1",
    )
    .fetch_optional_value(connection)
    .await
}
