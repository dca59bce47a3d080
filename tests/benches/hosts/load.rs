//! Clients that send requests to hosts in turn, as a load balancer would distribute them.

use std::sync::Barrier;
use std::time::Instant;

use serde_json::json;

use crate::bench_server::{BenchServer, ms_since};
use crate::http_connection::{HttpConnection, encode_request_with, find};
use crate::upstream_process::model_name;

/// The API that stores each image.
pub(crate) const STORED: &str = "/api/v1/images/generations";
/// The API that returns each image.
pub(crate) const RETURNED: &str = "/v1/images/generations";

/// What the clients send.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) path: &'static str,
    /// Each request has an idempotency key, so it is a job with a row.
    pub(crate) has_rows: bool,
    pub(crate) image_bytes: usize,
    pub(crate) delay_ms: u64,
    pub(crate) clients: usize,
    /// Of each client, one after the other.
    pub(crate) requests: usize,
}

/// One round of a load.
pub(crate) struct Round {
    pub(crate) elapsed_secs: f64,
    /// Of each request.
    pub(crate) wall_ms: Vec<f64>,
    /// The part of the machine's CPU time that all processes together used.
    pub(crate) cpu_share: f64,
}

/// CPU time of the machine since its start, in ticks.
#[derive(Clone, Copy)]
struct CpuTimes {
    busy: f64,
    all: f64,
}

impl Load {
    pub(crate) fn images(&self) -> usize {
        self.clients * self.requests
    }

    /// Sends all requests. Each client sends its requests to the hosts in turn. Panics if an image is lost.
    pub(crate) fn run(&self, servers: &[&BenchServer]) -> Round {
        let body = json!({
            "model": model_name(self.image_bytes, self.delay_ms),
            "prompt": "a fox",
        });
        let body = body.to_string();
        let ready = Barrier::new(self.clients + 1);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|client| {
                    let (ready, body) = (&ready, &body);
                    scope.spawn(move || self.run_client(client, servers, body, ready))
                })
                .collect();
            ready.wait();
            let (start, before) = (Instant::now(), CpuTimes::read());
            let walls = clients.into_iter().map(|client| client.join().unwrap());
            let wall_ms = walls.flatten().collect();
            Round {
                elapsed_secs: start.elapsed().as_secs_f64(),
                wall_ms,
                cpu_share: CpuTimes::read().share_since(before),
            }
        })
    }

    /// Returns the time of each request in milliseconds.
    fn run_client(
        &self,
        client: usize,
        servers: &[&BenchServer],
        body: &str,
        ready: &Barrier,
    ) -> Vec<f64> {
        let open = |server: &&BenchServer| HttpConnection::open(server.address).unwrap();
        let mut connections: Vec<HttpConnection> = servers.iter().map(open).collect();
        ready.wait();
        let send = |number: usize| {
            let host = (client + number) % servers.len();
            let key = &servers[host].key;
            let headers = if self.has_rows {
                format!("idempotency-key: {}\r\n", uuid::Uuid::new_v4())
            } else {
                String::new()
            };
            let request = encode_request_with("POST", self.path, key, &headers, body);
            let start = Instant::now();
            let (status, response) = connections[host].exchange(&request).unwrap();
            let wall_ms = ms_since(start);
            let is_image = match self.path {
                STORED => find(response, b"\"url\"").is_some(),
                _ => response.len() > self.image_bytes,
            };
            assert!(
                status == 200 && is_image,
                "an image was lost: status {status}: {:.300}",
                String::from_utf8_lossy(response)
            );
            wall_ms
        };
        (0..self.requests).map(send).collect()
    }
}

impl Round {
    pub(crate) fn images_per_second(&self) -> f64 {
        self.wall_ms.len() as f64 / self.elapsed_secs
    }
}

impl CpuTimes {
    fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap();
        let line = stat.lines().next().unwrap();
        let times: Vec<f64> = line
            .split_whitespace()
            .skip(1)
            .map(|ticks| ticks.parse().unwrap())
            .collect();
        // Idle, and idle while a disk works.
        let idle = times[3] + times[4];
        let all = times.iter().sum();
        Self {
            busy: all - idle,
            all,
        }
    }

    fn share_since(self, earlier: Self) -> f64 {
        (self.busy - earlier.busy) / (self.all - earlier.all).max(1.0)
    }
}
