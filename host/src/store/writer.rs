//! Transactions that write.
//!
//! SQLite has one writer at a time. Connections that compete sleep and try again, some for seconds while
//! others overtake them. Here writers of this process queue in the order of their arrival, each with a
//! transaction that has the write lock from its start. Another process that writes is waited for briefly.
//!
//! On PostgreSQL each transaction has a connection of the pool, and others run at the same time.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use pinhole_ground::ballast::Ballast;
use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::Store;
use super::database::{BEGIN_LIMITED, Connection, PostgresConnection, PostgresPool};
use super::identity_cache::{IdentityCache, IdentityChange};

/// How long a write waits for those of this process that came before it.
const MAX_QUEUE_TIME: Duration = Duration::from_secs(2);

/// What transactions that write start from.
#[derive(Debug)]
pub(super) enum Writer {
    Sqlite(Box<SqliteWriter>),
    Postgres(PostgresPool),
}

/// The queue of writers.
#[derive(Debug)]
pub(super) struct SqliteWriter {
    options: SqliteConnectOptions,
    /// `None` until it is opened, and after a write that was not completed.
    connection: Mutex<Option<SqliteConnection>>,
    ballast: Ballast,
    identities: Arc<IdentityCache>,
    identity_change: IdentityChange,
}

/// A connection that writes. Unless it is [committed](Self::commit), nothing is written: SQLite's connection is
/// closed, and PostgreSQL's transaction is rolled back.
pub(super) struct Write<'a> {
    connection: Connection,
    turn: Option<Turn<'a>>,
}

/// A turn in the queue.
struct Turn<'a> {
    slot: MutexGuard<'a, Option<SqliteConnection>>,
    is_transaction: bool,
    writer: &'a SqliteWriter,
}

impl SqliteWriter {
    pub(super) fn new(
        options: SqliteConnectOptions,
        ballast: Ballast,
        identities: Arc<IdentityCache>,
    ) -> Self {
        Self {
            options,
            connection: Mutex::default(),
            ballast,
            identities,
            identity_change: IdentityChange::default(),
        }
    }

    async fn take(&self, is_transaction: bool) -> sqlx::Result<Write<'_>> {
        let mut slot = timeout(MAX_QUEUE_TIME, self.connection.lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)?;
        let mut connection = match slot.take() {
            Some(connection) => connection,
            None => {
                let mut connection = self.options.connect().await?;
                self.identity_change.watch(&mut connection).await?;
                connection
            }
        };
        // A write that was not committed may have left one.
        self.identity_change.take();
        if is_transaction {
            sqlx::query("BEGIN IMMEDIATE")
                .execute(&mut connection)
                .await?;
        }
        Ok(Write {
            connection: Connection::SqliteWriter(connection),
            turn: Some(Turn {
                slot,
                is_transaction,
                writer: self,
            }),
        })
    }
}

impl Store {
    /// Starts a transaction. On SQLite it excludes all other writers; on PostgreSQL rows that it depends on must be
    /// locked.
    pub(super) async fn begin(&self) -> sqlx::Result<Write<'_>> {
        match &*self.writer {
            Writer::Sqlite(writer) => writer.take(true).await,
            Writer::Postgres(pool) => Ok(on_postgres(pool.begin(BEGIN_LIMITED).await?)),
        }
    }

    /// Starts a transaction that frees space or withdraws a right, which must be possible on a full disk.
    pub(super) async fn begin_removal(&self) -> sqlx::Result<Write<'_>> {
        if let Writer::Sqlite(writer) = &*self.writer {
            writer.ballast.make_room().map_err(sqlx::Error::Io)?;
        }
        self.begin().await
    }

    /// Prepares a single statement, which needs no transaction.
    pub(super) async fn begin_statement(&self) -> sqlx::Result<Write<'_>> {
        match &*self.writer {
            Writer::Sqlite(writer) => writer.take(false).await,
            Writer::Postgres(pool) => Ok(on_postgres(pool.acquire().await?)),
        }
    }
}

fn on_postgres<'a>(connection: PostgresConnection) -> Write<'a> {
    Write {
        connection: Connection::Postgres(connection),
        turn: None,
    }
}

impl Write<'_> {
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match (self.connection, self.turn) {
            (Connection::SqliteWriter(connection), Some(turn)) => turn.commit(connection).await,
            (Connection::Postgres(connection), _) => connection.commit().await,
            // No other connection writes.
            _ => Ok(()),
        }
    }
}

impl Turn<'_> {
    async fn commit(mut self, mut connection: SqliteConnection) -> sqlx::Result<()> {
        let changes_identities = self.writer.identity_change.take();
        if changes_identities {
            self.writer.identities.change_version();
        }
        let committed = if self.is_transaction {
            sqlx::query("COMMIT")
                .execute(&mut connection)
                .await
                .map(|_| ())
        } else {
            Ok(())
        };
        if changes_identities {
            self.writer.identities.change_version();
        }
        committed?;
        *self.slot = Some(connection);
        Ok(())
    }
}

impl Deref for Write<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Write<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}
