//! The sides that are compared: the upstream asked directly, and the server's faces before it.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Instant;

use serde_json::Value;

use crate::client::{self, Connection, find};
use crate::server::Pinhole;
use crate::upstream;

/// Length of a stored picture that is left until the end.
const MAX_LEFT_BYTES: usize = 100 << 10;

/// What a side answers with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Answers {
    /// The picture in base64, as OpenAI does.
    Base64,
    /// The address of a stored file, as Open WebUI does.
    Address,
}

/// One side, with the connections to it that are kept.
pub(crate) struct Side {
    address: SocketAddr,
    path: &'static str,
    key: String,
    answers: Answers,
    connections: Vec<Connection>,
}

/// What is asked in one round.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) bytes: usize,
    pub(crate) delay_ms: u64,
    /// Connections that ask at the same time.
    pub(crate) at_once: usize,
    /// Pictures that each of them asks for, one after the other.
    pub(crate) each: usize,
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Round {
    /// Of each request, in milliseconds.
    pub(crate) walls: Vec<f64>,
    /// Of all, in seconds.
    pub(crate) elapsed: f64,
    /// Of the server's process for each picture, in milliseconds.
    pub(crate) cpu: f64,
    /// Pictures that did not come whole.
    pub(crate) lost: usize,
}

/// What one connection met.
#[derive(Default)]
struct Chain {
    walls: Vec<f64>,
    lost: usize,
    files: Vec<String>,
}

impl Side {
    /// The upstream, asked as the server asks it.
    pub(crate) fn direct(upstream: SocketAddr) -> Self {
        Self::new(upstream, "/v1/images/generations", "k")
    }

    /// OpenAI's face, which keeps nothing.
    pub(crate) fn openai(server: &Pinhole) -> Self {
        Self::new(server.address, "/v1/images/generations", &server.key)
    }

    /// Open WebUI's face, which keeps every picture.
    pub(crate) fn stored(server: &Pinhole) -> Self {
        let path = "/api/v1/images/generations";
        let side = Self::new(server.address, path, &server.key);
        Self {
            answers: Answers::Address,
            ..side
        }
    }

    fn new(address: SocketAddr, path: &'static str, key: &str) -> Self {
        Self {
            address,
            path,
            key: key.to_owned(),
            answers: Answers::Base64,
            connections: Vec::new(),
        }
    }

    /// Asks for all pictures of a load, and counts what the server's process needed.
    pub(crate) fn run(&mut self, server: &Pinhole, load: Load) -> Round {
        while self.connections.len() < load.at_once {
            self.connections
                .push(Connection::open(self.address).unwrap());
        }
        let body = serde_json::json!({
            "model": upstream::model(load.bytes, load.delay_ms),
            "prompt": "a fox",
        });
        let request = client::request("POST", self.path, &self.key, &body.to_string());
        let (answers, address) = (self.answers, self.address);
        let ready = Barrier::new(load.at_once + 1);
        let cpu = server.cpu_ms();
        let (chains, elapsed) = std::thread::scope(|scope| {
            let asking = |connection| {
                let (ready, request) = (&ready, &request);
                scope.spawn(move || {
                    ready.wait();
                    chain(connection, address, request, answers, load)
                })
            };
            let connections = self.connections.iter_mut().take(load.at_once);
            let asking: Vec<_> = connections.map(asking).collect();
            ready.wait();
            let start = Instant::now();
            let joined = asking.into_iter().map(|it| it.join().unwrap());
            let chains: Vec<Chain> = joined.collect();
            (chains, start.elapsed().as_secs_f64())
        });
        let mut round = Round {
            elapsed,
            cpu: (server.cpu_ms() - cpu) / (load.at_once * load.each) as f64,
            ..Round::default()
        };
        for chain in chains {
            round.walls.extend(chain.walls);
            round.lost += chain.lost + self.not_kept(&chain.files, load.bytes);
            self.discard(&chain.files, load.bytes);
        }
        round
    }

    /// How many of these addresses have no picture of this length behind them.
    fn not_kept(&mut self, files: &[String], bytes: usize) -> usize {
        let mut missing = 0;
        for url in files {
            let read = client::request("GET", url, &self.key, "");
            let whole = self.connections[0].exchange(&read);
            let whole = whole.is_ok_and(|(status, body)| status == 200 && body.len() == bytes);
            missing += usize::from(!whole);
        }
        missing
    }

    /// Removes files that would fill the disk. Small ones stay: a file system is slow to make
    /// files where many were just removed.
    fn discard(&mut self, files: &[String], bytes: usize) {
        let large = files.iter().filter(|_| bytes > MAX_LEFT_BYTES);
        for url in large {
            let path = url.trim_end_matches("/content");
            let remove = client::request("DELETE", path, &self.key, "");
            let (status, _) = self.connections[0].exchange(&remove).unwrap();
            assert_eq!(status, 200);
        }
    }
}

fn chain(
    connection: &mut Connection,
    address: SocketAddr,
    request: &[u8],
    answers: Answers,
    load: Load,
) -> Chain {
    let mut chain = Chain::default();
    for _ in 0..load.each {
        let start = Instant::now();
        let answer = connection.exchange(request);
        let wall = start.elapsed().as_secs_f64() * 1e3;
        let picture = match answer {
            Ok((200, body)) => picture(body, answers, load.bytes),
            Ok((status, body)) => {
                eprintln!("status {status}: {}", String::from_utf8_lossy(body));
                None
            }
            Err(error) => {
                eprintln!("no answer: {error}");
                *connection = Connection::open(address).unwrap();
                None
            }
        };
        match picture {
            None => chain.lost += 1,
            Some(file) => {
                chain.walls.push(wall);
                chain.files.extend(file);
            }
        }
    }
    chain
}

/// Is a picture of this length there? Where it is stored: its address.
fn picture(body: &[u8], answers: Answers, bytes: usize) -> Option<Option<String>> {
    match answers {
        Answers::Base64 => {
            const FIELD: &[u8] = b"\"b64_json\":\"";
            let start = find(body, FIELD)? + FIELD.len();
            let end = start + bytes.div_ceil(3) * 4;
            (body.get(end) == Some(&b'"')).then_some(None)
        }
        Answers::Address => {
            let answer: Value = serde_json::from_slice(body).ok()?;
            Some(Some(answer.pointer("/0/url")?.as_str()?.to_owned()))
        }
    }
}
