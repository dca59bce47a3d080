//! The only connection that writes.
//!
//! SQLite has one writer at a time. Connections that compete sleep and try again, some for seconds while
//! others overtake them. Here writers of this process queue in the order of their arrival, each with a
//! transaction that has the write lock from its start. Another process that writes is waited for briefly.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use pinhole_ground::ballast::Ballast;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteQueryResult};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::Store;
use super::identity_cache::{IdentityCache, IdentityChange};

/// How long a write waits for those of this process that came before it.
const MAX_QUEUE_TIME: Duration = Duration::from_secs(2);

/// Primary result codes of SQLite: the low byte of an extended code.
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_INTERRUPT: u32 = 9;
const SQLITE_IOERR: u32 = 10;
const SQLITE_FULL: u32 = 13;
const SQLITE_CANTOPEN: u32 = 14;

/// The queue of writers.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// `None` until it is opened, and after a write that was not completed.
    connection: Mutex<Option<SqliteConnection>>,
    ballast: Ballast,
    pub(super) identities: IdentityCache,
    identity_change: IdentityChange,
}

/// The connection that writes, taken from its queue. Unless it is [committed](Self::commit), nothing is
/// written: the connection is closed.
pub(super) struct Write<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    connection: SqliteConnection,
    is_transaction: bool,
    writer: &'a Writer,
}

impl Writer {
    pub(super) fn new(
        options: SqliteConnectOptions,
        ballast: Ballast,
        identities: IdentityCache,
    ) -> Self {
        Self {
            options,
            connection: Mutex::default(),
            ballast,
            identities,
            identity_change: IdentityChange::default(),
        }
    }

    async fn take(&self) -> sqlx::Result<Write<'_>> {
        let mut slot = timeout(MAX_QUEUE_TIME, self.connection.lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        let connection = match slot.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.options.connect().await?;
                self.identity_change.watch(&mut connection).await?;
                connection
            }
        };
        // A write that was not committed may have left one.
        self.identity_change.take();
        Ok(Write {
            slot,
            connection,
            is_transaction: false,
            writer: self,
        })
    }
}

impl Store {
    /// Starts a transaction, which excludes all other writers.
    pub(super) async fn begin(&self) -> sqlx::Result<Write<'_>> {
        let mut write = self.writer.take().await?;
        sqlx::query("BEGIN IMMEDIATE").execute(&mut *write).await?;
        write.is_transaction = true;
        Ok(write)
    }

    /// Starts a transaction that frees space or withdraws a right, which must be possible on a full disk.
    pub(super) async fn begin_removal(&self) -> sqlx::Result<Write<'_>> {
        self.writer.ballast.make_room().map_err(sqlx::Error::Io)?;
        self.begin().await
    }

    /// Prepares a single statement, which needs no transaction.
    pub(super) async fn begin_statement(&self) -> sqlx::Result<Write<'_>> {
        self.writer.take().await
    }
}

impl Write<'_> {
    pub(super) async fn commit(mut self) -> sqlx::Result<()> {
        let changes_identities = self.writer.identity_change.take();
        if changes_identities {
            self.writer.identities.change_version();
        }
        let committed = if self.is_transaction {
            sqlx::query("COMMIT").execute(&mut self.connection).await
        } else {
            Ok(SqliteQueryResult::default())
        };
        if changes_identities {
            self.writer.identities.change_version();
        }
        committed?;
        *self.slot = Some(self.connection);
        Ok(())
    }
}

impl Deref for Write<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

/// Why a statement failed, if another moment or more space may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Others write, or connections or open files are exhausted.
    Busy,
    /// The disk is full or fails.
    Disk,
    /// A search took too long.
    Interrupted,
}

impl Trouble {
    /// `None` if the statement itself is at fault.
    #[must_use]
    pub fn of(error: &sqlx::Error) -> Option<Self> {
        match error {
            sqlx::Error::PoolTimedOut => return Some(Self::Busy),
            sqlx::Error::Io(_) => return Some(Self::Disk),
            _ => {}
        }
        let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
        match code & 0xff {
            SQLITE_BUSY | SQLITE_LOCKED | SQLITE_CANTOPEN => Some(Self::Busy),
            SQLITE_IOERR | SQLITE_FULL => Some(Self::Disk),
            SQLITE_INTERRUPT => Some(Self::Interrupted),
            _ => None,
        }
    }
}
