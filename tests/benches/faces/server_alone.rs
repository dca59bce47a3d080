//! The rows of the server alone: memory, chat turns, starts and the program's size.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::bench_server::{BenchServer, Memory, ms_since};
use crate::http_connection::{HttpConnection, encode_request};
use crate::side::{Load, Round, Side};
use crate::table::Goal;
use crate::upstream_process::{HOLD, model_name};
use crate::{ApiBench, LARGE_BYTES, SMALL_BYTES, Spread};

/// Clients that wait for the upstream at the same time.
const WAITING: usize = 1000;
/// How long the server has to return memory.
const REST: Duration = Duration::from_secs(30);

impl ApiBench {
    /// Memory while clients wait for the upstream, and some time after.
    pub(crate) fn waiting_jobs(&self) {
        println!("\n1 000 clients wait for the upstream; memory (Pss) above idle");
        // One user's jobs for one engine occupy at most nine sixteenths.
        let variables = [("PINHOLE_SLOTS", "2000".to_owned())];
        let data_dir = self.data_dir.path();
        let server = BenchServer::start(&self.server_options(data_dir, "openai", &variables));
        let load = Load {
            image_bytes: SMALL_BYTES,
            delay_ms: 0,
            connections: 1,
            requests: 20,
        };
        assert_eq!(Side::openai(&server).run(load).lost, 0);
        let idle = server.memory().proportional;
        for (time, goal) in [("first", Some(Goal::AtMost(60.0))), ("second", None)] {
            let waiting = self.memory_of_waiting(&server, idle);
            self.table
                .add_one(format!("1 000 waiting, {time} time, MB"), waiting, goal);
            std::thread::sleep(REST);
            let rest = server.memory().proportional - idle;
            let given_back = goal.map(|_| Goal::AtMost(10.0));
            self.table
                .add_one(format!("30 s after the {time}, MB"), rest, given_back);
        }
    }

