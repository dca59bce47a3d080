//! Accounts, keys and sessions.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, User, hash, new_key, now};

/// An account with what it is proved by.
#[derive(Clone)]
pub struct Account {
    /// Whose it is.
    pub user: User,
    /// In lower case.
    pub email: String,
    /// Argon2id, as a PHC string.
    pub password: String,
    /// Sessions of another epoch are over.
    pub epoch: i64,
}

/// A user as administrators see them.
#[derive(Clone, Debug)]
pub struct Person {
    /// The user.
    pub user: User,
    /// Empty where there is no account.
    pub email: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// A user to add, with an account.
pub struct NewAccount<'a> {
    /// For a person.
    pub name: &'a str,
    /// In lower case.
    pub email: &'a str,
    /// Argon2id, as a PHC string.
    pub password: &'a str,
    /// `admin`, `user` or `pending`.
    pub role: &'a str,
}

/// Who may be added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Whoever an administrator adds, in the role that they were given.
    Added,
    /// Anybody; the first account is an administrator's.
    Open,
}

/// Why nobody was added.
#[derive(Debug)]
pub enum AddError {
    /// Somebody has this email.
    Taken,
    /// The database failed.
    Store(sqlx::Error),
}

impl From<sqlx::Error> for AddError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_unique_violation() => Self::Taken,
            _ => Self::Store(error),
        }
    }
}

impl Store {
    /// Adds a user with an account, in one step.
    pub async fn add_account(
        &self,
        new: NewAccount<'_>,
        admission: Admission,
    ) -> Result<Account, AddError> {
        let mut transaction = self.pool.begin().await?;
        let id = uuid::Uuid::new_v4().to_string();
        let added = i64::from(admission == Admission::Added);
        sqlx::query(
            "INSERT INTO users (id, name, role, created_at)
             SELECT $1, $2,
                 CASE WHEN $3 = 1 OR EXISTS (SELECT 1 FROM accounts) THEN $4 ELSE 'admin' END, $5",
        )
        .bind(&id)
        .bind(new.name)
        .bind(added)
        .bind(new.role)
        .bind(now())
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
        let account = read_account(&row)?;
        transaction.commit().await?;
        Ok(account)
    }

