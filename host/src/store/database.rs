//! The databases that the store can use: SQLite and PostgreSQL, behind one interface.
//!
//! Statements are one text for both: placeholders are `$1`, values are text and 64-bit integers, literals
//! that are read are cast, and columns are read by name. The few texts that differ are chosen by
//! [`Database::dialect`]. What SQLite's single writer rules out, PostgreSQL must be asked to rule out:
//! [`Connection::lock`], [`Connection::lock_rows`] and [`Query::skip_locked`] do so, and do nothing on SQLite.

mod location;
mod postgres;
mod postgres_start;
mod query;
mod row;

use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnection, SqlitePool};
use sqlx::{AssertSqlSafe, Sqlite, Transaction};

pub use location::{DatabaseLocation, PostgresServer};
pub(super) use postgres::{BEGIN_LIMITED, PostgresConnection, PostgresPool, is_lost};
use query::Executor;
pub(super) use query::{Parameter, Query, query};
pub(super) use row::Row;

/// Rows that one statement writes. SQLite accepts 32,766 values.
pub(super) const BATCH_ROWS: usize = 100;

/// A database with its connections that read.
#[derive(Clone, Debug)]
pub(super) enum Database {
    Sqlite(SqlitePool),
    Postgres(PostgresPool),
}

/// Whose SQL is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// A connection that several statements use.
pub(super) enum Connection {
    /// The only one that writes.
    SqliteWriter(SqliteConnection),
    Sqlite(PoolConnection<Sqlite>),
    SqliteTransaction(Transaction<'static, Sqlite>),
    Postgres(PostgresConnection),
}

/// What only one transaction of all servers does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Decides who is an administrator.
    Administrators,
    /// Migrates the tables.
    Migrations,
}

impl Lock {
    /// The key of PostgreSQL's lock. Other programs in the database have other keys.
    fn key(self) -> i64 {
        match self {
            Self::Administrators => 0x7069_6e68_0001,
            Self::Migrations => 0x7069_6e68_0002,
        }
    }
}

impl Dialect {
    /// The database's time in seconds since 1970. Hosts compare it, because their own clocks may differ.
    pub(super) fn current_secs(self) -> &'static str {
        match self {
            Self::Sqlite => "unixepoch()",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT)",
        }
    }
}

impl Database {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// A connection for several statements, outside of a transaction.
    pub(super) async fn acquire(&self) -> sqlx::Result<Connection> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Connection::Postgres(pool.acquire().await?),
        })
    }

    /// A transaction that writes without the writer of a [store](super::Store). No other program may write.
    pub(super) async fn exclusive(&self) -> sqlx::Result<Connection> {
        Ok(match self {
            Self::Sqlite(pool) => {
                Connection::SqliteTransaction(pool.begin_with("BEGIN IMMEDIATE").await?)
            }
            Self::Postgres(pool) => Connection::Postgres(pool.begin("BEGIN").await?),
        })
    }

    /// A connection whose statements read the rows of one moment.
    pub(super) async fn snapshot(&self) -> sqlx::Result<Connection> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::SqliteTransaction(pool.begin().await?),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Connection::Postgres(pool.begin(begin).await?)
            }
        })
    }
}

impl Connection {
    /// Runs statements without values, whose text is made of names of the schema.
    pub(super) async fn run_script(&mut self, script: String) -> sqlx::Result<()> {
        match self.into() {
            Executor::Sqlite(connection) => {
                let script = sqlx::raw_sql(AssertSqlSafe(script));
                script.execute(connection).await.map(|_| ())
            }
            Executor::Postgres(connection) => connection.run_script(script).await,
            Executor::SqlitePool(_) | Executor::PostgresPool(_) => Ok(()),
        }
    }

    /// Commits the transaction of [`Database::exclusive`].
    pub(super) async fn commit(self) -> sqlx::Result<()> {
        match self {
            Self::SqliteTransaction(transaction) => transaction.commit().await,
            Self::Postgres(connection) => connection.commit().await,
            Self::SqliteWriter(_) | Self::Sqlite(_) => Ok(()),
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::SqliteWriter(_) | Self::Sqlite(_) | Self::SqliteTransaction(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Waits for the transactions of other servers that hold this lock, and holds it until the transaction ends.
    pub(super) async fn lock(&mut self, lock: Lock) -> sqlx::Result<()> {
        if self.dialect() == Dialect::Postgres {
            let key = lock.key();
            self.run_script(format!("SELECT pg_advisory_xact_lock({key})"))
                .await?;
        }
        Ok(())
    }

    /// Waits for the transactions that have changed or locked the rows of a `SELECT`, and locks these rows until the
    /// transaction ends.
    pub(super) async fn lock_rows(&mut self, select: Query<'_>) -> sqlx::Result<()> {
        if self.dialect() == Dialect::Postgres {
            // Rows that refer to a locked one can still be added.
            select.push(" FOR NO KEY UPDATE").execute(self).await?;
        }
        Ok(())
    }
}
