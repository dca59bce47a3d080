//! What the guard of the egress costs: `cargo xtask bench guard`.
//!
//! Both sides send the same request to an upstream in a process of its own and read the answer
//! whole, over connections that are open already. One is the egress as an engine's request meets it,
//! with what the guest reads looked through for secrets; the other the same HTTP client without an
//! address check, a pin, header rules, limits and redaction. Sides take turns, request by request.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops where it fails"
)]

#[allow(dead_code, reason = "the other benchmark holds answers back too")]
#[path = "engine/upstream.rs"]
mod upstream;

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

use upstream::Upstream;

const KEY: &str = "sk-benchmark-0123456789abcdef0123456789abcdef";
const ROUNDS: usize = 6000;
const MAX_BYTES: usize = 64 << 20;

/// Answers: what they are called, the length of their pictures, and how much a guest reads of them.
/// Of a picture's JSON a guest reads what stands around the picture.
const ANSWERS: [(&str, usize, usize); 3] = [
    ("1 KB, all of it read", 720, usize::MAX),
    ("20 KB, 1 KB of it read", 15_000, 1024),
    ("20 KB, all of it read", 15_000, usize::MAX),
];

struct Bench {
    destination: Destination,
    redactor: Redactor,
    bare: reqwest::Client,
    url: String,
}

fn main() {
    if upstream::is_wanted() {
        return upstream::serve();
    }
    let upstream = Upstream::start();
    let runtime = Runtime::new().unwrap();
    let base = format!("{}/v1", upstream.url);
    let base_url = BaseUrl {
        url: &base,
        allows_private: true,
        setting: "DRAW_BASE_URL",
    };
    let egress = Egress::new(&[], DEFAULT_SILENCE).unwrap();
    let credential = Credential::bearer(KEY).unwrap();
    let opened = egress.destination(base_url, credential, &Tls::default());
    let bench = Bench {
        destination: opened.unwrap(),
        redactor: Redactor::new([KEY]),
        bare: bare(),
        url: format!("{base}/images/generations"),
    };
    // `cargo test --benches` runs this too: then once through is enough.
    let rounds = match std::env::args().any(|argument| argument == "--test") {
        true => 1,
        false => ROUNDS,
    };
    println!("a request and its answer on a warm pool, medians (wall | CPU, microseconds)");
    println!(
        "{:<24} {:>17} {:>17} {:>17}",
        "", "bare", "guarded", "the guard adds"
    );
    for (name, bytes, read) in ANSWERS {
        let [bare, guarded] = runtime.block_on(bench.compare(bytes, read, rounds));
        println!(
            "{name:<24} {:>8.1} |{:>7.1} {:>8.1} |{:>7.1} {:>+8.1} |{:>+7.1}",
            bare.wall,
            bare.cpu,
            guarded.wall,
            guarded.cpu,
            guarded.wall - bare.wall,
            guarded.cpu - bare.cpu,
        );
    }
}

/// The client that the egress has too, without anything that guards it.
fn bare() -> reqwest::Client {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls);
    client.no_proxy().build().unwrap()
}

/// Medians of one side, in microseconds.
struct Cost {
    wall: f64,
    cpu: f64,
}

impl Bench {
    async fn compare(&self, bytes: usize, read: usize, rounds: usize) -> [Cost; 2] {
        let body = json!({"model": upstream::model(bytes, 0), "prompt": "a fox"});
        let body = Bytes::from(body.to_string());
        let mut walls = [Vec::new(), Vec::new()];
        let mut cpus = [Vec::new(), Vec::new()];
        for round in 0..rounds + rounds / 10 {
            for turn in 0..2 {
                // Both go first equally often.
                let side = (turn + round) % 2;
                let (wall, cpu) = (Instant::now(), ProcessTime::now());
                match side {
                    0 => self.bare(body.clone(), bytes).await,
                    _ => self.guarded(body.clone(), bytes, read).await,
                }
                let (wall, cpu) = (wall.elapsed(), cpu.elapsed());
                if round >= rounds / 10 {
                    walls[side].push(wall);
                    cpus[side].push(cpu);
                }
            }
        }
        let [bare, guarded] = walls.map(|mut walls| median(&mut walls));
        let [bare_cpu, guarded_cpu] = cpus.map(|mut cpus| median(&mut cpus));
        [
            Cost {
                wall: bare,
                cpu: bare_cpu,
            },
            Cost {
                wall: guarded,
                cpu: guarded_cpu,
            },
        ]
    }

    async fn bare(&self, body: Bytes, bytes: usize) {
        let request = self.bare.post(&self.url).bearer_auth(KEY);
        let request = request
            .header("content-type", "application/json")
            .header("accept", "application/json");
        let answer = request.body(body).send().await.unwrap();
        assert!(answer.status().is_success());
        assert!(answer.bytes().await.unwrap().len() > bytes);
    }

    async fn guarded(&self, body: Bytes, bytes: usize, read: usize) {
        let json = HeaderValue::from_static("application/json");
        let request = Request {
            method: Method::POST,
            path: "/images/generations".to_owned(),
            headers: HeaderMap::from_iter([(ACCEPT, json.clone())]),
            content_type: Some(json),
            body,
        };
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let sent = self.destination.send(request, MAX_BYTES, deadline).await;
        let mut answer = sent.unwrap();
        assert!(answer.status.is_success());
        let whole = answer.bytes().await.unwrap();
        assert!(whole.len() > bytes);
        for value in answer.headers.values() {
            assert!(!self.redactor.finds_secret(value.as_bytes()));
        }
        let part = self.redactor.redact_range(&whole, 0..whole.len().min(read));
        assert_eq!(part, &whole[..part.len()]);
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}