    /// The account of an email in lower case.
    pub async fn account_by_email(&self, email: &str) -> sqlx::Result<Option<Account>> {
        let row = sqlx::query(
            "SELECT users.id, name, role, email, password, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id WHERE email = $1",
        )
        .bind(email)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read_account).transpose()
    }

    /// The account of a user; those who have keys only have none.
    pub async fn account(&self, user_id: &str) -> sqlx::Result<Option<Account>> {
        let row = sqlx::query(
            "SELECT users.id, name, role, email, password, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
        )
        .bind(user_id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read_account).transpose()
    }

    /// Changes a password and ends every session that was begun with another.
    pub async fn set_password(&self, user_id: &str, password: &str) -> sqlx::Result<()> {
        sqlx::query("UPDATE accounts SET password = $2, epoch = epoch + 1 WHERE user_id = $1")
            .bind(user_id)
            .bind(password)
            .execute(&self.pool)
            .await
            .map(|_| ())
    }

    /// Whose session this is; nobody's where it is over.
    pub async fn user_by_session(
        &self,
        user_id: &str,
        epoch: i64,
        session_id: &str,
    ) -> sqlx::Result<Option<User>> {
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
        row.as_ref().map(read_user).transpose()
    }

    /// Ends a session before its time, and forgets those whose time is over anyway.
    pub async fn end_session(&self, session_id: &str, expires_at: i64) -> sqlx::Result<()> {
        sqlx::query("DELETE FROM ended_sessions WHERE expires_at < $1")
            .bind(now())
            .execute(&self.pool)
            .await?;
        sqlx::query(
            "INSERT INTO ended_sessions (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(session_id)
        .bind(expires_at)
        .execute(&self.pool)
        .await
        .map(|_| ())
    }

    /// Gives a user a new key in place of all they had. It is kept only as its hash.
    pub async fn replace_key(&self, user_id: &str) -> anyhow::Result<String> {
        let key = new_key()?;
        let mut transaction = self.pool.begin().await?;
        sqlx::query("DELETE FROM api_keys WHERE user_id = $1")
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO api_keys (hash, user_id, created_at) VALUES ($1, $2, $3)")
            .bind(hash(&key))
            .bind(user_id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(key)
    }

    /// Has the user a key?
    pub async fn has_key(&self, user_id: &str) -> sqlx::Result<bool> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_keys WHERE user_id = $1")
            .bind(user_id)
            .fetch_one(&self.pool)
            .await?;
        Ok(count > 0)
    }

    /// Removes a user's keys.
    pub async fn delete_keys(&self, user_id: &str) -> sqlx::Result<()> {
        let delete = sqlx::query("DELETE FROM api_keys WHERE user_id = $1").bind(user_id);
        delete.execute(&self.pool).await.map(|_| ())
    }

    /// Has anybody an account?
    pub async fn has_accounts(&self) -> sqlx::Result<bool> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts")
            .fetch_one(&self.pool)
            .await?;
        Ok(count > 0)
    }

    /// Users in the order they came, and how many there are.
    pub async fn people(&self, limit: u32, offset: u64) -> sqlx::Result<(Vec<Person>, i64)> {
        let rows = sqlx::query(
            "SELECT users.id, name, role, created_at, COALESCE(email, '') AS email FROM users
             LEFT JOIN accounts ON accounts.user_id = users.id
             ORDER BY created_at, users.id LIMIT $1 OFFSET $2",
        )
        .bind(i64::from(limit))
        .bind(i64::try_from(offset).unwrap_or(i64::MAX))
        .fetch_all(&self.pool)
        .await?;
        let total = sqlx::query_scalar("SELECT COUNT(*) FROM users");
        let total = total.fetch_one(&self.pool).await?;
        let people = rows.iter().map(read_person).collect::<sqlx::Result<_>>()?;
        Ok((people, total))
    }

    /// One user.
    pub async fn person(&self, id: &str) -> sqlx::Result<Option<Person>> {
        let row = sqlx::query(
            "SELECT users.id, name, role, created_at, COALESCE(email, '') AS email FROM users
             LEFT JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.as_ref().map(read_person).transpose()
    }

    /// Changes a user's name and role, and an account's password, which ends its sessions. False, and
    /// nothing is changed, where no administrator would be left.
    pub async fn update_person(
        &self,
        id: &str,
        name: &str,
        role: &str,
        password: Option<&str>,
    ) -> sqlx::Result<bool> {
        let mut transaction = self.pool.begin().await?;
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
            sqlx::query("UPDATE accounts SET password = $2, epoch = epoch + 1 WHERE user_id = $1")
                .bind(id)
                .bind(password)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes everything from a user by which they could ask. False where no administrator would be left.
    pub async fn lock_out(&self, id: &str) -> sqlx::Result<bool> {
        let mut transaction = self.pool.begin().await?;
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
            let delete = sqlx::query(statement).bind(id);
            delete.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes a user. False where something of theirs is still there.
    pub async fn delete_user(&self, id: &str) -> sqlx::Result<bool> {
        let delete = sqlx::query("DELETE FROM users WHERE id = $1").bind(id);
        match delete.execute(&self.pool).await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_database_error() {
                Some(database) if database.is_foreign_key_violation() => Ok(false),
                _ => Err(error),
            },
        }
    }
}

fn read_user(row: &SqliteRow) -> sqlx::Result<User> {
    Ok(User {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        role: row.try_get("role")?,
    })
}

fn read_account(row: &SqliteRow) -> sqlx::Result<Account> {
    Ok(Account {
        user: read_user(row)?,
        email: row.try_get("email")?,
        password: row.try_get("password")?,
        epoch: row.try_get("epoch")?,
    })
}

fn read_person(row: &SqliteRow) -> sqlx::Result<Person> {
    Ok(Person {
        user: read_user(row)?,
        email: row.try_get("email")?,
        created_at: row.try_get("created_at")?,
    })
}
