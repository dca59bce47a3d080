//! The time from the end of a host by `kill -9` until its jobs run on another one.
//!
//! Each repetition starts ComfyUI jobs on one of three hosts, kills it, and waits until all its jobs run again. No job may be
//! ordered twice.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::HostsBench;
use crate::bench_server::{BenchServer, ms_since};
use crate::cluster_hosts::{ClusterHosts, HostOptions};
use crate::comfy::Comfy;
use crate::database::{BenchDatabase, Commit};
use crate::http_connection::{HttpConnection, encode_request};
use crate::spread::{Spread, percentile};

const HOSTS: usize = 3;
const REPETITIONS: usize = 10;
/// Jobs of a repetition.
const JOBS: usize = 4;
const GOAL_SECS: f64 = 35.0;
/// Time between two looks at the rows.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Far more than a take-over takes.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) fn run(bench: &HostsBench) {
    let database = BenchDatabase::create(bench, Commit::AtOnce);
    let comfy = bench.runtime.block_on(Comfy::start());
    let options = HostOptions {
        database: Some(&database),
        redis_prefix: Some("takeover"),
        engine: "comfyui",
        variables: vec![("COMFYUI_BASE_URL", comfy.upstream.url())],
    };
    let mut hosts = ClusterHosts::start(bench, "takeover", HOSTS, options);
    let (mut times, mut orders) = (Vec::new(), 0);
    let repetitions = bench.repetitions(REPETITIONS);
    for repetition in 0..repetitions {
        let victim = repetition % HOSTS;
        for _ in 0..JOBS {
            request(
                &hosts.servers[victim],
                "POST",
                "/api/v1/jobs",
                &json!({"prompt": "a fox"}),
            );
        }
        orders += JOBS;
        bench.runtime.block_on(async {
            let ordered = comfy.wait_for_orders(orders);
            tokio::time::timeout(PATIENCE, ordered).await.unwrap();
        });
        let killed = hosts.kill(victim);
        times.extend(wait_for_takeovers(&database));
        assert_eq!(comfy.orders(), orders, "a job was ordered twice");
        hosts.restart(&killed);
        if repetition + 1 == repetitions {
            // The last jobs end with their images.
            comfy.finish();
        } else {
            request(&hosts.servers[0], "POST", "/api/v1/jobs/stop", &json!({}));
        }
        let is_active = "SELECT COUNT(*) FROM jobs WHERE ended_at IS NULL";
        wait_until(|| database.number(is_active) == 0);
    }
    let done = database.number("SELECT COUNT(*) FROM jobs WHERE state = 'done'");
    assert_eq!(done, JOBS as i64, "a job that was taken over has no image");
    bench.goals.figure("take-overs", times.len() as f64, "");
    let p99 = percentile(&times, 99);
    let Spread { median, max } = Spread::of(times);
    let name = |figure| format!("until a job runs on another host, {figure}");
    bench.goals.figure(&name("median"), median, "s");
    bench.goals.at_most(&name("p99"), p99, "s", GOAL_SECS);
    bench.goals.figure(&name("maximum"), max, "s");
}

/// The time until each job of a killed host runs on another one, in seconds.
fn wait_for_takeovers(database: &BenchDatabase) -> Vec<f64> {
    let killed = Instant::now();
    let mut times = Vec::new();
    wait_until(|| {
        let running = "SELECT COUNT(*) FROM jobs
             WHERE ended_at IS NULL AND attempt > 1 AND state = 'running'";
        let running = usize::try_from(database.number(running)).unwrap();
        times.resize(running.max(times.len()), ms_since(killed) / 1e3);
        times.len() >= JOBS
    });
    times
}

fn wait_until(mut is_reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_reached() {
        assert!(
            Instant::now() < deadline,
            "jobs are not taken over, or do not end"
        );
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn request(server: &BenchServer, method: &str, path: &str, body: &Value) {
    let request = encode_request(method, path, &server.key, &body.to_string());
    let mut connection = HttpConnection::open(server.address).unwrap();
    let (status, response) = connection.exchange(&request).unwrap();
    let response = String::from_utf8_lossy(response);
    assert!((200..300).contains(&status), "{path}: {status} {response}");
}
