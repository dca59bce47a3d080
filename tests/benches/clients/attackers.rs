//! Hostile clients in a child process: each kind of attack is a thread that repeats it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http_connection::{HttpConnection, encode_request};
use crate::upstream_process::model_name;

/// Set in the child process: the server's address, and the users' tokens.
const CHILD_VARIABLE: &str = "PINHOLE_BENCH_ATTACK";
/// The lowest priority.
const NICE: &str = "19";
/// Connections that one attack opens at the same time.
const CONNECTIONS: usize = 50;
/// How long a connection waits for a response before it closes.
const PATIENCE: Duration = Duration::from_secs(2);
/// Body of the largest request, an image edit.
const EDIT_BYTES: usize = 85 << 20;
/// Body of the largest other request.
const REQUEST_BYTES: usize = 31 << 20;
/// A stored chat.
const CHAT_BYTES: usize = 15 << 20;
/// Reads of one chat at the same time.
const CHAT_READS: usize = 8;
/// Requests that are sent on one connection without waiting.
const PIPELINED: usize = 1_000;
/// A job that its upstream does not finish in a round.
const HANG_MS: u64 = 60_000;
/// How much an upload lacks at its end.
const MISSING_BYTES: usize = 4 << 10;

/// The child process. Dropping it kills the process.
pub(crate) struct AttackerProcess(Child);

/// The server, and the token of the user who attacks it; empty for an unauthenticated client.
struct Target {
    address: SocketAddr,
    key: String,
}

/// One kind of attack.
type Attack = fn(&Target) -> io::Result<()>;

/// What each hostile user does.
const USER_ATTACKS: &[Attack] = &[
    send_wide_json_to_edits,
    send_wide_json_to_generations,
    read_large_chat,
    search_chats,
    stall_uploads,
    upload_text_as_image,
    hang_jobs,
    request_thumbnails,
    list_models,
    chat,
];

/// What unauthenticated clients do.
const KEYLESS_ATTACKS: &[Attack] = &[
    shake_hands,
    stall_heads,
    pipeline,
    send_wide_json_to_generations,
    sign_in,
];

impl AttackerProcess {
    /// Starts this program once more. Its `main` must call [`run`] if [`is_child`].
    pub(crate) fn start(address: SocketAddr, keys: &[String]) -> Self {
        let child = Command::new("nice")
            .args(["-n", NICE])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD_VARIABLE, format!("{address} {}", keys.join(" ")))
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Drop for AttackerProcess {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Whether this process is the hostile clients.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD_VARIABLE).is_some()
}

/// Attacks until the process is killed.
pub(crate) fn run() {
    let variable = std::env::var(CHILD_VARIABLE).unwrap();
    let mut words = variable.split(' ');
    let address = words.next().unwrap().parse().unwrap();
    let attacks_of = |key: &str| {
        if key.is_empty() {
            KEYLESS_ATTACKS
        } else {
            USER_ATTACKS
        }
    };
    std::thread::scope(|scope| {
        for key in words.chain([""]) {
            for attack in attacks_of(key) {
                let target = Target {
                    address,
                    key: key.to_owned(),
                };
                scope.spawn(move || {
                    loop {
                        // A refused connection or a broken one is a success of the server.
                        if attack(&target).is_err() {
                            std::thread::sleep(Duration::from_millis(10));
                        }
                    }
                });
            }
        }
    });
}

impl Target {
    fn open(&self) -> io::Result<HttpConnection> {
        HttpConnection::open(self.address)
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        encode_request(method, path, &self.key, body)
    }

    /// Sends a request and reads the response.
    fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let mut connection = self.open()?;
        let (_, response) = connection.exchange(&self.request(method, path, body))?;
        Ok(serde_json::from_slice(response).unwrap_or_default())
    }

    /// Opens connections that send these bytes and wait.
    fn hold(&self, bytes: &[u8]) -> io::Result<()> {
        let mut streams = Vec::with_capacity(CONNECTIONS);
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(self.address)?;
            stream.write_all(bytes)?;
            streams.push(stream);
        }
        std::thread::sleep(PATIENCE);
        Ok(())
    }

    /// An upload of a file that has this declared length.
    fn upload(&self, content: &[u8], declared_bytes: usize) -> Vec<u8> {
        let head = "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\
                    content-type: image/png\r\n\r\n";
        let length = head.len() + declared_bytes + "\r\n--x--\r\n".len();
        let mut request = format!(
            "POST /api/v1/files/ HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {}\r\n\
             content-type: multipart/form-data; boundary=x\r\ncontent-length: {length}\r\n\r\n{head}",
            self.key
        )
        .into_bytes();
        request.extend_from_slice(content);
        if content.len() == declared_bytes {
            request.extend_from_slice(b"\r\n--x--\r\n");
        }
        request
    }
}

