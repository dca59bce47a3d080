//! A throw-away server: this program once more, as a process of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::timeout;

use pinhole::config::Config;
use pinhole_ground::data_dir as folder;

/// How long it may take to listen: it compiles its engines first.
const START: Duration = Duration::from_secs(300);
/// Time a job of it may take, in seconds: cases wait for it to be over.
const JOB_SECS: &str = "10";
/// Jobs it runs at once: few, so that a case can take them all.
pub(super) const SLOTS: &str = "16";
/// What is read of its standard error, in bytes; the rest is dropped.
const MAX_LOG_BYTES: usize = 16 << 20;
/// Length of the file about a process in `/proc`, in bytes.
const MAX_STATUS_BYTES: usize = 64 << 10;
const LISTENING: &str = " listening on ";
const KEY: &str = "administrator key (shown once): ";

/// A server that is ended when it is dropped, with everything it has written.
pub(super) struct Server {
    child: Child,
    log: Log,
    _data: TempDir,
    _engines: TempDir,
    /// Such as `http://127.0.0.1:8080`.
    pub(super) url: String,
    /// The administrator's key.
    pub(super) key: String,
}

impl Server {
    /// Starts one with these components and these variables.
    pub(super) async fn start(
        config: &Config,
        components: &[PathBuf],
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        let (data, engines) = (tempfile::tempdir()?, tempfile::tempdir()?);
        for from in components {
            copy(from, engines.path())?;
        }
        let mut command = Command::new(&config.compiler.program);
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("PINHOLE_DATA", data.path())
            .env("PINHOLE_ENGINES", engines.path())
            .env("PINHOLE_JOB_TIMEOUT_SECS", JOB_SECS)
            .env("PINHOLE_SLOTS", SLOTS)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for passed_on in ["PINHOLE_COMPILER", "PINHOLE_SWITCHED_OFF"] {
            if let Some(value) = config.environment.get(passed_on) {
                command.env(passed_on, value);
            }
        }
        let mut child = command.spawn().context("cannot start a server to attack")?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = stdout.zip(stderr).context("it has no output")?;
        let said = listen(stdout);
        let log = Log::default();
        let drained = drain(stderr, log.clone());
        let mut server = Self {
            child,
            log: log.clone(),
            _data: data,
            _engines: engines,
            url: String::new(),
            key: String::new(),
        };
        match timeout(START, said).await {
            Ok(Ok((url, key))) => (server.url, server.key) = (url, key),
            Ok(Err(_)) => {
                let status = server.child.wait()?;
                drained.join().ok();
                let log = text(&log);
                bail!("the server to attack ended before it listened ({status}): {log}")
            }
            Err(_) => bail!(
                "the server to attack did not listen within {} seconds",
                START.as_secs()
            ),
        }
        Ok(server)
    }

    /// What it has written so far, for an operator.
    pub(super) fn log(&self) -> String {
        text(&self.log)
    }

    /// What its process holds of the machine's memory, in bytes.
    pub(super) fn memory_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = folder::read_whole(Path::new(&path), MAX_STATUS_BYTES)?;
        let status = String::from_utf8_lossy(&status).into_owned();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: u64 = kilobytes.context("no memory in it")?.trim().parse()?;
        Ok(kilobytes << 10)
    }

    /// Does it still run?
    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a server that has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let name = from.file_name().context("a component without a name")?;
    let bytes = folder::read_whole(from, pinhole_sandbox::MAX_COMPONENT_BYTES as usize)
        .with_context(|| format!("cannot read {}", from.display()))?;
    folder::open(to)?.write(name, bytes)?;
    Ok(())
}

/// Reads its output to the end, on a thread of its own: its address and its key.
fn listen(stdout: impl Read + Send + 'static) -> oneshot::Receiver<(String, String)> {
    let (sender, said) = oneshot::channel();
    std::thread::spawn(move || {
        let (mut sender, mut url) = (Some(sender), None);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(LISTENING) {
                url = Some(address.trim().to_owned());
            }
            let key = line.strip_prefix(KEY).map(|key| key.trim().to_owned());
            if let (Some(url), Some(key)) = (&url, key)
                && let Some(sender) = sender.take()
            {
                // Nobody listens where it took too long.
                sender.send((url.clone(), key)).ok();
            }
        }
    });
    said
}

/// What a server has written, as far as it is kept.
type Log = Arc<Mutex<Vec<u8>>>;

/// Reads its log to the end, so that it never writes into a full pipe; the beginning is kept.
fn drain(mut stderr: impl Read + Send + 'static, log: Log) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut chunk = [0; 8 << 10];
        while let Ok(read @ 1..) = stderr.read(&mut chunk) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() < MAX_LOG_BYTES {
                log.extend(chunk.iter().take(read));
            }
        }
    })
}

fn text(log: &Log) -> String {
    let log = log.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&log).into_owned()
}
