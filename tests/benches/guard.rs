//! The cost of the egress guards: `cargo xtask bench guard`.
//!
//! Both sides send the same request to an upstream in a child process and read the whole response on open
//! connections. One side is the egress as an engine uses it, with redaction of what the guest reads. The
//! other side is the same HTTP client without address checks, pinning, header rules, limits and redaction.
//! The sides take turns, request by request.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[allow(dead_code, reason = "another benchmark holds responses")]
#[path = "engine/upstream_process.rs"]
mod upstream_process;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cpu_time::ProcessTime;
use http::Method;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use pinhole_egress::{
    BaseUrl, Credential, DEFAULT_SILENCE, Destination, Egress, Redactor, Request, Tls,
};
use serde_json::json;
use tokio::runtime::Runtime;

use upstream_process::{UpstreamProcess, model_name};

const KEY: &str = "sk-benchmark-0123456789abcdef0123456789abcdef";
const ROUNDS: usize = 6000;
const MAX_RESPONSE_BYTES: usize = 64 << 20;

/// A kind of response.
struct ResponseSize {
    name: &'static str,
    image_bytes: usize,
    /// How much the guest reads: the JSON around the image, or all.
    read_bytes: usize,
}

const RESPONSE_SIZES: [ResponseSize; 3] = [
    ResponseSize {
        name: "1 KB, all of it read",
        image_bytes: 720,
        read_bytes: usize::MAX,
    },
    ResponseSize {
        name: "20 KB, 1 KB of it read",
        image_bytes: 15_000,
        read_bytes: 1024,
    },
    ResponseSize {
        name: "20 KB, all of it read",
        image_bytes: 15_000,
        read_bytes: usize::MAX,
    },
];

struct GuardBench {
    destination: Destination,
    redactor: Redactor,
    bare_client: reqwest::Client,
    url: String,
}

fn main() {
    if upstream_process::is_child() {
        return upstream_process::serve();
    }
    let upstream = UpstreamProcess::start();
    let runtime = Runtime::new().unwrap();
    let base = format!("{}/v1", upstream.url);
    let base_url = BaseUrl {
        url: &base,
        allows_private: true,
        setting: "DRAW_BASE_URL",
    };
    let egress = Egress::new(&[], DEFAULT_SILENCE).unwrap();
    let credential = Credential::bearer(KEY).unwrap();
    let destination = egress.destination(base_url, credential, &Tls::default());
    let bench = GuardBench {
        destination: destination.unwrap(),
        redactor: Redactor::new([KEY]),
        bare_client: bare_client(),
        url: format!("{base}/images/generations"),
    };
    // `cargo test --benches` runs this too: one round is enough.
    let is_test = std::env::args().any(|argument| argument == "--test");
    let rounds = if is_test { 1 } else { ROUNDS };
    println!("a request and its response on a warm pool, medians (wall | CPU, microseconds)");
    println!(
        "{:<24} {:>17} {:>17} {:>17}",
        "", "bare", "guarded", "the guard adds"
    );
    for size in RESPONSE_SIZES {
        let [bare, guarded] = runtime.block_on(bench.compare(&size, rounds));
        println!(
            "{:<24} {:>8.1} |{:>7.1} {:>8.1} |{:>7.1} {:>+8.1} |{:>+7.1}",
            size.name,
            bare.wall_us,
            bare.cpu_us,
            guarded.wall_us,
            guarded.cpu_us,
            guarded.wall_us - bare.wall_us,
            guarded.cpu_us - bare.cpu_us,
        );
    }
}

/// The HTTP client of the egress, without guards.
fn bare_client() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    client.no_proxy().build().unwrap()
}

/// The medians of one side.
struct Cost {
    wall_us: f64,
    cpu_us: f64,
}

impl GuardBench {
    /// The costs of the bare and the guarded side.
    async fn compare(&self, size: &ResponseSize, rounds: usize) -> [Cost; 2] {
        let body = json!({"model": model_name(size.image_bytes, 0), "prompt": "a fox"});
        let body = Bytes::from(body.to_string());
        let mut walls = [Vec::new(), Vec::new()];
        let mut cpus = [Vec::new(), Vec::new()];
        for round in 0..rounds + rounds / 10 {
            for turn in 0..2 {
                // Both sides are first equally often.
                let side = (turn + round) % 2;
                let (wall_start, cpu_start) = (Instant::now(), ProcessTime::now());
                match side {
                    0 => self.send_bare(body.clone(), size).await,
                    _ => self.send_guarded(body.clone(), size).await,
                }
                let (wall, cpu) = (wall_start.elapsed(), cpu_start.elapsed());
                if round >= rounds / 10 {
                    walls[side].push(wall);
                    cpus[side].push(cpu);
                }
            }
        }
        let [bare_wall, guarded_wall] = walls.map(|mut times| median_us(&mut times));
        let [bare_cpu, guarded_cpu] = cpus.map(|mut times| median_us(&mut times));
        [
            Cost {
                wall_us: bare_wall,
                cpu_us: bare_cpu,
            },
            Cost {
                wall_us: guarded_wall,
                cpu_us: guarded_cpu,
            },
        ]
    }

    async fn send_bare(&self, body: Bytes, size: &ResponseSize) {
        let response = self
            .bare_client
            .post(&self.url)
            .bearer_auth(KEY)
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success());
        assert!(response.bytes().await.unwrap().len() > size.image_bytes);
    }

    async fn send_guarded(&self, body: Bytes, size: &ResponseSize) {
        let json = HeaderValue::from_static("application/json");
        let request = Request {
            method: Method::POST,
            path: "/images/generations".to_owned(),
            headers: HeaderMap::from_iter([(ACCEPT, json.clone())]),
            content_type: Some(json),
            body,
            ..Request::default()
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut response = self
            .destination
            .send(request, MAX_RESPONSE_BYTES, deadline)
            .await
            .unwrap();
        assert!(response.status.is_success());
        let bytes = response.bytes().await.unwrap();
        assert!(bytes.len() > size.image_bytes);
        for value in response.headers.values() {
            assert!(!self.redactor.finds_secret(value.as_bytes()));
        }
        let read = 0..bytes.len().min(size.read_bytes);
        let redacted = self.redactor.redact_range(&bytes, read);
        assert_eq!(redacted, &bytes[..redacted.len()]);
    }
}

fn median_us(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}
