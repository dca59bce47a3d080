//! Accounts: the email and password hash of a user.

use pinhole_ground::guard::Guard;

use super::api_keys::delete_keys;
use super::database::{Connection, Row, query};
use super::users::user_from_row;
use super::{Store, User, now};

/// An account.
#[derive(Clone)]
pub struct Account {
    pub user: User,
    /// In lower case.
    pub email: String,
    /// The Argon2id hash as a PHC string.
    pub password: String,
    /// Incremented when the password changes. Sessions of an earlier epoch are invalid.
    pub epoch: i64,
}

/// A user to add, with an account.
pub struct NewAccount<'a> {
    pub name: &'a str,
    /// In lower case.
    pub email: &'a str,
    /// The Argon2id hash as a PHC string.
    pub password: &'a str,
    /// `admin`, `user` or `pending`.
    pub role: &'a str,
}

/// How an account is created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AccountOrigin {
    /// An administrator creates the account and chooses its role.
    Administrator,
    /// The user signs up. The first account that the server ever had becomes an administrator's.
    SignUp,
}

/// Why an account was not added.
#[derive(Debug)]
pub enum AddAccountError {
    /// Another account has this email.
    EmailTaken,
    /// The database failed.
    Store(sqlx::Error),
}

impl From<sqlx::Error> for AddAccountError {
    fn from(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_unique_violation() => Self::EmailTaken,
            _ => Self::Store(error),
        }
    }
}

impl Store {
    /// Adds a user with an account, in one transaction.
    pub async fn add_account(
        &self,
        new: NewAccount<'_>,
        origin: AccountOrigin,
    ) -> Result<Account, AddAccountError> {
        let mut transaction = self.begin().await?;
        let id = uuid::Uuid::new_v4().to_string();
        let is_first = mark_first_account(&mut transaction).await?;
        let is_later = Guard::FirstAccount.applies(!is_first);
        let role = match origin {
            AccountOrigin::SignUp if !is_later => "admin",
            _ => new.role,
        };
        query("INSERT INTO users (id, name, role, created_at) VALUES ($1, $2, $3, $4)")
            .bind(&id)
            .bind(new.name)
            .bind(role)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        let account = insert_account(&mut transaction, &id, &new).await?;
        transaction.commit().await?;
        Ok(account)
    }

    /// The account with this email, in lower case.
    pub async fn account_by_email(&self, email: &str) -> sqlx::Result<Option<Account>> {
        let row = query(
            "SELECT users.id, name, role, email, password, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id WHERE email = $1",
        )
        .bind(email)
        .fetch_optional(&self.database)
        .await?;
        row.as_ref().map(account_from_row).transpose()
    }

    /// The account of a user. `None` for a user who has only API keys.
    pub async fn account(&self, user_id: &str) -> sqlx::Result<Option<Account>> {
        let row = query(
            "SELECT users.id, name, role, email, password, epoch FROM users
             JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
        )
        .bind(user_id)
        .fetch_optional(&self.database)
        .await?;
        row.as_ref().map(account_from_row).transpose()
    }

    /// Changes a password hash, and revokes all sessions and API keys of the user.
    pub async fn set_password(&self, user_id: &str, password: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        replace_password(&mut transaction, user_id, password).await?;
        transaction.commit().await
    }

    /// True if the server has or had an account.
    pub async fn had_accounts(&self) -> sqlx::Result<bool> {
        let count: i64 = query("SELECT COUNT(*) FROM first_account")
            .fetch_value(&self.database)
            .await?;
        Ok(count > 0)
    }
}

/// Changes a password hash, and revokes all sessions and API keys of the user.
pub(super) async fn replace_password(
    connection: &mut Connection,
    user_id: &str,
    password: &str,
) -> sqlx::Result<()> {
    query("UPDATE accounts SET password = $2, epoch = epoch + 1 WHERE user_id = $1")
        .bind(user_id)
        .bind(password)
        .execute(&mut *connection)
        .await?;
    // They are of an earlier epoch, or end with their key.
    query("DELETE FROM sessions WHERE user_id = $1")
        .bind(user_id)
        .execute(&mut *connection)
        .await?;
    if Guard::RevokedKeys.applies(true) {
        delete_keys(connection, user_id).await?;
    }
    Ok(())
}

/// Notes that an account exists, after which no sign-up becomes an administrator. Returns true for the first one.
pub(super) async fn mark_first_account(connection: &mut Connection) -> sqlx::Result<bool> {
    let marked =
        query("INSERT INTO first_account (id, created_at) VALUES (1, $1) ON CONFLICT DO NOTHING")
            .bind(now())
            .execute(connection)
            .await?;
    Ok(marked > 0)
}

/// Adds the account of a user that exists.
pub(super) async fn insert_account(
    connection: &mut Connection,
    user_id: &str,
    new: &NewAccount<'_>,
) -> sqlx::Result<Account> {
    query("INSERT INTO accounts (user_id, email, password, epoch) VALUES ($1, $2, $3, 0)")
        .bind(user_id)
        .bind(new.email)
        .bind(new.password)
        .execute(&mut *connection)
        .await?;
    let row = query(
        "SELECT users.id, name, role, email, password, epoch FROM users
         JOIN accounts ON accounts.user_id = users.id WHERE users.id = $1",
    )
    .bind(user_id)
    .fetch_one(connection)
    .await?;
    account_from_row(&row)
}

fn account_from_row(row: &Row) -> sqlx::Result<Account> {
    Ok(Account {
        user: user_from_row(row)?,
        email: row.try_get("email")?,
        password: row.try_get("password")?,
        epoch: row.try_get("epoch")?,
    })
}
