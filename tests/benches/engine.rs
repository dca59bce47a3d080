//! What a component costs beside the same logic written natively: `cargo xtask bench`.
//!
//! One process holds both sides, so that its CPU time can be compared; the upstream is a child
//! process. Criterion reports each side; the table after it compares them in turns, round by
//! round, because a machine's noise then meets both alike.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops where it fails"
)]

#[path = "engine/native.rs"]
mod native;
#[path = "engine/upstream.rs"]
mod upstream;

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use criterion::Criterion;
use futures_util::future::join_all;
use pinhole::jobs::{JobPlan, JobRequest, Operation, Requester};
use pinhole_sandbox::JobContext;
use pinhole_tests::{Server, traffic};
use tokio::runtime::Runtime;

use native::{Decoder, Native};
use upstream::Upstream;

const SIZES: [(&str, usize); 3] = [("20 KB", 20 << 10), ("2 MB", 2 << 20), ("10 MB", 10 << 20)];
/// Jobs that wait at the same time when their memory is measured.
const WAITING: usize = 1000;

/// Both sides, and the upstream they share.
struct Bench {
    runtime: Runtime,
    upstream: Upstream,
    server: Server,
    native: Native,
}

fn main() {
    if upstream::is_wanted() {
        return upstream::serve();
    }
    let runtime = Runtime::new().unwrap();
    let upstream = Upstream::start();
    let base = format!("{}/v1", upstream.url);
    let guests = folder_of_all();
    let server = runtime.block_on(Server::start(&[
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGES_OPENAI_API_BASE_URL", &base),
        ("IMAGES_OPENAI_API_KEY", "k"),
        ("PINHOLE_ENGINES", guests.path().to_str().unwrap()),
        ("HOSTILE_BASE_URL", &base),
        ("PINHOLE_SLOTS", "1100"),
    ]));
    let bench = Bench {
        native: Native::new(&base),
        runtime,
        upstream,
        server,
    };
    // `cargo test --benches` runs this too: then once through is enough.
    let criterion = Criterion::default().configure_from_args();
    let mut criterion = criterion
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    bench.criterion(&mut criterion);
    criterion.final_summary();
    if !std::env::args().any(|argument| argument == "--test") {
        bench.compare();
        bench.many_at_once();
        bench.waiting();
        bench.late_timers();
        bench.traffic();
    }
}

impl Bench {
    fn criterion(&self, criterion: &mut Criterion) {
        for (name, bytes) in SIZES {
            let mut group = criterion.benchmark_group(format!("call, {name}"));
            group.bench_function("native", |b| b.iter(|| self.native(bytes, Decoder::Base64)));
            group.bench_function("native, SIMD", |b| {
                b.iter(|| self.native(bytes, Decoder::Simd))
            });
            group.bench_function("component", |b| b.iter(|| self.component(bytes)));
            group.finish();
        }
        criterion.bench_function("instance", |b| b.iter(|| self.instance()));
    }

    fn native(&self, bytes: usize, decoder: Decoder) {
        self.runtime
            .block_on(self.native.generate(bytes, 0, decoder));
    }

    fn component(&self, bytes: usize) {
        self.runtime.block_on(self.job(bytes, 0));
    }

    /// Store, instance, a trivial call, and all of it dropped.
    fn instance(&self) {
        let sketch = self.server.app.jobs.engines.get("sketch").unwrap();
        self.runtime
            .block_on(self.server.app.jobs.engines.describe(sketch))
            .unwrap();
    }

    fn plan(&self, engine: Option<&str>) -> JobPlan {
        let snapshot = self.server.app.jobs.snapshot();
        JobPlan::new(snapshot, Operation::Generate, engine, Requester::default()).unwrap()
    }

