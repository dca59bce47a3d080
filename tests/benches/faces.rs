//! What the HTTP faces cost beside the upstream asked directly: `cargo xtask bench faces`.
//!
//! Server, upstream and client are processes of their own: the program `pinhole` as it ships, this
//! binary once more as the upstream, and this process. Sides take turns, round by round, because a
//! machine's noise then meets all alike. Names of rows (`one many large cpu chat start memory`) choose
//! some of them, and `--quick` makes fewer rounds.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops where it fails"
)]

#[path = "faces/client.rs"]
mod client;
#[path = "faces/goals.rs"]
mod goals;
#[path = "faces/server.rs"]
mod server;
#[path = "faces/side.rs"]
mod side;
#[path = "engine/upstream.rs"]
#[expect(dead_code, reason = "the other benchmark holds answers back too")]
mod upstream;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use client::Connection;
use goals::{Goals, median, spread};
use server::{Memory, Pinhole, ms_since};
use side::{Load, Round, Side};
use upstream::Upstream;

const SMALL: usize = 20 << 10;
const LARGE: usize = 2 << 20;

/// A row's name, and what measures it.
type Row = (&'static str, fn(&Bench));

/// The rows, in order.
const ROWS: [Row; 7] = [
    ("one", Bench::one_at_a_time),
    ("many", Bench::many_at_once),
    ("large", Bench::large),
    ("cpu", Bench::large_without_latency),
    ("chat", Bench::chat),
    ("start", Bench::start),
    ("memory", Bench::memory),
];

struct Bench {
    upstream: SocketAddr,
    /// Of every server that is started. On the disk of the build and not in memory, as an
    /// operator's is.
    data: TempDir,
    /// The administrator's.
    key: String,
    goals: Goals,
    quick: bool,
}

fn main() {
    if upstream::is_wanted() {
        return upstream::serve();
    }
    // `cargo test --benches` runs this too: then there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let chosen = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(unknown) = arguments.iter().find(|argument| !is_known(argument)) {
        let names = ROWS.map(|(name, _)| name).join(", ");
        panic!("there is no row {unknown}: there are {names}, and --quick");
    }
    let upstream = Upstream::start();
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let address = upstream.url.strip_prefix("http://").unwrap();
    let address = address.parse().unwrap();
    let bench = Bench {
        upstream: address,
        // This start compiles the engines: no other does.
        key: Pinhole::start(data.path(), address, "openai", None)
            .key
            .clone(),
        data,
        goals: Goals::default(),
        quick: chosen("--quick"),
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("load of the machine before: {load}");
    let all = !ROWS.iter().any(|(name, _)| chosen(name));
    for (name, row) in ROWS {
        if all || chosen(name) {
            row(&bench);
        }
    }
    bench.goals.sum();
}

/// Cargo adds `--bench`.
fn is_known(argument: &str) -> bool {
    ["--quick", "--bench"].contains(&argument) || ROWS.iter().any(|(name, _)| *name == argument)
}

impl Bench {
    /// What the server adds to one request after the other.
    fn one_at_a_time(&self) {
        println!("\n20 KB, one at a time, upstream without latency");
        let load = Load {
            bytes: SMALL,
            delay_ms: 0,
            at_once: 1,
            each: 200,
        };
        let [direct, openai, stored] = self.in_turns(load, 20);
        let wall =
            |rounds: &[Round]| median(rounds.iter().flat_map(|it| it.walls.clone()).collect());
        let cpu =
            |rounds: &[Round]| rounds.iter().map(|it| it.cpu).sum::<f64>() / rounds.len() as f64;
        let goals = &self.goals;
        goals.figure("direct, median", wall(&direct), "ms");
        for (name, side, most_wall, most_cpu) in [
            ("/v1", &openai, 0.3, Some(0.25)),
            ("stored", &stored, 0.8, None),
        ] {
            let added = wall(side) - wall(&direct);
            goals.at_most(
                &format!("{name}: added at the median"),
                added,
                "ms",
                most_wall,
            );
            let what = format!("{name}: CPU of the server, a picture");
            match most_cpu {
                Some(most) => goals.at_most(&what, cpu(side), "ms", most),
                None => goals.figure(&what, cpu(side), "ms"),
            }
        }
        self.none_lost(&[openai, stored]);
    }

    /// Throughput where many wait for a slow upstream.
    fn many_at_once(&self) {
        println!("\n20 KB, 64 at once, upstream takes 50 ms");
        let load = Load {
            bytes: SMALL,
            delay_ms: 50,
            at_once: 64,
            each: 20,
        };
        self.throughput(load, 9, [Some(0.975), Some(0.95)]);
    }

    /// Throughput of large pictures.
    fn large(&self) {
        println!("\n2 MB, 8 at once, upstream takes 50 ms");
        let load = Load {
            bytes: LARGE,
            delay_ms: 50,
            at_once: 8,
            each: 20,
        };
        self.throughput(load, 9, [Some(0.9), None]);
    }

    /// What a large picture costs the server's process.
    fn large_without_latency(&self) {
        println!("\n2 MB, 8 at once, upstream without latency");
        let load = Load {
            bytes: LARGE,
            delay_ms: 0,
            at_once: 8,
            each: 20,
        };
        let [direct, openai, stored] = self.in_turns(load, 9);
        let cpu =
            |rounds: &[Round]| rounds.iter().map(|it| it.cpu).sum::<f64>() / rounds.len() as f64;
        let goals = &self.goals;
        goals.figure("direct", rate(&direct, load), "a second");
        goals.figure("/v1", rate(&openai, load), "a second");
        goals.at_most("/v1: CPU of the server, a picture", cpu(&openai), "ms", 3.0);
        goals.figure("stored: CPU of the server, a picture", cpu(&stored), "ms");
        self.none_lost(&[openai, stored]);
    }

    /// From a chat's request to the event that shows its picture, by server-sent events.
    fn chat(&self) {
        println!("\nchat turn on an engine without latency, until its picture shows");
        let server = self.server("sketch");
        let mut asking = Connection::open(server.address).unwrap();
        let walls = (0..self.rounds(100) + 5).map(|turn| {
            let chat = format!("chat-{turn}");
            let mut hearing = Connection::open(server.address).unwrap();
            let path = format!("/api/events?chat_id={chat}");
            let listen = client::request("GET", &path, &server.key, "");
            hearing.send(&listen).unwrap();
            let head = hearing.wait_for(0, "\r\n\r\n").unwrap();
            let body = serde_json::json!({
                "model": "m",
                "chat_id": chat,
                "id": format!("message-{turn}"),
                "features": {"image_generation": true},
                "messages": [{"role": "user", "content": "a fox at a quiet lake"}],
            });
            let body = body.to_string();
            let path = "/api/chat/completions";
            let request = client::request("POST", path, &server.key, &body);
            let start = Instant::now();
            asking.send(&request).unwrap();
            hearing.wait_for(head, r#""type":"files""#).unwrap();
            let wall = ms_since(start);
            let (status, answer) = asking.receive().unwrap();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(answer));
            wall
        });
        // The first turns warm the engine up.
        let walls: Vec<f64> = walls.skip(5).collect();
        let (middle, _, most) = spread(walls);
        self.goals
            .at_most("sketch, 512 x 512: median", middle, "ms", 10.0);
        self.goals.figure("sketch, 512 x 512: most", most, "ms");
    }

    /// From the start of the process to a picture, with engines that were compiled before.
    fn start(&self) {
        println!("\nstart to first picture, engines compiled before");
        let starts = (0..self.rounds(20)).map(|_| {
            let start = Instant::now();
            let server = self.server("openai");
            let load = Load {
                bytes: SMALL,
                delay_ms: 0,
                at_once: 1,
                each: 1,
            };
            let round = Side::openai(&server).run(&server, load);
            assert_eq!(round.lost, 0);
            ms_since(start) / 1e3
        });
        let (middle, _, most) = spread(starts.collect());
        self.goals.at_most("median", middle, "s", 0.15);
        self.goals.figure("most", most, "s");
    }

    /// What the process holds under load, and whether that grows.
    fn memory(&self) {
        println!("\nmemory of the server's process, MB");
        let server = self.server("openai");
        let idle = server.memory();
        let mut sides = [Side::openai(&server), Side::stored(&server)];
        let mut jobs = |count: usize| {
            let load = Load {
                bytes: SMALL,
                delay_ms: 0,
                at_once: 50,
                each: count / 2 / 50,
            };
            let lost = sides.each_mut().map(|side| side.run(&server, load).lost);
            assert_eq!(lost, [0, 0]);
            server.memory()
        };
        let after_1_000 = jobs(1_000);
        let after_all = if self.quick { jobs(1_000) } else { jobs(9_000) };
        let mut most = Memory::default();
        for (bytes, delay_ms, at_once) in [(SMALL, 50, 64), (LARGE, 50, 8), (LARGE, 0, 8)] {
            let load = Load {
                bytes,
                delay_ms,
                at_once,
                each: self.rounds(1_200 / at_once),
            };
            for side in &mut sides {
                most = most.most(under_load(&server, || side.run(&server, load)));
            }
        }
        let goals = &self.goals;
        goals.figure("idle: Pss", idle.proportional, "MB");
        goals.figure("idle: RSS", idle.resident, "MB");
        goals.at_most("under load, most: Pss", most.proportional, "MB", 100.0);
        goals.at_most("under load, most: RSS", most.resident, "MB", 100.0);
        goals.figure("after 1 000 jobs: Pss", after_1_000.proportional, "MB");
        goals.figure("after all jobs: Pss", after_all.proportional, "MB");
        let grown = after_all.proportional / after_1_000.proportional;
        goals.at_most("all jobs beside 1 000: Pss", grown, "", 1.1);
    }

    /// A fresh server for a row.
    fn server(&self, engine: &str) -> Pinhole {
        Pinhole::start(self.data.path(), self.upstream, engine, Some(&self.key))
    }

    fn rounds(&self, many: usize) -> usize {
        if self.quick { many.div_ceil(5) } else { many }
    }

    /// The rounds of all three sides: direct, `/v1`, stored. One round of each warms up.
    fn in_turns(&self, load: Load, rounds: usize) -> [Vec<Round>; 3] {
        let server = self.server("openai");
        let mut sides = [
            Side::direct(self.upstream),
            Side::openai(&server),
            Side::stored(&server),
        ];
        let mut all = [const { Vec::new() }; 3];
        for round in 0..=self.rounds(rounds) {
            for turn in 0..sides.len() {
                // Every side goes first as often as the others.
                let side = (turn + round) % sides.len();
                let measured = sides[side].run(&server, load);
                if round > 0 {
                    all[side].push(measured);
                }
            }
        }
        all
    }

    fn throughput(&self, load: Load, rounds: usize, least: [Option<f64>; 2]) {
        let [direct, openai, stored] = self.in_turns(load, rounds);
        let goals = &self.goals;
        goals.figure("direct", rate(&direct, load), "a second");
        let sides = [("/v1", &openai), ("stored", &stored)];
        for ((name, side), least) in sides.into_iter().zip(least) {
            // Rounds beside each other met the same machine.
            let pairs = side.iter().zip(&direct);
            let ratios = pairs.map(|(side, direct)| direct.elapsed / side.elapsed);
            let (middle, lowest, highest) = spread(ratios.collect());
            let what = format!("{name}: beside direct ({lowest:.3} to {highest:.3})");
            match least {
                Some(least) => goals.at_least(&what, middle, "", least),
                None => goals.figure(&what, middle, ""),
            }
        }
        self.none_lost(&[openai, stored]);
    }

    /// Every picture that was asked for has to be there.
    fn none_lost(&self, sides: &[Vec<Round>]) {
        let lost: usize = sides.iter().flatten().map(|round| round.lost).sum();
        self.goals.at_most("pictures lost", lost as f64, "", 0.0);
    }
}

/// Pictures a second at the median.
fn rate(rounds: &[Round], load: Load) -> f64 {
    let pictures = (load.at_once * load.each) as f64;
    median(
        rounds
            .iter()
            .map(|round| pictures / round.elapsed)
            .collect(),
    )
}

/// The most that the process held while something ran.
fn under_load(server: &Pinhole, run: impl FnOnce() -> Round) -> Memory {
    const BETWEEN: Duration = Duration::from_millis(100);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let mut most = server.memory();
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(BETWEEN);
                most = most.most(server.memory());
            }
            most
        });
        assert_eq!(run().lost, 0);
        ended.store(true, Ordering::Relaxed);
        watching.join().unwrap()
    })
}
