//! The optimized server as a child process.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use pinhole_tests::{ProcessMemory, ServerProcess};
use serde_json::{Value, json};

use crate::http_connection::{HttpConnection, encode_request};

/// A running server. Dropping it kills the process.
pub(crate) struct BenchServer {
    pub(crate) address: SocketAddr,
    /// The administrator's key.
    pub(crate) key: String,
    process: ServerProcess,
}

/// How to start a server.
pub(crate) struct ServerOptions<'a> {
    pub(crate) data_dir: &'a Path,
    pub(crate) upstream: SocketAddr,
    pub(crate) engine: &'a str,
    /// The key of an earlier start with the same data directory.
    pub(crate) key: Option<&'a str>,
    /// More environment variables.
    pub(crate) variables: &'a [(&'a str, String)],
}

/// The memory of the process, in megabytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Shared pages count in proportion.
    pub(crate) proportional: f64,
    pub(crate) resident: f64,
}

impl BenchServer {
    /// Starts the server, and waits until it listens and its engines are compiled. Its log is the file `log` of
    /// the data directory.
    pub(crate) fn start(options: &ServerOptions) -> Self {
        let mut server = Self::listen(options);
        server.wait_for_engines();
        server
    }

    /// Starts the server, and waits only until it listens.
    pub(crate) fn listen(options: &ServerOptions) -> Self {
        let path = options.data_dir.join("log");
        let log = File::options().create(true).append(true).open(&path);
        let mut command = Command::new(pinhole_tests::program());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("PINHOLE_DATA", options.data_dir)
            .env("PINHOLE_ENGINES", pinhole_tests::engines())
            .env("IMAGE_GENERATION_ENGINE", options.engine)
            .env(
                "IMAGES_OPENAI_API_BASE_URL",
                format!("http://{}/v1", options.upstream),
            )
            .env("IMAGES_OPENAI_API_KEY", "k")
            // One user sends all requests.
            .env("PINHOLE_REQUESTS_PER_MINUTE", "1000000")
            .envs(options.variables.iter().map(|(name, value)| (name, value)));
        let process = ServerProcess::start_with_log_file(command, log.unwrap())
            .unwrap_or_else(|error| panic!("{error:#}: see {}", path.display()));
        let authority = process.url.strip_prefix("http://").unwrap();
        let key = process.key.clone().or(options.key.map(str::to_owned));
        Self {
            address: authority.parse().unwrap(),
            key: key.unwrap(),
            process,
        }
    }

    pub(crate) fn wait_for_engines(&mut self) {
        self.process.wait_for_engines().unwrap();
    }

    /// CPU time that the process has used so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        self.process.cpu_ms().unwrap()
    }

    /// Adds a user, and returns the token of a session.
    #[allow(dead_code, reason = "only benchmarks of several users use it")]
    pub(crate) fn sign_up(&self, name: &str) -> String {
        let email = format!("{name}@example.org");
        let account =
            json!({"name": name, "email": email, "password": "twelve letters", "role": "user"});
        let mut connection = HttpConnection::open(self.address).unwrap();
        let mut post = |path: &str, key: &str| -> Value {
            let request = encode_request("POST", path, key, &account.to_string());
            let (status, response) = connection.exchange(&request).unwrap();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(response));
            serde_json::from_slice(response).unwrap()
        };
        post("/api/v1/auths/add", &self.key);
        let session = post("/api/v1/auths/signin", "");
        session["token"].as_str().unwrap().to_owned()
    }

    /// The most resident memory since the start, in megabytes.
    #[allow(dead_code, reason = "only the benchmark of clients uses it")]
    pub(crate) fn peak_resident(&self) -> f64 {
        self.process.peak_memory_bytes().unwrap() as f64 / f64::from(1 << 20)
    }

    pub(crate) fn memory(&self) -> Memory {
        self.process.memory().unwrap().into()
    }
}

impl From<ProcessMemory> for Memory {
    fn from(memory: ProcessMemory) -> Self {
        let megabytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Self {
            proportional: megabytes(memory.proportional_bytes),
            resident: megabytes(memory.resident_bytes),
        }
    }
}

impl Memory {
    /// The maximum of both.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            proportional: self.proportional.max(other.proportional),
            resident: self.resident.max(other.resident),
        }
    }
}

/// Milliseconds since this time.
pub(crate) fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
