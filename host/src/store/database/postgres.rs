//! Connections to PostgreSQL.
//!
//! A transaction that is dropped is rolled back by a task before its connection is used again. A connection is closed
//! instead if it is lost, or leads to a server that accepts no writes: after a fail-over, a new one leads elsewhere.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnection, PgDatabaseError, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor, Postgres};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::PostgresServer;

/// How long a statement waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a statement runs. A server that is gone without a word is noticed then.
const MAX_STATEMENT_TIME: Duration = Duration::from_secs(30);
/// Begins a transaction, and limits how long it waits for rows that others have locked.
pub(in crate::store) const BEGIN_LIMITED: &str = "BEGIN; SET LOCAL lock_timeout = '5s'";
/// How long a statement outside of a transaction waits for rows that others have locked.
const LIMIT_LOCK_TIME: &str = "SET lock_timeout = '5s'";
/// How long an unused connection stays open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Connections to one database.
#[derive(Clone, Debug)]
pub(in crate::store) struct PostgresPool {
    pool: PgPool,
    /// Statements have names, and are prepared once for each connection. If not, each runs in a transaction:
    /// PgBouncer then runs its parts on one connection.
    has_named_statements: bool,
}

/// A connection of the pool.
pub(in crate::store) struct PostgresConnection {
    /// `None` once it is dropped.
    connection: Option<PoolConnection<Postgres>>,
    has_named_statements: bool,
    has_transaction: bool,
    is_lost: bool,
}

impl PostgresPool {
    /// Opens no connection yet.
    pub(in crate::store) fn new(server: &PostgresServer, size: u32) -> Self {
        let has_named_statements = server.has_named_statements;
        let pool = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_TIMEOUT)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    // PgBouncer gives a connection to another client after each transaction.
                    if has_named_statements {
                        connection.execute(LIMIT_LOCK_TIME).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(server.options().clone());
        Self {
            pool,
            has_named_statements,
        }
    }

    pub(in crate::store) fn inner(&self) -> &PgPool {
        &self.pool
    }

    /// A connection for statements that need no transaction.
    pub(in crate::store) async fn acquire(&self) -> sqlx::Result<PostgresConnection> {
        if !self.has_named_statements {
            return self.begin(BEGIN_LIMITED).await;
        }
        Ok(self.connection(self.pool.acquire().await?))
    }

    /// A connection with a transaction that this statement begins.
    pub(in crate::store) async fn begin(
        &self,
        statement: &'static str,
    ) -> sqlx::Result<PostgresConnection> {
        let mut connection = self.connection(self.pool.acquire().await?);
        connection.has_transaction = true;
        connection.run_constant(statement).await?;
        Ok(connection)
    }

    fn connection(&self, connection: PoolConnection<Postgres>) -> PostgresConnection {
        PostgresConnection {
            connection: Some(connection),
            has_named_statements: self.has_named_statements,
            has_transaction: false,
            is_lost: false,
        }
    }
}

impl PostgresConnection {
    pub(super) fn get(&mut self) -> sqlx::Result<&mut PgConnection> {
        let connection = self.connection.as_deref_mut();
        connection.ok_or(sqlx::Error::PoolClosed)
    }

    pub(super) fn has_named_statements(&self) -> bool {
        self.has_named_statements
    }

    /// True after a statement failed because the connection or its server is gone.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Notes why a statement failed.
    pub(super) fn note(&mut self, error: &sqlx::Error) {
        if is_lost(error) || matches!(error, sqlx::Error::PoolTimedOut) {
            self.is_lost = true;
        }
    }

    /// Runs statements without values.
    pub(in crate::store) async fn run_script(&mut self, script: String) -> sqlx::Result<()> {
        let result = sqlx::raw_sql(AssertSqlSafe(script))
            .execute(self.get()?)
            .await;
        if let Err(error) = &result {
            self.note(error);
        }
        result.map(|_| ())
    }

    /// Commits the transaction, if there is one.
    pub(in crate::store) async fn commit(mut self) -> sqlx::Result<()> {
        if !self.has_transaction {
            return Ok(());
        }
        self.run_constant("COMMIT").await?;
        self.has_transaction = false;
        Ok(())
    }

    async fn run_constant(&mut self, statement: &'static str) -> sqlx::Result<()> {
        let run = sqlx::raw_sql(statement).execute(self.get()?);
        let result = limited(run).await;
        if let Err(error) = &result {
            self.note(error);
        }
        result.map(|_| ())
    }
}

/// The result of a statement, unless it takes too long.
pub(super) async fn limited<T>(
    statement: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    match timeout(MAX_STATEMENT_TIME, statement).await {
        Ok(result) => result,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

impl Drop for PostgresConnection {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        match Handle::try_current() {
            Ok(runtime) if self.has_transaction && !self.is_lost => {
                runtime.spawn(async move {
                    let roll_back = sqlx::raw_sql("ROLLBACK").execute(&mut *connection);
                    if limited(roll_back).await.is_err() {
                        connection.close_on_drop();
                    }
                });
            }
            _ if self.has_transaction || self.is_lost => connection.close_on_drop(),
            _ => {}
        }
    }
}

/// True if a statement failed because its connection or server is gone, or accepts no writes: another connection may
/// lead to a server that does.
pub(in crate::store) fn is_lost(error: &sqlx::Error) -> bool {
    let Some(database) = postgres_error(error) else {
        return is_connection_failure(error);
    };
    // Class 08: connection exception. 57P01 to 57P03: the server stops, crashed or starts. 25006: read-only.
    let code = database.code();
    code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "57P05" | "25006")
}

/// True if the connection to a database server failed.
pub(in crate::store) fn is_connection_failure(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                // The socket of a local server.
                | ErrorKind::NotFound
                | ErrorKind::NotConnected
                | ErrorKind::TimedOut
                | ErrorKind::UnexpectedEof
        ),
        // Also a connection that ends while TLS is negotiated, as a proxy without a server ends it.
        sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

pub(super) fn postgres_error(error: &sqlx::Error) -> Option<&PgDatabaseError> {
    error.as_database_error()?.try_downcast_ref()
}
