//! The database: the only module that contains SQL.

mod accounts;
mod api_keys;
mod chat_content;
mod chats;
#[cfg(test)]
mod concurrency_tests;
mod credentials;
mod database;
mod database_copy;
mod engine_results;
mod engine_rows;
mod engines;
mod files;
mod gallery;
mod gallery_deletion;
mod groups;
mod host_engines;
mod hosts;
mod identity_cache;
mod import;
mod imported_passwords;
mod instance;
mod job_leases;
mod job_row;
mod jobs;
mod last_uses;
mod message_chain;
mod message_copy;
mod message_files;
mod messages;
mod migrations;
mod open_webui;
mod probe;
mod responses;
mod revisions;
mod running_turns;
mod schema;
#[cfg(test)]
mod schema_tests;
mod search;
mod search_index;
mod search_pool;
mod sessions;
mod settings;
mod setup;
mod snapshot;
mod sqlite_file;
mod storage;
#[cfg(test)]
mod test_database;
mod trouble;
mod turns;
mod user_settings;
mod users;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::ballast::Ballast;
use tokio::sync::Notify;

use database::{Database, PostgresPool};
use identity_cache::IdentityCache;
use last_uses::LastUses;
use probe::DatabaseProbe;
use search_pool::SearchPool;
use sqlite_file::SqliteFile;
use writer::{SqliteWriter, Writer};

pub use accounts::{Account, AccountOrigin, AddAccountError, NewAccount};
pub use api_keys::{ApiKey, CreatedKey, KeyUser, MAX_KEYS, NewKey};
pub use chat_content::{ChatContent, MessageText};
pub use chats::{
    ChatCopy, ChatFilter, ChatFlag, ChatHistory, ChatRow, ChatSummary, MAX_CHATS, SaveOutcome,
};
pub use credentials::CredentialId;
pub use database::{DatabaseLocation, PostgresServer};
pub use database_copy::{CopiedTable, copy_database};
pub use engine_results::EngineResult;
pub use engine_rows::{
    EngineChange, EngineRows, GrantRow, HistoryRow, ReleaseRow, ReleaseState, TrackRow,
};
pub use files::{FileRow, MessageLink, NewFile};
pub use gallery::{
    GalleryCursor, GalleryFacets, GalleryFields, GalleryFilter, GalleryKey, GalleryRow,
    MAX_SEARCHED_CHARS,
};
pub use gallery_deletion::{Deletion, RestoreOutcome};
pub use groups::Group;
pub use host_engines::HostRelease;
pub use identity_cache::CredentialUser;
pub use import::{ImportOutcome, ImportedChat, ImportedGroup, ImportedKey, ImportedUser};
pub use instance::SweepTimes;
pub use job_leases::{ClaimedJob, JobAttempt, LEASE_SECS, LeasedJob};
pub use job_row::{Idempotency, JobFilter, JobRow, JobState};
pub use jobs::{IDEMPOTENCY_SECS, MAX_JOB_AGE_DAYS, MAX_STORED_JOBS};
pub use message_files::entry_file_id;
pub use messages::{ChatMessage, MAX_MESSAGES, StoredMessage};
pub use open_webui::{
    OpenWebUi, PAGE_ROWS, ReadRow, SourceChat, SourceDatabase, SourceFile, SourceGroup, SourceKey,
    SourceMember, SourceUser, UnreadableRow,
};
pub use responses::FinishedResponse;
pub use revisions::{Revision, Revisions};
pub use schema::SchemaVersions;
pub use search::Page;
pub use search_pool::{MAX_SEARCH_TIME, MAX_WAITING_SEARCHES, SearchError};
pub use sessions::{MAX_SESSIONS, OpenSession, Session, SessionClient, SessionOrigin};
pub use settings::{LatestChange, SettingChange, SettingRow};
pub use snapshot::{DatabaseSnapshot, FileKey, RowCounts};
pub use storage::StorageUse;
pub use trouble::Trouble;
pub use turns::{NEW_CHAT, NewTurn, TurnOutcome};
pub use user_settings::MAX_USER_SETTINGS_BYTES;
pub use users::{User, UserFilter, UserProfile};