    /// One job, as every face makes it. The model's name tells the upstream how large and how late.
    async fn job(&self, bytes: usize, delay_ms: u64) {
        let request = JobRequest {
            prompt: "a fox".to_owned(),
            model: Some(upstream::model(bytes, delay_ms)),
            ..JobRequest::default()
        };
        let plan = self.plan(None);
        let context = JobContext::new("bench".to_owned());
        let completed = self.server.app.jobs.generate(&plan, request, &context).await;
        let images = completed.unwrap().images;
        assert_eq!(images[0].bytes().len(), bytes);
    }

    /// Median wall and CPU time of both sides in turns, and the ratio.
    fn compare(&self) {
        println!("\ncall of an engine, medians of rounds in turns (wall | CPU, milliseconds)");
        println!(
            "{:>6} {:>17} {:>17} {:>17}   component/native  component/SIMD",
            "", "native", "native, SIMD", "component"
        );
        for (name, bytes) in SIZES {
            let rounds = if bytes > 5 << 20 { 60 } else { 300 };
            let sides: [&dyn Fn(); 3] = [
                &|| self.native(bytes, Decoder::Base64),
                &|| self.native(bytes, Decoder::Simd),
                &|| self.component(bytes),
            ];
            let [native, simd, component] = in_turns(rounds, sides);
            println!(
                "{name:>6} {native} {simd} {component}   {:.2} | {:.2}       {:.2} | {:.2}",
                component.wall / native.wall,
                component.cpu / native.cpu,
                component.wall / simd.wall,
                component.cpu / simd.cpu,
            );
            if bytes < 1 << 20 {
                println!(
                    "       component - native: {:+.3} ms wall, {:+.3} ms CPU",
                    component.wall - native.wall,
                    component.cpu - native.cpu
                );
            }
        }
        let [instance] = in_turns(3000, [&|| self.instance()]);
        println!(
            "instance (store, instantiate, trivial call, drop): {:.1} µs wall, {:.1} µs CPU",
            instance.wall * 1e3,
            instance.cpu * 1e3
        );
    }

    /// Jobs a second, 64 at once, with an upstream that takes 50 ms.
    fn many_at_once(&self) {
        const AT_ONCE: usize = 64;
        const EACH: usize = 12;
        let bytes = 20 << 10;
        let (mut native, mut component) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            native.push(self.rate(AT_ONCE, EACH, || {
                self.native.generate(bytes, 50, Decoder::Simd)
            }));
            component.push(self.rate(AT_ONCE, EACH, || self.job(bytes, 50)));
        }
        let (native, component) = (median(&mut native), median(&mut component));
        println!(
            "\n{AT_ONCE} at once, upstream takes 50 ms, 20 KB: native {native:.0} a second, component {component:.0} a second, ratio {:.3}",
            component / native
        );
    }

    fn rate<F: Future<Output = ()>>(
        &self,
        at_once: usize,
        each: usize,
        call: impl Fn() -> F,
    ) -> f64 {
        let start = Instant::now();
        let chains = (0..at_once).map(|_| async {
            for _ in 0..each {
                call().await;
            }
        });
        self.runtime.block_on(join_all(chains));
        (at_once * each) as f64 / start.elapsed().as_secs_f64()
    }

    /// Memory of jobs that all wait for the upstream: in a process that never ran so many, and in
    /// one that did.
    fn waiting(&self) {
        println!("\n{WAITING} jobs waiting on the upstream, above idle");
        for round in ["the first time", "the second time"] {
            let idle = Memory::now();
            let held = self.runtime.block_on(async {
                let jobs = join_all((0..WAITING).map(|_| self.job(1 << 10, upstream::HOLD)));
                let measured = async {
                    self.upstream.wait_for(WAITING).await;
                    let held = Memory::now();
                    self.upstream.release().await;
                    held
                };
                tokio::join!(jobs, measured).1
            });
            println!(
                "  {round:<16} {:.1} MB ({:.1} MB where pages that instances share count for each)",
                held.proportional - idle.proportional,
                held.resident - idle.resident,
            );
        }
    }

    /// What every engine asks of its upstream for one picture, and what of it enters the guest.
    fn traffic(&self) {
        println!("\none 2 MB picture: requests, their bodies, and bytes that entered the guest");
        for job in self.runtime.block_on(traffic(2 << 20)) {
            println!(
                "  {:<14} {:<9} {:>7} bytes sent, {:>5} bytes entered: {}",
                job.engine,
                job.operation,
                job.sent_bytes,
                job.entered_bytes,
                job.requests.join(", "),
            );
        }
    }

    /// How late a timer of the server's is while four guests compute without end.
    fn late_timers(&self) {
        let idle = self.runtime.block_on(lateness());
        let spinning = || async {
            let control = JobContext::new("spin".to_owned());
            let request = JobRequest {
                prompt: "spin".to_owned(),
                ..JobRequest::default()
            };
            let plan = self.plan(Some("hostile"));
            self.server
                .app
                .jobs
                .generate(&plan, request, &control)
                .await
                .unwrap_err();
        };
        let busy = self.runtime.block_on(async {
            tokio::select! {
                late = lateness() => late,
                _ = join_all((0..4).map(|_| spinning())) => panic!("the guests ended too early"),
            }
        });
        println!("\na 5 ms timer is late by (median | 99th percentile | most, milliseconds)");
        println!("  idle                 {idle}");
        println!("  four guests spinning {busy}");
    }
}

