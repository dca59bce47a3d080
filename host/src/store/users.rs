//! Users: their names and roles.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Store;
use super::accounts::replace_password;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// A UUID.
    pub id: String,
    pub name: String,
    /// `admin`, `user` or `pending`.
    pub role: String,
}

/// A user with the fields that administrators see.
#[derive(Clone, Debug)]
pub struct UserProfile {
    pub user: User,
    /// Empty if the user has no account.
    pub email: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// The ids of administrators, the oldest first.
    pub async fn administrators(&self, limit: u32) -> sqlx::Result<Vec<String>> {
        sqlx::query_scalar(
            "SELECT id FROM users WHERE role = 'admin' ORDER BY created_at, id LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
    }

    /// A page of all users in the order of their creation, and the number of all users.
    pub async fn users(&self, limit: u32, offset: u64) -> sqlx::Result<(Vec<UserProfile>, i64)> {
        let rows = sqlx::query(
            "SELECT users.id, name, role, created_at, COALESCE(email, '') AS email FROM users
             LEFT JOIN accounts ON accounts.user_id = users.id
             ORDER BY created_at, users.id LIMIT $1 OFFSET $2",
        )
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let total = sqlx::query_scalar("SELECT COUNT(*) FROM users")
            .fetch_one(&self.pool)
            .await?;
        let users = rows
            .iter()
            .map(profile_from_row)
            .collect::<sqlx::Result<_>>()?;
        Ok((users, total))
    }

    /// One user.
    pub async fn user(&self, id: &str) -> sqlx::Result<Option<UserProfile>> {
        let row = sqlx::query(
            "SELECT users.id, name, role, created_at, COALESCE(email, '') AS email FROM users
             LEFT JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(profile_from_row).transpose()
    }

    /// Changes a user's name and role, and optionally the password hash of the account, which revokes its
    /// sessions and API keys. Returns false and changes nothing if no administrator would remain.
    pub async fn update_user(
        &self,
        id: &str,
        name: &str,
        role: &str,
        password: Option<&str>,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.begin().await?;
        let done = sqlx::query(
            "UPDATE users SET name = $2, role = $3
             WHERE id = $1 AND ($3 = 'admin' OR role <> 'admin' OR EXISTS (
                 SELECT 1 FROM users AS others WHERE others.role = 'admin' AND others.id <> $1))",
        )
        .bind(id)
        .bind(name)
        .bind(role)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        if let Some(password) = password {
            replace_password(&mut transaction, id, password).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes a user's account, keys, group memberships and role. Returns false and changes nothing if
    /// no administrator would remain.
    pub async fn revoke_access(&self, id: &str) -> sqlx::Result<bool> {
        let mut transaction = self.begin_removal().await?;
        let done = sqlx::query(
            "UPDATE users SET role = 'pending'
             WHERE id = $1 AND (role <> 'admin' OR EXISTS (
                 SELECT 1 FROM users AS others WHERE others.role = 'admin' AND others.id <> $1))",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        for statement in [
            "DELETE FROM accounts WHERE user_id = $1",
            "DELETE FROM api_keys WHERE user_id = $1",
            "DELETE FROM group_members WHERE user_id = $1",
        ] {
            sqlx::query(statement)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes a user. Returns false if chats or files of the user still exist.
    pub async fn delete_user(&self, id: &str) -> sqlx::Result<bool> {
        let mut transaction = self.begin_removal().await?;
        let deleted = sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(id)
            .execute(&mut *transaction)
            .await;
        match deleted {
            Ok(_) => {
                transaction.commit().await?;
                Ok(true)
            }
            Err(error) => match error.as_database_error() {
                Some(database) if database.is_foreign_key_violation() => Ok(false),
                _ => Err(error),
            },
        }
    }
}

pub(super) fn user_from_row(row: &SqliteRow) -> sqlx::Result<User> {
    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
    })
}

fn profile_from_row(row: &SqliteRow) -> sqlx::Result<UserProfile> {
    Ok(UserProfile {
        user: user_from_row(row)?,
        email: row.try_get("email")?,
        created_at: row.try_get("created_at")?,
    })
}
