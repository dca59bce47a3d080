//! The program `pinhole`, optimised, as a process of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

/// Ticks of a second in which the kernel counts a process's time, as it tells programs.
const TICKS: f64 = 100.0;

/// A running server; it ends when dropped.
pub(crate) struct Pinhole {
    pub(crate) address: SocketAddr,
    /// The administrator's key.
    pub(crate) key: String,
    child: Child,
}

/// What the process holds in memory, in megabytes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// Pages that are mapped several times count once.
    pub(crate) proportional: f64,
    pub(crate) resident: f64,
}

impl Pinhole {
    /// Starts the server with this data folder, and waits until it listens. `key` is that of an
    /// earlier start in the same folder.
    pub(crate) fn start(
        data: &Path,
        upstream: SocketAddr,
        engine: &str,
        key: Option<&str>,
    ) -> Self {
        Self::start_with(data, upstream, engine, key, &[])
    }

    /// The same with more variables.
    pub(crate) fn start_with(
        data: &Path,
        upstream: SocketAddr,
        engine: &str,
        key: Option<&str>,
        variables: &[(&str, String)],
    ) -> Self {
        let log = data.join("log");
        let mut file = File::options();
        let file = file.create(true).append(true).open(&log).unwrap();
        let mut child = Command::new(pinhole_tests::program())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env("PINHOLE_DATA", data)
            .env("PINHOLE_ENGINES", pinhole_tests::engines())
            .env("IMAGE_GENERATION_ENGINE", engine)
            .env(
                "IMAGES_OPENAI_API_BASE_URL",
                format!("http://{upstream}/v1"),
            )
            .env("IMAGES_OPENAI_API_KEY", "k")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut address = None;
        let mut key = key.map(str::to_owned);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some((_, url)) = line.split_once(" listening on http://") {
                address = Some(url.parse().unwrap());
            }
            if let Some(shown) = line.strip_prefix("administrator key (shown once): ") {
                key = Some(shown.to_owned());
            }
            if line.starts_with("administrator key") {
                break;
            }
        }
        let failed = || {
            panic!(
                "the server did not start: see {}",
                data.join("log").display()
            )
        };
        Self {
            address: address.unwrap_or_else(failed),
            key: key.unwrap_or_default(),
            child,
        }
    }

    /// Processor time that the process has used so far, in milliseconds.
    pub(crate) fn cpu_ms(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = |nth: usize| -> f64 {
            let field = fields.split_whitespace().nth(nth).unwrap();
            field.parse().unwrap()
        };
        (ticks(11) + ticks(12)) * 1e3 / TICKS
    }

    /// What it holds in memory now.
    pub(crate) fn memory(&self) -> Memory {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = fs::read_to_string(path).unwrap();
        let megabytes = |name: &str| {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kilobytes / 1024.0
        };
        Memory {
            proportional: megabytes("Pss:"),
            resident: megabytes("Rss:"),
        }
    }
}

impl Drop for Pinhole {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Memory {
    /// The more of both.
    pub(crate) fn most(self, other: Self) -> Self {
        Self {
            proportional: self.proportional.max(other.proportional),
            resident: self.resident.max(other.resident),
        }
    }
}

/// Milliseconds since then.
pub(crate) fn ms_since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}
