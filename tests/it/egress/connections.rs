//! Connections to an upstream that answers with bytes, right or wrong ones: how long they last.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pinhole_egress::{Credential, Error, Request};
use pinhole_tests::{TestServer, pixel_base64};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{KEY, ask, asked, egress, open, patiently, soon, success};

/// An upstream that answers with bytes, whatever they are.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    answer: Arc<Mutex<Bytes>>,
    /// The number of the connection and the text of each request.
    seen: Arc<Mutex<Vec<(usize, String)>>>,
    /// How many requests have arrived.
    arrived: watch::Receiver<usize>,
    /// How many connections have ended.
    ended: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

/// What follows the bytes.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Then {
    Listen,
    Close,
}

impl Raw {
    pub(super) async fn start(answer: impl Into<Bytes>, then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (arriving, arrived) = watch::channel(0);
        let (ending, ended) = watch::channel(0);
        let answer = Arc::new(Mutex::new(answer.into()));
        let (current, memory) = (answer.clone(), seen.clone());
        let task = tokio::spawn(async move {
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                let (current, memory) = (current.clone(), memory.clone());
                let (arriving, ending) = (arriving.clone(), ending.clone());
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = read_request(&mut stream).await {
                        memory.lock().unwrap().push((number, request));
                        arriving.send_modify(|arrived| *arrived += 1);
                        let answer = current.lock().unwrap().clone();
                        let written = stream.write_all(&answer).await;
                        if written.is_err() || then == Then::Close {
                            break;
                        }
                    }
                    ending.send_modify(|ended| *ended += 1);
                });
            }
        });
        Self {
            address,
            answer,
            seen,
            arrived,
            ended,
            task,
        }
    }

    /// From now on this is the answer.
    pub(super) fn answers(&self, answer: impl Into<Bytes>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<(usize, String)> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many connections have ended.
    pub(super) async fn wait_for_ended(&self, connections: usize) {
        let mut ended = self.ended.clone();
        let ended = ended.wait_for(|ended| *ended == connections);
        patiently("a connection", ended).await.unwrap();
    }

    /// A server whose engine `openai` speaks to this.
    pub(super) async fn server(&self, variables: &[(&str, &str)]) -> TestServer {
        let url = self.url();
        let mut all = vec![
            ("IMAGES_OPENAI_API_BASE_URL", url.as_str()),
            ("IMAGES_OPENAI_API_KEY", KEY),
        ];
        all.extend(variables);
        TestServer::with_engine("openai", &all).await
    }

    /// Since the last time there was one request, for a picture, with the key.
    fn check_request(&self) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let [(_, request)] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        check_request(request);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn check_request(request: &str) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /v1/images/generations HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("authorization: Bearer {KEY}")),
        "{head}"
    );
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), asked());
}

/// Head and body of the next request; `None` at the end of the connection.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut text = String::new();
    let mut length = 0;
    while !text.ends_with("\r\n\r\n") {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        text.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(text + &String::from_utf8(body).unwrap())
}

/// A status line, these headers, and this body.
pub(super) fn raw_answer(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
}

