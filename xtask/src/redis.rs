//! A Redis for the tests and benchmarks.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::packages;
use crate::steps::announce;

const PROGRAM: &str = "redis-server";
/// How long it may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Time between two attempts to connect.
const CONNECT_INTERVAL: Duration = Duration::from_millis(20);

/// A running Redis, which stores nothing on disk. Dropping it kills the process.
pub(crate) struct TestRedis {
    child: Child,
    port: u16,
}

impl TestRedis {
    /// Starts a Redis on a free port. `None` if it is not installed and cannot be.
    pub(crate) fn start() -> Result<Option<Self>> {
        if let Err(error) = packages::install_system_package(PROGRAM) {
            announce(&format!("skipping what needs Redis: {error}"));
            return Ok(None);
        }
        let port = free_port().context("cannot find a port for Redis")?;
        let child = Command::new(PROGRAM)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start redis-server")?;
        let redis = Self { child, port };
        redis.wait_until_ready()?;
        Ok(Some(redis))
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn wait_until_ready(&self) -> Result<()> {
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if start.elapsed() > START_TIMEOUT {
                bail!("Redis does not listen on port {}", self.port);
            }
            thread::sleep(CONNECT_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        // Both fail only if it has stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free now.
fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
