//! How cost grows with the number of components, bindings, rows and waiting jobs, and with the length of an image:
//! `cargo xtask bench growth`. Arguments select parts by name.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "faces/bench_server.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod bench_server;
#[path = "faces/http_connection.rs"]
#[expect(dead_code, reason = "other benchmarks use the rest")]
mod http_connection;
#[path = "faces/part.rs"]
mod part;
#[path = "engine/upstream_process.rs"]
mod upstream_process;

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use bench_server::{BenchServer, ServerOptions, ms_since};
use http_connection::{HttpConnection, encode_request};
use part::{Part, select};
use upstream_process::{HOLD, UpstreamProcess, model_name};

/// The images API that stores nothing.
const GENERATIONS: &str = "/v1/images/generations";
/// Requests of which the median is printed.
const REQUESTS: usize = 101;
/// The same for long images.
const LONG_REQUESTS: usize = 11;
/// How long a server rests before its memory is measured.
const REST: Duration = Duration::from_secs(2);

const PARTS: [Part<GrowthBench>; 5] = [
    Part {
        name: "components",
        run: GrowthBench::components,
    },
    Part {
        name: "bindings",
        run: GrowthBench::bindings,
    },
    Part {
        name: "rows",
        run: GrowthBench::rows,
    },
    Part {
        name: "waiting",
        run: GrowthBench::waiting,
    },
    Part {
        name: "images",
        run: GrowthBench::images,
    },
];

struct GrowthBench {
    runtime: Runtime,
    upstream: UpstreamProcess,
    upstream_address: SocketAddr,
    data_dir: TempDir,
    /// The administrator's key.
    key: String,
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
    let parts = select(&PARTS, &arguments, &[]);
    let bench = GrowthBench::new();
    for part in parts {
        (part.run)(&bench);
    }
}

impl GrowthBench {
    fn new() -> Self {
        let upstream = UpstreamProcess::start();
        let upstream_address = upstream.address();
        let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let first = BenchServer::start(&ServerOptions {
            data_dir: data_dir.path(),
            upstream: upstream_address,
            engine: "openai",
            key: None,
            variables: &[],
        });
        Self {
            key: first.key.clone(),
            runtime: Runtime::new().unwrap(),
            upstream,
            upstream_address,
            data_dir,
        }
    }

    fn start(&self, variables: &[(&str, String)]) -> BenchServer {
        BenchServer::start(&ServerOptions {
            data_dir: self.data_dir.path(),
            upstream: self.upstream_address,
            engine: "openai",
            key: Some(&self.key),
            variables,
        })
    }

    /// Component files up to the limit. All but the shipped ones are copies, which admission reads and refuses.
    fn components(&self) {
        println!("\ncomponent files: a start with compiled engines, and an image of 20 KB");
        let directory = tempfile::tempdir().unwrap();
        let shipped = pinhole_tests::engines();
        for entry in std::fs::read_dir(&shipped).unwrap() {
            let name = entry.unwrap().file_name();
            if Path::new(&name).extension().is_some_and(|it| it == "wasm") {
                std::fs::copy(shipped.join(&name), directory.path().join(&name)).unwrap();
            }
        }
        let variables = [("PINHOLE_ENGINES", directory.path().display().to_string())];
        for copies in [0, 45, 245] {
            for copy in 0..copies {
                let to = directory.path().join(format!("z{copy}.wasm"));
                std::fs::copy(shipped.join("sketch.wasm"), to).unwrap();
            }
            let start = Instant::now();
            let server = self.start(&variables);
            let listening = ms_since(start);
            let image = median_ms(&server, &generation(20 << 10), REQUESTS);
            println!(
                "  {:>6} files: {listening:8.1} ms, {image:6.3} ms",
                copies + 5
            );
        }
    }

    /// Bindings up to the limit.
    fn bindings(&self) {
        println!("\nbindings: a start with compiled engines, and an image of 20 KB");
        for count in [1, 8, 64] {
            let name = |number| (format!("binding-{number}"), json!({"engine": "openai"}));
            let bindings: serde_json::Map<String, Value> = (0..count).map(name).collect();
            let variables = [("PINHOLE_BINDINGS", Value::from(bindings).to_string())];
            let start = Instant::now();
            let server = self.start(&variables);
            let listening = ms_since(start);
            let image = median_ms(&server, &generation(20 << 10), REQUESTS);
            println!("  {count:>6}: {listening:8.1} ms, {image:6.3} ms");
        }
    }