/// An object with an unknown member: an array of zeros.
fn wide_json(bytes: usize) -> String {
    format!("{{\"prompt\":\"a\",\"zzz\":[{}0]}}", "0,".repeat(bytes / 2))
}

fn send_wide_json_to_edits(target: &Target) -> io::Result<()> {
    let body = wide_json(EDIT_BYTES);
    target.exchange("POST", "/v1/images/edits", &body)?;
    Ok(())
}

fn send_wide_json_to_generations(target: &Target) -> io::Result<()> {
    let body = wide_json(REQUEST_BYTES);
    target.exchange("POST", "/v1/images/generations", &body)?;
    Ok(())
}

/// Saves a chat of many messages, and reads it several times at once.
fn read_large_chat(target: &Target) -> io::Result<()> {
    let text = "word ".repeat(1 << 10);
    let messages: serde_json::Map<String, Value> = (0..CHAT_BYTES / text.len())
        .map(|number| {
            let id = format!("m{number}");
            let message =
                json!({"id": id, "parentId": null, "childrenIds": [], "role": "user", "content": text});
            (id, message)
        })
        .collect();
    let chat =
        json!({"chat": {"title": "large", "history": {"currentId": "m0", "messages": messages}}});
    let saved = target.exchange("POST", "/api/v1/chats/new", &chat.to_string())?;
    let Some(id) = saved["id"].as_str() else {
        return Err(io::Error::other("the chat was refused"));
    };
    let request = target.request("GET", &format!("/api/v1/chats/{id}"), "");
    let mut connections = Vec::with_capacity(CHAT_READS);
    for _ in 0..CHAT_READS {
        let mut connection = target.open()?;
        connection.send(&request)?;
        connections.push(connection);
    }
    for connection in &mut connections {
        connection.receive()?;
    }
    target.exchange("DELETE", &format!("/api/v1/chats/{id}"), "")?;
    Ok(())
}

fn search_chats(target: &Target) -> io::Result<()> {
    let mut connection = target.open()?;
    let pattern = "%25a".repeat(100);
    connection.send(&target.request("GET", &format!("/api/v1/chats/search?text={pattern}"), ""))
}

fn stall_uploads(target: &Target) -> io::Result<()> {
    let content = vec![0; 1 << 20];
    target.hold(&target.upload(&content[MISSING_BYTES..], content.len()))
}

fn upload_text_as_image(target: &Target) -> io::Result<()> {
    let content = b"not an image";
    let mut connection = target.open()?;
    connection.exchange(&target.upload(content, content.len()))?;
    Ok(())
}

fn hang_jobs(target: &Target) -> io::Result<()> {
    let body = json!({"prompt": "a", "model": model_name(1 << 10, HANG_MS)}).to_string();
    target.hold(&target.request("POST", "/v1/images/generations", &body))
}

/// Uploads a large image, and requests its thumbnails.
fn request_thumbnails(target: &Target) -> io::Result<()> {
    let image = pinhole_tests::long_image(4 << 20);
    let mut connection = target.open()?;
    let (_, response) = connection.exchange(&target.upload(&image, image.len()))?;
    let saved: Value = serde_json::from_slice(response).unwrap_or_default();
    let Some(id) = saved["id"].as_str() else {
        return Err(io::Error::other("the upload was refused"));
    };
    for size in [64, 128, 256, 512] {
        let path = format!("/api/v1/files/{id}/thumbnail?size={size}");
        target.exchange("GET", &path, "")?;
    }
    target.exchange("DELETE", &format!("/api/v1/files/{id}"), "")?;
    Ok(())
}

fn list_models(target: &Target) -> io::Result<()> {
    target.exchange("GET", "/v1/models", "")?;
    Ok(())
}

fn chat(target: &Target) -> io::Result<()> {
    let messages = json!([{"role": "user", "content": "a"}]);
    let body = json!({"model": "m", "n": 50, "messages": messages});
    target.exchange("POST", "/api/chat/completions", &body.to_string())?;
    Ok(())
}

/// Starts sessions of Socket.IO without a key.
fn shake_hands(target: &Target) -> io::Result<()> {
    send_pipelined(target, "/ws/socket.io/?EIO=4&transport=polling")
}

fn pipeline(target: &Target) -> io::Result<()> {
    send_pipelined(target, "/api/v1/chats/")
}

fn send_pipelined(target: &Target, path: &str) -> io::Result<()> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\n\r\n").repeat(PIPELINED);
    let mut stream = TcpStream::connect(target.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut chunk = [0; 64 << 10];
    while stream.read(&mut chunk)? > 0 {}
    Ok(())
}

fn stall_heads(target: &Target) -> io::Result<()> {
    target.hold(b"GET /health HTTP/1.1\r\nhost: be")
}

fn sign_in(target: &Target) -> io::Result<()> {
    let body = json!({"email": "fifth@example.org", "password": "not the password"});
    target.exchange("POST", "/api/v1/auths/signin", &body.to_string())?;
    Ok(())
}
