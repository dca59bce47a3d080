//! Redis servers that a test starts itself.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server. Dropping it kills the process.
pub(super) struct RedisServer {
    child: Child,
    pub(super) port: u16,
    _directory: tempfile::TempDir,
}

impl RedisServer {
    /// Starts a server with these arguments, which stores nothing.
    pub(super) fn start(arguments: &[&str]) -> Self {
        let unsaved = ["--save", "", "--appendonly", "no"];
        Self::start_in(tempfile::tempdir().unwrap(), |command| {
            command.args(unsaved).args(arguments);
        })
    }

    /// Starts a sentinel that watches the server at this port as `main`.
    pub(super) fn start_sentinel(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // A sentinel writes to its configuration.
        let file = directory.path().join("sentinel.conf");
        let text = format!(
            "sentinel monitor main 127.0.0.1 {port} 1\nsentinel down-after-milliseconds main 1000\n"
        );
        std::fs::write(&file, text).unwrap();
        Self::start_in(directory, |command| {
            command.arg(&file).arg("--sentinel");
        })
    }

    fn start_in(directory: tempfile::TempDir, add: impl FnOnce(&mut Command)) -> Self {
        let port = free_port();
        let mut command = Command::new("redis-server");
        add(&mut command);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .current_dir(directory.path())
            .stdout(Stdio::null());
        Self {
            child: command.spawn().unwrap(),
            port,
            _directory: directory,
        }
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection, once the server accepts one.
    pub(super) async fn connect(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        let mut attempts = tokio::time::interval(Duration::from_millis(50));
        loop {
            attempts.tick().await;
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                return connection;
            }
        }
    }

    /// Waits until the response to a command contains a text.
    pub(super) async fn wait_for(&self, words: &[&str], expected: &str) {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        let mut attempts = tokio::time::interval(Duration::from_millis(50));
        loop {
            attempts.tick().await;
            // A replica that becomes the primary closes its connections.
            let mut connection = self.connect().await;
            let response = command.query_async::<redis::Value>(&mut connection).await;
            if response.is_ok_and(|it| format!("{it:?}").contains(expected)) {
                return;
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Both fail only if it has stopped already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

pub(super) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