/// The engines that ship and the test engines, in one folder.
fn folder_of_all() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, name) in [
        (pinhole_tests::engines(), "openai.wasm"),
        (pinhole_tests::engines(), "sketch.wasm"),
        (pinhole_tests::guests(), "hostile.wasm"),
    ] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// Medians of one side, in milliseconds.
struct Cost {
    wall: f64,
    cpu: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:>8.3} |{:>7.3}", self.wall, self.cpu)
    }
}

fn in_turns<const SIDES: usize>(rounds: usize, sides: [&dyn Fn(); SIDES]) -> [Cost; SIDES] {
    let mut walls = vec![Vec::new(); SIDES];
    let mut cpus = vec![Vec::new(); SIDES];
    for round in 0..rounds + rounds / 10 {
        for turn in 0..SIDES {
            // Every side goes first as often as the others.
            let side = (turn + round) % SIDES;
            let (wall, cpu) = (Instant::now(), ProcessTime::now());
            sides[side]();
            let (wall, cpu) = (wall.elapsed(), cpu.elapsed());
            if round >= rounds / 10 {
                walls[side].push(wall.as_secs_f64() * 1e3);
                cpus[side].push(cpu.as_secs_f64() * 1e3);
            }
        }
    }
    std::array::from_fn(|side| Cost {
        wall: median(&mut walls[side]),
        cpu: median(&mut cpus[side]),
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Median, 99th percentile and most of how late a 5 ms timer is, in milliseconds.
async fn lateness() -> String {
    const TIMER: Duration = Duration::from_millis(5);
    let mut late = Vec::new();
    for _ in 0..300 {
        // On a worker of the server's runtime, as every request is.
        let slept = tokio::spawn(async {
            let start = Instant::now();
            tokio::time::sleep(TIMER).await;
            start.elapsed().saturating_sub(TIMER).as_secs_f64() * 1e3
        });
        late.push(slept.await.unwrap());
    }
    let median = median(&mut late);
    format!(
        "{median:.1} | {:.1} | {:.1}",
        late[late.len() * 99 / 100],
        late[late.len() - 1]
    )
}

/// What the process holds in memory, in megabytes.
struct Memory {
    /// Pages that are mapped several times count once.
    proportional: f64,
    resident: f64,
}

impl Memory {
    fn now() -> Self {
        let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let megabytes = |name: &str| {
            let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
            let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            kilobytes / 1024.0
        };
        Self {
            proportional: megabytes("Pss:"),
            resident: megabytes("Rss:"),
        }
    }
}
