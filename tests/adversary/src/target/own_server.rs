//! A server that the suite starts, as a child process.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use pinhole_ground::data_dir;
use pinhole_ground::environment::Environment;
use pinhole_sandbox::MAX_COMPONENT_BYTES;
use pinhole_tests::ServerProcess;
use tempfile::TempDir;

/// How long a job may take, in seconds. Cases wait until jobs end.
const JOB_TIMEOUT_SECS: &str = "10";
/// How long the response of an upstream may pause, in seconds: less than a job may take.
const SILENCE_SECS: &str = "2";
/// Jobs that run at the same time: few, so that a case can occupy all slots.
const SLOTS: &str = "16";
/// Connections of clients: few, so that a case can take the part of one IP address.
const CONNECTIONS: &str = "256";
/// Requests of a user for images and chat completions in a minute: more than all cases send, except one.
const REQUESTS_PER_MINUTE: &str = "3000";
/// The only trusted proxy. A case attacks from other IP addresses of loopback.
const TRUSTED_PROXIES: &str = "127.0.0.1";
/// Variables of this process that the server gets too.
pub(crate) const FORWARDED: [&str; 2] = ["PINHOLE_COMPILER", "PINHOLE_SWITCHED_OFF"];

/// A running server. Dropping it stops the process and removes its directories.
pub(crate) struct OwnServer {
    process: ServerProcess,
    key: String,
    _data: TempDir,
    _engines: TempDir,
}

/// What to start.
pub(crate) struct ServerCommand<'a> {
    /// The program `pinhole`.
    pub(crate) program: &'a Path,
    /// The environment of this process.
    pub(crate) environment: &'a Environment,
    /// Component files.
    pub(crate) engines: &'a [PathBuf],
    /// The server's variables, in addition to directories and limits.
    pub(crate) variables: &'a [(&'a str, &'a str)],
}

impl OwnServer {
    pub(crate) async fn start(server: &ServerCommand<'_>) -> Result<Self> {
        let (data, engines) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for file in server.engines {
            copy(file, engines.path())?;
        }
        let process = start_process(server, data.path(), engines.path()).await?;
        let key = process.key.clone();
        Ok(Self {
            key: key.context("the server printed no administrator key")?,
            process,
            _data: data,
            _engines: engines,
        })
    }

    /// Such as `http://127.0.0.1:8080`.
    pub(crate) fn url(&self) -> &str {
        &self.process.url
    }

    /// The administrator's key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// Resident memory of the process, in bytes.
    pub(crate) fn memory_bytes(&mut self) -> Result<u64> {
        ensure!(self.process.is_running(), "the server has stopped");
        Ok(self.process.memory()?.resident_bytes)
    }
}

/// Starts the process with these directories.
pub(super) async fn start_process(
    server: &ServerCommand<'_>,
    data: &Path,
    engines: &Path,
) -> Result<ServerProcess> {
    let mut command = Command::new(server.program);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env_clear()
        .env("PINHOLE_DATA", data)
        .env("PINHOLE_ENGINES", engines)
        .env("PINHOLE_JOB_TIMEOUT_SECS", JOB_TIMEOUT_SECS)
        .env("PINHOLE_UPSTREAM_SILENCE_SECS", SILENCE_SECS)
        .env("PINHOLE_SLOTS", SLOTS)
        .env("PINHOLE_CONNECTIONS", CONNECTIONS)
        .env("PINHOLE_REQUESTS_PER_MINUTE", REQUESTS_PER_MINUTE)
        .env("PINHOLE_TRUSTED_PROXIES", TRUSTED_PROXIES)
        .envs(server.variables.iter().copied());
    for name in FORWARDED {
        if let Some(value) = server.environment.get(name) {
            command.env(name, value);
        }
    }
    tokio::task::spawn_blocking(|| ServerProcess::start(command))
        .await?
        .context("cannot start a server to attack")
}

/// Copies a component file into a directory.
fn copy(file: &Path, directory: &Path) -> Result<()> {
    let name = file.file_name().context("a component without a name")?;
    let max_bytes = usize::try_from(MAX_COMPONENT_BYTES)?;
    let bytes = data_dir::read_whole(file, max_bytes)
        .with_context(|| format!("cannot read {}", file.display()))?;
    data_dir::open(directory)?.write(name, bytes)?;
    Ok(())
}
