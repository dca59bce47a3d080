//! An images API in a child process, so that its CPU time is not measured. The name of the model sets the
//! length of the image and the delay of the response.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// A delay until [`UpstreamProcess::release`].
pub(crate) const HOLD: u64 = u64::MAX;
/// Set in the child process.
const CHILD_VARIABLE: &str = "PINHOLE_BENCH_UPSTREAM";

/// The name of a model: `bytes-delay`.
pub(crate) fn model_name(image_bytes: usize, delay_ms: u64) -> String {
    format!("{image_bytes}-{delay_ms}")
}

/// The child process. Dropping it kills the process.
pub(crate) struct UpstreamProcess {
    pub(crate) url: String,
    child: Child,
}

impl UpstreamProcess {
    /// Starts this program once more. Its `main` must call [`serve`] if [`is_child`].
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(CHILD_VARIABLE, "1")
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

    /// The host and port of the URL.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// Waits until this many requests are held.
    pub(crate) async fn wait_for_held(&self, count: usize) {
        self.get(&format!("/held/{count}")).await;
    }

    /// Responds to all held requests.
    pub(crate) async fn release(&self) {
        self.get("/release").await;
    }

    /// A minimal client, which adds little to what is measured.
    async fn get(&self, path: &str) {
        let address = self.address();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.unwrap();
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    }
}

impl Drop for UpstreamProcess {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether this process is the upstream.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD_VARIABLE).is_some()
}

#[derive(Clone)]
struct UpstreamState {
    /// Responses by the length of their image.
    responses: Arc<Mutex<HashMap<usize, Bytes>>>,
    held_requests: watch::Sender<usize>,
    releases: watch::Sender<u32>,
}

/// Serves the API until the process is killed.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        std::io::stdout().flush().unwrap();
        let state = UpstreamState {
            responses: Arc::default(),
            held_requests: watch::Sender::new(0),
            releases: watch::Sender::new(0),
        };
        let router = Router::new()
            .route("/v1/images/generations", post(generate))
            .route("/held/{count}", get(wait_for_held))
            .route("/release", get(release))
            .with_state(state);
        axum::serve(listener, router).await.unwrap();
    });
}

async fn generate(
    State(state): State<UpstreamState>,
    body: Bytes,
) -> ([(&'static str, &'static str); 1], Bytes) {
    let request: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let model = request["model"].as_str().unwrap();
    let (image_bytes, delay_ms) = model.split_once('-').unwrap();
    match delay_ms.parse::<u64>().unwrap() {
        0 => {}
        HOLD => {
            let mut releases = state.releases.subscribe();
            state.held_requests.send_modify(|count| *count += 1);
            releases.changed().await.unwrap();
        }
        delay_ms => tokio::time::sleep(Duration::from_millis(delay_ms)).await,
    }
    (
        [("content-type", "application/json")],
        state.response(image_bytes.parse().unwrap()),
    )
}

async fn wait_for_held(State(state): State<UpstreamState>, Path(count): Path<usize>) {
    let mut held_requests = state.held_requests.subscribe();
    held_requests.wait_for(|held| *held >= count).await.unwrap();
}

async fn release(State(state): State<UpstreamState>) {
    state.held_requests.send_replace(0);
    state.releases.send_modify(|count| *count += 1);
}

impl UpstreamState {
    /// A response with an image of this length.
    fn response(&self, image_bytes: usize) -> Bytes {
        let mut responses = self.responses.lock().unwrap();
        let response = responses.entry(image_bytes).or_insert_with(|| {
            let base64 =
                base64_simd::STANDARD.encode_to_string(pinhole_tests::long_image(image_bytes));
            format!(r#"{{"created":1,"data":[{{"b64_json":"{base64}"}}],"output_format":"png"}}"#)
                .into()
        });
        response.clone()
    }
}
