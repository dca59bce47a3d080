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
use sqlx::{Sqlite, Transaction};

pub use location::{DatabaseLocation, PostgresServer};
pub(super) use postgres::{PostgresConnection, PostgresPool, is_lost};
pub(super) use query::{Parameter, Query, query};
pub(super) use row::Row;

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
    SqliteSnapshot(Transaction<'static, Sqlite>),
    Postgres(PostgresConnection),
}

/// What only one transaction of all servers does at a time. The value is the key of PostgreSQL's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    /// Decides who is an administrator.
    Administrators = 0x7069_6e68_0001,
    /// Migrates the tables.
    Migrations = 0x7069_6e68_0002,
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

    /// A connection whose statements read the rows of one moment.
    pub(super) async fn snapshot(&self) -> sqlx::Result<Connection> {
        Ok(match self {
            Self::Sqlite(pool) => Connection::SqliteSnapshot(pool.begin().await?),
            Self::Postgres(pool) => {
                let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                Connection::Postgres(pool.begin(begin).await?)
            }
        })
    }
}

impl Connection {
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::SqliteWriter(_) | Self::Sqlite(_) | Self::SqliteSnapshot(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Waits for the transactions of other servers that hold this lock, and holds it until the transaction ends.
    pub(super) async fn lock(&mut self, lock: Lock) -> sqlx::Result<()> {
        if self.dialect() == Dialect::Postgres {
            let query = query("SELECT pg_advisory_xact_lock($1)").bind(lock as i64);
            query.execute(self).await?;
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
