//! The cost of a component compared with the same logic in native code: `cargo xtask bench engine`.
//!
//! One process runs both sides, so that their CPU time is comparable; the upstream is a child process.
//! Criterion reports each side. The table after it compares them in turns, round by round, so that the
//! noise of the machine affects both equally.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "engine/native.rs"]
mod native;
#[path = "engine/upstream_process.rs"]
mod upstream_process;

use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use criterion::Criterion;
use futures_util::future::join_all;
use pinhole::jobs::{CompletedJob, Error, JobPlan, JobRequest, Operation, Requester};
use pinhole_sandbox::JobContext;
use pinhole_tests::{ProcessMemory, TestServer, measure_traffic};
use tokio::runtime::Runtime;

use native::{Base64Crate, NativeEngine};
use upstream_process::{HOLD, UpstreamProcess, model_name};

/// Names and lengths of images.
const SIZES: [(&str, usize); 3] = [("20 KB", 20 << 10), ("2 MB", 2 << 20), ("10 MB", 10 << 20)];
/// Jobs that wait at the same time when their memory is measured.
const WAITING_JOBS: usize = 1000;

/// Both sides, and their upstream.
struct EngineBench {
    runtime: Runtime,
    upstream: UpstreamProcess,
    server: TestServer,
    native: NativeEngine,
}

fn main() {
    if upstream_process::is_child() {
        return upstream_process::serve();
    }
    let runtime = Runtime::new().unwrap();
    let upstream = UpstreamProcess::start();
    let base_url = format!("{}/v1", upstream.url);
    let engines_dir = copy_engines();
    let server = runtime.block_on(TestServer::start(&[
        ("IMAGE_GENERATION_ENGINE", "openai"),
        ("IMAGES_OPENAI_API_BASE_URL", &base_url),
        ("IMAGES_OPENAI_API_KEY", "k"),
        ("PINHOLE_ENGINES", engines_dir.path().to_str().unwrap()),
        ("HOSTILE_BASE_URL", &base_url),
        // One user's jobs for one engine occupy at most nine sixteenths.
        ("PINHOLE_SLOTS", "2000"),
    ]));
    let bench = EngineBench {
        native: NativeEngine::new(&base_url),
        runtime,
        upstream,
        server,
    };
    // `cargo test --benches` runs this too: Criterion's single run is enough.
    let mut criterion = Criterion::default()
        .configure_from_args()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(4));
    bench.run_criterion(&mut criterion);
    criterion.final_summary();
    if !std::env::args().any(|argument| argument == "--test") {
        bench.compare_sides();
        bench.compare_throughput();
        bench.measure_waiting_jobs();
        bench.measure_timer_delay();
        bench.print_traffic();
    }
}

impl EngineBench {
    fn run_criterion(&self, criterion: &mut Criterion) {
        for (name, bytes) in SIZES {
            let mut group = criterion.benchmark_group(format!("call, {name}"));
            group.bench_function("native", |b| {
                b.iter(|| self.run_native(bytes, Base64Crate::Base64))
            });
            group.bench_function("native, SIMD", |b| {
                b.iter(|| self.run_native(bytes, Base64Crate::Base64Simd))
            });
            group.bench_function("component", |b| b.iter(|| self.run_component(bytes)));
            group.finish();
        }
        criterion.bench_function("instance", |b| b.iter(|| self.run_instance()));
    }

    fn run_native(&self, bytes: usize, decoder: Base64Crate) {
        self.runtime
            .block_on(self.native.generate(bytes, 0, decoder));
    }

    fn run_component(&self, bytes: usize) {
        self.runtime.block_on(self.run_job(bytes, 0));
    }

    /// Store, instance, a trivial call, and their destruction.
    fn run_instance(&self) {
        let engines = &self.server.app.jobs.snapshot().engines;
        let sketch = engines.get("sketch").unwrap();
        self.runtime.block_on(engines.describe(sketch)).unwrap();
    }

