//! The resident memory of a server under requests that are made to fill it.

use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use pinhole_tests::{ServerProcess, engines, http_client, program};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;
/// The memory of the process, `PINHOLE_MEMORY_MIB`.
const PROCESS_MIB: usize = 384;
/// Far more than any request takes.
const TIMEOUT: Duration = Duration::from_secs(120);
const GENERATIONS: &str = "/v1/images/generations";
const EDITS: &str = "/v1/images/edits";
const NEW_CHAT: &str = "/api/v1/chats/new";
const COMPLETIONS: &str = "/api/chat/completions";

/// A server as a process of its own.
struct Server {
    process: ServerProcess,
    client: reqwest::Client,
    _data: TempDir,
    _engines: TempDir,
}

/// A refused or accepted request.
struct Reply {
    status: u16,
    has_retry_after: bool,
    body: Value,
}

impl Server {
    async fn start() -> Self {
        let (data, engine_directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let sketch = "sketch.wasm";
        std::fs::copy(engines().join(sketch), engine_directory.path().join(sketch)).unwrap();
        let mut command = Command::new(program());
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .env_clear()
            .env("PINHOLE_DATA", data.path())
            .env("PINHOLE_ENGINES", engine_directory.path())
            .env("PINHOLE_SLOTS", "16")
            .env("PINHOLE_REQUESTS_PER_MINUTE", "1000000")
            .env("PINHOLE_MEMORY_MIB", PROCESS_MIB.to_string());
        let started = tokio::task::spawn_blocking(|| ServerProcess::start(command));
        Self {
            process: started.await.unwrap().unwrap(),
            client: http_client(),
            _data: data,
            _engines: engine_directory,
        }
    }

    fn request(&self, method: Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", self.process.url);
        let request = self.client.request(method, url).timeout(TIMEOUT);
        request.bearer_auth(key)
    }

    async fn post(&self, path: &str, key: &str, body: impl Into<reqwest::Body>) -> Reply {
        let request = self.request(Method::POST, path, key);
        let request = request.header("content-type", "application/json");
        let response = request.body(body).send().await.unwrap();
        Reply {
            status: response.status().as_u16(),
            has_retry_after: response.headers().contains_key("retry-after"),
            body: serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default(),
        }
    }

    fn administrator(&self) -> &str {
        self.process.key.as_deref().unwrap()
    }

    /// Adds a user. Returns the session's token.
    async fn add_user(&self, name: &str) -> String {
        let user = json!({
            "name": name, "email": format!("{name}@example.org"), "password": "a long password",
            "role": "user",
        });
        let added = self
            .post("/api/v1/auths/add", self.administrator(), user.to_string())
            .await;
        assert_eq!(added.status, 200, "{}", added.body);
        let session = self
            .post("/api/v1/auths/signin", "", user.to_string())
            .await;
        session.body["token"].as_str().unwrap().to_owned()
    }

    fn peak_mib(&self) -> usize {
        usize::try_from(self.process.peak_memory_bytes().unwrap()).unwrap() / MIB
    }

    #[track_caller]
    fn assert_bounded(&self) {
        let peak = self.peak_mib();
        assert!(peak <= PROCESS_MIB, "{peak} MiB were resident");
    }
}

impl Reply {
    /// Asserts that the request was refused for its size or for memory, in the shape of its API.
    #[track_caller]
    fn assert_refused(&self, path: &str) {
        assert!(
            matches!(self.status, 413 | 429 | 503),
            "{path}: {} {}",
            self.status,
            self.body
        );
        assert_eq!(
            self.has_retry_after,
            self.status != 413,
            "{path}: {}",
            self.body
        );
        let message = if path.starts_with("/v1/") {
            &self.body["error"]["message"]
        } else {
            &self.body["detail"]
        };
        assert!(message.is_string(), "{path}: {}", self.body);
    }
}

/// A JSON object with a list of zeros, of about this length.
fn wide(bytes: usize) -> String {
    format!(r#"{{"messages":[],"zzz":[{}0]}}"#, "0,".repeat(bytes / 2))
}

/// A chat of four messages with about this length.
fn large_chat(bytes: usize) -> String {
    let message = |n: usize| {
        let content = "x".repeat(bytes / 4);
        (format!("m{n}"), json!({"role": "user", "content": content}))
    };
    let messages: Map<_, _> = (0..4).map(message).collect();
    json!({"chat": {"title": "Foxes", "history": {"messages": messages, "currentId": "m0"}}})
        .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_does_not_exceed_the_budget() {
    let server = Server::start().await;
    let key = server.administrator();
    let source = format!(
        r#"{{"images": [{{"image_url": "data:image/png;base64,{}"}}]}}"#,
        "A".repeat(80 * MIB)
    );
    for (path, body, status) in [
        (EDITS, wide(84 * MIB), 413),
        (GENERATIONS, wide(31 * MIB), 413),
        (COMPLETIONS, wide(31 * MIB), 413),
        (NEW_CHAT, wide(15 * MIB), 413),
        (EDITS, format!("{{\"x\":{}", "[".repeat(84 * MIB)), 413),
        (EDITS, source, 413),
    ] {
        let reply = server.post(path, key, body).await;
        assert_eq!(reply.status, status, "{path}: {}", reply.body);
        reply.assert_refused(path);
        server.assert_bounded();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_chat_is_read_at_the_cost_of_its_text() {
    let server = Server::start().await;
    let key = server.administrator();
    let created = server.post(NEW_CHAT, key, large_chat(15 * MIB)).await;
    assert_eq!(created.status, 200, "{}", created.body);
    let path = format!("/api/v1/chats/{}", created.body["id"].as_str().unwrap());
    let before = server.peak_mib();
    let reads = (0..8).map(|_| async {
        let response = server
            .request(Method::GET, &path, key)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        (status, response.bytes().await.unwrap().len())
    });
    let reads = join_all(reads).await;
    assert!(reads.iter().any(|(status, _)| *status == 200), "{reads:?}");
    for (status, length) in reads {
        match status {
            // Messages of the branch occur twice.
            200 => assert!(length > 15 * MIB, "{length}"),
            _ => assert_eq!(status, 429),
        }
    }
    let grown = server.peak_mib().saturating_sub(before);
    // Trees of values would be many times as long as the text.
    assert!(grown <= 2 * 8 * 15, "eight reads cost {grown} MiB");
    server.assert_bounded();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_users_together_do_not_exceed_the_budget() {
    let server = Server::start().await;
    let mut keys = vec![String::new()];
    for name in ["a", "b", "c", "d"] {
        keys.push(server.add_user(name).await);
    }
    let fifth = server.add_user("e").await;
    let mut flood = JoinSet::new();
    for key in keys {
        for round in 0..6 {
            let (path, body) = match round % 3 {
                0 => (EDITS, wide(80 * MIB)),
                1 => (
                    COMPLETIONS,
                    format!("{{\"messages\": \"{}\"}}", "x".repeat(30 * MIB)),
                ),
                _ => (NEW_CHAT, large_chat(14 * MIB)),
            };
            let request = server.request(Method::POST, path, &key);
            let is_keyless = key.is_empty();
            flood.spawn(async move {
                // The server responds to a client without a key before it reads the body.
                let response = request.body(body).send().await;
                let status = response.map_or(0, |it| it.status().as_u16());
                (path, status, is_keyless)
            });
        }
    }
    let body = json!({"prompt": "a quiet hill", "size": "32x32"}).to_string();
    let mut made = 0;
    while !flood.is_empty() {
        let reply = server.post(GENERATIONS, &fifth, body.clone()).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        made += 1;
        while let Some(ended) = flood.try_join_next() {
            let (path, status, is_keyless) = ended.unwrap();
            let expected: &[u16] = match path {
                _ if is_keyless => &[0, 401],
                NEW_CHAT => &[200, 429, 503],
                // The text of a message is no list of messages.
                COMPLETIONS => &[400, 413, 429, 503],
                _ => &[413, 429, 503],
            };
            assert!(expected.contains(&status), "{path}: {status}");
        }
    }
    assert!(made > 0);
    server.assert_bounded();
}
