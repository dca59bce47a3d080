//! The program `pinhole` from a shell: output, files and exit codes.

mod backup;
mod buckets;
mod config;
mod control_socket;
mod databases;
mod doctor;
mod engine_dev;
mod engine_new;
mod engine_record;
mod engine_versions;
mod engines;
mod environment;
mod failures;
mod generate;
mod metrics;
mod grant;
mod import;
mod serve;
mod terminal;
mod upstreams;
mod users;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use pinhole_tests::{
    FakeResponse, FakeUpstream, RecordedRequest, TestServer, engines, guests, key_in_file, program,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// Far more than any run takes.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The program with these engines, its own directories and a clean environment.
struct Program {
    directory: TempDir,
    variables: Vec<(String, String)>,
}

/// Exit code and output of a run.
#[derive(Debug)]
struct CommandOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Program {
    fn new(names: &[&str]) -> Self {
        let program = Self {
            directory: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        };
        fs::create_dir(program.path("work")).unwrap();
        fs::create_dir(program.path("engines")).unwrap();
        for name in names {
            let file = format!("{name}.wasm");
            let own = engines().join(&file);
            let from = if own.exists() {
                own
            } else {
                guests().join(&file)
            };
            fs::copy(from, program.path("engines").join(file)).unwrap();
        }
        program
    }

    /// Adds a variable.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in the directory that contains `data`, `engines` and `work`, the current directory of a run.
    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.around(Command::new(program()), arguments)
    }

    /// Another command in place of the program, with the program's environment and these arguments.
    fn around(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(self.path("work"))
            .stdin(Stdio::null())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("PINHOLE_DATA", self.path("data"))
            .env("PINHOLE_ENGINES", self.path("engines"))
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn run(&self, arguments: &[&str]) -> CommandOutput {
        CommandOutput::of(self.command(arguments))
    }

    /// Runs `serve` on a free port, and waits for its four lines, those of metrics, and that of the engines once
    /// they are compiled.
    fn serve(&self) -> RunningServer {
        self.serve_on("127.0.0.1:0")
    }

    fn serve_on(&self, address: &str) -> RunningServer {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.path("log"));
        let mut child = self
            .command(&["serve", "--listen", address])
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut read_line = || {
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            line.trim_end().to_owned()
        };
        let mut lines: Vec<String> = (0..4).map(|_| read_line()).collect();
        let mut variables = self.variables.iter();
        if variables.any(|(name, _)| name == "PINHOLE_METRICS_LISTEN") {
            lines.push(read_line());
        }
        if lines[2].starts_with("engines: compiling ") {
            lines.push(read_line());
        }
        RunningServer { child, out, lines }
    }
}

impl CommandOutput {
    fn of(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let (id, (sender, ended)) = (child.id(), mpsc::channel());
        thread::spawn(move || sender.send(child.wait_with_output()));
        let output = ended.recv_timeout(TIMEOUT).unwrap_or_else(|_| {
            signal(id, "KILL");
            ended.recv().unwrap()
        });
        let output = output.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Standard error without the line about the data directory.
    fn messages(&self) -> String {
        let lines = self.err.split_inclusive('\n');
        lines
            .filter(|line| !line.starts_with("data directory: "))
            .collect()
    }

    /// Asserts a failure with this code and one message on standard error. Returns it.
    #[track_caller]
    fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        let message = self.messages();
        assert_eq!(message.lines().count(), 1, "{self:?}");
        assert!(
            message.starts_with("pinhole: ") && message.ends_with('\n'),
            "{self:?}"
        );
        message
    }

    /// Asserts success without a message on standard error. Returns the lines of standard output.
    #[track_caller]
    fn done(self) -> Vec<String> {
        let messages = self.messages();
        assert_eq!((self.code, messages.as_str()), (Some(0), ""), "{self:?}");
        self.out.lines().map(str::to_owned).collect()
    }
}

/// A running server; killed when dropped.
struct RunningServer {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
    lines: Vec<String>,
}

impl RunningServer {
    fn address(&self) -> SocketAddr {
        let (_, address) = self.lines[0].split_once(" listening on http://").unwrap();
        address.parse().unwrap()
    }

    /// The administrator's key, from the file that the last line names.
    fn key(&self) -> String {
        key_in_file(&self.lines[3]).unwrap_or_else(|| panic!("{:?}", self.lines))
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    /// Waits for the exit. Returns the rest of standard output.
    fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap(), rest)
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn signal(process: u32, name: &str) {
    let script = format!("kill -{name} {process}");
    let sent = Command::new("sh").args(["-c", &script]).status().unwrap();
    assert!(sent.success());
}

/// Status and text of one response.
fn http(address: SocketAddr, method: &str, path: &str, key: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let status = response.split(' ').nth(1).unwrap().parse().unwrap();
    (status, response)
}

/// Width and height of a PNG file.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).unwrap();
    assert!(
        bytes.starts_with(b"\x89PNG\r\n\x1a\n"),
        "{}",
        path.display()
    );
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// A port without a listener, as long as the socket lives.
fn closed_port() -> (tokio::net::TcpSocket, String) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, format!("http://{address}"))
}

/// An upstream that never responds to `/allowed/slow`.
async fn slow_upstream() -> FakeUpstream {
    FakeUpstream::start(async |request: RecordedRequest| {
        if request.target == "/allowed/slow" {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(200, &json!({}))
    })
    .await
}

const SLOW: &str = "GET /allowed/slow";
const STOPPED: &str = "GET /allowed/stopped";