/// The database. Clones share its connections.
#[derive(Clone, Debug)]
pub struct Store {
    /// Reads, except by [`Self::search_chats`] and [`Self::search_files`].
    database: Database,
    writer: Arc<Writer>,
    searches: Arc<SearchPool>,
    /// `None` with PostgreSQL.
    identities: Option<Arc<IdentityCache>>,
    last_uses: Arc<LastUses>,
    /// Wakes the task that updates the search index.
    text_changed: Arc<Notify>,
    schema_versions: SchemaVersions,
    probe: Arc<DatabaseProbe>,
    /// Wakes the task that tells other hosts of a change.
    revised: Arc<Notify>,
}

impl Store {
    /// The name of the database in the data directory.
    pub const FILE: &str = "pinhole.db";

    /// Opens the database in the data directory and migrates its tables.
    pub async fn open(data: &Path) -> Result<Self> {
        Self::connect(data, &DatabaseLocation::DataDirectory).await
    }

    /// Opens a database and migrates its tables.
    pub async fn connect(data: &Path, location: &DatabaseLocation) -> Result<Self> {
        match location {
            DatabaseLocation::DataDirectory => Self::open_sqlite(&data.join(Self::FILE)).await,
            DatabaseLocation::Sqlite(path) => Self::open_sqlite(path).await,
            DatabaseLocation::Postgres(server) => {
                let opened = Box::pin(Self::open_postgres(server)).await;
                opened.context("cannot use the database of DATABASE_URL")
            }
        }
    }

    /// True if there is a database to open, without creating one.
    #[must_use]
    pub fn exists(data: &Dir, location: &DatabaseLocation) -> bool {
        match location {
            DatabaseLocation::DataDirectory => data.exists(Self::FILE),
            DatabaseLocation::Sqlite(path) => path.exists(),
            DatabaseLocation::Postgres(_) => true,
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self> {
        let context = || format!("cannot use the database {}", path.display());
        let file = SqliteFile::open(path).await?;
        let identities = Arc::new(IdentityCache::open(&file.directory)?);
        let database = Database::Sqlite(file.pool);
        let migrated = schema::migrate(&database).await;
        let schema_versions = migrated.with_context(context)?;
        drop(file.start_lock);
        let searches = SearchPool::sqlite(&file.options);
        let ballast = Ballast::new(file.directory);
        let writer = SqliteWriter::new(file.options, ballast, identities.clone());
        Ok(Self {
            database,
            writer: Arc::new(Writer::Sqlite(Box::new(writer))),
            searches: Arc::new(searches),
            identities: Some(identities),
            last_uses: Arc::default(),
            text_changed: Arc::default(),
            schema_versions,
            probe: Arc::default(),
            revised: Arc::default(),
        })
    }

    async fn open_postgres(server: &PostgresServer) -> Result<Self> {
        server.check().await?;
        let pool = PostgresPool::new(server, server.pool_size);
        let database = Database::Postgres(pool.clone());
        let migrated = schema::migrate_postgres(&database).await;
        let schema_versions = migrated.map_err(|error| server.explain_start(error))?;
        Ok(Self {
            database,
            writer: Arc::new(Writer::Postgres(pool)),
            searches: Arc::new(SearchPool::postgres(server)),
            identities: None,
            last_uses: Arc::default(),
            text_changed: Arc::default(),
            schema_versions,
            probe: Arc::default(),
            revised: Arc::default(),
        })
    }

    /// True if servers on other machines can use the same database. SQLite belongs to one process.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// The versions of the tables before and after this store was opened.
    #[must_use]
    pub fn schema_versions(&self) -> SchemaVersions {
        self.schema_versions
    }
}

/// The current time in seconds since 1970.
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.map_or(0, |since_epoch| {
        i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
    })
}
