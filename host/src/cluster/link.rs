//! The connection for commands, which is opened again whenever it is lost.
//!
//! While it is lost, a command fails at once: requests must not wait for Redis.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use pinhole_ground::metrics;
use pinhole_ground::text::plain;
use redis::aio::MultiplexedConnection;
use redis::cluster_async::ClusterConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::CONNECT_TIMEOUT;
use super::endpoint::Endpoint;

/// Time between two checks of a connection.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// The first and the longest wait before a connection is opened again.
pub(super) const MIN_BACKOFF: Duration = Duration::from_millis(100);
pub(super) const MAX_BACKOFF: Duration = Duration::from_secs(5);
/// Time between two lines of the log while Redis is lost.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// Length of an error in the log, in bytes.
const MAX_ERROR_BYTES: usize = 200;
/// Errors of a server that cannot serve now, such as a former primary.
const LOST_CODES: [&str; 6] = [
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "NOAUTH",
    "READONLY",
    "UNBLOCKED",
];

/// A connection for commands. Clones share it.
#[derive(Clone)]
pub(super) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    /// There is no connection, or it was lost. Redis may have run the command.
    #[error("Redis cannot be reached")]
    Lost,
    /// Redis has refused the command.
    #[error("Redis refused a command: {0}")]
    Refused(RedisError),
}

/// The connection for commands.
pub(super) struct Link {
    pub(super) endpoint: Endpoint,
    current: ArcSwapOption<Connection>,
    /// Notified when the connection is lost.
    lost: Notify,
    is_up: watch::Sender<bool>,
    log: Mutex<Log>,
}

/// What was logged.
#[derive(Default)]
struct Log {
    /// The last line about the loss. `None` while there is a connection.
    last_line: Option<Instant>,
}

impl Link {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        metrics::set_redis_connected(false);
        Self {
            endpoint,
            current: ArcSwapOption::empty(),
            lost: Notify::new(),
            is_up: watch::Sender::new(false),
            log: Mutex::default(),
        }
    }

    /// Opens the connection, and opens it again whenever it is lost. Never returns.
    pub(super) async fn run(&self) {
        let mut backoff = MIN_BACKOFF;
        loop {
            match within(CONNECT_TIMEOUT, self.endpoint.connect()).await {
                Ok(connection) => {
                    self.current.store(Some(Arc::new(connection)));
                    self.report_connected();
                    self.is_up.send_replace(true);
                    self.watch_connection().await;
                    self.is_up.send_replace(false);
                    backoff = MIN_BACKOFF;
                }
                Err(error) => self.report_lost(&error),
            }
            tokio::time::sleep(backoff).await;
            backoff = MAX_BACKOFF.min(backoff * 2);
        }
    }

    /// Returns when the connection is lost.
    async fn watch_connection(&self) {
        let mut pings = tokio::time::interval(PING_INTERVAL);
        loop {
            tokio::select! {
                () = self.lost.notified() => {}
                _ = pings.tick() => {
                    self.query::<()>(&redis::cmd("PING")).await.ok();
                }
            }
            if self.current.load().is_none() {
                return;
            }
        }
    }

    /// Is there a connection?
    pub(super) fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Waits until there is a connection.
    pub(super) async fn wait_until_up(&self) {
        // Cannot fail: the sender is in `self`.
        self.is_up.subscribe().wait_for(|is_up| *is_up).await.ok();
    }

    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, LinkError> {
        let connection = self.connection()?;
        let result = match (*connection).clone() {
            Connection::Single(mut it) => command.query_async(&mut it).await,
            Connection::Cluster(mut it) => command.query_async(&mut it).await,
        };
        self.check(&connection, result)
    }

    /// Runs several commands in one step, or one after the other in a cluster, where they may belong to different servers.
    /// The results are in their order.
    pub(super) async fn query_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<RedisResult<Value>>, LinkError> {
        let connection = self.connection()?;
        let results: RedisResult<Vec<RedisResult<Value>>> = match (*connection).clone() {
            Connection::Single(mut it) => commands.query_async(&mut it).await,
            Connection::Cluster(it) => Ok(query_each(it, commands).await),
        };
        let results = self.check(&connection, results)?;
        for result in &results {
            if let Err(error) = result {
                self.check::<()>(&connection, Err(error.clone()))
                    .or_else(|lost| match lost {
                        LinkError::Lost => Err(lost),
                        LinkError::Refused(_) => Ok(()),
                    })?;
            }
        }
        Ok(results)
    }

    /// Gives up the connection, because it does not respond.
    pub(super) fn reset(&self) {
        self.current.store(None);
        self.lost.notify_one();
    }

    fn connection(&self) -> Result<Arc<Connection>, LinkError> {
        self.current.load_full().ok_or(LinkError::Lost)
    }

    fn check<T>(&self, used: &Arc<Connection>, result: RedisResult<T>) -> Result<T, LinkError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        metrics::count_redis_error();
        if !is_loss(&error) {
            return Err(LinkError::Refused(error));
        }
        // Another one may be current already.
        let current = self.current.load_full();
        if current.is_some_and(|it| Arc::ptr_eq(&it, used)) {
            self.report_lost(&error);
            self.reset();
        }
        Err(LinkError::Lost)
    }

    /// Logs a loss at once, and then once a minute.
    pub(super) fn report_lost(&self, error: &RedisError) {
        metrics::set_redis_connected(false);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.last_line.is_some_and(|at| at.elapsed() < LOG_INTERVAL) {
            return;
        }
        log.last_line = Some(Instant::now());
        tracing::warn!(
            "cannot use the Redis of REDIS_URL: events of other hosts are missing, and each host limits rates by itself: {}",
            describe(error)
        );
    }

    fn report_connected(&self) {
        metrics::set_redis_connected(true);
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.last_line.take().is_some() {
            tracing::info!("Redis is back");
        }
    }
}

/// Runs commands one after the other, until the connection is lost.
async fn query_each(
    mut connection: ClusterConnection,
    commands: &Pipeline,
) -> Vec<RedisResult<Value>> {
    let mut results = Vec::with_capacity(commands.len());
    for command in commands.cmd_iter() {
        let result = command.query_async(&mut connection).await;
        let is_lost = result.as_ref().is_err_and(is_loss);
        results.push(result);
        if is_lost {
            break;
        }
    }
    results
}

/// Commands that run in one step. If one of them fails, the others still run.
pub(super) fn commands() -> Pipeline {
    let mut commands = Pipeline::new();
    commands.ignore_errors();
    commands
}

/// Limits the time of a connection attempt.
pub(super) async fn within<T>(
    limit: Duration,
    attempt: impl Future<Output = RedisResult<T>>,
) -> RedisResult<T> {
    let timed_out = || RedisError::from((ErrorKind::Io, "no response in time"));
    timeout(limit, attempt).await.map_err(|_| timed_out())?
}

/// True if the connection cannot be used any more.
fn is_loss(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_timeout()
        || error.is_connection_dropped()
        || error.is_unrecoverable_error()
        || error.is_cluster_error()
        || error.code().is_some_and(|code| LOST_CODES.contains(&code))
}

/// The error for the log. It never has the URL.
pub(super) fn describe(error: &RedisError) -> String {
    plain(&error.to_string(), MAX_ERROR_BYTES)
}
