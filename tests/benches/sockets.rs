//! How long an event needs to reach 1 000 connected sockets: `cargo xtask bench sockets`.
//!
//! The server is the program `pinhole` as it ships, in a process of its own; this process is all of the
//! clients and the language model behind. The clock starts when the language model answers a turn that
//! goes on by itself, and stops when the words have come to a socket: what the server does before it
//! tells counts too, and so do the clients, on the same cores.

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

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use pinhole_tests::{Answer, Seen, Upstream};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use client::{Connection, request};
use goals::Goals;
use server::Pinhole;

/// Sockets of one user.
const SOCKETS: usize = 1_000;
const ROUNDS: usize = 200;
/// The first rounds, which nobody counts.
const WARM_UP: usize = 10;
/// Files and connections this process may have open.
const OPEN_FILES: u64 = 8_192;
/// Only against a server that says nothing.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is in the last event of an answer alone.
const DONE: &str = "\"done\":true";

/// When the language model answered last.
type Answered = Arc<Mutex<Instant>>;

fn main() {
    // `cargo test --benches` runs this too: then there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    rlimit::increase_nofile_limit(OPEN_FILES).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(if quick { ROUNDS / 10 } else { ROUNDS }));
}

async fn measure(rounds: usize) {
    let answered: Answered = Arc::new(Mutex::new(Instant::now()));
    let model = language_model(answered.clone()).await;
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let variables = [("OPENAI_API_BASE_URL", format!("{}/v1", model.url()))];
    let server = Pinhole::start_with(data.path(), model.address, "sketch", None, &variables);
    let before = server.memory();
    let (arrivals, mut arrived) = unbounded_channel();
    for _ in 0..SOCKETS {
        let socket = connect(server.address, &server.key).await;
        tokio::spawn(hear(socket, arrivals.clone()));
    }
    let with_sockets = server.memory();

    let mut client = Connection::open(server.address).unwrap();
    let turn = json!({
        "model": "m", "session_id": "s", "chat_id": "local:c", "id": "a",
        "messages": [{"role": "user", "content": "a fox"}],
    });
    let path = "/api/chat/completions";
    let turn = request("POST", path, &server.key, &turn.to_string());
    let (mut all, mut last) = (Vec::new(), Vec::new());
    let mut cpu = 0.0;
    for round in 0..WARM_UP + rounds {
        if round == WARM_UP {
            (all, last) = (Vec::new(), Vec::new());
            cpu = server.cpu_ms();
        }
        let (status, _) = tokio::task::block_in_place(|| client.exchange(&turn)).unwrap();
        assert_eq!(status, 200);
        let waited = arrivals_of_all(&mut arrived, &answered).await;
        last.push(waited[SOCKETS - 1]);
        all.extend(waited);
    }
    let cpu = (server.cpu_ms() - cpu) / rounds as f64;

    println!("\n{SOCKETS} sockets of one user, {rounds} answers one after the other");
    let goals = Goals::default();
    all.sort_by(f64::total_cmp);
    last.sort_by(f64::total_cmp);
    let at = |values: &[f64], part: f64| values[((values.len() - 1) as f64 * part) as usize];
    goals.figure("until a socket has heard, median", at(&all, 0.5), "ms");
    goals.at_most(
        "until a socket has heard, 99 of 100",
        at(&all, 0.99),
        "ms",
        50.0,
    );
    goals.figure("until a socket has heard, longest", at(&all, 1.0), "ms");
    goals.figure("until the last has heard, median", at(&last, 0.5), "ms");
    goals.figure("CPU of the server, an answer", cpu, "ms");
    let sockets = with_sockets.proportional - before.proportional;
    goals.figure("memory of the sockets", sockets, "MB");
    goals.sum();
}

/// Answers every turn in one piece and notes when.
async fn language_model(answered: Answered) -> Upstream {
    Upstream::start(move |seen: Seen| {
        let answered = answered.clone();
        async move {
            if seen.line() != "POST /v1/chat/completions" {
                return Answer::json(404, &json!({}));
            }
            let message = json!({"role": "assistant", "content": "A fox."});
            let answer = Answer::json(200, &json!({"choices": [{"message": message}]}));
            *answered.lock().unwrap() = Instant::now();
            answer
        }
    })
    .await
}

/// A socket of whoever has this key, that has been told so.
async fn connect(address: SocketAddr, key: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{address}/ws/socket.io/?EIO=4&transport=websocket");
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let entered = async {
        assert!(next(&mut socket).await.unwrap().0.starts_with('0'));
        let auth = format!("40{}", json!({"token": key}));
        socket.send(Message::text(auth)).await.unwrap();
        assert!(next(&mut socket).await.unwrap().0.starts_with("40"));
    };
    timeout(PATIENCE, entered).await.unwrap();
    socket
}

/// The next packet that is no ping, and when it came; `None` where the server has ended.
async fn next(socket: &mut WebSocketStream<TcpStream>) -> Option<(String, Instant)> {
    loop {
        let message = socket.next().await?.ok()?;
        let now = Instant::now();
        match message.into_text().ok()?.to_string() {
            ping if ping == "2" => socket.send(Message::text("3")).await.ok()?,
            packet => return Some((packet, now)),
        }
    }
}

/// Tells when the end of an answer has come.
async fn hear(mut socket: WebSocketStream<TcpStream>, arrivals: UnboundedSender<Instant>) {
    while let Some((packet, now)) = next(&mut socket).await {
        if packet.contains(DONE) {
            arrivals.send(now).unwrap();
        }
    }
}

/// How long each socket waited, in milliseconds, ascending.
async fn arrivals_of_all(
    arrived: &mut UnboundedReceiver<Instant>,
    answered: &Answered,
) -> Vec<f64> {
    let mut times = Vec::with_capacity(SOCKETS);
    while times.len() < SOCKETS {
        let time = timeout(PATIENCE, arrived.recv()).await;
        times.push(time.expect("every socket hears").unwrap());
    }
    let start = *answered.lock().unwrap();
    let waited = times.iter().map(|time| (*time - start).as_secs_f64() * 1e3);
    let mut waited: Vec<f64> = waited.collect();
    waited.sort_by(f64::total_cmp);
    waited
}
