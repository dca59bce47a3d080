//! The database: the only module that contains SQL.

mod accounts;
mod api_keys;
mod chat_content;
mod chats;
mod credentials;
mod engine_results;
mod engines;
mod files;
mod gallery;
mod gallery_deletion;
mod groups;
mod identity_cache;
mod instance;
mod job_row;
mod jobs;
mod last_uses;
mod message_chain;
mod message_copy;
mod message_files;
mod messages;
mod migrations;
mod responses;
mod running_turns;
mod search;
mod search_index;
mod search_pool;
mod sessions;
mod settings;
mod setup;
mod storage;
mod turns;
mod user_settings;
mod users;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use pinhole_ground::ballast::Ballast;
use pinhole_ground::data_dir;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::sync::Notify;

use identity_cache::IdentityCache;
use last_uses::LastUses;
use search_pool::SearchPool;
use writer::Writer;

pub use accounts::{Account, AccountOrigin, AddAccountError, NewAccount};
pub use api_keys::{ApiKey, CreatedKey, KeyUser, MAX_KEYS, NewKey};
pub use chat_content::{ChatContent, MessageText};
pub use chats::{
    ChatCopy, ChatFilter, ChatFlag, ChatHistory, ChatRow, ChatSummary, MAX_CHATS, SaveOutcome,
};
pub use credentials::CredentialId;
pub use engine_results::EngineResult;
pub use engines::{
    EngineChange, EngineRows, GrantRow, HistoryRow, ReleaseRow, ReleaseState, TrackRow,
};
pub use files::{FileRow, MessageLink, NewFile};
pub use gallery::{
    GalleryCursor, GalleryFacets, GalleryFields, GalleryFilter, GalleryKey, GalleryRow,
    MAX_SEARCHED_CHARS,
};
pub use gallery_deletion::{Deletion, RestoreOutcome};
pub use groups::Group;
pub use identity_cache::CredentialUser;
pub use instance::SweepTimes;
pub use job_row::{Idempotency, JobFilter, JobRow, JobState};
pub use jobs::{IDEMPOTENCY_SECS, MAX_JOB_AGE_DAYS, MAX_STORED_JOBS};
pub use message_files::entry_file_id;
pub use messages::{ChatMessage, MAX_MESSAGES, StoredMessage};
pub use responses::FinishedResponse;
pub use search::Page;
pub use search_pool::{MAX_SEARCH_TIME, MAX_WAITING_SEARCHES, SearchError};
pub use sessions::{MAX_SESSIONS, OpenSession, Session, SessionClient, SessionOrigin};
pub use settings::{LatestChange, SettingChange, SettingRow};
pub use storage::StorageUse;
pub use turns::{NEW_CHAT, NewTurn, TurnOutcome};
pub use user_settings::MAX_USER_SETTINGS_BYTES;
pub use users::{User, UserFilter, UserProfile};
pub use writer::Trouble;

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Open connections that read. Further statements wait.
const MAX_CONNECTIONS: u32 = 8;
/// Page cache of each connection in bytes. The operating system caches the rest.
const CACHE_BYTES: usize = 128 << 10;

/// The file that is locked while a database is opened and its tables are migrated.
const START_LOCK: &str = "pinhole.db-migration";

/// The database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    /// Reads, except by [`Self::search_chats`] and [`Self::search_files`].
    pool: SqlitePool,
    writer: Arc<Writer>,
    searches: Arc<SearchPool>,
    last_uses: Arc<LastUses>,
    /// Wakes the task that updates the search index.
    text_changed: Arc<Notify>,
}

impl Store {
    /// The name of the database in the data directory.
    pub const FILE: &str = "pinhole.db";

    /// Opens the database in the data directory and migrates its tables.
    pub async fn open(data: &Path) -> Result<Self> {
        let path = data.join(Self::FILE);
        let name_database = || format!("cannot use the database {}", path.display());
        // SQLite gives its other files the permissions of the database.
        data_dir::open(data)
            .and_then(|directory| data_dir::create_private_file(&directory, Self::FILE))
            .with_context(name_database)?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .foreign_keys(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", format!("-{}", CACHE_BYTES >> 10))
            .busy_timeout(BUSY_TIMEOUT);
        let directory = data_dir::open(data).with_context(name_database)?;
        let identities = IdentityCache::open(&directory)?;
        let lock_directory = directory.try_clone().with_context(name_database)?;
        // Processes that open a new file, or migrate it, at the same time do not wait for each other in SQLite, but fail.
        let locked = tokio::task::spawn_blocking(move || {
            data_dir::wait_for_lock(&lock_directory, START_LOCK)
        });
        let start_lock = locked.await?.with_context(name_database)?;
        let ballast = Ballast::new(directory);
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
        drop(start_lock);
        let connect_options = pool.connect_options();
        Ok(Self {
            searches: Arc::new(SearchPool::new(&connect_options)),
            writer: Arc::new(Writer::new((*connect_options).clone(), ballast, identities)),
            last_uses: Arc::default(),
            text_changed: Arc::default(),
            pool,
        })
    }
}

/// The current time in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since_epoch| {
        i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
    })
}