    /// Runs one job as the APIs do.
    async fn run_job(&self, bytes: usize, delay_ms: u64) {
        let request = JobRequest {
            prompt: "a fox".to_owned(),
            model: Some(model_name(bytes, delay_ms)),
            ..JobRequest::default()
        };
        let images = self.generate(None, request).await.unwrap().images;
        assert_eq!(images[0].bytes().len(), bytes);
    }

    async fn generate(
        &self,
        engine: Option<&str>,
        request: JobRequest,
    ) -> Result<CompletedJob, Error> {
        let jobs = &self.server.app.jobs;
        let requester = Requester::operator();
        let plan = JobPlan::new(
            jobs.snapshot(),
            Operation::Generate,
            engine,
            None,
            requester,
        )?;
        let context = JobContext::new("bench".to_owned());
        jobs.generate(&plan, request, &context).await
    }

    /// Median wall and CPU time of the sides in turns, and the ratio.
    fn compare_sides(&self) {
        println!("\ncall of an engine, medians of rounds in turns (wall | CPU, milliseconds)");
        println!(
            "{:>6} {:>17} {:>17} {:>17}   component/native  component/SIMD",
            "", "native", "native, SIMD", "component"
        );
        for (name, bytes) in SIZES {
            let rounds = if bytes > 5 << 20 { 60 } else { 300 };
            let sides: [&dyn Fn(); 3] = [
                &|| self.run_native(bytes, Base64Crate::Base64),
                &|| self.run_native(bytes, Base64Crate::Base64Simd),
                &|| self.run_component(bytes),
            ];
            let [native, simd, component] = measure_in_turns(rounds, sides);
            println!(
                "{name:>6} {native} {simd} {component}   {:.2} | {:.2}       {:.2} | {:.2}",
                component.wall_ms / native.wall_ms,
                component.cpu_ms / native.cpu_ms,
                component.wall_ms / simd.wall_ms,
                component.cpu_ms / simd.cpu_ms,
            );
            if bytes < 1 << 20 {
                println!(
                    "       component - native: {:+.3} ms wall, {:+.3} ms CPU",
                    component.wall_ms - native.wall_ms,
                    component.cpu_ms - native.cpu_ms
                );
            }
        }
        let [instance] = measure_in_turns(3000, [&|| self.run_instance()]);
        println!(
            "instance (store, instantiate, trivial call, drop): {:.1} µs wall, {:.1} µs CPU",
            instance.wall_ms * 1e3,
            instance.cpu_ms * 1e3
        );
    }

