//! Adds rows of another server with their ids and times. What exists is never changed.

use pinhole_ground::guard::Guard;

use super::accounts::mark_first_account;
use super::api_keys::{MAX_KEYS, first_letters, hash_key};
use super::chats::MAX_REST_BYTES;
use super::database::{Connection, query};
use super::groups::MAX_GROUPS;
use super::message_copy::save_messages;
use super::messages::to_json;
use super::{ChatCopy, MAX_CHATS, NEW_CHAT, Store};

/// A user with an account.
#[derive(Clone, Debug)]
pub struct ImportedUser<'a> {
    pub id: &'a str,
    pub name: &'a str,
    /// In lower case.
    pub email: &'a str,
    /// `admin`, `user` or `pending`.
    pub role: &'a str,
    /// A hash that [`crate::accounts::Accounts`] verifies.
    pub password: &'a str,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// An API key of another server.
#[derive(Clone)]
pub struct ImportedKey<'a> {
    pub user_id: &'a str,
    /// In the clear.
    pub key: &'a str,
    /// Seconds since 1970.
    pub expires_at: Option<i64>,
    pub created_at: i64,
}

#[derive(Clone, Debug)]
pub struct ImportedGroup<'a> {
    pub id: &'a str,
    pub name: &'a str,
    pub description: &'a str,
    /// Members have the permission `features.image_generation`.
    pub may_create_images: bool,
    /// Seconds since 1970.
    pub created_at: i64,
}

/// A chat with its messages.
#[derive(Clone, Debug)]
pub struct ImportedChat<'a> {
    pub id: &'a str,
    pub user_id: &'a str,
    pub copy: ChatCopy,
    pub is_archived: bool,
    pub is_pinned: bool,
    /// Seconds since 1970.
    pub created_at: i64,
    pub updated_at: i64,
}

/// What became of a row. Unless it is [`Self::Added`], nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    Added,
    /// A row with this id exists.
    Exists,
    /// Another user has the email.
    EmailTaken,
    /// The user or group that it belongs to does not exist.
    OwnerMissing,
    /// The server or the owner has too many.
    TooMany,
    /// It exceeds the maximum length.
    TooLong,
}

impl Store {
    /// Adds a user with an account. Later sign-ups do not become administrators.
    pub async fn import_user(&self, user: &ImportedUser<'_>) -> sqlx::Result<ImportOutcome> {
        let mut transaction = self.begin().await?;
        let exists = "SELECT COUNT(*) FROM users WHERE id = $1";
        if count(&mut transaction, exists, user.id).await? > 0 {
            return Ok(ImportOutcome::Exists);
        }
        let has_email = "SELECT COUNT(*) FROM accounts WHERE email = $1";
        if count(&mut transaction, has_email, user.email).await? > 0 {
            return Ok(ImportOutcome::EmailTaken);
        }
        query("INSERT INTO users (id, name, role, created_at) VALUES ($1, $2, $3, $4)")
            .bind(user.id)
            .bind(user.name)
            .bind(user.role)
            .bind(user.created_at)
            .execute(&mut *transaction)
            .await?;
        query("INSERT INTO accounts (user_id, email, password, epoch) VALUES ($1, $2, $3, 0)")
            .bind(user.id)
            .bind(user.email)
            .bind(user.password)
            .execute(&mut *transaction)
            .await?;
        if Guard::FirstAccount.applies(true) {
            mark_first_account(&mut transaction).await?;
        }
        transaction.commit().await?;
        Ok(ImportOutcome::Added)
    }

