//! All SQL.

mod answers;
mod chats;
mod files;
mod groups;
mod messages;
mod accounts;
mod credentials;
mod settings;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Row};
use tokio::sync::Mutex;

use pinhole_ground::text::hex;

pub use chats::{Chat, ChatCopy, ChatFilter, ChatMark, ChatTitle, MAX_CHATS, Saved};
pub use files::FileRow;
pub use groups::Group;
pub use messages::{ChatMessage, MAX_MESSAGES, StoredMessage, file_id};
pub use accounts::{Account, AddError, Admission, NewAccount, Person};
pub use credentials::Proof;
pub use settings::{SettingChange, SettingRow};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections to the database at the same time; statements beyond wait.
const MAX_CONNECTIONS: u32 = 8;
/// Pages of the database that each connection keeps, in bytes. What it lacks is in the system's cache.
const CACHE_BYTES: usize = 128 << 10;
/// Random bytes in a key.
const KEY_BYTES: usize = 24;

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    /// Asks whose a key is, as every request does.
    key_reader: Arc<Mutex<Reserved>>,
    /// Notes pictures, one after the other: writers that meet in SQLite sleep for milliseconds.
    file_writer: Arc<Mutex<Reserved>>,
}

/// A connection for one kind of statement. The pool would have a connection answer twice more that it
/// is still there, which costs more than the statement. Empty at first, and where it was lost.
type Reserved = Option<SqliteConnection>;

/// Somebody who may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// A UUID.
    pub id: String,
    /// For a person.
    pub name: String,
    /// `admin`, `user` or `pending`.
    pub role: String,
}

impl Store {
    /// The database's name in the data folder.
    pub(crate) const FILE: &str = "pinhole.db";

    /// Opens the database in the data folder and brings its tables up to date.
    pub async fn open(data: &Path) -> Result<Self> {
        let path = data.join(Self::FILE);
        let named = || format!("cannot use the database {}", path.display());
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", format!("-{}", CACHE_BYTES >> 10))
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            // They are threads of this process, which do not go away while nobody looks.
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .with_context(named)?;
        sqlx::migrate!("src/store/migrations")
            .run(&pool)
            .await
            .with_context(named)?;
        Ok(Self {
            pool,
            key_reader: Arc::default(),
            file_writer: Arc::default(),
        })
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

    /// A reserved connection, to be given back. One that failed, or whose caller went away, is not
    /// given back, and the next statement opens another.
    async fn take(&self, reserved: &mut Reserved) -> sqlx::Result<SqliteConnection> {
        match reserved.take() {
            Some(connection) => Ok(connection),
            None => self.pool.connect_options().connect().await,
        }
    }

    /// Whose key this is.
    pub async fn user_by_key(&self, key: &str) -> sqlx::Result<Option<User>> {
        let mut key_reader = self.key_reader.lock().await;
        let mut connection = self.take(&mut key_reader).await?;
        let row = sqlx::query(
            "SELECT users.id, users.name, users.role FROM api_keys
             JOIN users ON users.id = api_keys.user_id WHERE api_keys.hash = $1",
        )
        .bind(hash(key))
        .fetch_optional(&mut connection)
        .await?;
        *key_reader = Some(connection);
        drop(key_reader);
        row.map(|row| {
            Ok(User {
                id: row.try_get("id")?,
                name: row.try_get("name")?,
                role: row.try_get("role")?,
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

/// A text that stands for itself in a pattern of `LIKE`, with `\` as its escape.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}

fn new_key() -> Result<String> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).context("no random numbers for a key")?;
    Ok(format!("sk-{}", hex(&random)))
}

fn hash(key: &str) -> String {
    hex(&Sha256::digest(key.as_bytes()))
}
