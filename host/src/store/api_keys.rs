//! API keys. Only their hashes are stored.

use anyhow::{Context, Result};
use pinhole_ground::text::hex;
use serde::Serialize;
use sha2::{Digest, Sha256};
use sqlx::Row;

use super::users::user_from_row;
use super::{CredentialId, Store, User, now};

/// Random bytes in a key.
const KEY_BYTES: usize = 24;
/// API keys of one user.
const MAX_KEYS: i64 = 100;
/// Length of the id of a key: the beginning of its hash.
const KEY_ID_LETTERS: i64 = 12;

/// An API key, without the key itself.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKey {
    pub id: String,
    /// Seconds since 1970.
    pub created_at: i64,
}

impl Store {
    /// Creates an administrator if the database has no users. Returns the API key.
    pub async fn create_first_administrator(&self) -> Result<Option<String>> {
        let mut transaction = self.begin().await?;
        let id = uuid::Uuid::new_v4().to_string();
        let inserted = sqlx::query(
            "INSERT INTO users (id, name, role, created_at)
             SELECT $1, 'Administrator', 'admin', $2 WHERE NOT EXISTS (SELECT 1 FROM users)",
        )
        .bind(&id)
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            return Ok(None);
        }
        let key = new_key()?;
        sqlx::query("INSERT INTO api_keys (hash, user_id, created_at) VALUES ($1, $2, $3)")
            .bind(hash_key(&key))
            .bind(&id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(key))
    }

    /// The user of an API key.
    pub async fn user_by_key(&self, key: &str) -> sqlx::Result<Option<User>> {
        let hash = hash_key(key);
        let credential = CredentialId::ApiKey(hash.clone());
        let read = async || {
            let row = sqlx::query(
                "SELECT users.id, users.name, users.role FROM api_keys
                 JOIN users ON users.id = api_keys.user_id WHERE api_keys.hash = $1",
            )
            .bind(hash)
            .fetch_optional(&self.pool)
            .await?;
            row.as_ref().map(user_from_row).transpose()
        };
        self.writer.identities.user(credential, read).await
    }

    /// Replaces all API keys of a user with a new one, which it returns.
    pub async fn replace_key(&self, user_id: &str) -> Result<String> {
        let key = new_key()?;
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM api_keys WHERE user_id = $1")
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("INSERT INTO api_keys (hash, user_id, created_at) VALUES ($1, $2, $3)")
            .bind(hash_key(&key))
            .bind(user_id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(key)
    }

    /// Creates another API key of a user and returns it. `None` if the user has too many.
    pub async fn add_key(&self, user_id: &str) -> Result<Option<String>> {
        let key = new_key()?;
        let mut transaction = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO api_keys (hash, user_id, created_at) SELECT $1, $2, $3
             WHERE (SELECT COUNT(*) FROM api_keys WHERE user_id = $2) < $4",
        )
        .bind(hash_key(&key))
        .bind(user_id)
        .bind(now())
        .bind(MAX_KEYS)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok((inserted.rows_affected() == 1).then_some(key))
    }

    /// The API keys of a user, oldest first.
    pub async fn keys(&self, user_id: &str) -> sqlx::Result<Vec<ApiKey>> {
        let rows = sqlx::query(
            "SELECT hash, created_at FROM api_keys WHERE user_id = $1 ORDER BY created_at, hash",
        )
        .bind(user_id)
        .fetch_all(&self.pool)
        .await?;
        let keys = rows.iter().map(|row| {
            let hash: String = row.try_get("hash")?;
            Ok(ApiKey {
                id: key_id(&hash).to_owned(),
                created_at: row.try_get("created_at")?,
            })
        });
        keys.collect()
    }

    /// Revokes the API keys of a user, or the one with this id. Returns their number.
    pub async fn revoke_keys(&self, user_id: &str, id: Option<&str>) -> sqlx::Result<u64> {
        let mut transaction = self.begin_removal().await?;
        let removed = sqlx::query(
            "DELETE FROM api_keys WHERE user_id = $1 AND ($2 IS NULL OR substr(hash, 1, $3) = $2)",
        )
        .bind(user_id)
        .bind(id)
        .bind(KEY_ID_LETTERS)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(removed.rows_affected())
    }

    /// True if the user has an API key.
    pub async fn has_key(&self, user_id: &str) -> sqlx::Result<bool> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM api_keys WHERE user_id = $1")
            .bind(user_id)
            .fetch_one(&self.pool)
            .await?;
        Ok(count > 0)
    }

    /// Removes all API keys of a user.
    pub async fn delete_keys(&self, user_id: &str) -> sqlx::Result<()> {
        let mut transaction = self.begin_removal().await?;
        sqlx::query("DELETE FROM api_keys WHERE user_id = $1")
            .bind(user_id)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }
}

/// SHA-256 in hexadecimal. Keys are random, so they need no salt.
pub(super) fn hash_key(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}

fn key_id(hash: &str) -> &str {
    hash.get(..KEY_ID_LETTERS as usize).unwrap_or(hash)
}

fn new_key() -> Result<String> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random)
        .context("cannot create an API key: the system has no random numbers")?;
    Ok(format!("sk-{}", hex(&random)))
}
