//! The database: the only module that contains SQL.

mod accounts;
mod api_keys;
mod chat_content;
mod chats;
mod credentials;
mod files;
mod groups;
mod message_chain;
mod message_copy;
mod message_files;
mod messages;
mod migrations;
mod responses;
mod sessions;
mod settings;
mod users;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use sqlx::ConnectOptions;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use tokio::sync::Mutex;

pub use accounts::{Account, AccountOrigin, AddAccountError, NewAccount};
pub use chat_content::{ChatContent, MessageText};
pub use chats::{
    ChatCopy, ChatFilter, ChatFlag, ChatHistory, ChatRow, ChatSummary, MAX_CHATS, SaveOutcome,
};
pub use credentials::CredentialId;
pub use files::{FileRow, MessageLink};
pub use groups::Group;
pub use message_files::entry_file_id;
pub use messages::{ChatMessage, MAX_MESSAGES, StoredMessage};
pub use responses::FinishedResponse;
pub use settings::{SettingChange, SettingRow};
pub use users::{User, UserProfile};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Open connections to the database. Further statements wait.
const MAX_CONNECTIONS: u32 = 8;
/// Page cache of each connection in bytes. The operating system caches the rest.
const CACHE_BYTES: usize = 128 << 10;

/// The database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    pool: SqlitePool,
    /// Looks up API keys, which every request needs.
    key_reader: Arc<Mutex<DedicatedConnection>>,
    /// Inserts files one after the other: writers that collide in SQLite sleep for milliseconds.
    file_writer: Arc<Mutex<DedicatedConnection>>,
}

/// A connection for one kind of statement; `None` until it is opened and after it fails.
///
/// A connection of the pool is tested twice for each statement, which takes longer than the statement.
type DedicatedConnection = Option<SqliteConnection>;

impl Store {
    /// The name of the database in the data directory.
    pub(crate) const FILE: &str = "pinhole.db";

    /// Opens the database in the data directory and migrates its tables.
    pub async fn open(data: &Path) -> Result<Self> {
        let path = data.join(Self::FILE);
        let name_database = || format!("cannot use the database {}", path.display());
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
            // Connections are threads of this process and cannot be lost.
            .test_before_acquire(false)
            .connect_with(options)
            .await
            .with_context(name_database)?;
        migrations::migrator()
            .run(&pool)
            .await
            .with_context(name_database)?;
        Ok(Self {
            pool,
            key_reader: Arc::default(),
            file_writer: Arc::default(),
        })
    }

    /// Takes the dedicated connection, or opens it.
    ///
    /// The caller puts it back after a successful statement. After a failure or a cancelled call the
    /// next statement opens another.
    async fn take_connection(
        &self,
        dedicated: &mut DedicatedConnection,
    ) -> sqlx::Result<SqliteConnection> {
        match dedicated.take() {
            Some(connection) => Ok(connection),
            None => self.pool.connect_options().connect().await,
        }
    }
}

/// The current time in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since_epoch| {
        i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Escapes the wildcards of a `LIKE` pattern with `\`.
fn escape_like(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_")
}