    /// Memory above idle while clients wait.
    fn memory_of_waiting(&self, server: &BenchServer, idle: f64) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let body = serde_json::json!({"model": model_name(1 << 10, HOLD), "prompt": "a fox"});
        let path = "/v1/images/generations";
        let request = encode_request("POST", path, &server.key, &body.to_string());
        let mut clients: Vec<_> = (0..WAITING)
            .map(|_| HttpConnection::open(server.address).unwrap())
            .collect();
        for client in &mut clients {
            client.send(&request).unwrap();
        }
        runtime.block_on(self.upstream.wait_for_held(WAITING));
        let waiting = server.memory().proportional - idle;
        runtime.block_on(self.upstream.release());
        for client in &mut clients {
            assert_eq!(client.receive().unwrap().0, 200);
        }
        waiting
    }

    /// From a chat request to the event that shows its image, as a server-sent event.
    pub(crate) fn chat_turns(&self) {
        const WARM_UP: usize = 5;
        println!("\nchat turn on an engine without latency, until its image shows");
        let server = self.start_server("sketch");
        let mut chat_connection = HttpConnection::open(server.address).unwrap();
        let walls: Vec<f64> = (0..self.rounds(100) + WARM_UP)
            .map(|turn| run_chat_turn(&server, &mut chat_connection, turn))
            .skip(WARM_UP)
            .collect();
        let Spread { median, max, .. } = Spread::of(walls);
        let name = "chat turn, sketch 512, ms";
        self.table.add_one(name, median, Some(Goal::AtMost(7.0)));
        self.table.add_one("chat turn: most, ms", max, None);
    }

    /// The first start of a server, until it listens and until all engines serve; and a later start, until the
    /// first image.
    pub(crate) fn server_starts(&self) {
        println!("\nstart of the process");
        let (mut listening, mut ready, mut warm) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.rounds(10) {
            let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
            let options = crate::ServerOptions {
                key: None,
                ..self.server_options(data_dir.path(), "openai", &[])
            };
            let start = Instant::now();
            let mut server = BenchServer::listen(&options);
            let health = encode_request("GET", "/health", "", "");
            let mut connection = HttpConnection::open(server.address).unwrap();
            assert_eq!(connection.exchange(&health).unwrap().0, 200);
            listening.push(ms_since(start) / 1e3);
            server.wait_for_engines();
            ready.push(ms_since(start) / 1e3);
            drop(server);

            let load = Load {
                image_bytes: SMALL_BYTES,
                delay_ms: 0,
                connections: 1,
                requests: 1,
            };
            let restart = Instant::now();
            let restarted = self.start_server("openai");
            assert_eq!(Side::openai(&restarted).run(load).lost, 0);
            warm.push(ms_since(restart) / 1e3);
        }
        for (name, measured, goal) in [
            ("cold start to listening, s", listening, 0.15),
            ("cold start to all engines, s", ready, 0.8),
            ("warm start to first image, s", warm, 0.05),
        ] {
            let median = Spread::of(measured).median;
            self.table.add_one(name, median, Some(Goal::AtMost(goal)));
        }
    }

    /// The length of the program without debug information.
    pub(crate) fn binary_size(&self) {
        println!("\nthe program");
        let stripped = self.data_dir.path().join("stripped");
        let status = Command::new("strip")
            .arg("-o")
            .arg(&stripped)
            .arg(pinhole_tests::program())
            .status();
        assert!(status.unwrap().success());
        let megabytes = std::fs::metadata(stripped).unwrap().len() as f64 / 1e6;
        let goal = Some(Goal::AtMost(32.0));
        self.table.add_one("binary, stripped, MB", megabytes, goal);
    }

    /// The memory of the server under load, and its growth.
    pub(crate) fn server_memory(&self) {
        println!("\nmemory of the server's process, MB");
        let server = self.start_server("openai");
        let idle = server.memory();
        let mut sides = [Side::openai(&server), Side::stored(&server)];
        let mut run_jobs = |count: usize| {
            let load = Load {
                image_bytes: SMALL_BYTES,
                delay_ms: 0,
                connections: 50,
                requests: count / 2 / 50,
            };
            let lost = sides.each_mut().map(|side| side.run(load).lost);
            assert_eq!(lost, [0, 0]);
            server.memory()
        };
        let after_1_000 = run_jobs(1_000);
        let after_all = run_jobs(if self.is_quick { 1_000 } else { 9_000 });
        let mut peak = Memory::default();
        for (image_bytes, delay_ms, connections) in [
            (SMALL_BYTES, 50, 64),
            (LARGE_BYTES, 50, 8),
            (LARGE_BYTES, 0, 8),
        ] {
            let load = Load {
                image_bytes,
                delay_ms,
                connections,
                requests: self.rounds(1_200 / connections),
            };
            for side in &mut sides {
                peak = peak.max(peak_memory(&server, || side.run(load)));
            }
        }
        let table = &self.table;
        table.add_one("idle: Pss, MB", idle.proportional, None);
        let goal = Some(Goal::AtMost(100.0));
        table.add_one("peak under load: Pss, MB", peak.proportional, goal);
        table.add_one("peak under load: RSS, MB", peak.resident, goal);
        let growth = after_all.proportional / after_1_000.proportional;
        let growth_goal = Some(Goal::AtMost(1.1));
        table.add_one("Pss after 10 000 jobs / 1 000", growth, growth_goal);
    }
}

/// Sends a chat request and waits for its image. Returns the time in milliseconds.
fn run_chat_turn(server: &BenchServer, chat_connection: &mut HttpConnection, turn: usize) -> f64 {
    let chat = format!("chat-{turn}");
    let mut events = HttpConnection::open(server.address).unwrap();
    let events_path = format!("/api/events?chat_id={chat}");
    events
        .send(&encode_request("GET", &events_path, &server.key, ""))
        .unwrap();
    let head_end = events.read_until(0, "\r\n\r\n").unwrap();
    let body = serde_json::json!({
        "model": "m",
        "chat_id": chat,
        "id": format!("message-{turn}"),
        "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a fox at a quiet lake"}],
    });
    let path = "/api/chat/completions";
    let request = encode_request("POST", path, &server.key, &body.to_string());
    let start = Instant::now();
    chat_connection.send(&request).unwrap();
    events.read_until(head_end, r#""type":"files""#).unwrap();
    let wall = ms_since(start);
    let (status, response) = chat_connection.receive().unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(response));
    wall
}

/// The maximum memory of the process during a round.
fn peak_memory(server: &BenchServer, run: impl FnOnce() -> Round) -> Memory {
    const INTERVAL: Duration = Duration::from_millis(100);
    let has_ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = server.memory();
            while !has_ended.load(Ordering::Relaxed) {
                std::thread::sleep(INTERVAL);
                peak = peak.max(server.memory());
            }
            peak
        });
        assert_eq!(run().lost, 0);
        has_ended.store(true, Ordering::Relaxed);
        sampler.join().unwrap()
    })
}