    /// Jobs per second, 64 in parallel, with an upstream that takes 50 ms.
    fn compare_throughput(&self) {
        const PARALLEL: usize = 64;
        const CALLS: usize = 12;
        let bytes = 20 << 10;
        let (mut native_rates, mut component_rates) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            native_rates.push(self.measure_rate(PARALLEL, CALLS, || {
                self.native.generate(bytes, 50, Base64Crate::Base64Simd)
            }));
            component_rates.push(self.measure_rate(PARALLEL, CALLS, || self.run_job(bytes, 50)));
        }
        let (native, component) = (median(&mut native_rates), median(&mut component_rates));
        println!(
            "\n{PARALLEL} at once, upstream takes 50 ms, 20 KB: native {native:.0} a second, component {component:.0} a second, ratio {:.3}",
            component / native
        );
    }

    /// Calls per second of `parallel` chains of `calls` each.
    fn measure_rate<F: Future<Output = ()>>(
        &self,
        parallel: usize,
        calls: usize,
        call: impl Fn() -> F,
    ) -> f64 {
        let start = Instant::now();
        let chains = (0..parallel).map(|_| async {
            for _ in 0..calls {
                call().await;
            }
        });
        self.runtime.block_on(join_all(chains));
        (parallel * calls) as f64 / start.elapsed().as_secs_f64()
    }

    /// Memory of jobs that wait for the upstream. The second round runs in a process that has run as many.
    fn measure_waiting_jobs(&self) {
        println!("\n{WAITING_JOBS} jobs waiting on the upstream, above idle");
        for round in ["the first time", "the second time"] {
            let idle = ProcessMemory::of_this_process().unwrap();
            let waiting = self.runtime.block_on(async {
                let jobs = join_all((0..WAITING_JOBS).map(|_| self.run_job(1 << 10, HOLD)));
                let measure = async {
                    self.upstream.wait_for_held(WAITING_JOBS).await;
                    let memory = ProcessMemory::of_this_process().unwrap();
                    self.upstream.release().await;
                    memory
                };
                tokio::join!(jobs, measure).1
            });
            println!(
                "  {round:<16} {:.1} MB ({:.1} MB if pages that instances share count for each)",
                megabytes(waiting.proportional_bytes) - megabytes(idle.proportional_bytes),
                megabytes(waiting.resident_bytes) - megabytes(idle.resident_bytes),
            );
        }
    }

    /// The upstream requests of each engine for one image, and the bytes that enter the guest.
    fn print_traffic(&self) {
        println!("\none 2 MB image: requests, their bodies, and bytes that entered the guest");
        for job in self.runtime.block_on(measure_traffic(2 << 20)) {
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

    /// The delay of a timer in the server while four guests compute endlessly.
    fn measure_timer_delay(&self) {
        let idle = self.runtime.block_on(timer_delays());
        let spin = || async {
            let request = JobRequest {
                prompt: "spin".to_owned(),
                ..JobRequest::default()
            };
            self.generate(Some("hostile"), request).await.unwrap_err();
        };
        let busy = self.runtime.block_on(async {
            tokio::select! {
                delays = timer_delays() => delays,
                _ = join_all((0..4).map(|_| spin())) => panic!("the guests ended too early"),
            }
        });
        // Each is cancelled soon, and has computed on a thread of the server before it moved.
        let flood = self.runtime.block_on(async {
            let jobs = || async {
                loop {
                    tokio::time::timeout(Duration::from_millis(2), spin())
                        .await
                        .ok();
                }
            };
            tokio::select! {
                delays = timer_delays() => delays,
                _ = join_all((0..8).map(|_| jobs())) => panic!("the guests ended too early"),
            }
        });
        println!("\na 5 ms timer is late by (median | 99th percentile | most, milliseconds)");
        println!("  idle                 {idle}");
        println!("  four guests spinning {busy}");
        println!("  8 new ones each 2 ms {flood}");
    }
}

/// A directory with the engines of this benchmark.
fn copy_engines() -> tempfile::TempDir {
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

/// The medians of one side.
struct Cost {
    wall_ms: f64,
    cpu_ms: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:>8.3} |{:>7.3}", self.wall_ms, self.cpu_ms)
    }
}

fn measure_in_turns<const SIDES: usize>(rounds: usize, sides: [&dyn Fn(); SIDES]) -> [Cost; SIDES] {
    let mut walls = vec![Vec::new(); SIDES];
    let mut cpus = vec![Vec::new(); SIDES];
    for round in 0..rounds + rounds / 10 {
        for turn in 0..SIDES {
            // Each side is first equally often.
            let side = (turn + round) % SIDES;
            let (wall_start, cpu_start) = (Instant::now(), ProcessTime::now());
            sides[side]();
            let (wall, cpu) = (wall_start.elapsed(), cpu_start.elapsed());
            if round >= rounds / 10 {
                walls[side].push(wall.as_secs_f64() * 1e3);
                cpus[side].push(cpu.as_secs_f64() * 1e3);
            }
        }
    }
    std::array::from_fn(|side| Cost {
        wall_ms: median(&mut walls[side]),
        cpu_ms: median(&mut cpus[side]),
    })
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Median, 99th percentile and maximum of the delay of a 5 ms timer, in milliseconds.
async fn timer_delays() -> String {
    const TIMER: Duration = Duration::from_millis(5);
    let mut delays = Vec::new();
    for _ in 0..300 {
        // On a worker of the server's runtime, as a request.
        let delay = tokio::spawn(async {
            let start = Instant::now();
            tokio::time::sleep(TIMER).await;
            start.elapsed().saturating_sub(TIMER).as_secs_f64() * 1e3
        });
        delays.push(delay.await.unwrap());
    }
    let middle = median(&mut delays);
    format!(
        "{middle:.1} | {:.1} | {:.1}",
        delays[delays.len() * 99 / 100],
        delays[delays.len() - 1]
    )
}
