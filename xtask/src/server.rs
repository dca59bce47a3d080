//! The server as a child process, and what it says about itself.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long the server may take to listen: at the first start it compiles every engine.
const START: Duration = Duration::from_secs(300);
/// How long to wait for the key, which follows the other lines at once or never comes.
const KEY: Duration = Duration::from_secs(2);

/// A running server; ended when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) facts: Facts,
}

/// What the server says on its standard output when it is ready.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Such as `http://127.0.0.1:8080`.
    pub(crate) address: String,
    /// The administrator's key, said at the first start in a data folder only.
    pub(crate) key: Option<String>,
}

/// One line of it.
#[derive(Debug, PartialEq)]
enum Fact<'a> {
    Address(&'a str),
    Engines,
    Key(&'a str),
}

impl Server {
    /// Starts the command and waits until it listens. Its lines are shown as they come.
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
            facts: Facts::default(),
        };
        let stdout = stdout.context("the server has no standard output")?;
        match read(&show_lines(BufReader::new(stdout)), START, KEY) {
            Ok(facts) => server.facts = facts,
            Err(Silence::TooLong) => {
                bail!(
                    "the server did not listen within {} seconds",
                    START.as_secs()
                )
            }
            Err(Silence::Ended) => {
                let status = server.child.wait().context("cannot wait for the server")?;
                bail!("the server ended before it listened ({status}): its message above says why")
            }
        }
        Ok(server)
    }

    /// Waits until the server ends by itself, or by the Ctrl-C that reaches it as well as us.
    pub(crate) fn wait(mut self) -> Result<ExitStatus> {
        self.child.wait().context("cannot wait for the server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a server that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Why there are no facts.
#[derive(Debug, PartialEq)]
enum Silence {
    TooLong,
    Ended,
}

/// Prints each line and hands it on, to the end of the output, so that the server never writes
/// into a full or closed pipe.
fn show_lines(output: impl BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            println!("{line}");
            // Nobody listens once the facts are known.
            let _ = sender.send(line);
        }
    });
    lines
}

/// Reads until the address, the engines and, where there is one, the key are known.
fn read(lines: &Receiver<String>, start: Duration, key: Duration) -> Result<Facts, Silence> {
    let mut facts = Facts::default();
    let mut engines = false;
    loop {
        let ready = engines && !facts.address.is_empty();
        if ready && facts.key.is_some() {
            return Ok(facts);
        }
        let line = match lines.recv_timeout(if ready { key } else { start }) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if ready => return Ok(facts),
            Err(RecvTimeoutError::Timeout) => return Err(Silence::TooLong),
            Err(RecvTimeoutError::Disconnected) => return Err(Silence::Ended),
        };
        match parse(&line) {
            Some(Fact::Address(address)) => facts.address = address.into(),
            Some(Fact::Engines) => engines = true,
            Some(Fact::Key(key)) => facts.key = Some(key.into()),
            None => {}
        }
    }
}

fn parse(line: &str) -> Option<Fact<'_>> {
    if let Some(key) = line.strip_prefix("administrator key (shown once): ") {
        return Some(Fact::Key(key.trim()));
    }
    if line.starts_with("engines: ") {
        return Some(Fact::Engines);
    }
    let (_version, address) = line
        .strip_prefix("pinhole ")?
        .split_once(" listening on ")?;
    Some(Fact::Address(address.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: [&str; 3] = [
        "pinhole 0.1.0 listening on http://127.0.0.1:8080",
        "data folder: data",
        "engines: gemini, sketch (current: sketch)",
    ];

    fn facts(key: Option<&str>) -> Facts {
        Facts {
            address: "http://127.0.0.1:8080".into(),
            key: key.map(str::to_owned),
        }
    }

    /// What a server is known by whose output stays open after these lines.
    fn running(lines: &[&str]) -> Result<Facts, Silence> {
        let (sender, receiver) = mpsc::channel();
        lines
            .iter()
            .for_each(|line| sender.send(line.to_string()).unwrap());
        read(&receiver, Duration::ZERO, Duration::ZERO)
    }

    #[test]
    fn each_line_is_known_by_its_beginning() {
        let lines = READY.map(parse);
        let address = Fact::Address("http://127.0.0.1:8080");
        assert_eq!(lines, [Some(address), None, Some(Fact::Engines)]);
        let key = "administrator key (shown once): sk-abc";
        assert_eq!(parse(key), Some(Fact::Key("sk-abc")));
        assert_eq!(parse("pinhole is starting"), None);
    }

    #[test]
    fn the_key_comes_at_the_first_start_only() {
        assert_eq!(running(&READY), Ok(facts(None)));
        let first = [&READY[..], &["administrator key (shown once): sk-abc"]].concat();
        assert_eq!(running(&first), Ok(facts(Some("sk-abc"))));
    }

    #[test]
    fn a_server_that_does_not_listen_is_told_apart() {
        assert_eq!(running(&READY[1..]), Err(Silence::TooLong));
        let ended = show_lines("data folder: data\n".as_bytes());
        assert_eq!(read(&ended, START, KEY), Err(Silence::Ended));
    }
}
