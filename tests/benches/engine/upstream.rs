//! An images API in a process of its own. The model's name says how large its picture is and how
//! late it comes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::{get, post};
use tokio::sync::watch;

/// A delay that lasts until all are released.
pub(crate) const HOLD: u64 = u64::MAX;
const ROLE: &str = "PINHOLE_BENCH_UPSTREAM";

/// `bytes-delay`
pub(crate) fn model(bytes: usize, delay_ms: u64) -> String {
    format!("{bytes}-{delay_ms}")
}

/// The child process, from the parent's side.
pub(crate) struct Upstream {
    pub(crate) url: String,
    child: Child,
}

impl Upstream {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut url)
            .unwrap();
        Self {
            url: url.trim().to_owned(),
            child,
        }
    }

    /// Waits until so many requests are held.
    pub(crate) async fn wait_for(&self, held: usize) {
        self.ask(&format!("/held/{held}")).await;
    }

    /// Answers all that are held.
    pub(crate) async fn release(&self) {
        self.ask("/release").await;
    }

    /// The smallest client there is, so that it adds nothing to what is measured.
    async fn ask(&self, path: &str) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn is_wanted() -> bool {
    std::env::var_os(ROLE).is_some()
}

#[derive(Clone)]
struct Service {
    answers: Arc<Mutex<HashMap<usize, Bytes>>>,
    held: watch::Sender<usize>,
    /// Rounds released so far.
    released: watch::Sender<u32>,
}

pub(crate) fn serve() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let service = Service {
            answers: Arc::default(),
            held: watch::Sender::new(0),
            released: watch::Sender::new(0),
        };
        let router = Router::new()
            .route("/v1/images/generations", post(generate))
            .route("/held/{count}", get(held))
            .route("/release", get(release))
            .with_state(service);
        axum::serve(listener, router).await.unwrap();
    });
}

async fn generate(
    State(service): State<Service>,
    body: Bytes,
) -> ([(&'static str, &'static str); 1], Bytes) {
    let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let (bytes, delay) = request["model"].as_str().unwrap().split_once('-').unwrap();
    match delay.parse::<u64>().unwrap() {
        0 => {}
        HOLD => {
            let mut released = service.released.subscribe();
            service.held.send_modify(|held| *held += 1);
            released.changed().await.unwrap();
        }
        ms => tokio::time::sleep(Duration::from_millis(ms)).await,
    }
    (
        [("content-type", "application/json")],
        service.answer(bytes.parse().unwrap()),
    )
}

async fn held(
    State(service): State<Service>,
    axum::extract::Path(count): axum::extract::Path<usize>,
) {
    service
        .held
        .subscribe()
        .wait_for(|held| *held >= count)
        .await
        .unwrap();
}

async fn release(State(service): State<Service>) {
    service.held.send_replace(0);
    service.released.send_modify(|rounds| *rounds += 1);
}

impl Service {
    /// An answer whose picture has so many bytes.
    fn answer(&self, bytes: usize) -> Bytes {
        let mut answers = self.answers.lock().unwrap();
        let answer = answers.entry(bytes).or_insert_with(|| {
            let picture = pinhole_tests::long_picture(bytes);
            let picture = base64_simd::STANDARD.encode_to_string(picture);
            format!(r#"{{"created":1,"data":[{{"b64_json":"{picture}"}}],"output_format":"png"}}"#)
                .into()
        });
        answer.clone()
    }
}
