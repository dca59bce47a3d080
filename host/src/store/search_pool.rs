//! Connections for searches alone, and who may use them.
//!
//! A search reads far more than any other statement, and its text is chosen by a user. It runs on
//! connections that nothing else waits for, one at a time for each user. It stops when its time is over or
//! its client disconnects: SQLite then calls the progress handler, and gives up. PostgreSQL's time limit ends a search
//! also if its client has disconnected.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pinhole_ground::guard::Guard;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Trouble;
use super::database::{Connection, Database, PostgresPool, PostgresServer};

/// Searches that run at the same time.
const MAX_SEARCHES: u32 = 2;
/// How long a search runs.
pub const MAX_SEARCH_TIME: Duration = Duration::from_secs(2);
/// How long a search waits for those of other users.
const MAX_SEARCH_WAIT: Duration = Duration::from_secs(5);
/// Searches of one user that wait while another one runs.
pub const MAX_WAITING_SEARCHES: usize = 4;
/// Instructions of SQLite's virtual machine between two checks whether a search must stop.
const CHECK_INTERVAL_INSTRUCTIONS: i32 = 20;

/// Why a search has no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("too many concurrent searches (limit {}): wait for one", MAX_WAITING_SEARCHES + 1)]
    TooMany,
    #[error("the server has too many concurrent searches: try again later")]
    Busy,
    #[error("the search took longer than {} s: search for a longer or rarer text", MAX_SEARCH_TIME.as_secs())]
    TooSlow,
    #[error(transparent)]
    Store(sqlx::Error),
}

impl From<sqlx::Error> for SearchError {
    fn from(error: sqlx::Error) -> Self {
        match Trouble::of(&error) {
            Some(Trouble::Interrupted) => Self::TooSlow,
            Some(Trouble::Busy) => Self::Busy,
            _ => Self::Store(error),
        }
    }
}

/// Read-only connections, and the searches of each user.
#[derive(Debug)]
pub(super) struct SearchPool {
    database: Database,
    turns_by_user: Mutex<HashMap<String, Arc<UserTurns>>>,
}

/// The searches of one user.
#[derive(Debug)]
struct UserTurns {
    running: Arc<Semaphore>,
    /// Those that run or wait.
    count: AtomicUsize,
}

/// A search's connection. Dropping it stops the search.
pub(super) struct Search {
    connection: Connection,
    is_dropped: Arc<AtomicBool>,
    _turn: Turn,
}

/// One search of a user, until it is dropped.
struct Turn {
    searches: Arc<SearchPool>,
    user_id: String,
    turns: Arc<UserTurns>,
    permit: Option<OwnedSemaphorePermit>,
}

impl SearchPool {
    pub(super) fn sqlite(options: &SqliteConnectOptions) -> Self {
        let options = options.clone().pragma("query_only", "true");
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_SEARCHES)
            .acquire_timeout(MAX_SEARCH_WAIT)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self::new(Database::Sqlite(pool))
    }

    pub(super) fn postgres(server: &PostgresServer) -> Self {
        Self::new(Database::Postgres(PostgresPool::new(server, MAX_SEARCHES)))
    }

    fn new(database: Database) -> Self {
        Self {
            database,
            turns_by_user: Mutex::default(),
        }
    }

    /// Waits for the user's turn and for a connection. The time of the search starts then.
    pub(super) async fn start(self: &Arc<Self>, user_id: &str) -> Result<Search, SearchError> {
        let mut turn = self.take_turn(user_id)?;
        turn.wait().await;
        let is_dropped = Arc::new(AtomicBool::new(false));
        let connection = match &self.database {
            Database::Sqlite(pool) => start_on_sqlite(pool, is_dropped.clone()).await?,
            Database::Postgres(pool) => start_on_postgres(pool).await?,
        };
        Ok(Search {
            connection,
            is_dropped,
            _turn: turn,
        })
    }

    fn take_turn(self: &Arc<Self>, user_id: &str) -> Result<Turn, SearchError> {
        let mut turns_by_user = self
            .turns_by_user
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let turns = turns_by_user
            .entry(user_id.to_owned())
            .or_insert_with(|| Arc::new(UserTurns::new()))
            .clone();
        let count = turns.count.load(Ordering::Relaxed);
        if Guard::SearchShare.applies(count > MAX_WAITING_SEARCHES) {
            return Err(SearchError::TooMany);
        }
        turns.count.fetch_add(1, Ordering::Relaxed);
        Ok(Turn {
            searches: self.clone(),
            user_id: user_id.to_owned(),
            turns,
            permit: None,
        })
    }
}

