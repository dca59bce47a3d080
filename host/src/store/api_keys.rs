//! API keys. Only their hashes are stored.

use anyhow::{Context, Result};
use pinhole_ground::text::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::database::{Connection, Lock, Row, query};
use super::identity_cache::CredentialUser;
use super::users::{lock_user, user_from_row};
use super::{CredentialId, Store, User, now};

/// Random bytes in a key.
const KEY_BYTES: usize = 24;
/// API keys of one user.
pub const MAX_KEYS: u32 = 20;
/// Length of the id of a key: the beginning of its hash.
pub(super) const KEY_ID_LETTERS: i64 = 12;
/// Length of the beginning of a key that is stored, so that a person recognizes it. The rest has 176 bits.
const PREFIX_LETTERS: usize = 7;

/// An API key, without the key itself.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKey {
    pub id: String,
    /// Empty for the key that Open WebUI's clients replace.
    pub name: String,
    /// The first characters of the key; empty if the key is older than this field.
    pub prefix: String,
    /// Seconds since 1970, like the following times.
    pub created_at: i64,
    pub last_used_at: Option<i64>,
    /// `None` if the key does not expire.
    pub expires_at: Option<i64>,
}

/// An API key to create.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewKey<'a> {
    pub name: &'a str,
    /// Seconds since 1970. `None` if the key does not expire.
    pub expires_at: Option<i64>,
}

/// An API key that was just created.
pub struct CreatedKey {
    /// The key itself, which cannot be read again.
    pub key: String,
    pub row: ApiKey,
}

/// The user of an API key who signs in with it.
pub struct KeyUser {
    pub user: User,
    pub key_id: String,
    /// When the key expires, in seconds since 1970.
    pub expires_at: Option<i64>,
}

impl Store {
    /// Creates an administrator if the database has no users. Returns the API key.
    pub async fn create_first_administrator(&self) -> Result<Option<String>> {
        let mut transaction = self.begin().await?;
        transaction.lock(Lock::Administrators).await?;
        let id = uuid::Uuid::new_v4().to_string();
        let inserted = query(
            "INSERT INTO users (id, name, role, created_at)
             SELECT $1, 'Administrator', 'admin', $2 WHERE NOT EXISTS (SELECT 1 FROM users)",
        )
        .bind(&id)
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        if inserted == 0 {
            return Ok(None);
        }
        let created = CreatedKey::new(NewKey::default())?;
        created.insert(&mut transaction, &id).await?;
        transaction.commit().await?;
        Ok(Some(created.key))
    }

    /// The user of an API key.
    pub async fn user_by_key(&self, key: &str) -> sqlx::Result<Option<User>> {
        let found = self.credential_user_by_key(key).await?;
        Ok(found.map(|it| it.user))
    }

    /// The user of an API key, and its expiry.
    pub async fn credential_user_by_key(&self, key: &str) -> sqlx::Result<Option<CredentialUser>> {
        let hash = hash_key(key);
        let credential = CredentialId::ApiKey(hash.clone());
        let read = async || {
            let Some(row) = self.unexpired_key(&hash).await? else {
                return Ok(None);
            };
            let user = user_from_row(&row)?;
            self.last_uses.add_key(&hash, &user.id);
            Ok(Some(CredentialUser {
                user,
                key_expires_at: row.try_get("expires_at")?,
            }))
        };
        self.cached_user(credential, read).await
    }

    /// The user of an API key, and what a session with it depends on.
    pub async fn key_user(&self, key: &str) -> sqlx::Result<Option<KeyUser>> {
        let hash = hash_key(key);
        let Some(row) = self.unexpired_key(&hash).await? else {
            return Ok(None);
        };
        let user = user_from_row(&row)?;
        self.last_uses.add_key(&hash, &user.id);
        Ok(Some(KeyUser {
            user,
            key_id: key_id(&hash).to_owned(),
            expires_at: row.try_get("expires_at")?,
        }))
    }

    async fn unexpired_key(&self, hash: &str) -> sqlx::Result<Option<Row>> {
        query(
            "SELECT users.id, users.name, users.role, api_keys.expires_at FROM api_keys
             JOIN users ON users.id = api_keys.user_id
             WHERE api_keys.hash = $1
                 AND (api_keys.expires_at IS NULL OR api_keys.expires_at > $2)",
        )
        .bind(hash)
        .bind(now())
        .fetch_optional(&self.database)
        .await
    }

    /// Replaces all API keys of a user with a new one without a name, which it returns.
    pub async fn replace_keys(&self, user_id: &str) -> Result<String> {
        let created = CreatedKey::new(NewKey::default())?;
        let mut transaction = self.begin().await?;
        delete_keys(&mut transaction, user_id).await?;
        created.insert(&mut transaction, user_id).await?;
        transaction.commit().await?;
        Ok(created.key)
    }

    /// Replaces the API keys without a name with a new one. `None` if the user has too many others.
    pub async fn replace_unnamed_key(&self, user_id: &str) -> Result<Option<String>> {
        let created = CreatedKey::new(NewKey::default())?;
        let mut transaction = self.begin().await?;
        delete_unnamed_keys(&mut transaction, user_id).await?;
        if !created.insert(&mut transaction, user_id).await? {
            return Ok(None);
        }
        transaction.commit().await?;
        Ok(Some(created.key))
    }

    /// Creates another API key of a user. `None` if the user has too many.
    pub async fn add_key(&self, user_id: &str, new: NewKey<'_>) -> Result<Option<CreatedKey>> {
        let created = CreatedKey::new(new)?;
        let mut transaction = self.begin().await?;
        if !created.insert(&mut transaction, user_id).await? {
            return Ok(None);
        }
        transaction.commit().await?;
        Ok(Some(created))
    }

