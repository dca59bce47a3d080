//! Instructions of fixed paths, compared with the numbers in `instructions/numbers.json`:
//! `cargo xtask bench instructions`. With `--accept`, it writes the measured numbers to that file.
//!
//! Valgrind counts the instructions of a process that runs the server without its sockets: the requests enter at
//! the router. The upstream is another process, which is not counted. A path is measured with few and with many
//! requests; the difference is that of the requests, without the start.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark stops if it fails"
)]

#[path = "instructions/counted_server.rs"]
mod counted_server;
#[path = "instructions/stored_numbers.rs"]
mod stored_numbers;
#[path = "engine/upstream_process.rs"]
#[expect(dead_code, reason = "another benchmark holds responses")]
mod upstream_process;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use counted_server::{COUNT_VARIABLE, PATH_VARIABLE, UPSTREAM_VARIABLE};
use stored_numbers::StoredNumbers;
use upstream_process::UpstreamProcess;

/// A path and the requests that are measured. Those that cost more need fewer.
struct Measurement {
    path: &'static str,
    requests: u64,
}

/// Requests before those that are measured: the first ones fill caches and pools.
const WARM_UP: u64 = 10;

const MEASUREMENTS: [Measurement; 6] = [
    Measurement {
        path: "key",
        requests: 300,
    },
    Measurement {
        path: "sketch",
        requests: 60,
    },
    Measurement {
        path: "openai-20k",
        requests: 100,
    },
    Measurement {
        path: "openai-2m",
        requests: 20,
    },
    Measurement {
        path: "stored-20k",
        requests: 100,
    },
    Measurement {
        path: "stored-2m",
        requests: 20,
    },
];

fn main() -> ExitCode {
    if upstream_process::is_child() {
        upstream_process::serve();
        return ExitCode::SUCCESS;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if has("compile") {
        compile();
        return ExitCode::SUCCESS;
    }
    if counted_server::is_child() {
        counted_server::run();
        return ExitCode::SUCCESS;
    }
    // `cargo test --benches` runs this too: there is nothing to measure.
    if has("--test") {
        return ExitCode::SUCCESS;
    }
    if !cfg!(target_arch = "x86_64") {
        println!("the stored numbers are of x86-64: nothing is compared");
        return ExitCode::SUCCESS;
    }
    let upstream = UpstreamProcess::start();
    let directory = tempfile::tempdir().unwrap();
    let mut measured = Vec::new();
    for Measurement { path, requests } in MEASUREMENTS {
        let count = |number| instructions(path, number, &upstream.url, directory.path());
        let (few, many) = (count(WARM_UP), count(WARM_UP + requests));
        measured.push((path, many.saturating_sub(few) / requests));
    }
    let stored = StoredNumbers::read();
    if has("--accept") {
        stored.replace(&measured);
        return ExitCode::SUCCESS;
    }
    stored.compare(&measured)
}

/// Compiles a component in place of `pinhole compile`.
fn compile() {
    let mut component = Vec::new();
    std::io::stdin().read_to_end(&mut component).unwrap();
    let code = pinhole_sandbox::internals::compile_portably(&component).unwrap();
    std::io::stdout().write_all(&code).unwrap();
}

/// Instructions of a process that sends this many requests.
fn instructions(path: &str, requests: u64, upstream: &str, directory: &Path) -> u64 {
    let output = directory.join("cachegrind.out");
    let log = directory.join("valgrind.log");
    let status = Command::new("valgrind")
        // Unlike callgrind, it does not follow calls, which the stacks of guests would confuse.
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg(format!("--cachegrind-out-file={}", output.display()))
        .arg(format!("--log-file={}", log.display()))
        .arg(std::env::current_exe().unwrap())
        .env(PATH_VARIABLE, path)
        .env(COUNT_VARIABLE, requests.to_string())
        .env(UPSTREAM_VARIABLE, upstream)
        .status()
        .expect("valgrind cannot be started: install it with the system's package manager");
    let log = || std::fs::read_to_string(&log).unwrap_or_default();
    assert!(status.success(), "{path}: {status}\n{}", log());
    let text = std::fs::read_to_string(&output).unwrap();
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    total
        .unwrap_or_else(|| panic!("{path}: no total\n{}", log()))
        .trim()
        .parse()
        .unwrap()
}