    /// Users, chats and files of the administrator.
    fn rows(&self) {
        println!("\nusers, and one user's chats and files: medians in ms");
        println!(
            "  {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "rows", "key", "users", "chats", "files", "image"
        );
        for count in [10, 1_000, 100_000] {
            self.runtime.block_on(self.insert_rows(count));
            let server = self.start(&[]);
            let get =
                |path: &str| median_ms(&server, &("GET", path.to_owned(), String::new()), REQUESTS);
            let image = (
                "POST",
                "/api/v1/images/generations".to_owned(),
                image_body(20 << 10),
            );
            println!(
                "  {count:>8} {:8.3} {:8.3} {:8.3} {:8.3} {:8.3}",
                get("/api/v1/auths/"),
                get("/api/v1/users/?page=1"),
                get("/api/v1/chats/?page=1"),
                get("/api/v1/files/?limit=60"),
                median_ms(&server, &image, REQUESTS),
            );
        }
    }

    /// Adds rows until there are this many of each kind.
    async fn insert_rows(&self, count: i64) {
        let options = SqliteConnectOptions::new().filename(self.data_dir.path().join("pinhole.db"));
        let mut database = options.connect().await.unwrap();
        let numbers = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)";
        let owner = "(SELECT id FROM users WHERE role = 'admin')";
        for insert in [
            "INSERT OR IGNORE INTO users SELECT 'user-' || n, 'User ' || n, 'user', n FROM numbers".to_owned(),
            "INSERT OR IGNORE INTO api_keys (hash, user_id, created_at) SELECT 'hash-' || n, 'user-' || n, n FROM numbers".to_owned(),
            format!(
                "INSERT OR IGNORE INTO chats (id, user_id, title, rest, archived, pinned, created_at, updated_at)
                 SELECT 'chat-' || n, {owner}, 'Chat ' || n, '{{}}', 0, 0, n, n FROM numbers"
            ),
            format!(
                "INSERT OR IGNORE INTO files (id, user_id, name, media_type, size_bytes, meta, created_at)
                 SELECT 'file-' || n, {owner}, 'image.png', 'image/png', 1, '{{}}', n FROM numbers"
            ),
        ] {
            let query = sqlx::AssertSqlSafe(format!("{numbers} {insert}"));
            sqlx::query(query).bind(count).execute(&mut database).await.unwrap();
        }
    }

    /// Clients that wait for the upstream.
    fn waiting(&self) {
        println!("\nclients that wait for the upstream: memory (Pss) above idle, and for each");
        let variables = [("PINHOLE_SLOTS", "10000".to_owned())];
        let server = self.start(&variables);
        median_ms(&server, &generation(1 << 10), REQUESTS);
        std::thread::sleep(REST);
        let idle = server.memory().proportional;
        let request = encode_request("POST", GENERATIONS, &self.key, &body_of(1 << 10, HOLD));
        // One IP address may have 2 500 connections.
        for count in [1, 10, 100, 1_000, 2_000] {
            let open = || HttpConnection::open(server.address).unwrap();
            let mut clients: Vec<_> = (0..count).map(|_| open()).collect();
            for client in &mut clients {
                client.send(&request).unwrap();
            }
            self.runtime.block_on(self.upstream.wait_for_held(count));
            let above = server.memory().proportional - idle;
            self.runtime.block_on(self.upstream.release());
            for client in &mut clients {
                assert_eq!(client.receive().unwrap().0, 200);
            }
            println!(
                "  {count:>6}: {above:7.1} MB, {:7.1} KB",
                above * 1024.0 / count as f64
            );
        }
    }

    /// The length of an image, up to the limit.
    fn images(&self) {
        println!("\nlength of an image: /v1, and for each MB");
        let server = self.start(&[]);
        for bytes in [20 << 10, 200 << 10, 2 << 20, 8 << 20, 31 << 20] {
            let image = median_ms(&server, &generation(bytes), LONG_REQUESTS);
            let megabytes = bytes as f64 / f64::from(1 << 20);
            println!(
                "  {megabytes:>6.2} MB: {image:8.3} ms, {:8.3} ms",
                image / megabytes
            );
        }
    }
}

fn body_of(image_bytes: usize, delay_ms: u64) -> String {
    json!({"model": model_name(image_bytes, delay_ms), "prompt": "a fox"}).to_string()
}

fn image_body(image_bytes: usize) -> String {
    body_of(image_bytes, 0)
}

/// Method, path and body of a request for an image.
fn generation(image_bytes: usize) -> (&'static str, String, String) {
    ("POST", GENERATIONS.to_owned(), image_body(image_bytes))
}

/// The median of sequential requests, in milliseconds, after a tenth of them.
fn median_ms(server: &BenchServer, request: &(&str, String, String), requests: usize) -> f64 {
    let (method, path, body) = request;
    let encoded = encode_request(method, path, &server.key, body);
    let mut connection = HttpConnection::open(server.address).unwrap();
    let mut walls: Vec<f64> = (0..requests + requests / 10)
        .map(|_| {
            let start = Instant::now();
            let (status, response) = connection.exchange(&encoded).unwrap();
            assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(response));
            ms_since(start)
        })
        .skip(requests / 10)
        .collect();
    walls.sort_by(f64::total_cmp);
    walls[walls.len() / 2]
}
