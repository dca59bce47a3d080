//! The file of SQLite.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use cap_std::fs::Dir;
use pinhole_ground::data_dir::{self, DataLock};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

/// How long a statement waits for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Open connections that read. Further statements wait.
const MAX_CONNECTIONS: u32 = 8;
/// Page cache of each connection in bytes. The operating system caches the rest.
const CACHE_BYTES: usize = 128 << 10;

/// The file that is locked while a database is opened and its tables are migrated.
const START_LOCK: &str = "pinhole.db-migration";

/// A database of SQLite: its directory has further files, such as its log.
pub(super) struct SqliteFile {
    pub(super) directory: Dir,
    pub(super) pool: SqlitePool,
    pub(super) options: SqliteConnectOptions,
    /// Held until the tables are migrated: processes that open a new file, or migrate it, at the same time do not wait
    /// for each other in SQLite, but fail.
    pub(super) start_lock: DataLock,
}

impl SqliteFile {
    /// Opens a file, and creates it if it is missing.
    pub(super) async fn open(path: &Path) -> Result<Self> {
        let context = || format!("cannot use the database {}", path.display());
        let (parent, name) = split(path).with_context(context)?;
        let directory = data_dir::open(&parent).with_context(context)?;
        // SQLite gives its other files the permissions of the database.
        data_dir::create_private_file(&directory, &name).with_context(context)?;
        let lock_directory = directory.try_clone().with_context(context)?;
        let locked = tokio::task::spawn_blocking(move || {
            data_dir::wait_for_lock(&lock_directory, START_LOCK)
        });
        let start_lock = locked.await?.with_context(context)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
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
            .connect_with(options.clone())
            .await
            .with_context(context)?;
        Ok(Self {
            directory,
            pool,
            options,
            start_lock,
        })
    }
}

/// The directory and the name of a file.
fn split(path: &Path) -> Option<(PathBuf, String)> {
    let name = path.file_name()?.to_str()?.to_owned();
    let parent = path.parent()?;
    let is_current = parent.as_os_str().is_empty();
    let parent = if is_current { Path::new(".") } else { parent };
    Some((parent.to_owned(), name))
}
