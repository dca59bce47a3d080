//! The delay of an event to 1 000 connected sockets: `cargo xtask bench sockets`.
//!
//! The server is the optimized program `pinhole` in a child process. This process is all clients and the
//! language model. The clock starts when the language model responds to a background turn, and stops when the
//! text arrives at a socket. So the time includes the server's work before it emits the event, and the clients'
//! work on the same cores.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a benchmark measures time and stops if it fails"
)]

#[path = "faces/bench_server.rs"]
#[expect(dead_code, reason = "another benchmark samples memory over time")]
mod bench_server;
#[path = "faces/goals.rs"]
#[expect(dead_code, reason = "another benchmark has other kinds of goals")]
mod goals;
#[path = "faces/http_connection.rs"]
#[expect(dead_code, reason = "another benchmark reads endless responses")]
mod http_connection;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use bench_server::{BenchServer, ServerOptions};
use goals::Goals;
use http_connection::{HttpConnection, encode_request};

/// Sockets of one user.
const SOCKETS: usize = 1_000;
const ROUNDS: usize = 200;
/// Rounds before the measurement.
const WARM_UP_ROUNDS: usize = 10;
/// Maximum number of open files and connections of this process.
const OPEN_FILES: u64 = 8_192;
/// How long the server may take; far more than it needs.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);
/// Only the last event of a response contains this.
const DONE: &str = "\"done\":true";

/// When the language model responded last.
type ResponseTime = Arc<Mutex<Instant>>;

fn main() {
    // `cargo test --benches` runs this too: there is nothing to measure.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    rlimit::increase_nofile_limit(OPEN_FILES).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(measure(if is_quick { ROUNDS / 10 } else { ROUNDS }));
}

/// The delays of all rounds, in milliseconds.
#[derive(Default)]
struct Delays {
    /// Of each socket.
    all: Vec<f64>,
    /// Of the last socket of each round.
    last: Vec<f64>,
    /// CPU time of the server for a response.
    cpu_ms: f64,
}

async fn measure(rounds: usize) {
    let response_time: ResponseTime = Arc::new(Mutex::new(Instant::now()));
    let model = start_language_model(response_time.clone()).await;
    let data_dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = BenchServer::start(&ServerOptions {
        data_dir: data_dir.path(),
        upstream: model.address(),
        engine: "sketch",
        key: None,
        variables: &[("OPENAI_API_BASE_URL", format!("{}/v1", model.url()))],
    });
    let memory_before = server.memory();
    let (sender, mut arrivals) = unbounded_channel();
    for _ in 0..SOCKETS {
        let socket = connect(server.address, &server.key).await;
        tokio::spawn(report_arrivals(socket, sender.clone()));
    }
    let memory_with_sockets = server.memory();
    let delays = measure_delays(&server, rounds, &mut arrivals, &response_time).await;
    let socket_memory = memory_with_sockets.proportional - memory_before.proportional;
    print_figures(delays, rounds, socket_memory);
}

/// Starts one chat turn after the other.
async fn measure_delays(
    server: &BenchServer,
    rounds: usize,
    arrivals: &mut UnboundedReceiver<Instant>,
    response_time: &ResponseTime,
) -> Delays {
    let mut client = HttpConnection::open(server.address).unwrap();
    let turn = json!({
        "model": "m", "session_id": "s", "chat_id": "local:c", "id": "a",
        "messages": [{"role": "user", "content": "a fox"}],
    });
    let path = "/api/chat/completions";
    let request = encode_request("POST", path, &server.key, &turn.to_string());
    let mut delays = Delays::default();
    let mut cpu_before = 0.0;
    for round in 0..WARM_UP_ROUNDS + rounds {
        if round == WARM_UP_ROUNDS {
            delays = Delays::default();
            cpu_before = server.cpu_ms();
        }
        let (status, _) = tokio::task::block_in_place(|| client.exchange(&request)).unwrap();
        assert_eq!(status, 200);
        let of_round = receive_arrivals(arrivals, response_time).await;
        delays.last.push(of_round[SOCKETS - 1]);
        delays.all.extend(of_round);
    }
    delays.cpu_ms = (server.cpu_ms() - cpu_before) / rounds as f64;
    delays
}