async fn start_on_sqlite(
    pool: &SqlitePool,
    must_stop: Arc<AtomicBool>,
) -> sqlx::Result<Connection> {
    let mut connection = pool.acquire().await?;
    let deadline = Instant::now() + MAX_SEARCH_TIME;
    let is_endless = !Guard::SearchTime.applies(true);
    connection
        .lock_handle()
        .await?
        .set_progress_handler(CHECK_INTERVAL_INSTRUCTIONS, move || {
            is_endless || !(must_stop.load(Ordering::Relaxed) || Instant::now() > deadline)
        });
    Ok(Connection::Sqlite(connection))
}

async fn start_on_postgres(pool: &PostgresPool) -> sqlx::Result<Connection> {
    let mut connection = pool.begin("BEGIN READ ONLY").await?;
    if Guard::SearchTime.applies(true) {
        let limit_ms = MAX_SEARCH_TIME.as_millis();
        connection
            .run_script(format!("SET LOCAL statement_timeout = {limit_ms}"))
            .await?;
    }
    Ok(Connection::Postgres(connection))
}

impl UserTurns {
    fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(1)),
            count: AtomicUsize::new(0),
        }
    }
}

impl Turn {
    async fn wait(&mut self) {
        // Fails only if the semaphore is closed, which it never is.
        self.permit = self.turns.running.clone().acquire_owned().await.ok();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns_by_user = self
            .searches
            .turns_by_user
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if self.turns.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            turns_by_user.remove(&self.user_id);
        }
    }
}

impl Search {
    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::database::query;

    fn pool() -> Arc<SearchPool> {
        let options = SqliteConnectOptions::new().in_memory(true);
        Arc::new(SearchPool::sqlite(&options))
    }

    #[tokio::test]
    async fn search_pool_limits_the_searches_of_each_user() {
        let pool = pool();
        let turns: Vec<_> = (0..=MAX_WAITING_SEARCHES)
            .map(|_| pool.take_turn("ada").unwrap())
            .collect();
        assert!(matches!(pool.take_turn("ada"), Err(SearchError::TooMany)));
        assert!(pool.take_turn("bob").is_ok());
        drop(turns);
        assert!(pool.turns_by_user.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn dropped_search_stops_within_the_statement() {
        let pool = pool();
        let mut search = pool.start("ada").await.unwrap();
        let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
             SELECT COUNT(*) FROM n";
        let counting = query(endless).fetch_one(search.connection());
        let stopped = tokio::time::timeout(Duration::from_millis(50), counting).await;
        assert!(stopped.is_err());
        drop(search);
        // Both connections must be free again.
        for _ in 0..2 {
            let mut next = pool.start("ada").await.unwrap();
            let one: i64 = query("SELECT 1")
                .fetch_value(next.connection())
                .await
                .unwrap();
            assert_eq!(one, 1);
        }
    }

    #[tokio::test]
    async fn search_stops_after_its_time() {
        let mut search = pool().start("ada").await.unwrap();
        let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
             SELECT COUNT(*) FROM n";
        let result = query(endless).fetch_one(search.connection()).await;
        let error = SearchError::from(result.unwrap_err());
        assert!(matches!(error, SearchError::TooSlow), "{error:?}");
    }
}
