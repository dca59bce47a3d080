//! The cost of hostile tenants for a well-behaved one: `cargo xtask bench tenants`.
//!
//! The server is the optimized program `pinhole`. Three tenants send jobs to the engine `hostile` all the time:
//! endless computation, memory up to the limit, and log floods. Two other tenants request images one after the
//! other: from an upstream that takes 50 ms, and from an engine that draws without an upstream. Rounds with and
//! without the hostile tenants take turns.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

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

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use bench_server::{BenchServer, ServerOptions, ms_since};
use goals::Goals;
use http_connection::{HttpConnection, encode_request};
use upstream_process::{UpstreamProcess, model_name};

const PATH: &str = "/v1/images/generations";
const IMAGE_BYTES: usize = 20 << 10;
const UPSTREAM_DELAY_MS: u64 = 50;
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 8;
/// Connections of each hostile tenant.
const HOSTILE_CONNECTIONS: usize = 2;
/// The server is idle if it uses less CPU time than this in a fifth of a second.
const IDLE_CPU_MS: f64 = 20.0;

/// A tenant that repeats one request.
struct Tenant {
    address: SocketAddr,
    key: String,
    body: String,
}

/// The times of a well-behaved tenant's images, in milliseconds.
#[derive(Default)]
struct TenantTimes {
    alone: Vec<f64>,
    with_hostile: Vec<f64>,
}

fn main() {
    if upstream_process::is_child() {
        return upstream_process::serve();
    }
    // `cargo test --benches` runs this too: there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let upstream = UpstreamProcess::start();
    let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let engines_dir = copy_engines();
    let server = start_server(data_dir.path(), engines_dir.path(), &upstream);
    let model = model_name(IMAGE_BYTES, UPSTREAM_DELAY_MS);
    let good = [
        Tenant::sign_up(
            &server,
            "waits",
            &json!({"prompt": "a fox", "model": model}),
        ),
        Tenant::sign_up(
            &server,
            "draws",
            &json!({"prompt": "a fox", "engine": "sketch", "size": "128x128"}),
        ),
    ];
    let hostile = ["spin", "grow", "log"].map(|prompt| {
        Tenant::sign_up(
            &server,
            prompt,
            &json!({"prompt": prompt, "engine": "hostile"}),
        )
    });
    // The first requests open connections and read files.
    run_round(&good, &[], ROUND / 5);
    let mut times = [TenantTimes::default(), TenantTimes::default()];
    for _ in 0..if is_quick { 1 } else { ROUNDS } {
        let round = run_round(&good, &[], ROUND);
        for (tenant, new) in times.iter_mut().zip(round) {
            tenant.alone.extend(new);
        }
        wait_until_idle(&server);
        let round_with_hostile = run_round(&good, &hostile, ROUND);
        for (tenant, new) in times.iter_mut().zip(round_with_hostile) {
            tenant.with_hostile.extend(new);
        }
        wait_until_idle(&server);
    }
    let goals = Goals::default();
    let [waits, draws] = times;
    println!("\nan upstream of 50 ms");
    waits.print(&goals);
    println!("\nan engine that draws");
    draws.print(&goals);
    goals.print_summary();
}

impl TenantTimes {
    fn print(mut self, goals: &Goals) {
        self.alone.sort_by(f64::total_cmp);
        self.with_hostile.sort_by(f64::total_cmp);
        let quantile = |times: &[f64], part: f64| times[((times.len() - 1) as f64 * part) as usize];
        let (alone, with_hostile) = (&self.alone, &self.with_hostile);
        goals.figure("pictures alone", alone.len() as f64, "");
        goals.figure(
            "pictures beside three hostile tenants",
            with_hostile.len() as f64,
            "",
        );
        for (name, part) in [("median", 0.5), ("99 of 100", 0.99)] {
            goals.figure(&format!("alone, {name}"), quantile(alone, part), "ms");
            goals.figure(
                &format!("beside three hostile tenants, {name}"),
                quantile(with_hostile, part),
                "ms",
            );
        }
        let factor = quantile(with_hostile, 0.99) / quantile(alone, 0.99);
        goals.at_most("factor at 99 of 100", factor, "", 2.0);
    }
}

/// A directory with the engines of this benchmark.
fn copy_engines() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (from, name) in [
        (pinhole_tests::engines(), "openai.wasm"),
        (pinhole_tests::engines(), "sketch.wasm"),
        (pinhole_tests::guests(), "hostile.wasm"),
    ] {
        std::fs::copy(from.join(name), directory.path().join(name)).unwrap();
    }
    directory
}

fn start_server(data_dir: &Path, engines_dir: &Path, upstream: &UpstreamProcess) -> BenchServer {
    let engines = engines_dir.to_str().unwrap().to_owned();
    BenchServer::start(&ServerOptions {
        data_dir,
        upstream: upstream.address(),
        engine: "openai",
        key: None,
        variables: &[("PINHOLE_ENGINES", engines)],
    })
}

/// Runs all tenants for this time. Returns the times of each well-behaved tenant, in milliseconds.
fn run_round(good: &[Tenant], hostile: &[Tenant], duration: Duration) -> Vec<Vec<f64>> {
    let has_ended = AtomicBool::new(false);
    let has_ended = &has_ended;
    let end = Instant::now() + duration;
    std::thread::scope(|scope| {
        for tenant in hostile {
            for _ in 0..HOSTILE_CONNECTIONS {
                scope.spawn(|| tenant.attack_until(has_ended));
            }
        }
        let threads: Vec<_> = good
            .iter()
            .map(|tenant| scope.spawn(move || tenant.measure_until(end)))
            .collect();
        let times = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        has_ended.store(true, Ordering::Relaxed);
        times
    })
}

fn wait_until_idle(server: &BenchServer) {
    loop {
        let before = server.cpu_ms();
        std::thread::sleep(Duration::from_millis(200));
        if server.cpu_ms() - before < IDLE_CPU_MS {
            return;
        }
    }
}

impl Tenant {
    /// A new user, who sends this body.
    fn sign_up(server: &BenchServer, name: &str, body: &Value) -> Self {
        Self {
            address: server.address,
            key: server.sign_up(name),
            body: body.to_string(),
        }
    }

    /// Requests one image after the other. Returns their times in milliseconds.
    fn measure_until(&self, end: Instant) -> Vec<f64> {
        let request = encode_request("POST", PATH, &self.key, &self.body);
        let mut connection = HttpConnection::open(self.address).unwrap();
        let mut times = Vec::new();
        while Instant::now() < end {
            let start = Instant::now();
            let (status, _) = connection.exchange(&request).unwrap();
            assert_eq!(status, 200);
            times.push(ms_since(start));
        }
        times
    }

    /// Sends one job after the other, without waiting for the last.
    fn attack_until(&self, has_ended: &AtomicBool) {
        let request = encode_request("POST", PATH, &self.key, &self.body);
        while !has_ended.load(Ordering::Relaxed) {
            let mut connection = HttpConnection::open(self.address).unwrap();
            connection.send(&request).unwrap();
            while !connection.is_readable() && !has_ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
