//! The time until a changed setting holds on all of three hosts, with and without Redis.
//!
//! Each change sets a larger size of images on the first host. A thread for each host asks for the setting all the time; a
//! change is visible when the host has its size or a later one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::HostsBench;
use crate::bench_server::BenchServer;
use crate::cluster_hosts::{ClusterHosts, HostOptions};
use crate::database::{BenchDatabase, Commit};
use crate::http_connection::{HttpConnection, encode_request};
use crate::spread::{Spread, percentile};

const HOSTS: usize = 3;
const CHANGES: usize = 100;
/// Time between two changes.
const CHANGE_INTERVAL: Duration = Duration::from_millis(200);
/// The size of the first change.
const FIRST_SIZE: usize = 64;
/// How long the last change may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether hosts hear of changes through Redis.
struct Way {
    name: &'static str,
    has_redis: bool,
    goal_ms: f64,
    /// Time between two questions of an observer.
    interval: Duration,
}

const WAYS: [Way; 2] = [
    Way {
        name: "with Redis",
        has_redis: true,
        goal_ms: 100.0,
        interval: Duration::from_millis(2),
    },
    Way {
        name: "without Redis",
        has_redis: false,
        goal_ms: 5_000.0,
        interval: Duration::from_millis(20),
    },
];

/// A size that a host has from a moment on.
struct Observation {
    size: usize,
    at: Instant,
}

pub(crate) fn run(bench: &HostsBench) {
    for way in WAYS {
        let database = BenchDatabase::create(bench, Commit::AtOnce);
        let options = HostOptions {
            database: Some(&database),
            redis_prefix: way.has_redis.then_some("settings"),
            ..HostOptions::default()
        };
        let hosts = ClusterHosts::start(bench, way.name, HOSTS, options);
        let times = measure(&hosts.servers, bench.repetitions(CHANGES), way.interval);
        let p99 = percentile(&times, 99);
        let Spread { median, max } = Spread::of(times);
        let name = |figure| format!("{}: until all hosts have it, {figure}", way.name);
        bench.goals.figure(&name("median"), median, "ms");
        bench.goals.at_most(&name("p99"), p99, "ms", way.goal_ms);
        bench.goals.figure(&name("maximum"), max, "ms");
    }
}

/// The time of each change in milliseconds, from its request until all hosts have it.
fn measure(servers: &[BenchServer], changes: usize, interval: Duration) -> Vec<f64> {
    let is_over = AtomicBool::new(false);
    let last = FIRST_SIZE + changes - 1;
    std::thread::scope(|scope| {
        let observers: Vec<_> = servers
            .iter()
            .map(|server| scope.spawn(|| observe(server, last, interval, &is_over)))
            .collect();
        let mut first = HttpConnection::open(servers[0].address).unwrap();
        let mut sent = Vec::new();
        for size in FIRST_SIZE..=last {
            let change = json!({"IMAGE_SIZE": format!("{size}x64")}).to_string();
            let request = encode_request("POST", "/api/v1/settings", &servers[0].key, &change);
            sent.push(Instant::now());
            let (status, body) = first.exchange(&request).unwrap();
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(body));
            std::thread::sleep(CHANGE_INTERVAL);
        }
        let deadline = Instant::now() + PATIENCE;
        while observers.iter().any(|it| !it.is_finished()) {
            assert!(
                Instant::now() < deadline,
                "a host does not have the last change"
            );
            std::thread::sleep(interval);
        }
        is_over.store(true, Ordering::Relaxed);
        let observed = observers.into_iter().map(|it| it.join().unwrap());
        let observed: Vec<Vec<Observation>> = observed.collect();
        let visible_at = |size| observed.iter().map(|host| first_with(host, size)).max();
        let numbered = sent.iter().zip(FIRST_SIZE..);
        numbered
            .map(|(sent_at, size)| (visible_at(size).unwrap() - *sent_at).as_secs_f64() * 1e3)
            .collect()
    })
}

/// When a host had this size, or a later one.
fn first_with(observations: &[Observation], size: usize) -> Instant {
    let found = observations.iter().find(|it| it.size >= size);
    found.unwrap().at
}

/// Asks a host for the setting until it has the last size.
fn observe(
    server: &BenchServer,
    last: usize,
    interval: Duration,
    is_over: &AtomicBool,
) -> Vec<Observation> {
    let request = encode_request("GET", "/api/v1/images/config", &server.key, "");
    let mut connection = HttpConnection::open(server.address).unwrap();
    let mut observations: Vec<Observation> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let (status, body) = connection.exchange(&request).unwrap();
        assert_eq!(status, 200);
        let config: Value = serde_json::from_slice(body).unwrap();
        let width = config["IMAGE_SIZE"]
            .as_str()
            .and_then(|it| it.split_once('x'));
        let size = width.map_or(0, |(width, _)| width.parse().unwrap());
        if observations.last().is_none_or(|it| it.size != size) {
            let at = Instant::now();
            observations.push(Observation { size, at });
        }
        if size == last {
            break;
        }
        std::thread::sleep(interval);
    }
    observations
}