pub(super) fn whole(body: &str) -> String {
    raw_answer(&format!("content-length: {}\r\n", body.len()), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_longer_than_allowed_is_refused_before_it_is_read() {
    // Only the head comes, which is enough.
    let answer = raw_answer(&format!("content-length: {}\r\n", (64 << 20) + 1), "{");
    let raw = Raw::start(answer, Then::Listen).await;
    let server = raw.server(&[]).await;
    let (status, body) = ask(&server).await;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (502, Some("protocol"))
    );
    let message = "the request or its response exceeds its size limit";
    assert_eq!(body["error"]["message"], message);
    raw.check_request();
    // Nobody waits for the rest.
    raw.wait_for_ended(1).await;

    let answer = raw_answer(
        &format!("content-length: {}\r\n", (32 << 20) + 1),
        "\u{89}PNG",
    );
    let raw = Raw::start(answer, Then::Listen).await;
    let url = format!("{}/x.png", raw.url());
    let granted = open(&raw.url(), true, Credential::bearer(KEY).unwrap());
    let fetched = egress().fetch(&url, &[&granted], 32 << 20, soon()).await;
    assert!(
        matches!(fetched, Err(Error::TooLarge { .. })),
        "{fetched:?}"
    );
    let (_, request) = &raw.seen()[0];
    assert!(request.starts_with("GET /x.png HTTP/1.1\r\n"), "{request}");
    assert!(!request.contains(KEY), "{request}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_tell_its_length_is_counted() {
    let piece = "x".repeat(600);
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let chunked = |chunks: usize| {
        let body = format!("{}0\r\n\r\n", chunk.repeat(chunks));
        raw_answer("transfer-encoding: chunked\r\n", &body)
    };
    for (chunks, fits) in [(1, true), (2, false), (50, false)] {
        let raw = Raw::start(chunked(chunks), Then::Listen).await;
        let destination = open(&raw.url(), true, Credential::default());
        let request = Request {
            path: "/x".to_owned(),
            ..Request::default()
        };
        let mut response = destination.send(request, 1000, soon()).await.unwrap();
        let body = response.bytes().await;
        match body {
            Ok(body) => assert!(fits && body == piece, "{} bytes", body.len()),
            Err(error) => assert!(
                !fits
                    && matches!(
                        error,
                        Error::TooLarge {
                            max_bytes: 1000,
                            ..
                        }
                    ),
                "{error:?}"
            ),
        }
        assert_eq!(raw.seen().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_hangs_costs_no_more_than_the_jobs_time() {
    let head = raw_answer("content-length: 100\r\n", "{\"data\":");
    let events = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: {}\n\n";
    let raw = Raw::start("", Then::Listen).await;
    let server = raw.server(&[("PINHOLE_JOB_TIMEOUT_SECS", "1")]).await;
    for (place, answer) in [(1, String::new()), (2, head), (3, events.to_owned())] {
        raw.answers(answer);
        let (status, body) = ask(&server).await;
        let code = body["error"]["code"].as_str().unwrap();
        assert_eq!((status, code), (504, "timeout"), "{body}");
        raw.check_request();
        raw.wait_for_ended(place).await;
    }
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_told_by_how_far_the_answer_was() {
    let broke_off = raw_answer("content-length: 100\r\n", "{\"data\":");
    let chunk = raw_answer("transfer-encoding: chunked\r\n", "8\r\n{\"data\":\r\n");
    let raw = Raw::start("", Then::Close).await;
    let server = raw.server(&[]).await;
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1000));
    for (answer, expected, message) in [
        (String::new(), 503, "the upstream cannot be reached"),
        (
            "HTTP/1.1 200".to_owned(),
            503,
            "the upstream cannot be reached",
        ),
        (
            "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
            503,
            "the upstream cannot be reached",
        ),
        (many, 503, "the upstream cannot be reached"),
        (broke_off, 502, "the upstream's response broke off"),
        (chunk, 502, "the upstream's response broke off"),
    ] {
        raw.answers(answer.clone());
        let (status, body) = ask(&server).await;
        assert_eq!(status, expected, "{answer:?} became {body}");
        assert_eq!(body["error"]["message"], message, "{answer:?}");
        // A request that may have had an effect is not repeated.
        raw.check_request();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_one_job_after_another() {
    let raw = Raw::start(whole(&success()), Then::Listen).await;
    let server = raw.server(&[]).await;
    // A connection that is not yet back when the next job begins is no fault.
    for _ in 0..20 {
        let (status, body) = ask(&server).await;
        assert_eq!(
            (status, &body["data"][0]["b64_json"]),
            (200, &json!(pixel_base64()))
        );
        let seen = raw.seen();
        let (last, request) = seen.last().unwrap();
        check_request(request);
        if seen.iter().filter(|(number, _)| number == last).count() > 1 {
            return;
        }
    }
    panic!("each of 20 jobs opened a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_ends_the_request() {
    let raw = Raw::start("", Then::Listen).await;
    let server = raw.server(&[]).await;
    let post = server.post("/v1/images/generations", &asked());
    let waiting = tokio::spawn(post.send());
    let mut arrived = raw.arrived.clone();
    let arrived = arrived.wait_for(|arrived| *arrived == 1);
    patiently("the request", arrived).await.unwrap();
    raw.check_request();
    waiting.abort();
    raw.wait_for_ended(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_never_serves_other_settings() {
    let raw = Raw::start(whole(&success()), Then::Listen).await;
    let server = raw.server(&[]).await;
    // Each pair of jobs could share a connection; what was set in between keeps them apart.
    let base = format!("{}/v1", raw.url());
    for (number, (name, value)) in [
        ("IMAGES_OPENAI_API_KEY", "another-key-1"),
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGES_OPENAI_API_KEY", "another-key-2"),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, body) = ask(&server).await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(raw.seen().last().unwrap().0, number);
        let (status, body) = server.post_json("/api/v1/settings", &json!({name: value})).await;
        assert_eq!(status, 200, "{body}");
    }
    let (status, body) = ask(&server).await;
    assert_eq!(status, 200, "{body}");
    let (number, request) = raw.seen().pop().unwrap();
    assert_eq!(number, 3);
    assert!(
        request.contains("authorization: Bearer another-key-2"),
        "{request}"
    );
}
