//! The cost of the server's APIs compared with direct requests to the upstream: `cargo xtask bench faces`.
//!
//! Server, upstream, nginx and client are processes of their own: the optimized program `pinhole`, this binary
//! started once more, nginx if it is installed, and this process. The sides take turns, round by round, so that the
//! noise of the machine affects all equally. Arguments select rows by name; `--quick` runs fewer rounds.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "faces/bench_server.rs"]
mod bench_server;
#[path = "faces/http_connection.rs"]
mod http_connection;
#[path = "faces/nginx.rs"]
mod nginx;
#[path = "faces/part.rs"]
mod part;
#[path = "faces/server_alone.rs"]
mod server_alone;
#[path = "faces/side.rs"]
mod side;
#[path = "faces/spread.rs"]
mod spread;
#[path = "faces/table.rs"]
mod table;
#[path = "engine/upstream_process.rs"]
mod upstream_process;

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;

use bench_server::{BenchServer, ServerOptions};
use nginx::Nginx;
use part::{Part, select};
use side::{Load, Round, Side};
use spread::{Spread, median};
use table::{Figures, Goal, Table};
use upstream_process::UpstreamProcess;

/// The option for fewer rounds.
const QUICK: &str = "--quick";
const SMALL_BYTES: usize = 20 << 10;
const LARGE_BYTES: usize = 2 << 20;

/// The parts, in order.
const PARTS: [Part<ApiBench>; 9] = [
    Part {
        name: "a",
        run: ApiBench::one_at_a_time,
    },
    Part {
        name: "b64",
        run: ApiBench::many_at_once,
    },
    Part {
        name: "c8",
        run: ApiBench::large_images,
    },
    Part {
        name: "m8",
        run: ApiBench::large_images_without_latency,
    },
    Part {
        name: "waiting",
        run: ApiBench::waiting_jobs,
    },
    Part {
        name: "chat",
        run: ApiBench::chat_turns,
    },
    Part {
        name: "start",
        run: ApiBench::server_starts,
    },
    Part {
        name: "binary",
        run: ApiBench::binary_size,
    },
    Part {
        name: "memory",
        run: ApiBench::server_memory,
    },
];

struct ApiBench {
    upstream: UpstreamProcess,
    upstream_address: SocketAddr,
    nginx: Option<Nginx>,
    /// For all servers. On the disk of the build and not in memory, as in production.
    data_dir: TempDir,
    /// The administrator's key.
    key: String,
    table: Table,
    is_quick: bool,
}

/// The rounds of each side: direct, nginx, `/v1` and stored.
struct SideRounds {
    direct: Vec<Round>,
    nginx: Option<Vec<Round>>,
    openai: Vec<Round>,
    stored: Vec<Round>,
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
    let parts = select(&PARTS, &arguments, &[QUICK]);
    let load_average = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "load of the machine before: {}",
        load_average.split(' ').next().unwrap_or_default()
    );
    let bench = ApiBench::new(arguments.iter().any(|argument| argument == QUICK));
    for part in parts {
        (part.run)(&bench);
    }
    bench.table.print();
}

impl ApiBench {
    fn new(is_quick: bool) -> Self {
        let upstream = UpstreamProcess::start();
        let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let upstream_address = upstream.address();
        let nginx = Nginx::start(data_dir.path(), upstream_address);
        if nginx.is_none() {
            println!("nginx is not installed, and its column is empty");
        }
        // This start compiles the engines for all others.
        let first = BenchServer::start(&ServerOptions {
            data_dir: data_dir.path(),
            upstream: upstream_address,
            engine: "openai",
            key: None,
            variables: &[],
        });
        Self {
            key: first.key.clone(),
            upstream,
            upstream_address,
            nginx,
            data_dir,
            table: Table::default(),
            is_quick,
        }
    }

    /// A: sequential requests.
    fn one_at_a_time(&self) {
        println!("\nA: 20 KB, one at a time, upstream without latency");
        let load = Load {
            image_bytes: SMALL_BYTES,
            delay_ms: 0,
            connections: 1,
            requests: 200,
        };
        let rounds = self.run_in_turns(load, 20);
        let cpu = rounds.figures(mean_cpu_ms);
        self.table.add(
            "A: CPU an image, ms",
            Figures {
                direct: None,
                openai_goal: Some(Goal::AtMost(0.28)),
                stored_goal: Some(Goal::AtMost(0.5)),
                ..cpu
            },
        );
        let wall = rounds.figures(|side| percentile_ms(side, 50));
        self.table.add(
            "A: p50, ms",
            Figures {
                openai_goal: Some(Goal::AtMost(0.4)),
                stored_goal: Some(Goal::AtMost(0.65)),
                ..wall
            },
        );
    }

