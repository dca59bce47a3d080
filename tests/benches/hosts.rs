//! Several hosts with PostgreSQL and Redis: `cargo xtask bench hosts`.
//!
//! The hosts are processes of the optimized program `pinhole`, each with a data directory of its own; the upstream is this
//! binary started once more, and the clients are threads of this process. `cargo xtask` starts PostgreSQL and Redis.
//! Arguments select rows by name; `--quick` runs fewer rounds.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "faces/bench_server.rs"]
#[expect(
    dead_code,
    reason = "other benchmarks measure memory and sign up users"
)]
mod bench_server;
#[path = "hosts/cluster_hosts.rs"]
mod cluster_hosts;
#[path = "../it/jobs_api/durable/comfy.rs"]
#[expect(dead_code, reason = "tests look at more of its requests")]
mod comfy;
#[path = "hosts/database.rs"]
mod database;
#[path = "hosts/events.rs"]
mod events;
#[path = "faces/goals.rs"]
mod goals;
#[path = "faces/http_connection.rs"]
#[expect(dead_code, reason = "another benchmark reads endless responses")]
mod http_connection;
#[path = "hosts/idle.rs"]
mod idle;
#[path = "hosts/load.rs"]
mod load;
#[path = "faces/part.rs"]
mod part;
#[path = "hosts/redis_counters.rs"]
mod redis_counters;
#[path = "hosts/settings.rs"]
mod settings;
#[path = "faces/spread.rs"]
mod spread;
#[path = "hosts/stored.rs"]
mod stored;
#[path = "hosts/takeover.rs"]
mod takeover;
#[path = "hosts/throughput.rs"]
mod throughput;
#[path = "engine/upstream_process.rs"]
#[expect(dead_code, reason = "another benchmark holds responses")]
mod upstream_process;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use goals::Goals;
use part::{Part, select};
use upstream_process::UpstreamProcess;

/// The option for fewer rounds.
const QUICK: &str = "--quick";
/// The variables with which `cargo xtask bench` names the servers that it starts.
const POSTGRES: &str = "PINHOLE_TEST_POSTGRES";
const REDIS: &str = "PINHOLE_TEST_REDIS";

/// The rows, in order.
const ROWS: [Part<HostsBench>; 6] = [
    Part {
        name: "stored",
        run: stored::run,
    },
    Part {
        name: "throughput",
        run: throughput::run,
    },
    Part {
        name: "settings",
        run: settings::run,
    },
    Part {
        name: "idle",
        run: idle::run,
    },
    Part {
        name: "events",
        run: events::run,
    },
    Part {
        name: "takeover",
        run: takeover::run,
    },
];

/// What all rows use.
struct HostsBench {
    /// The URL of PostgreSQL, without a database.
    postgres: String,
    redis: String,
    upstream: UpstreamProcess,
    runtime: Runtime,
    /// For the hosts' data, on the disk of the build.
    directory: TempDir,
    goals: Goals,
    is_quick: bool,
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
    let rows = select(&ROWS, &arguments, &[QUICK]);
    let (Ok(postgres), Ok(redis)) = (std::env::var(POSTGRES), std::env::var(REDIS)) else {
        println!("skipped: run `cargo xtask bench hosts` on a machine with PostgreSQL and Redis");
        return;
    };
    let load_average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "load of the machine before: {}",
        load_average.split(' ').next().unwrap_or_default()
    );
    let bench = HostsBench {
        postgres,
        redis,
        upstream: UpstreamProcess::start(),
        runtime: Runtime::new().unwrap(),
        directory: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
        goals: Goals::default(),
        is_quick: arguments.iter().any(|argument| argument == QUICK),
    };
    for row in rows {
        println!("\n{}", row.name);
        (row.run)(&bench);
    }
    bench.goals.print_summary();
}

impl HostsBench {
    /// A number of repetitions; a fifth with `--quick`.
    fn repetitions(&self, full: usize) -> usize {
        if self.is_quick {
            full.div_ceil(5)
        } else {
            full
        }
    }
}
