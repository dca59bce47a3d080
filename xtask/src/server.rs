//! The server as a child process, and the lines that it prints at start.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::pages;
use crate::workspace::Workspace;

/// How long the server may take to listen: it compiles every engine at the first start.
const START_TIMEOUT: Duration = Duration::from_secs(300);
/// How long to wait for the key: the server prints it right after the other lines or never.
const KEY_TIMEOUT: Duration = Duration::from_secs(2);

/// What follows the path of a file with a key.
const KEY_NOTE: &str = " (only its owner can read it)";

/// A running server. Dropping it kills the process.
pub(crate) struct Server {
    child: Child,
    pub(crate) access: Access,
}

/// How to reach the server, from its standard output.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Access {
    /// Such as `http://127.0.0.1:8080`.
    pub(crate) url: String,
    /// The administrator's key. `None` if the data directory has no file with it.
    pub(crate) key: Option<String>,
    /// The file with the key.
    pub(crate) key_file: Option<String>,
}

/// A line that xtask understands.
#[derive(Debug, PartialEq)]
enum StartLine<'a> {
    Url(&'a str),
    Engines,
    /// The file with the key, or nothing.
    KeyFile(Option<&'a str>),
}

/// `pinhole serve` on a free port, without the developer's own settings, which are for another server.
pub(crate) fn isolated_command(workspace: &Workspace, data: &Path) -> Command {
    let mut command = Command::new(workspace.server_program());
    command
        .args(["serve", "--listen=127.0.0.1:0"])
        .env_clear()
        .env("PINHOLE_ENGINES", workspace.engines())
        .env("PINHOLE_DATA", data);
    pages::serve(&mut command, workspace);
    command
}

impl Server {
    /// Starts the command and waits until it listens. Prints its lines as they arrive.
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let stdout = child.stdout.take();
        let mut server = Self {
            child,
            access: Access::default(),
        };
        let stdout = stdout.context("the server has no standard output")?;
        let lines = print_lines(BufReader::new(stdout));
        match wait_for_access(&lines, START_TIMEOUT, KEY_TIMEOUT) {
            Ok(access) => server.access = access,
            Err(StartError::Timeout) => bail!(
                "the server does not listen after {} seconds",
                START_TIMEOUT.as_secs()
            ),
            Err(StartError::Exited) => {
                let status = server.child.wait().context("cannot wait for the server")?;
                bail!("the server stopped before it listened ({status}): see its message above")
            }
        }
        Ok(server)
    }

    /// Waits until the server stops by itself, or by a Ctrl-C, which reaches it as well as xtask.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for the server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the server has stopped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why the server cannot be reached.
#[derive(Debug, PartialEq)]
enum StartError {
    Timeout,
    Exited,
}

/// Prints each line and passes it on, to the end of the output, so that the server never writes
/// into a full or closed pipe.
fn print_lines(output: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            println!("{line}");
            // The receiver is gone once the server listens.
            let _ = sender.send(line);
        }
    });
    lines
}

/// Reads until the URL, the engines and, if there is one, the key are known.
fn wait_for_access(
    lines: &Receiver<String>,
    start_timeout: Duration,
    key_timeout: Duration,
) -> Result<Access, StartError> {
    let mut access = Access::default();
    let (mut has_engines, mut has_key_line) = (false, false);
    loop {
        let is_ready = has_engines && !access.url.is_empty();
        if is_ready && has_key_line {
            return Ok(access);
        }
        let timeout = if is_ready { key_timeout } else { start_timeout };
        let line = match lines.recv_timeout(timeout) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if is_ready => return Ok(access),
            Err(RecvTimeoutError::Timeout) => return Err(StartError::Timeout),
            Err(RecvTimeoutError::Disconnected) => return Err(StartError::Exited),
        };
        match parse_start_line(&line) {
            Some(StartLine::Url(url)) => access.url = url.into(),
            Some(StartLine::Engines) => has_engines = true,
            Some(StartLine::KeyFile(path)) => {
                access.key = path.and_then(read_key);
                access.key_file = path.map(str::to_owned);
                has_key_line = true;
            }
            None => {}
        }
    }
}

/// The key in a file of the server.
fn read_key(path: &str) -> Option<String> {
    let key = std::fs::read_to_string(path).ok()?;
    Some(key.trim().to_owned())
}

fn parse_start_line(line: &str) -> Option<StartLine<'_>> {
    if let Some(text) = line.strip_prefix("administrator key: ") {
        let path = text
            .strip_prefix("written to ")
            .or(text.strip_prefix("in "));
        let path = path.map(|path| path.strip_suffix(KEY_NOTE).unwrap_or(path));
        return Some(StartLine::KeyFile(path));
    }
    if line.starts_with("engines: ") {
        return Some(StartLine::Engines);
    }
    let (_version, url) = line
        .strip_prefix("pinhole ")?
        .split_once(" listening on ")?;
    Some(StartLine::Url(url.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_LINES: [&str; 3] = [
        "pinhole 0.1.0 listening on http://127.0.0.1:8080",
        "data directory: data",
        "engines: gemini, sketch (current: sketch)",
    ];

    fn access(key: Option<&str>) -> Access {
        Access {
            url: "http://127.0.0.1:8080".into(),
            key: key.map(str::to_owned),
            key_file: None,
        }
    }

    /// The access to a server whose output stays open after these lines.
    fn access_of_running(lines: &[&str]) -> Result<Access, StartError> {
        let (sender, receiver) = mpsc::channel();
        lines
            .iter()
            .for_each(|line| sender.send(line.to_string()).unwrap());
        wait_for_access(&receiver, Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn start_line_is_parsed_by_its_prefix() {
        let lines = START_LINES.map(parse_start_line);
        let url = StartLine::Url("http://127.0.0.1:8080");
        assert_eq!(lines, [Some(url), None, Some(StartLine::Engines)]);
        let first = "administrator key: written to /d/key (only its owner can read it)";
        let file = Some(StartLine::KeyFile(Some("/d/key")));
        assert_eq!(parse_start_line(first), file);
        assert_eq!(parse_start_line("administrator key: in /d/key"), file);
        let later = "administrator key: shown at the first start";
        assert_eq!(parse_start_line(later), Some(StartLine::KeyFile(None)));
        assert_eq!(parse_start_line("pinhole is starting"), None);
    }

    #[test]
    fn key_is_optional() {
        assert_eq!(access_of_running(&START_LINES), Ok(access(None)));
        let path = std::env::temp_dir().join(format!("pinhole-key-{}", std::process::id()));
        std::fs::write(&path, "sk-abc\n").unwrap();
        let key = format!("administrator key: in {}", path.display());
        let first_start = [&START_LINES[..], &[&key]].concat();
        let expected = Access {
            key_file: Some(path.display().to_string()),
            ..access(Some("sk-abc"))
        };
        assert_eq!(access_of_running(&first_start), Ok(expected));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn server_that_does_not_listen_is_an_error() {
        assert_eq!(
            access_of_running(&START_LINES[1..]),
            Err(StartError::Timeout)
        );
        let lines = print_lines("data directory: data\n".as_bytes());
        assert_eq!(
            wait_for_access(&lines, START_TIMEOUT, KEY_TIMEOUT),
            Err(StartError::Exited)
        );
    }
}