    /// Adds an API key without a name.
    pub async fn import_key(&self, key: &ImportedKey<'_>) -> sqlx::Result<ImportOutcome> {
        let mut transaction = self.begin().await?;
        let hash = hash_key(key.key);
        let exists = "SELECT COUNT(*) FROM api_keys WHERE hash = $1";
        if count(&mut transaction, exists, &hash).await? > 0 {
            return Ok(ImportOutcome::Exists);
        }
        if !user_exists(&mut transaction, key.user_id).await? {
            return Ok(ImportOutcome::OwnerMissing);
        }
        let of_user = "SELECT COUNT(*) FROM api_keys WHERE user_id = $1";
        if count(&mut transaction, of_user, key.user_id).await? >= i64::from(MAX_KEYS) {
            return Ok(ImportOutcome::TooMany);
        }
        query(
            "INSERT INTO api_keys (hash, user_id, name, prefix, created_at, expires_at)
             VALUES ($1, $2, '', $3, $4, $5)",
        )
        .bind(hash)
        .bind(key.user_id)
        .bind(first_letters(key.key))
        .bind(key.created_at)
        .bind(key.expires_at)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ImportOutcome::Added)
    }

    /// Adds a group without members.
    pub async fn import_group(&self, group: &ImportedGroup<'_>) -> sqlx::Result<ImportOutcome> {
        let mut transaction = self.begin().await?;
        let exists = "SELECT COUNT(*) FROM user_groups WHERE id = $1";
        if count(&mut transaction, exists, group.id).await? > 0 {
            return Ok(ImportOutcome::Exists);
        }
        let all: i64 = query("SELECT COUNT(*) FROM user_groups")
            .fetch_value(&mut *transaction)
            .await?;
        if all >= MAX_GROUPS {
            return Ok(ImportOutcome::TooMany);
        }
        query(
            "INSERT INTO user_groups (id, name, description, makes_pictures, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $5)",
        )
        .bind(group.id)
        .bind(group.name)
        .bind(group.description)
        .bind(i64::from(group.may_create_images))
        .bind(group.created_at)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(ImportOutcome::Added)
    }

    /// Adds a member to a group.
    pub async fn import_member(
        &self,
        group_id: &str,
        user_id: &str,
    ) -> sqlx::Result<ImportOutcome> {
        let mut transaction = self.begin().await?;
        let has_group = "SELECT COUNT(*) FROM user_groups WHERE id = $1";
        if count(&mut transaction, has_group, group_id).await? == 0
            || !user_exists(&mut transaction, user_id).await?
        {
            return Ok(ImportOutcome::OwnerMissing);
        }
        let added = query(
            "INSERT INTO group_members (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(group_id)
        .bind(user_id)
        .execute(&mut *transaction)
        .await?;
        if added == 0 {
            return Ok(ImportOutcome::Exists);
        }
        transaction.commit().await?;
        Ok(ImportOutcome::Added)
    }

    /// Adds a chat with its messages. Files of the owner that messages name are linked, so they come first.
    pub async fn import_chat(&self, chat: &ImportedChat<'_>) -> sqlx::Result<ImportOutcome> {
        let rest = to_json(&chat.copy.rest);
        if rest.len() > MAX_REST_BYTES {
            return Ok(ImportOutcome::TooLong);
        }
        let mut transaction = self.begin().await?;
        let exists = "SELECT COUNT(*) FROM chats WHERE id = $1";
        if count(&mut transaction, exists, chat.id).await? > 0 {
            return Ok(ImportOutcome::Exists);
        }
        if !user_exists(&mut transaction, chat.user_id).await? {
            return Ok(ImportOutcome::OwnerMissing);
        }
        let of_user = "SELECT COUNT(*) FROM chats WHERE user_id = $1";
        if count(&mut transaction, of_user, chat.user_id).await? >= i64::from(MAX_CHATS) {
            return Ok(ImportOutcome::TooMany);
        }
        let history = chat.copy.history.as_ref();
        query(
            "INSERT INTO chats (id, user_id, title, current_id, rest, archived, pinned,
                 created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(chat.id)
        .bind(chat.user_id)
        .bind(chat.copy.title.as_deref().unwrap_or(NEW_CHAT))
        .bind(history.and_then(|history| history.current_id.clone()))
        .bind(rest)
        .bind(i64::from(chat.is_archived))
        .bind(i64::from(chat.is_pinned))
        .bind(chat.created_at)
        .bind(chat.updated_at)
        .execute(&mut *transaction)
        .await?;
        if let Some(history) = history {
            save_messages(&mut transaction, chat.id, chat.user_id, &history.messages).await?;
        }
        transaction.commit().await?;
        self.text_changed.notify_one();
        Ok(ImportOutcome::Added)
    }
}

async fn user_exists(connection: &mut Connection, id: &str) -> sqlx::Result<bool> {
    let users = "SELECT COUNT(*) FROM users WHERE id = $1";
    Ok(count(connection, users, id).await? > 0)
}

async fn count(
    connection: &mut Connection,
    statement: &'static str,
    parameter: &str,
) -> sqlx::Result<i64> {
    query(statement)
        .bind(parameter)
        .fetch_value(connection)
        .await
}
