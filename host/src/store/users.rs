//! Users: their names and roles.

use super::Store;
use super::accounts::replace_password;
use super::database::{Connection, Lock, Row, query};
use super::search::containing_pattern;

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
    /// Seconds since 1970. `None` if the user has never sent a request.
    pub last_active_at: Option<i64>,
    pub image_count: i64,
}

/// Which users a list has.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    /// A part of the name or of the email, in any case of ASCII letters.
    pub text: Option<String>,
    pub role: Option<String>,
    /// The id of a group that they belong to.
    pub group: Option<String>,
}

/// The columns of a profile.
const PROFILE: &str = "SELECT users.id, name, role, created_at, COALESCE(email, '') AS email,
         user_uses.last_used_at AS last_active_at,
         (SELECT COUNT(*) FROM files WHERE files.user_id = users.id AND files.deleted_at IS NULL) AS image_count
     FROM users
     LEFT JOIN accounts ON accounts.user_id = users.id
     LEFT JOIN user_uses ON user_uses.user_id = users.id";
/// Counts the users of a filter.
const COUNT: &str =
    "SELECT COUNT(*) FROM users LEFT JOIN accounts ON accounts.user_id = users.id WHERE ";
/// The users of a filter, whose parameters are the first three.
const FILTER: &str = "($1 IS NULL OR LOWER(name) LIKE $1 ESCAPE '\\'
         OR LOWER(COALESCE(email, '')) LIKE $1 ESCAPE '\\')
     AND ($2 IS NULL OR role = $2)
     AND ($3 IS NULL OR users.id IN (SELECT user_id FROM group_members WHERE group_id = $3))";

impl Store {
    /// The ids of administrators, the oldest first.
    pub async fn administrators(&self, limit: u32) -> sqlx::Result<Vec<String>> {
        query("SELECT id FROM users WHERE role = 'admin' ORDER BY created_at, id LIMIT $1")
            .bind(i64::from(limit))
            .fetch_values(&self.database)
            .await
    }

    /// A page of the users in the order of their creation, and the number of all that the filter has.
    pub async fn users(
        &self,
        filter: &UserFilter,
        limit: u32,
        offset: u64,
    ) -> sqlx::Result<(Vec<UserProfile>, i64)> {
        let pattern = filter.text.as_deref();
        let pattern = pattern.map(|text| containing_pattern(&text.to_ascii_lowercase()));
        let rows = query(PROFILE)
            .push(" WHERE ")
            .push(FILTER)
            .push(" ORDER BY created_at, users.id LIMIT $4 OFFSET $5")
            .bind(&pattern)
            .bind(&filter.role)
            .bind(&filter.group)
            .bind(i64::from(limit))
            .bind(i64::try_from(offset).unwrap_or(i64::MAX))
            .fetch_all(&self.database)
            .await?;
        let total = query(COUNT)
            .push(FILTER)
            .bind(&pattern)
            .bind(&filter.role)
            .bind(&filter.group)
            .fetch_value(&self.database)
            .await?;
        let users = rows
            .iter()
            .map(profile_from_row)
            .collect::<sqlx::Result<_>>()?;
        Ok((users, total))
    }

    /// The role of a user.
    pub async fn role(&self, id: &str) -> sqlx::Result<Option<String>> {
        query("SELECT role FROM users WHERE id = $1")
            .bind(id)
            .fetch_optional_value(&self.database)
            .await
    }

    /// One user.
    pub async fn user(&self, id: &str) -> sqlx::Result<Option<UserProfile>> {
        let row = query(PROFILE)
            .push(" WHERE users.id = $1")
            .bind(id)
            .fetch_optional(&self.database)
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
        transaction.lock(Lock::Administrators).await?;
        let done = query(
            "UPDATE users SET name = $2, role = $3
             WHERE id = $1 AND ($3 = 'admin' OR role <> 'admin' OR EXISTS (
                 SELECT 1 FROM users AS others WHERE others.role = 'admin' AND others.id <> $1))",
        )
        .bind(id)
        .bind(name)
        .bind(role)
        .execute(&mut *transaction)
        .await?;
        if done == 0 {
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
        transaction.lock(Lock::Administrators).await?;
        let done = query(
            "UPDATE users SET role = 'pending'
             WHERE id = $1 AND (role <> 'admin' OR EXISTS (
                 SELECT 1 FROM users AS others WHERE others.role = 'admin' AND others.id <> $1))",
        )
        .bind(id)
        .execute(&mut *transaction)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        for statement in [
            "DELETE FROM accounts WHERE user_id = $1",
            "DELETE FROM api_keys WHERE user_id = $1",
            "DELETE FROM sessions WHERE user_id = $1",
            "DELETE FROM group_members WHERE user_id = $1",
        ] {
            query(statement).bind(id).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes a user. Returns false if chats or files of the user still exist.
    pub async fn delete_user(&self, id: &str) -> sqlx::Result<bool> {
        let mut transaction = self.begin_removal().await?;
        let deleted = query("DELETE FROM users WHERE id = $1")
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

/// Locks a user until the transaction ends: others that count what the user has wait.
pub(super) async fn lock_user(connection: &mut Connection, user_id: &str) -> sqlx::Result<()> {
    let user = query("SELECT id FROM users WHERE id = $1").bind(user_id);
    connection.lock_rows(user).await
}

pub(super) fn user_from_row(row: &Row) -> sqlx::Result<User> {
    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
    })
}

fn profile_from_row(row: &Row) -> sqlx::Result<UserProfile> {
    Ok(UserProfile {
        user: user_from_row(row)?,
        email: row.try_get("email")?,
        created_at: row.try_get("created_at")?,
        last_active_at: row.try_get("last_active_at")?,
        image_count: row.try_get("image_count")?,
    })
}
