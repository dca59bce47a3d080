//! How long it takes to swap two compiled versions of an engine, and what many swaps leave behind:
//! `cargo xtask bench swap`. `--quick` swaps fewer times.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use pinhole::releases::{Install, Releases};
use pinhole_tests::{FakeUpstream, TestServer, engines};
use serde_json::json;
use tempfile::TempDir;

/// Jobs that run at the same time.
const CLIENTS: usize = 64;
/// Swaps whose times are printed.
const TIMED_SWAPS: usize = 200;
/// Swaps under load.
const LOADED_SWAPS: usize = 1000;
/// Versions that are installed one after the other.
const VERSIONS: usize = 500;

/// A server with one engine.
struct SwapBench {
    server: TestServer,
    engine: &'static str,
    component: Vec<u8>,
    _directory: TempDir,
}

/// What a process holds.
struct Footprint {
    resident_mb: usize,
    mappings: usize,
    descriptors: usize,
}

fn main() {
    // `cargo test --benches` runs this too: there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let share = if arguments.iter().any(|it| it == "--quick") {
        10
    } else {
        1
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let upstream = FakeUpstream::json(200, json!({"data": [{"id": "gpt-image-1"}]})).await;
        let url = upstream.url();
        let variables = [
            ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
            ("IMAGES_OPENAI_API_KEY", "sk-bench"),
        ];
        let verified = SwapBench::new("openai", &variables).await;
        println!("milliseconds: p50, p99");
        verified
            .time_swaps("with the upstream's verification", TIMED_SWAPS / share)
            .await;
        drop(verified);
        let bench = SwapBench::new("sketch", &[]).await;
        bench
            .time_swaps("without an upstream", TIMED_SWAPS / share)
            .await;
        bench.swap_under_load(LOADED_SWAPS / share).await;
        drop(bench);
        SwapBench::new("sketch", &[])
            .await
            .install_versions(VERSIONS / share)
            .await;
    });
}

impl SwapBench {
    async fn new(engine: &'static str, variables: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let component = fs::read(engines().join(format!("{engine}.wasm"))).unwrap();
        fs::write(directory.path().join(format!("{engine}.wasm")), &component).unwrap();
        let mut all = vec![
            ("PINHOLE_ENGINES", directory.path().to_str().unwrap()),
            ("IMAGE_GENERATION_ENGINE", engine),
            ("PINHOLE_REQUESTS_PER_MINUTE", "1000000"),
            ("PINHOLE_SLOTS", "1000"),
        ];
        all.extend(variables);
        Self {
            server: TestServer::start(&all).await,
            engine,
            component,
            _directory: directory,
        }
    }

    fn releases(&self) -> &Arc<Releases> {
        &self.server.app.releases
    }

    /// Another version: the component with an additional custom section.
    fn version(&self, number: usize) -> Vec<u8> {
        let name = format!("{number:04}");
        [self.component.as_slice(), &[0, 5, 4], name.as_bytes()].concat()
    }

    async fn swap_to(&self, version: Vec<u8>) -> Duration {
        let install = Install {
            bytes: version,
            by: "bench".into(),
            is_forced: true,
            ..Install::default()
        };
        let started = Instant::now();
        self.releases().install(install).await.unwrap();
        let took = started.elapsed();
        self.releases().promote(self.engine, "bench").await.unwrap();
        took
    }

    async fn time_swaps(&self, what: &str, count: usize) {
        let versions = [self.version(1), self.version(2)];
        for version in &versions {
            self.swap_to(version.clone()).await;
        }
        let (mut installs, mut rollbacks) = (Vec::new(), Vec::new());
        for number in 0..count {
            installs.push(self.swap_to(versions[number % 2].clone()).await);
            let started = Instant::now();
            let releases = self.releases();
            releases
                .roll_back(self.engine, None, "", "bench")
                .await
                .unwrap();
            rollbacks.push(started.elapsed());
            self.swap_to(versions[number % 2].clone()).await;
        }
        let [install, rollback] = [installs, rollbacks].map(spread);
        println!("install a compiled version, {what}: {install}");
        println!("roll back, {what}: {rollback}");
    }

    async fn swap_under_load(&self, count: usize) {
        let (done, jobs) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let body = json!({"prompt": "a hill", "size": "64x64"});
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let request = self.server.post("/v1/images/generations", &body);
                let (done, jobs) = (done.clone(), jobs.clone());
                tokio::spawn(async move {
                    while !done.load(Ordering::Relaxed) {
                        let response = request.try_clone().unwrap().send().await.unwrap();
                        let status = response.status();
                        let text = response.text().await.unwrap();
                        assert_eq!(status, 200, "{text}");
                        jobs.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let versions = [self.version(1), self.version(2)];
        let mut times = Vec::new();
        for number in 0..count {
            times.push(self.swap_to(versions[number % 2].clone()).await);
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            client.await.unwrap();
        }
        let jobs = jobs.load(Ordering::Relaxed);
        println!(
            "{count} swaps under {CLIENTS} jobs at once: {}; {jobs} jobs, 0 failed",
            spread(times)
        );
    }

    async fn install_versions(&self, count: usize) {
        let mut first = None;
        for number in 0..count {
            self.swap_to(self.version(number)).await;
            // The first versions fill the caches.
            if number == count / 10 {
                first = Some(Footprint::now());
            }
        }
        let (first, last) = (first.unwrap(), Footprint::now());
        println!("after {} versions: {first}", count / 10);
        println!("after {count} versions: {last}");
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resident_mb,
            mappings,
            descriptors,
        } = self;
        write!(
            f,
            "{resident_mb} MB resident, {mappings} mappings, {descriptors} descriptors"
        )
    }
}

impl Footprint {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        let kb: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        Self {
            resident_mb: kb / 1024,
            mappings: fs::read_to_string("/proc/self/maps")
                .unwrap()
                .lines()
                .count(),
            descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        }
    }
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
    format!("{:.1}, {:.1}", at(50), at(99))
}
