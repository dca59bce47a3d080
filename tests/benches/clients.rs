//! The cost of hostile clients for a well-behaved one, and the server's memory: `cargo xtask bench clients`.
//!
//! The server is the optimized program `pinhole` with a memory limit. Four users and a number of unauthenticated
//! clients send every large, slow or numerous input that the server refuses or limits, all at once. A fifth
//! user requests images one after the other. Rounds with and without the hostile clients take turns.
//!
//! The hostile clients are a child process at low priority, so that the figures show what they cost the
//! server, and not how much CPU time they need themselves.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "clients/attackers.rs"]
mod attackers;
#[path = "faces/bench_server.rs"]
#[expect(dead_code, reason = "another benchmark samples memory over time")]
mod bench_server;
#[path = "faces/goals.rs"]
#[expect(dead_code, reason = "another benchmark has other kinds of goals")]
mod goals;
#[path = "faces/http_connection.rs"]
#[expect(dead_code, reason = "another benchmark reads endless responses")]
mod http_connection;
#[path = "engine/upstream_process.rs"]
#[expect(dead_code, reason = "another benchmark holds responses")]
mod upstream_process;

use std::time::{Duration, Instant};

use serde_json::json;

use attackers::AttackerProcess;
use bench_server::{BenchServer, ServerOptions, ms_since};
use goals::Goals;
use http_connection::{HttpConnection, encode_request};
use upstream_process::{UpstreamProcess, model_name};

const IMAGE_BYTES: usize = 20 << 10;
const UPSTREAM_DELAY_MS: u64 = 50;
/// The server's limit, `PINHOLE_MEMORY_MIB`.
const MEMORY_MIB: u64 = 512;
const HOSTILE_USERS: usize = 4;
const ROUND: Duration = Duration::from_secs(10);
const ROUNDS: usize = 6;

fn main() {
    if upstream_process::is_child() {
        return upstream_process::serve();
    }
    if attackers::is_child() {
        return attackers::run();
    }
    // `cargo test --benches` runs this too: there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let upstream = UpstreamProcess::start();
    let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = BenchServer::start(&ServerOptions {
        data_dir: data_dir.path(),
        upstream: upstream.address(),
        engine: "openai",
        key: None,
        variables: &[("PINHOLE_MEMORY_MIB", MEMORY_MIB.to_string())],
    });
    let user = server.sign_up("fifth");
    let hostile_users: Vec<String> = (0..HOSTILE_USERS)
        .map(|number| server.sign_up(&format!("hostile{number}")))
        .collect();
    // The first requests open connections and read files.
    measure(&server, &user, ROUND / 10);
    let idle = server.memory();
    let (mut alone, mut with_hostile) = (Vec::new(), Vec::new());
    for _ in 0..if is_quick { 1 } else { ROUNDS } {
        alone.extend(measure(&server, &user, ROUND));
        let attackers = AttackerProcess::start(server.address, &hostile_users);
        with_hostile.extend(measure(&server, &user, ROUND));
        drop(attackers);
    }
    print_figures(alone, with_hostile, idle.resident, server.peak_resident());
}

/// Requests one image after the other, each on a new connection, as a client of a proxy does. Returns
/// their times in milliseconds. Every request must succeed.
fn measure(server: &BenchServer, key: &str, duration: Duration) -> Vec<f64> {
    let model = model_name(IMAGE_BYTES, UPSTREAM_DELAY_MS);
    let body = json!({"prompt": "a fox", "model": model}).to_string();
    let request = encode_request("POST", "/v1/images/generations", key, &body);
    let end = Instant::now() + duration;
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        let mut connection = HttpConnection::open(server.address).unwrap();
        let (status, response) = connection.exchange(&request).unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(response));
        times.push(ms_since(start));
    }
    times
}

/// Times in milliseconds, memory in megabytes.
fn print_figures(mut alone: Vec<f64>, mut with_hostile: Vec<f64>, idle: f64, peak: f64) {
    let goals = Goals::default();
    alone.sort_by(f64::total_cmp);
    with_hostile.sort_by(f64::total_cmp);
    let quantile = |times: &[f64], part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("\nfour hostile users and clients without a key, {MEMORY_MIB} MiB");
    goals.figure("images alone", alone.len() as f64, "");
    goals.figure("images with hostile clients", with_hostile.len() as f64, "");
    for (name, part) in [("median", 0.5), ("p99", 0.99)] {
        goals.figure(&format!("alone, {name}"), quantile(&alone, part), "ms");
        goals.figure(
            &format!("with hostile clients, {name}"),
            quantile(&with_hostile, part),
            "ms",
        );
    }
    let factor = quantile(&with_hostile, 0.99) / quantile(&alone, 0.99);
    goals.at_most("factor at p99", factor, "", 2.0);
    goals.figure("idle memory, resident", idle, "MB");
    goals.at_most("peak memory, resident", peak, "MB", MEMORY_MIB as f64);
    goals.print_summary();
}
