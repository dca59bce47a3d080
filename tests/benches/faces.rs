//! The cost of the server's APIs compared with direct requests to the upstream: `cargo xtask bench faces`.
//!
//! Server, upstream and client are three processes: the optimized program `pinhole`, this binary started
//! once more, and this process. The sides take turns, round by round, so that the noise of the machine
//! affects all equally. Arguments select rows by name (`one many large cpu chat start memory`); `--quick`
//! runs fewer rounds.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "faces/bench_server.rs"]
mod bench_server;
#[path = "faces/goals.rs"]
mod goals;
#[path = "faces/http_connection.rs"]
mod http_connection;
#[path = "faces/side.rs"]
mod side;
#[path = "engine/upstream_process.rs"]
#[expect(dead_code, reason = "another benchmark holds responses")]
mod upstream_process;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use bench_server::{BenchServer, Memory, ServerOptions, ms_since};
use goals::{Goals, Spread, median};
use http_connection::{HttpConnection, encode_request};
use side::{Load, Round, Side};
use upstream_process::UpstreamProcess;

const SMALL_BYTES: usize = 20 << 10;
const LARGE_BYTES: usize = 2 << 20;

/// A part of the benchmark that can be selected.
struct Row {
    name: &'static str,
    run: fn(&ApiBench),
}

/// The rows, in order.
const ROWS: [Row; 7] = [
    Row {
        name: "one",
        run: ApiBench::one_at_a_time,
    },
    Row {
        name: "many",
        run: ApiBench::many_at_once,
    },
    Row {
        name: "large",
        run: ApiBench::large_images,
    },
    Row {
        name: "cpu",
        run: ApiBench::large_images_without_latency,
    },
    Row {
        name: "chat",
        run: ApiBench::chat_turns,
    },
    Row {
        name: "start",
        run: ApiBench::server_starts,
    },
    Row {
        name: "memory",
        run: ApiBench::server_memory,
    },
];

struct ApiBench {
    upstream: SocketAddr,
    /// For all servers. On the disk of the build and not in memory, as in production.
    data_dir: TempDir,
    /// The administrator's key.
    key: String,
    goals: Goals,
    is_quick: bool,
}

/// The rounds of all sides.
struct SideRounds {
    direct: Vec<Round>,
    openai: Vec<Round>,
    stored: Vec<Round>,
}

/// Minimum throughput of the APIs relative to the direct side.
struct ThroughputGoals {
    openai: Option<f64>,
    stored: Option<f64>,
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
    let is_selected = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(unknown) = arguments.iter().find(|argument| !is_known(argument)) {
        let names = ROWS.map(|row| row.name).join(", ");
        panic!("unknown row {unknown}: use {names} or --quick");
    }
    let upstream = UpstreamProcess::start();
    let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let authority = upstream.url.strip_prefix("http://").unwrap();
    let address = authority.parse().unwrap();
    let bench = ApiBench {
        upstream: address,
        // This start compiles the engines for all others.
        key: BenchServer::start(&ServerOptions {
            data_dir: data_dir.path(),
            upstream: address,
            engine: "openai",
            key: None,
            variables: &[],
        })
        .key
        .clone(),
        data_dir,
        goals: Goals::default(),
        is_quick: is_selected("--quick"),
    };
    let load_average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "load of the machine before: {}",
        load_average.split(' ').next().unwrap_or_default()
    );
    let runs_all = !ROWS.iter().any(|row| is_selected(row.name));
    for row in ROWS {
        if runs_all || is_selected(row.name) {
            (row.run)(&bench);
        }
    }
    bench.goals.print_summary();
}

/// Cargo adds `--bench`.
fn is_known(argument: &str) -> bool {
    ["--quick", "--bench"].contains(&argument) || ROWS.iter().any(|row| row.name == argument)
}

impl ApiBench {
    /// What the server adds to sequential requests.
    fn one_at_a_time(&self) {
        println!("\n20 KB, one at a time, upstream without latency");
        let load = Load {
            image_bytes: SMALL_BYTES,
            delay_ms: 0,
            connections: 1,
            requests: 200,
        };
        let rounds = self.run_in_turns(load, 20);
        let goals = &self.goals;
        let direct = median_wall_ms(&rounds.direct);
        goals.figure("direct, median", direct, "ms");
        let added = |side: &[Round]| median_wall_ms(side) - direct;
        goals.at_most("/v1: added at the median", added(&rounds.openai), "ms", 0.3);
        goals.at_most(
            "/v1: CPU of the server, a picture",
            mean_cpu_ms(&rounds.openai),
            "ms",
            0.25,
        );
        goals.at_most(
            "stored: added at the median",
            added(&rounds.stored),
            "ms",
            0.8,
        );
        goals.figure(
            "stored: CPU of the server, a picture",
            mean_cpu_ms(&rounds.stored),
            "ms",
        );
        self.require_no_loss(&rounds);
    }

