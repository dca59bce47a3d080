//! The sides of a comparison: the upstream without the server, through nginx, and two APIs of the server.

use std::net::SocketAddr;
use std::sync::Barrier;
use std::time::Instant;

use serde_json::Value;

use crate::bench_server::BenchServer;
use crate::http_connection::{HttpConnection, encode_request, find};
use crate::nginx::Nginx;
use crate::upstream_process::model_name;

/// Maximum length of a stored image that is not deleted after its round.
const MAX_STORED_BYTES: usize = 100 << 10;

/// OpenAI's API for images.
const GENERATIONS: &str = "/v1/images/generations";

/// How a side returns an image.
#[derive(Clone, Copy, PartialEq)]
enum ImageFormat {
    /// In base64, as OpenAI does.
    Base64,
    /// As the URL of a stored file, as Open WebUI does.
    Url,
}

/// One side, with its connections.
pub(crate) struct Side<'a> {
    /// CPU time that its processes have used so far, in milliseconds.
    cpu_ms: Box<dyn Fn() -> f64 + 'a>,
    address: SocketAddr,
    path: &'static str,
    key: String,
    format: ImageFormat,
    connections: Vec<HttpConnection>,
}

/// The requests of one round.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) image_bytes: usize,
    pub(crate) delay_ms: u64,
    /// Connections in parallel.
    pub(crate) connections: usize,
    /// Requests on each connection, one after the other.
    pub(crate) requests: usize,
}

/// The measurements of one round.
#[derive(Default)]
pub(crate) struct Round {
    /// Of each request.
    pub(crate) wall_ms: Vec<f64>,
    pub(crate) elapsed_secs: f64,
    /// CPU time of the side for each image.
    pub(crate) cpu_ms: f64,
    /// Images that are missing or incomplete.
    pub(crate) lost: usize,
}

/// The measurements of one connection.
#[derive(Default)]
struct ConnectionResult {
    wall_ms: Vec<f64>,
    lost: usize,
    file_urls: Vec<String>,
}

impl<'a> Side<'a> {
    /// The upstream, without the server.
    pub(crate) fn direct(upstream: SocketAddr) -> Self {
        Self::new(upstream, GENERATIONS, "k", || 0.0)
    }

    /// The upstream through nginx, which forwards requests and responses as they are.
    pub(crate) fn nginx(nginx: &'a Nginx) -> Self {
        Self::new(nginx.address, GENERATIONS, "k", || nginx.cpu_ms())
    }

    /// The OpenAI API, which stores nothing.
    pub(crate) fn openai(server: &'a BenchServer) -> Self {
        Self::new(server.address, GENERATIONS, &server.key, || server.cpu_ms())
    }

    /// The Open WebUI API, which stores each image.
    pub(crate) fn stored(server: &'a BenchServer) -> Self {
        let path = "/api/v1/images/generations";
        let side = Self::new(server.address, path, &server.key, || server.cpu_ms());
        Self {
            format: ImageFormat::Url,
            ..side
        }
    }

    fn new(
        address: SocketAddr,
        path: &'static str,
        key: &str,
        cpu_ms: impl Fn() -> f64 + 'a,
    ) -> Self {
        Self {
            cpu_ms: Box::new(cpu_ms),
            address,
            path,
            key: key.to_owned(),
            format: ImageFormat::Base64,
            connections: Vec::new(),
        }
    }

    /// Sends all requests of a load, and measures the CPU time of the side.
    pub(crate) fn run(&mut self, load: Load) -> Round {
        while self.connections.len() < load.connections {
            self.connections
                .push(HttpConnection::open(self.address).unwrap());
        }
        let body = serde_json::json!({
            "model": model_name(load.image_bytes, load.delay_ms),
            "prompt": "a fox",
        });
        let request = encode_request("POST", self.path, &self.key, &body.to_string());
        let (format, address) = (self.format, self.address);
        let ready = Barrier::new(load.connections + 1);
        let cpu_before = (self.cpu_ms)();
        let (results, elapsed_secs) = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .connections
                .iter_mut()
                .take(load.connections)
                .map(|connection| {
                    let (ready, request) = (&ready, &request);
                    scope.spawn(move || {
                        ready.wait();
                        send_requests(connection, address, request, format, load)
                    })
                })
                .collect();
            ready.wait();
            let start = Instant::now();
            let results: Vec<ConnectionResult> = threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect();
            (results, start.elapsed().as_secs_f64())
        });
        let images = load.connections * load.requests;
        let mut round = Round {
            elapsed_secs,
            cpu_ms: ((self.cpu_ms)() - cpu_before) / images as f64,
            ..Round::default()
        };
        for result in results {
            round.wall_ms.extend(result.wall_ms);
            round.lost += result.lost + self.count_missing(&result.file_urls, load.image_bytes);
            self.delete_large(&result.file_urls, load.image_bytes);
        }
        round
    }

    /// The number of URLs without an image of this length.
    fn count_missing(&mut self, urls: &[String], image_bytes: usize) -> usize {
        let mut missing = 0;
        for url in urls {
            let request = encode_request("GET", url, &self.key, "");
            let is_complete = self.connections[0]
                .exchange(&request)
                .is_ok_and(|(status, body)| status == 200 && body.len() == image_bytes);
            missing += usize::from(!is_complete);
        }
        missing
    }

    /// Deletes files that would fill the disk. Small ones stay: a file system creates files slowly after
    /// many were deleted.
    fn delete_large(&mut self, urls: &[String], image_bytes: usize) {
        if image_bytes <= MAX_STORED_BYTES {
            return;
        }
        for url in urls {
            let path = url.trim_end_matches("/content");
            let request = encode_request("DELETE", path, &self.key, "");
            let (status, _) = self.connections[0].exchange(&request).unwrap();
            assert_eq!(status, 200);
        }
    }
}

fn send_requests(
    connection: &mut HttpConnection,
    address: SocketAddr,
    request: &[u8],
    format: ImageFormat,
    load: Load,
) -> ConnectionResult {
    let mut result = ConnectionResult::default();
    for _ in 0..load.requests {
        let start = Instant::now();
        let response = connection.exchange(request);
        let wall_ms = start.elapsed().as_secs_f64() * 1e3;
        let image = match response {
            Ok((200, body)) => find_image(body, format, load.image_bytes),
            Ok((status, body)) => {
                eprintln!("status {status}: {}", String::from_utf8_lossy(body));
                None
            }
            Err(error) => {
                eprintln!("no response: {error}");
                *connection = HttpConnection::open(address).unwrap();
                None
            }
        };
        match image {
            None => result.lost += 1,
            Some(FoundImage { url }) => {
                result.wall_ms.push(wall_ms);
                result.file_urls.extend(url);
            }
        }
    }
    result
}

/// An image in a response.
struct FoundImage {
    /// `None` if the response contains the image itself.
    url: Option<String>,
}

/// `None` if the response has no image of this length.
fn find_image(body: &[u8], format: ImageFormat, image_bytes: usize) -> Option<FoundImage> {
    match format {
        ImageFormat::Base64 => {
            const FIELD: &[u8] = b"\"b64_json\":\"";
            let start = find(body, FIELD)? + FIELD.len();
            let end = start + image_bytes.div_ceil(3) * 4;
            let is_complete = body.get(end) == Some(&b'"');
            is_complete.then_some(FoundImage { url: None })
        }
        ImageFormat::Url => {
            let json: Value = serde_json::from_slice(body).ok()?;
            let url = json.pointer("/0/url")?.as_str()?;
            Some(FoundImage {
                url: Some(url.to_owned()),
            })
        }
    }
}