    /// B64: many parallel requests to a slow upstream.
    fn many_at_once(&self) {
        println!("\nB64: 20 KB, 64 at once, upstream takes 50 ms");
        let load = Load {
            image_bytes: SMALL_BYTES,
            delay_ms: 50,
            connections: 64,
            requests: 20,
        };
        let rounds = self.run_in_turns(load, 9);
        self.table.add(
            "B64: of direct",
            Figures {
                openai_goal: Some(Goal::AtLeast(0.98)),
                stored_goal: Some(Goal::AtLeast(0.965)),
                ..rounds.of_direct()
            },
        );
        self.table.add(
            "B64: p99, ms",
            Figures {
                openai_goal: Some(Goal::AtMost(57.0)),
                stored_goal: Some(Goal::AtMost(60.0)),
                ..rounds.figures(|side| percentile_ms(side, 99))
            },
        );
    }

    /// C8: large images of a slow upstream.
    fn large_images(&self) {
        println!("\nC8: 2 MB, 8 at once, upstream takes 50 ms");
        let load = Load {
            image_bytes: LARGE_BYTES,
            delay_ms: 50,
            connections: 8,
            requests: 20,
        };
        let rounds = self.run_in_turns(load, 9);
        self.table.add(
            "C8: of direct",
            Figures {
                openai_goal: Some(Goal::AtLeast(0.91)),
                stored_goal: Some(Goal::AtLeast(0.82)),
                ..rounds.of_direct()
            },
        );
        self.table.add(
            "C8: CPU an image, ms",
            Figures {
                direct: None,
                openai_goal: Some(Goal::AtMost(2.7)),
                stored_goal: Some(Goal::AtMost(4.5)),
                ..rounds.figures(mean_cpu_ms)
            },
        );
    }

    /// M8: large images of a fast upstream.
    fn large_images_without_latency(&self) {
        println!("\nM8: 2 MB, 8 at once, upstream without latency");
        let load = Load {
            image_bytes: LARGE_BYTES,
            delay_ms: 0,
            connections: 8,
            requests: 20,
        };
        let rounds = self.run_in_turns(load, 9);
        self.table.add(
            "M8: images a second",
            Figures {
                openai_goal: Some(Goal::AtLeast(480.0)),
                stored_goal: Some(Goal::AtLeast(350.0)),
                ..rounds.figures(|side| images_per_second(side, load))
            },
        );
    }

    fn start_server(&self, engine: &str) -> BenchServer {
        BenchServer::start(&self.server_options(self.data_dir.path(), engine, &[]))
    }

    fn server_options<'a>(
        &'a self,
        data_dir: &'a Path,
        engine: &'a str,
        variables: &'a [(&'a str, String)],
    ) -> ServerOptions<'a> {
        ServerOptions {
            data_dir,
            upstream: self.upstream_address,
            engine,
            key: Some(&self.key),
            variables,
        }
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
        let mut sides = vec![
            Side::direct(self.upstream_address),
            Side::openai(&server),
            Side::stored(&server),
        ];
        sides.extend(self.nginx.as_ref().map(Side::nginx));
        let mut measured: Vec<_> = sides.iter().map(|_| Vec::new()).collect();
        for round in 0..=self.rounds(rounds) {
            for turn in 0..sides.len() {
                // Each side is first equally often.
                let side = (turn + round) % sides.len();
                let result = sides[side].run(load);
                assert_eq!(result.lost, 0, "images were lost");
                if round > 0 {
                    measured[side].push(result);
                }
            }
        }
        let mut measured = measured.into_iter();
        let mut next = || measured.next().unwrap_or_default();
        SideRounds {
            direct: next(),
            openai: next(),
            stored: next(),
            nginx: self.nginx.as_ref().map(|_| next()),
        }
    }
}

impl SideRounds {
    /// A figure of each side.
    fn figures(&self, figure: impl Fn(&[Round]) -> f64) -> Figures {
        Figures {
            direct: Some(figure(&self.direct)),
            nginx: self.nginx.as_deref().map(&figure),
            openai: Some(figure(&self.openai)),
            stored: Some(figure(&self.stored)),
            ..Figures::default()
        }
    }

    /// The throughput of each side relative to direct requests, the median of pairs of rounds: the machine was the
    /// same for both.
    fn of_direct(&self) -> Figures {
        self.figures(|side| {
            let pairs = side.iter().zip(&self.direct);
            let ratios = pairs.map(|(it, direct)| direct.elapsed_secs / it.elapsed_secs);
            median(ratios.collect())
        })
    }
}

/// This percentile of all requests.
fn percentile_ms(rounds: &[Round], percent: usize) -> f64 {
    let mut walls: Vec<f64> = rounds
        .iter()
        .flat_map(|round| round.wall_ms.clone())
        .collect();
    walls.sort_by(f64::total_cmp);
    walls[(walls.len() - 1) * percent / 100]
}

/// CPU time for an image, the mean of the rounds.
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