fn print_figures(mut delays: Delays, rounds: usize, socket_memory: f64) {
    println!("\n{SOCKETS} sockets of one user, {rounds} responses one after the other");
    let goals = Goals::default();
    delays.all.sort_by(f64::total_cmp);
    delays.last.sort_by(f64::total_cmp);
    let quantile = |values: &[f64], part: f64| values[((values.len() - 1) as f64 * part) as usize];
    let (all, last) = (&delays.all, &delays.last);
    goals.figure("until a socket has heard, median", quantile(all, 0.5), "ms");
    goals.at_most(
        "until a socket has heard, 99 of 100",
        quantile(all, 0.99),
        "ms",
        50.0,
    );
    goals.figure(
        "until a socket has heard, longest",
        quantile(all, 1.0),
        "ms",
    );
    goals.figure(
        "until the last has heard, median",
        quantile(last, 0.5),
        "ms",
    );
    goals.figure("CPU of the server, an answer", delays.cpu_ms, "ms");
    goals.figure("memory of the sockets", socket_memory, "MB");
    goals.print_summary();
}

/// Responds to each turn with one event, and stores the time.
async fn start_language_model(response_time: ResponseTime) -> FakeUpstream {
    FakeUpstream::start(move |request: RecordedRequest| {
        let response_time = response_time.clone();
        async move {
            if request.line() != "POST /v1/chat/completions" {
                return FakeResponse::json(404, &json!({}));
            }
            let message = json!({"role": "assistant", "content": "A fox."});
            let response = FakeResponse::json(200, &json!({"choices": [{"message": message}]}));
            *response_time.lock().unwrap() = Instant::now();
            response
        }
    })
    .await
}

/// Connects and authenticates a Socket.IO client.
async fn connect(address: SocketAddr, key: &str) -> WebSocketStream<TcpStream> {
    let url = format!("ws://{address}/ws/socket.io/?EIO=4&transport=websocket");
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let authenticate = async {
        let (opened, _) = next_packet(&mut socket).await.unwrap();
        assert!(opened.starts_with('0'));
        let auth = format!("40{}", json!({"token": key}));
        socket.send(Message::text(auth)).await.unwrap();
        let (connected, _) = next_packet(&mut socket).await.unwrap();
        assert!(connected.starts_with("40"));
    };
    timeout(SERVER_TIMEOUT, authenticate).await.unwrap();
    socket
}

/// The next packet that is not a ping, and its time. `None` if the server closed the socket.
async fn next_packet(socket: &mut WebSocketStream<TcpStream>) -> Option<(String, Instant)> {
    loop {
        let message = socket.next().await?.ok()?;
        let now = Instant::now();
        let packet = message.into_text().ok()?.to_string();
        if packet != "2" {
            return Some((packet, now));
        }
        socket.send(Message::text("3")).await.ok()?;
    }
}

/// Sends the time of each end of a response.
async fn report_arrivals(mut socket: WebSocketStream<TcpStream>, sender: UnboundedSender<Instant>) {
    while let Some((packet, now)) = next_packet(&mut socket).await {
        if packet.contains(DONE) {
            sender.send(now).unwrap();
        }
    }
}

/// The delay of each socket, in milliseconds, ascending.
async fn receive_arrivals(
    arrivals: &mut UnboundedReceiver<Instant>,
    response_time: &ResponseTime,
) -> Vec<f64> {
    let mut times = Vec::with_capacity(SOCKETS);
    while times.len() < SOCKETS {
        let time = timeout(SERVER_TIMEOUT, arrivals.recv()).await;
        times.push(time.expect("each socket receives the event").unwrap());
    }
    let start = *response_time.lock().unwrap();
    let mut delays: Vec<f64> = times
        .iter()
        .map(|time| (*time - start).as_secs_f64() * 1e3)
        .collect();
    delays.sort_by(f64::total_cmp);
    delays
}