    /// Throughput of many parallel requests to a slow upstream.
    fn many_at_once(&self) {
        println!("\n20 KB, 64 at once, upstream takes 50 ms");
        let load = Load {
            image_bytes: SMALL_BYTES,
            delay_ms: 50,
            connections: 64,
            requests: 20,
        };
        let goals = ThroughputGoals {
            openai: Some(0.975),
            stored: Some(0.95),
        };
        self.compare_throughput(load, 9, &goals);
    }

    /// Throughput of large images.
    fn large_images(&self) {
        println!("\n2 MB, 8 at once, upstream takes 50 ms");
        let load = Load {
            image_bytes: LARGE_BYTES,
            delay_ms: 50,
            connections: 8,
            requests: 20,
        };
        let goals = ThroughputGoals {
            openai: Some(0.9),
            stored: None,
        };
        self.compare_throughput(load, 9, &goals);
    }

    /// CPU time of the server for a large image.
    fn large_images_without_latency(&self) {
        println!("\n2 MB, 8 at once, upstream without latency");
        let load = Load {
            image_bytes: LARGE_BYTES,
            delay_ms: 0,
            connections: 8,
            requests: 20,
        };
        let rounds = self.run_in_turns(load, 9);
        let goals = &self.goals;
        goals.figure(
            "direct",
            images_per_second(&rounds.direct, load),
            "a second",
        );
        goals.figure("/v1", images_per_second(&rounds.openai, load), "a second");
        let openai_cpu = mean_cpu_ms(&rounds.openai);
        goals.at_most("/v1: CPU of the server, a picture", openai_cpu, "ms", 3.0);
        let stored_cpu = mean_cpu_ms(&rounds.stored);
        goals.figure("stored: CPU of the server, a picture", stored_cpu, "ms");
        self.require_no_loss(&rounds);
    }

    /// From a chat request to the event that shows its image, as a server-sent event.
    fn chat_turns(&self) {
        const WARM_UP: usize = 5;
        println!("\nchat turn on an engine without latency, until its image shows");
        let server = self.start_server("sketch");
        let mut chat_connection = HttpConnection::open(server.address).unwrap();
        let walls: Vec<f64> = (0..self.rounds(100) + WARM_UP)
            .map(|turn| run_chat_turn(&server, &mut chat_connection, turn))
            .skip(WARM_UP)
            .collect();
        let spread = Spread::of(walls);
        self.goals
            .at_most("sketch, 512 x 512: median", spread.median, "ms", 10.0);
        self.goals
            .figure("sketch, 512 x 512: most", spread.max, "ms");
    }

    /// From the start of the process to an image, with compiled engines.
    fn server_starts(&self) {
        println!("\nstart to first image, engines compiled before");
        let load = Load {
            image_bytes: SMALL_BYTES,
            delay_ms: 0,
            connections: 1,
            requests: 1,
        };
        let starts = (0..self.rounds(20)).map(|_| {
            let start = Instant::now();
            let server = self.start_server("openai");
            let round = Side::openai(&server).run(&server, load);
            assert_eq!(round.lost, 0);
            ms_since(start) / 1e3
        });
        let spread = Spread::of(starts.collect());
        self.goals.at_most("median", spread.median, "s", 0.15);
        self.goals.figure("most", spread.max, "s");
    }

    /// The memory of the server under load, and its growth.
    fn server_memory(&self) {
        println!("\nmemory of the server's process, MB");
        let server = self.start_server("openai");
        let idle = server.memory();
        let mut sides = [Side::openai(&server), Side::stored(&server)];
        let mut run_jobs = |count: usize| {
            let load = Load {
                image_bytes: SMALL_BYTES,
                delay_ms: 0,
                connections: 50,
                requests: count / 2 / 50,
            };
            let lost = sides.each_mut().map(|side| side.run(&server, load).lost);
            assert_eq!(lost, [0, 0]);
            server.memory()
        };
        let after_1_000 = run_jobs(1_000);
        let after_all = run_jobs(if self.is_quick { 1_000 } else { 9_000 });
        let mut peak = Memory::default();
        for (image_bytes, delay_ms, connections) in [
            (SMALL_BYTES, 50, 64),
            (LARGE_BYTES, 50, 8),
            (LARGE_BYTES, 0, 8),
        ] {
            let load = Load {
                image_bytes,
                delay_ms,
                connections,
                requests: self.rounds(1_200 / connections),
            };
            for side in &mut sides {
                peak = peak.max(peak_memory(&server, || side.run(&server, load)));
            }
        }
        let goals = &self.goals;
        goals.figure("idle: Pss", idle.proportional, "MB");
        goals.figure("idle: RSS", idle.resident, "MB");
        goals.at_most("under load, most: Pss", peak.proportional, "MB", 100.0);
        goals.at_most("under load, most: RSS", peak.resident, "MB", 100.0);
        goals.figure("after 1 000 jobs: Pss", after_1_000.proportional, "MB");
        goals.figure("after all jobs: Pss", after_all.proportional, "MB");
        let growth = after_all.proportional / after_1_000.proportional;
        goals.at_most("all jobs beside 1 000: Pss", growth, "", 1.1);
    }