    /// The API keys of a user, oldest first.
    pub async fn keys(&self, user_id: &str) -> sqlx::Result<Vec<ApiKey>> {
        let rows = query(
            "SELECT api_keys.hash, name, prefix, created_at, expires_at, last_used_at FROM api_keys
             LEFT JOIN key_uses ON key_uses.hash = api_keys.hash
             WHERE user_id = $1 ORDER BY created_at, api_keys.hash",
        )
        .bind(user_id)
        .fetch_all(&self.database)
        .await?;
        let keys = rows.iter().map(|row| {
            let hash: String = row.try_get("hash")?;
            Ok(ApiKey {
                id: key_id(&hash).to_owned(),
                name: row.try_get("name")?,
                prefix: row.try_get("prefix")?,
                created_at: row.try_get("created_at")?,
                last_used_at: row.try_get("last_used_at")?,
                expires_at: row.try_get("expires_at")?,
            })
        });
        keys.collect()
    }

    /// Revokes the API keys of a user, or the one with this id, and ends the sessions that began with them. Returns the
    /// number of keys.
    pub async fn revoke_keys(&self, user_id: &str, id: Option<&str>) -> sqlx::Result<u64> {
        let mut transaction = self.begin_removal().await?;
        let removed = query(
            "DELETE FROM api_keys WHERE user_id = $1 AND ($2 IS NULL OR substr(hash, 1, CAST($3 AS INTEGER)) = $2)",
        )
        .bind(user_id)
        .bind(id)
        .bind(KEY_ID_LETTERS)
        .execute(&mut *transaction)
        .await?;
        delete_keyless_sessions(&mut transaction, user_id).await?;
        transaction.commit().await?;
        Ok(removed)
    }

    /// True if the user has an API key without a name.
    pub async fn has_unnamed_key(&self, user_id: &str) -> sqlx::Result<bool> {
        let count: i64 = query("SELECT COUNT(*) FROM api_keys WHERE user_id = $1 AND name = ''")
            .bind(user_id)
            .fetch_value(&self.database)
            .await?;
        Ok(count > 0)
    }

    /// Revokes the API keys without a name of a user.
    pub async fn delete_unnamed_keys(&self, user_id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        delete_unnamed_keys(&mut transaction, user_id).await?;
        transaction.commit().await
    }
}

impl CreatedKey {
    fn new(new: NewKey<'_>) -> Result<Self> {
        let mut random = [0; KEY_BYTES];
        getrandom::fill(&mut random)
            .context("cannot create an API key: the system has no random numbers")?;
        let key = format!("sk-{}", hex(&random));
        let row = ApiKey {
            id: key_id(&hash_key(&key)).to_owned(),
            name: new.name.to_owned(),
            prefix: first_letters(&key),
            created_at: now(),
            last_used_at: None,
            expires_at: new.expires_at,
        };
        Ok(Self { key, row })
    }

    /// Returns false if the user has too many.
    async fn insert(&self, connection: &mut Connection, user_id: &str) -> sqlx::Result<bool> {
        lock_user(connection, user_id).await?;
        let inserted = query(
            "INSERT INTO api_keys (hash, user_id, name, prefix, created_at, expires_at)
             SELECT $1, $2, $3, $4, $5, $6
             WHERE (SELECT COUNT(*) FROM api_keys WHERE user_id = $2) < $7",
        )
        .bind(hash_key(&self.key))
        .bind(user_id)
        .bind(&self.row.name)
        .bind(&self.row.prefix)
        .bind(self.row.created_at)
        .bind(self.row.expires_at)
        .bind(i64::from(MAX_KEYS))
        .execute(connection)
        .await?;
        Ok(inserted == 1)
    }
}

/// Deletes all API keys of a user, and ends the sessions that began with them.
pub(super) async fn delete_keys(connection: &mut Connection, user_id: &str) -> sqlx::Result<()> {
    query("DELETE FROM api_keys WHERE user_id = $1")
        .bind(user_id)
        .execute(&mut *connection)
        .await?;
    delete_keyless_sessions(connection, user_id).await
}

async fn delete_unnamed_keys(connection: &mut Connection, user_id: &str) -> sqlx::Result<()> {
    query("DELETE FROM api_keys WHERE user_id = $1 AND name = ''")
        .bind(user_id)
        .execute(&mut *connection)
        .await?;
    delete_keyless_sessions(connection, user_id).await
}

/// Removes the rows of sessions that ended with their key.
async fn delete_keyless_sessions(connection: &mut Connection, user_id: &str) -> sqlx::Result<()> {
    query(
        "DELETE FROM sessions WHERE user_id = $1 AND key_id <> '' AND NOT EXISTS (
             SELECT 1 FROM api_keys
             WHERE api_keys.user_id = $1 AND substr(api_keys.hash, 1, CAST($2 AS INTEGER)) = sessions.key_id)",
    )
    .bind(user_id)
    .bind(KEY_ID_LETTERS)
    .execute(connection)
    .await?;
    Ok(())
}

/// SHA-256 in hexadecimal. Keys are random, so they need no salt.
pub(super) fn hash_key(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

/// The beginning of a key that is stored.
pub(super) fn first_letters(key: &str) -> String {
    key.chars().take(PREFIX_LETTERS).collect()
}

fn key_id(hash: &str) -> &str {
    hash.get(..KEY_ID_LETTERS as usize).unwrap_or(hash)
}
