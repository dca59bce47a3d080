//! The server as a child process.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long the server may take to listen, and to compile every engine at the first start.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How much of the log is stored.
const MAX_LOG_BYTES: usize = 16 << 20;
/// Clock ticks in a second, the unit of `/proc/PID/stat`.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running `pinhole serve`. Dropping it kills the process.
pub struct ServerProcess {
    child: Child,
    log: Log,
    /// Of the standard output, after those of the start.
    lines: Mutex<Receiver<String>>,
    /// It compiles engines.
    is_compiling: bool,
    /// Such as `http://127.0.0.1:8080`.
    pub url: String,
    /// The administrator's key, from the file that the server names.
    pub key: Option<String>,
}

/// The memory of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessMemory {
    /// Shared pages count in proportion.
    pub proportional_bytes: u64,
    pub resident_bytes: u64,
}

/// The first bytes of what the server logged.
type Log = Arc<Mutex<Vec<u8>>>;

impl ServerProcess {
    /// Starts a command that runs the server, and waits until it listens and its engines are compiled.
    ///
    /// The command needs `serve` and its environment; a free port is `--listen 127.0.0.1:0`.
    pub fn start(command: Command) -> Result<Self> {
        let mut server = Self::start_with_stderr(command, Stdio::piped())?;
        server.wait_for_engines()?;
        Ok(server)
    }

    /// Waits only until the server listens. Writes the log to a file; [`Self::log`] is empty.
    pub fn start_with_log_file(command: Command, log: File) -> Result<Self> {
        Self::start_with_stderr(command, log.into())
    }

    fn start_with_stderr(mut command: Command, stderr: Stdio) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .context("cannot start the server")?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let log = Log::default();
        let log_reader = child.stderr.take().map(|it| read_log(it, log.clone()));
        let mut server = Self {
            child,
            log,
            lines: Mutex::new(read_lines(stdout)),
            is_compiling: false,
            url: String::new(),
            key: None,
        };
        loop {
            match server.next_line() {
                Ok(line) => {
                    if server.has_started(&line) {
                        return Ok(server);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "the server does not listen after {} seconds",
                    START_TIMEOUT.as_secs()
                ),
                Err(RecvTimeoutError::Disconnected) => {
                    let status = server.child.wait()?;
                    if let Some(reader) = log_reader {
                        reader.join().ok();
                    }
                    let logged = server.log();
                    bail!("the server stopped before it listened ({status}): {logged}")
                }
            }
        }
    }

    fn next_line(&self) -> Result<String, RecvTimeoutError> {
        self.lines.lock().unwrap().recv_timeout(START_TIMEOUT)
    }

    /// Parses a line of the standard output. True if it is the last of the start.
    fn has_started(&mut self, line: &str) -> bool {
        if let Some((_, url)) = line.split_once(" listening on ") {
            self.url = url.trim().to_owned();
        }
        self.is_compiling |= line.starts_with("engines: compiling ");
        self.key = self.key.take().or_else(|| key_in_file(line));
        line.starts_with("administrator key")
    }

    /// Waits until all engines are compiled.
    pub fn wait_for_engines(&mut self) -> Result<()> {
        while self.is_compiling {
            let line = self
                .next_line()
                .context("the server does not compile its engines")?;
            self.is_compiling = !line.starts_with("engines: ");
        }
        Ok(())
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// Sends a signal to the server, such as `TERM`.
    pub fn signal(&self, name: &str) -> Result<()> {
        let script = format!("kill -{name} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &script]).status()?;
        anyhow::ensure!(sent.success(), "cannot send a signal to the server");
        Ok(())
    }

    /// Waits until the server has ended.
    pub fn wait(mut self) -> Result<()> {
        self.child.wait().context("the server does not end")?;
        Ok(())
    }

    /// Asks the server to shut down, and waits until it has ended.
    pub fn shut_down(self) -> Result<()> {
        self.signal("TERM")?;
        self.wait()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn memory(&self) -> Result<ProcessMemory> {
        memory_of(&self.child.id().to_string())
    }

    /// The most memory that was resident since the start, in bytes.
    pub fn peak_memory_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
        let kilobytes: u64 = kilobytes.context("no peak of memory")?.trim().parse()?;
        Ok(kilobytes * 1024)
    }

    /// CPU time that the process has used so far, in milliseconds.
    pub fn cpu_ms(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no process name")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64> {
            Ok(fields.get(index).context("a field is missing")?.parse()?)
        };
        // User and system time.
        Ok((ticks(11)? + ticks(12)?) * 1e3 / TICKS_PER_SECOND)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both fail only if the server has stopped already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl ProcessMemory {
    /// The memory of this process.
    pub fn of_this_process() -> Result<Self> {
        memory_of("self")
    }
}

/// The key in the file that a line of the server names.
pub fn key_in_file(line: &str) -> Option<String> {
    let text = line.strip_prefix("administrator key: ")?;
    let path = text
        .strip_prefix("written to ")
        .or_else(|| text.strip_prefix("in "))?;
    let path = path
        .strip_suffix(" (only its owner can read it)")
        .unwrap_or(path);
    let key = std::fs::read_to_string(path).ok()?;
    Some(key.trim().to_owned())
}

fn memory_of(process: &str) -> Result<ProcessMemory> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let bytes = |name: &str| -> Result<u64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kilobytes
            .with_context(|| format!("no {name}"))?
            .parse::<u64>()?
            << 10)
    };
    Ok(ProcessMemory {
        proportional_bytes: bytes("Pss:")?,
        resident_bytes: bytes("Rss:")?,
    })
}

/// Reads the standard output to its end, so that the server never writes into a full pipe.
fn read_lines(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The receiver is gone once the server listens.
            sender.send(line).ok();
        }
    });
    lines
}

/// Reads the standard error to its end, and stores the beginning.
fn read_log(mut stderr: impl Read + Send + 'static, log: Log) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut chunk = [0; 8 << 10];
        while let Ok(length @ 1..) = stderr.read(&mut chunk) {
            let mut log = log.lock().unwrap();
            if log.len() < MAX_LOG_BYTES {
                log.extend_from_slice(&chunk[..length]);
            }
        }
    })
}
