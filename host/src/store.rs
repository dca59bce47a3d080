//! All SQL.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use crate::engine::hex;

const FILE: &str = "pinhole.db";
/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_CONNECTIONS: u32 = 8;
/// Random bytes in a key.
const KEY_BYTES: usize = 24;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
}

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// A UUID.
    pub id: String,
    /// For a person.
    pub name: String,
    /// `admin` or `user`.
    pub role: String,
}

/// A file's row; its bytes are in the folder of files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// A UUID.
    pub id: String,
    /// Its owner.
    pub user_id: String,
    /// For a person, with extension.
    pub name: String,
    /// As sniffed from the bytes.
    pub media_type: String,
    /// Length of the bytes.
    pub size_bytes: i64,
    /// JSON: job, engine, chat and message that it belongs to.
    pub meta: String,
}

impl Store {
    /// Opens the database in the data folder and brings its tables up to date.
    pub async fn open(data: &Path) -> Result<Self> {
        let path = data.join(FILE);
        let named = || format!("cannot use the database {}", path.display());
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .connect_with(options)
            .await
            .with_context(named)?;
        sqlx::migrate!("src/store/migrations")
            .run(&pool)
            .await
            .with_context(named)?;
        Ok(Self { pool })
    }

    /// Where there is nobody yet: makes an administrator. The key, which is kept only as its hash.
    pub async fn first_administrator(&self) -> Result<Option<String>> {
        let mut transaction = self.pool.begin().await?;
        let id = uuid::Uuid::new_v4().to_string();
        let made = sqlx::query(
            "INSERT INTO users (id, name, role, created_at)
             SELECT $1, 'Administrator', 'admin', $2 WHERE NOT EXISTS (SELECT 1 FROM users)",
        )
        .bind(&id)
        .bind(now())
        .execute(&mut *transaction)
        .await?;
        if made.rows_affected() == 0 {
            return Ok(None);
        }
        let key = new_key()?;
        sqlx::query("INSERT INTO api_keys (hash, user_id, created_at) VALUES ($1, $2, $3)")
            .bind(hash(&key))
            .bind(&id)
            .bind(now())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(Some(key))
    }

    /// Whose key this is.
    pub async fn user_by_key(&self, key: &str) -> sqlx::Result<Option<User>> {
        let row = sqlx::query(
            "SELECT users.id, users.name, users.role FROM api_keys
             JOIN users ON users.id = api_keys.user_id WHERE api_keys.hash = $1",
        )
        .bind(hash(key))
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(User {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                role: row.try_get("role")?,
            })
        })
        .transpose()
    }

    /// Adds a file's row.
    pub async fn insert_file(&self, file: &FileRow) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO files (id, user_id, name, media_type, size_bytes, meta, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&file.id)
        .bind(&file.user_id)
        .bind(&file.name)
        .bind(&file.media_type)
        .bind(file.size_bytes)
        .bind(&file.meta)
        .bind(now())
        .execute(&self.pool)
        .await
        .map(|_| ())
    }

    /// Removes a file's row.
    pub async fn delete_file(&self, id: &str) -> sqlx::Result<()> {
        let delete = sqlx::query("DELETE FROM files WHERE id = $1").bind(id);
        delete.execute(&self.pool).await.map(|_| ())
    }

    /// A file of this owner.
    pub async fn file(&self, id: &str, user_id: &str) -> sqlx::Result<Option<FileRow>> {
        let row = sqlx::query(
            "SELECT id, user_id, name, media_type, size_bytes, meta FROM files
             WHERE id = $1 AND user_id = $2",
        )
        .bind(id)
        .bind(user_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| {
            Ok(FileRow {
                id: row.try_get("id")?,
                user_id: row.try_get("user_id")?,
                name: row.try_get("name")?,
                media_type: row.try_get("media_type")?,
                size_bytes: row.try_get("size_bytes")?,
                meta: row.try_get("meta")?,
            })
        })
        .transpose()
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

fn new_key() -> Result<String> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).context("no random numbers for a key")?;
    Ok(format!("sk-{}", hex(&random)))
}

fn hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}