    fn start_server(&self, engine: &str) -> BenchServer {
        BenchServer::start(&ServerOptions {
            data_dir: self.data_dir.path(),
            upstream: self.upstream,
            engine,
            key: Some(&self.key),
            variables: &[],
        })
    }

    /// The number of rounds; a fifth with `--quick`.
    fn rounds(&self, full: usize) -> usize {
        if self.is_quick {
            full.div_ceil(5)
        } else {
            full
        }
    }

    /// Runs rounds of all sides. The first round of each warms up.
    fn run_in_turns(&self, load: Load, rounds: usize) -> SideRounds {
        let server = self.start_server("openai");
        let mut sides = [
            Side::direct(self.upstream),
            Side::openai(&server),
            Side::stored(&server),
        ];
        let mut measured = [const { Vec::new() }; 3];
        for round in 0..=self.rounds(rounds) {
            for turn in 0..sides.len() {
                // Each side is first equally often.
                let side = (turn + round) % sides.len();
                let result = sides[side].run(&server, load);
                if round > 0 {
                    measured[side].push(result);
                }
            }
        }
        let [direct, openai, stored] = measured;
        SideRounds {
            direct,
            openai,
            stored,
        }
    }

    fn compare_throughput(&self, load: Load, rounds: usize, least: &ThroughputGoals) {
        let rounds = self.run_in_turns(load, rounds);
        let goals = &self.goals;
        goals.figure(
            "direct",
            images_per_second(&rounds.direct, load),
            "a second",
        );
        let sides = [
            ("/v1", &rounds.openai, least.openai),
            ("stored", &rounds.stored, least.stored),
        ];
        for (name, side, goal) in sides {
            // The machine was the same for both rounds of a pair.
            let pairs = side.iter().zip(&rounds.direct);
            let ratios = pairs.map(|(api, direct)| direct.elapsed_secs / api.elapsed_secs);
            let Spread { median, min, max } = Spread::of(ratios.collect());
            let label = format!("{name}: beside direct ({min:.3} to {max:.3})");
            match goal {
                Some(goal) => goals.at_least(&label, median, "", goal),
                None => goals.figure(&label, median, ""),
            }
        }
        self.require_no_loss(&rounds);
    }

    /// Each requested image must have arrived.
    fn require_no_loss(&self, rounds: &SideRounds) {
        let all = rounds.openai.iter().chain(&rounds.stored);
        let lost: usize = all.map(|round| round.lost).sum();
        self.goals.at_most("pictures lost", lost as f64, "", 0.0);
    }
}

/// Sends a chat request and waits for its image. Returns the time in milliseconds.
fn run_chat_turn(server: &BenchServer, chat_connection: &mut HttpConnection, turn: usize) -> f64 {
    let chat = format!("chat-{turn}");
    let mut events = HttpConnection::open(server.address).unwrap();
    let events_path = format!("/api/events?chat_id={chat}");
    events
        .send(&encode_request("GET", &events_path, &server.key, ""))
        .unwrap();
    let head_end = events.read_until(0, "\r\n\r\n").unwrap();
    let body = serde_json::json!({
        "model": "m",
        "chat_id": chat,
        "id": format!("message-{turn}"),
        "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a fox at a quiet lake"}],
    });
    let path = "/api/chat/completions";
    let request = encode_request("POST", path, &server.key, &body.to_string());
    let start = Instant::now();
    chat_connection.send(&request).unwrap();
    events.read_until(head_end, r#""type":"files""#).unwrap();
    let wall = ms_since(start);
    let (status, response) = chat_connection.receive().unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(response));
    wall
}

/// The median of all requests.
fn median_wall_ms(rounds: &[Round]) -> f64 {
    let walls = rounds.iter().flat_map(|round| round.wall_ms.clone());
    median(walls.collect())
}

/// CPU time of the server for an image, the mean of the rounds.
fn mean_cpu_ms(rounds: &[Round]) -> f64 {
    let total: f64 = rounds.iter().map(|round| round.cpu_ms).sum();
    total / rounds.len() as f64
}

/// The median of the rounds.
fn images_per_second(rounds: &[Round], load: Load) -> f64 {
    let images = (load.connections * load.requests) as f64;
    let rates = rounds.iter().map(|round| images / round.elapsed_secs);
    median(rates.collect())
}

/// The maximum memory of the process during a round.
fn peak_memory(server: &BenchServer, run: impl FnOnce() -> Round) -> Memory {
    const INTERVAL: Duration = Duration::from_millis(100);
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = server.memory();
            while !has_ended.load(Ordering::Relaxed) {
                std::thread::sleep(INTERVAL);
                peak = peak.max(server.memory());
            }
            peak
        });
        assert_eq!(run().lost, 0);
        has_ended.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    })
}
