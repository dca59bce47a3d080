//! What other tenants' hostile jobs cost a well-behaved one: `cargo xtask bench tenants`.
//!
//! The server is the program `pinhole` as it ships. Three tenants ask the engine `hostile` all the time: one
//! for jobs that compute for ever, one for jobs that take memory until they are stopped, one for jobs
//! that flood the log. Beside them another tenant asks for pictures one after the other, of an upstream
//! that takes 50 ms and of an engine that draws by itself. Rounds with and without the three take turns.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops where it fails"
)]

#[path = "faces/client.rs"]
#[expect(
    dead_code,
    reason = "the other benchmark reads answers that do not end"
)]
mod client;
#[path = "faces/goals.rs"]
#[expect(dead_code, reason = "the other benchmark has goals of other kinds too")]
mod goals;
#[path = "faces/server.rs"]
#[expect(dead_code, reason = "the other benchmark follows memory over time")]
mod server;
#[path = "engine/upstream.rs"]
#[expect(dead_code, reason = "the other benchmark holds answers back too")]
mod upstream;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use client::{Connection, request};
use goals::Goals;
use server::{Pinhole, ms_since};
use upstream::Upstream;

const PATH: &str = "/v1/images/generations";
const PICTURE_BYTES: usize = 20 << 10;
const UPSTREAM_MS: u64 = 50;
/// How long one round lasts.
const ROUND: Duration = Duration::from_secs(5);
const ROUNDS: usize = 8;
/// Connections over which each hostile tenant asks.
const HOSTILE_CONNECTIONS: usize = 2;
/// The server has calmed down when it needs less CPU time than this in a fifth of a second, in ms.
const CALM_MS: f64 = 20.0;

/// What one tenant asks for, again and again.
struct Tenant {
    address: SocketAddr,
    key: String,
    body: String,
}

fn main() {
    if upstream::is_wanted() {
        return upstream::serve();
    }
    // `cargo test --benches` runs this too: then there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let upstream = Upstream::start();
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let engines = engines();
    let server = start(data.path(), engines.path(), &upstream);
    let tenant = |name: &str, body: Value| Tenant {
        address: server.address,
        key: sign_up(&server, name),
        body: body.to_string(),
    };
    let good = [
        tenant(
            "waits",
            json!({"prompt": "a fox", "model": upstream::model(PICTURE_BYTES, UPSTREAM_MS)}),
        ),
        tenant(
            "draws",
            json!({"prompt": "a fox", "engine": "sketch", "size": "128x128"}),
        ),
    ];
    let hostile = ["spin", "grow", "log"]
        .map(|prompt| tenant(prompt, json!({"prompt": prompt, "engine": "hostile"})));
    // The first requests open connections and read files.
    round(&good, &[], ROUND / 5);
    let (mut alone, mut beside) = ([vec![], vec![]], [vec![], vec![]]);
    for _ in 0..if quick { 1 } else { ROUNDS } {
        for (times, hostile) in [(&mut alone, [].as_slice()), (&mut beside, &hostile)] {
            let new = round(&good, hostile, ROUND);
            times
                .iter_mut()
                .zip(new)
                .for_each(|(all, new)| all.extend(new));
            calm(&server);
        }
    }
    let goals = Goals::default();
    for (index, name) in ["an upstream of 50 ms", "an engine that draws"]
        .iter()
        .enumerate()
    {
        println!("\n{name}");
        let [alone, beside] = [&mut alone[index], &mut beside[index]];
        let at = |times: &mut Vec<f64>, part: f64| {
            times.sort_by(f64::total_cmp);
            times[((times.len() - 1) as f64 * part) as usize]
        };
        goals.figure("pictures alone", alone.len() as f64, "");
        goals.figure(
            "pictures beside three hostile tenants",
            beside.len() as f64,
            "",
        );
        for (what, part) in [("median", 0.5), ("99 of 100", 0.99)] {
            goals.figure(&format!("alone, {what}"), at(alone, part), "ms");
            goals.figure(
                &format!("beside three hostile tenants, {what}"),
                at(beside, part),
                "ms",
            );
        }
        let factor = at(beside, 0.99) / at(alone, 0.99);
        goals.at_most("factor at 99 of 100", factor, "", 2.0);
    }
    goals.sum();
}

/// The folder of engines, with the hostile one.
fn engines() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let own = ["openai", "sketch"].map(|name| pinhole_tests::engines().join(name));
    for path in own
        .into_iter()
        .chain([pinhole_tests::guests().join("hostile")])
    {
        let path = path.with_extension("wasm");
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    folder
}

fn start(data: &Path, engines: &Path, upstream: &Upstream) -> Pinhole {
    let address = upstream.url.strip_prefix("http://").unwrap();
    let variables = [("PINHOLE_ENGINES", engines.to_str().unwrap().to_owned())];
    Pinhole::start_with(data, address.parse().unwrap(), "openai", None, &variables)
}

/// The session of a new user.
fn sign_up(server: &Pinhole, name: &str) -> String {
    let email = format!("{name}@example.org");
    let user = json!({"name": name, "email": email, "password": "twelve letters", "role": "user"});
    let mut connection = Connection::open(server.address).unwrap();
    let mut post = |path: &str, key: &str| -> Value {
        let (status, answer) = connection
            .exchange(&request("POST", path, key, &user.to_string()))
            .unwrap();
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(answer));
        serde_json::from_slice(answer).unwrap()
    };
    post("/api/v1/auths/add", &server.key);
    let session = post("/api/v1/auths/signin", "");
    session["token"].as_str().unwrap().to_owned()
}

/// Has all tenants ask for so long. How long each picture took, of each well-behaved tenant, in ms.
fn round(good: &[Tenant], hostile: &[Tenant], lasts: Duration) -> Vec<Vec<f64>> {
    let over = AtomicBool::new(false);
    let over = &over;
    let until = Instant::now() + lasts;
    std::thread::scope(|scope| {
        for tenant in hostile {
            for _ in 0..HOSTILE_CONNECTIONS {
                scope.spawn(|| tenant.asks_until(over));
            }
        }
        let asking: Vec<_> = good
            .iter()
            .map(|tenant| scope.spawn(move || tenant.times(until)))
            .collect();
        let times = asking.into_iter().map(|it| it.join().unwrap()).collect();
        over.store(true, Ordering::Relaxed);
        times
    })
}

/// Waits until the server has nothing to do any more.
fn calm(server: &Pinhole) {
    loop {
        let before = server.cpu_ms();
        std::thread::sleep(Duration::from_millis(200));
        if server.cpu_ms() - before < CALM_MS {
            return;
        }
    }
}

impl Tenant {
    /// Asks for one picture after the other.
    fn times(&self, until: Instant) -> Vec<f64> {
        let request = request("POST", PATH, &self.key, &self.body);
        let mut connection = Connection::open(self.address).unwrap();
        let mut times = Vec::new();
        while Instant::now() < until {
            let start = Instant::now();
            let (status, _) = connection.exchange(&request).unwrap();
            assert_eq!(status, 200);
            times.push(ms_since(start));
        }
        times
    }

    /// Asks for one job after the other, and never waits for the last.
    fn asks_until(&self, over: &AtomicBool) {
        let request = request("POST", PATH, &self.key, &self.body);
        while !over.load(Ordering::Relaxed) {
            let mut connection = Connection::open(self.address).unwrap();
            connection.send(&request).unwrap();
            while !connection.has_come() && !over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}
