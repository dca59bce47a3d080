//! Tests of the scripted upstream over real connections.

#![expect(
    clippy::disallowed_methods,
    reason = "a test connects as an engine does"
)]

use std::io::{Read, Write};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use pinhole_sandbox::Progress;

use super::*;
use crate::case::tests::{case_with_exchanges, read_case};
use crate::test_image;

/// An upstream with these exchanges, and its host and port.
async fn start(exchanges: Value) -> (ScriptedUpstream, String) {
    let case = read_case(&case_with_exchanges(&exchanges), &json!({})).unwrap();
    let upstream = ScriptedUpstream::start(Arc::new(case)).await.unwrap();
    let url = upstream.run.fill_text("{upstream}");
    let authority = url.strip_prefix("http://").unwrap().to_owned();
    (upstream, authority)
}

/// Sends a request on a new connection, and returns everything up to its end.
async fn send(authority: &str, line: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(authority).unwrap();
    let length = body.len();
    let head =
        format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}");
    stream
        .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
        .unwrap();
    let reading = tokio::task::spawn_blocking(move || {
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        response
    });
    String::from_utf8_lossy(&reading.await.unwrap()).into_owned()
}

async fn close(upstream: ScriptedUpstream) -> Vec<String> {
    let run = upstream.run.clone();
    upstream.close().await;
    run.take_record().failures
}

#[tokio::test]
async fn upstream_replies_with_placeholders_filled() {
    let (upstream, authority) = start(json!([
        {"request": {"line": "POST /a?id={id}", "json": {"id": "{id}", "n": 2}},
         "reply": {"status": 201, "headers": {"x-id": "{id}"}, "json": {"{id}": ["{id}", "{upstream}"]}}},
        {"request": {"line": "GET /b", "body": "none"}, "reply": {"text": "bye"}},
    ])).await;
    let response = send(&authority, "POST /a?id=7", r#"{"n": 2, "id": "7"}"#).await;
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    assert!(
        response.contains("x-id: 7\r\n") && response.contains("application/json"),
        "{response}"
    );
    assert!(
        response.ends_with(&format!(r#"{{"7":["7","http://{authority}"]}}"#)),
        "{response}"
    );
    assert!(
        send(&authority, "GET /b", "")
            .await
            .ends_with("\r\n\r\nbye")
    );
    assert_eq!(close(upstream).await, [""; 0]);
}

#[tokio::test]
async fn upstream_reports_each_difference() {
    let (upstream, authority) = start(json!([
        {"request": {"line": "GET /a?x=1"}, "reply": {}},
        {"request": {"line": "POST /b", "json": {"n": 2}, "headers": {"host": "y", "accept": "z"}}, "reply": {}},
        {"request": {"line": "GET /c", "headers": {"host": null}}, "reply": {}},
        {"at": "elsewhere", "request": {"line": "GET /d"}, "reply": {}},
    ])).await;
    let unexpected = send(&authority, "GET /a?x=2", "").await;
    assert!(unexpected.starts_with("HTTP/1.1 500"), "{unexpected}");
    send(&authority, "POST /b", "hello").await;
    send(&authority, "GET /c", "").await;
    send(&authority, "GET /c", "").await;
    send(&authority, "GET /d", "").await;
    assert_eq!(
        close(upstream).await,
        [
            "unexpected request GET /a?x=2: /upstream/0/request/line expects GET /a?x=1",
            "/upstream/1/request (POST /b): arrived before /upstream/0",
            "/upstream/1/request (POST /b): header accept: expected \"z\", got none",
            "/upstream/1/request (POST /b): header host: expected \"y\", got \"x\"",
            "/upstream/1/request (POST /b): expected a JSON body (expected value at line 1 column 1), got \"hello\"",
            "/upstream/2/request (GET /c): arrived before /upstream/0",
            "/upstream/2/request (GET /c): header host: expected none, got \"x\"",
            "unexpected request GET /c: /upstream/2 already got all its requests",
            "unexpected request GET /d: /upstream/3 expects it at the other server",
            "/upstream/0/request (GET /a?x=1): expected this request, got none",
            "/upstream/3/request (GET /d): expected this request, got none",
        ]
    );
}

#[tokio::test]
async fn upstream_checks_counts_and_delays() {
    let (upstream, authority) = start(json!([
        {"request": {"line": "GET /a"}, "times": {"at_least": 3, "at_most": 4, "at_least_ms_apart": 60_000}, "reply": {}},
        {"request": {"line": "GET /b"}, "at_least_ms_after_reply": 60_000, "reply": {}},
        {"request": {"line": "GET /c"}, "times": {"at_least": 0}, "reply": {}},
        {"request": {"line": "GET /d"}, "any_order": true, "reply": {}},
        {"request": {"line": "GET /e"}, "reply": {}},
    ])).await;
    for line in ["GET /a", "GET /a", "GET /b", "GET /e", "GET /d"] {
        assert!(send(&authority, line, "").await.starts_with("HTTP/1.1 200"));
    }
    let failures = close(upstream).await;
    let [gap, delay, count] = failures.as_slice() else {
        panic!("{failures:#?}")
    };
    assert!(
        gap.starts_with(
            "/upstream/0/request (GET /a): expected at least 60s between two requests, got "
        ),
        "{gap}"
    );
    assert!(
        delay
            .starts_with("/upstream/1/request (GET /b): expected at least 60s after the reply of "),
        "{delay}"
    );
    assert_eq!(
        count,
        "/upstream/0/request (GET /a): expected 3 requests, got 2"
    );
}

#[tokio::test]
async fn reply_waits_for_its_moment() {
    let (upstream, authority) = start(json!([
        {"request": {"line": "GET /a"}, "reply": {"text": "a", "after": {"replied": "b"}}},
        {"name": "b", "any_order": true, "request": {"line": "GET /b"}, "reply": {"text": "b"}},
        {"request": {"line": "GET /c"}, "reply": {"events": [
            {"text": "first "}, {"wait": {"reports": 1}}, {"event": "e", "json": 1}], "line_end": "\r\n"}},
    ])).await;
    let (progress, reports) = watch::channel(Progress::default());
    upstream.run.set_progress(reports);
    // Concurrent in one task: the second request is sent while the first waits.
    let (a, b) = tokio::join!(
        send(&authority, "GET /a", ""),
        send(&authority, "GET /b", "")
    );
    assert!(
        a.ends_with("\r\n\r\na") && b.ends_with("\r\n\r\nb"),
        "{a} {b}"
    );
    let reporting = async {
        let run = upstream.run.clone();
        let moment = serde_json::from_value(json!({"requested": "b"})).unwrap();
        assert!(run.wait_for(&moment, "the test").await);
        progress.send_replace(Progress::default());
        run.record_progress();
    };
    let (c, ()) = tokio::join!(send(&authority, "GET /c", ""), reporting);
    assert!(
        c.contains("first ") && c.contains("event: e\r\ndata: 1\r\n\r\n"),
        "{c}"
    );
    assert_eq!(close(upstream).await, [""; 0]);
}

#[tokio::test]
async fn wait_ends_with_job() {
    let (upstream, authority) = start(json!([
        {"request": {"line": "GET /a"}, "reply": {"after": {"requested": "b"}}},
        {"name": "b", "request": {"line": "GET /b"}, "reply": {}},
    ]))
    .await;
    let request = tokio::spawn(async move { send(&authority, "GET /a", "").await });
    let a = async {
        let mut waits = upstream.run.waits();
        while waits.is_empty() {
            tokio::task::yield_now().await;
            waits = upstream.run.waits();
        }
        waits
    };
    assert_eq!(
        a.await,
        ["/upstream/0/reply: waits for 1 request of exchange \"b\""]
    );
    assert_eq!(
        close(upstream).await,
        ["/upstream/1/request (GET /b): expected this request, got none"]
    );
    assert_eq!(request.await.unwrap(), "");
}

#[tokio::test]
async fn reply_breaks_connection_at_given_byte() {
    let (upstream, authority) = start(json!([
        {"request": {"line": "GET /a"}, "reply": {"break": "before_head"}},
        {"request": {"line": "GET /b"}, "reply": {"text": "0123456789", "break": {"after_bytes": 4}}},
        {"request": {"line": "GET /c"}, "reply": {"text": "0123456789", "pieces": 4}},
    ])).await;
    assert_eq!(send(&authority, "GET /a", "").await, "");
    let b = send(&authority, "GET /b", "").await;
    assert!(
        b.contains("content-length: 10\r\n") && b.ends_with("\r\n\r\n0123"),
        "{b}"
    );
    let c = send(&authority, "GET /c", "").await;
    assert!(
        c.ends_with("\r\n\r\n4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"),
        "{c}"
    );
    assert_eq!(close(upstream).await, [""; 0]);
}

/// An exchange without a response.
fn hanging_exchange() -> Value {
    json!({"name": "a", "request": {"line": "GET /a"}, "reply": {"hangs": true}})
}

#[tokio::test]
async fn request_aborted_before_the_end_of_the_job_is_no_failure() {
    let (upstream, authority) = start(json!([hanging_exchange()])).await;
    let mut stream = std::net::TcpStream::connect(&authority).unwrap();
    stream
        .write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let moment = serde_json::from_value(json!({"requested": "a"})).unwrap();
    assert!(upstream.run.wait_for(&moment, "the test").await);
    drop(stream);
    upstream.run.wait_for_open_requests().await;
    assert_eq!(close(upstream).await, [""; 0]);
}

#[tokio::test]
async fn request_open_after_the_job_is_a_failure() {
    let (upstream, authority) = start(json!([hanging_exchange()])).await;
    let request = tokio::spawn(async move { send(&authority, "GET /a", "").await });
    while !upstream.run.has_open_requests() {
        tokio::task::yield_now().await;
    }
    let expected = "/upstream/0 (GET /a): the request was still open after the job";
    assert_eq!(close(upstream).await, [expected]);
    request.await.unwrap();
}

#[tokio::test]
async fn upstream_can_refuse_connections() {
    let (upstream, authority) = start(json!("nobody")).await;
    let error = std::net::TcpStream::connect(&authority).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    drop(upstream);
}

#[tokio::test]
async fn request_in_backlog_is_counted() {
    let (upstream, authority) = start(json!([])).await;
    let mut stream = std::net::TcpStream::connect(&authority).unwrap();
    stream
        .write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    drop(stream);
    assert_eq!(close(upstream).await, ["unexpected request GET /a"]);
}

/// Sends these messages to a socket at `/ws?id=7`. Returns its messages, and the failures. `None` is an
/// end without a close frame.
async fn run_socket(steps: Value, sent: &[&str]) -> (Vec<Option<Message>>, Vec<String>) {
    let exchange = json!({"request": {"line": "GET /ws?id={id}"}, "socket": steps});
    let (upstream, authority) = start(json!([exchange])).await;
    let stream = TcpStream::connect(&authority).await.unwrap();
    let url = format!("ws://{authority}/ws?id=7");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for text in sent {
        socket.send(Message::text(*text)).await.unwrap();
    }
    let mut messages = Vec::new();
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(_))) => break,
            Some(Ok(message)) => messages.push(Some(message)),
            _ => {
                messages.push(None);
                break;
            }
        }
    }
    (messages, close(upstream).await)
}

#[tokio::test]
async fn socket_runs_its_steps() {
    let steps = json!([
        {"send": {"id": "{id}"}},
        {"expect": {"type": "hello", "n": "{n}"}},
        {"send_text": "n is {n}"},
        {"send_binary": [{"u32": 258}, {"json_with_length": {"n": "{n}"}}, {"text": "x"}, {"picture": "gif 1x1"}]},
        {"close": true},
    ]);
    let (messages, failures) = run_socket(steps, &[r#"{"type": "hello", "n": 5}"#]).await;
    let image = test_image::encode("gif 1x1").unwrap();
    let binary = [b"\0\0\x01\x02\0\0\0\x07{\"n\":5}x".as_slice(), &image].concat();
    let expected = [
        Message::text(r#"{"id":"7"}"#),
        Message::text("n is 5"),
        Message::binary(binary),
    ];
    assert_eq!(messages, expected.map(Some));
    assert_eq!(failures, [""; 0]);
}

#[tokio::test]
async fn socket_compares_messages_and_breaks() {
    let steps = json!([{"expect": {"n": 1}}, {"expect": "text"}, {"break": true}]);
    let (messages, failures) = run_socket(steps, &[r#"{"n": 2}"#, "text"]).await;
    assert_eq!(messages, [None]);
    assert_eq!(failures, ["/upstream/0/socket/0: at /n: expected 1, got 2"]);
}

#[tokio::test]
async fn socket_reports_missing_messages() {
    let steps = json!([{"expect": 1}, {"send": 1}, {"expect": 2}]);
    let exchange = json!({"request": {"line": "GET /ws"}, "socket": steps});
    let (upstream, authority) = start(json!([exchange])).await;
    let stream = TcpStream::connect(&authority).await.unwrap();
    let url = format!("ws://{authority}/ws");
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    drop(socket);
    assert_eq!(
        close(upstream).await,
        [
            "/upstream/0/socket/0: expected a message, but the WebSocket closed",
            "/upstream/0/socket/2: expected a message, but the WebSocket closed",
        ]
    );
}

#[tokio::test]
async fn socket_requires_handshake() {
    let (upstream, authority) =
        start(json!([{"request": {"line": "GET /ws"}, "socket": []}])).await;
    send(&authority, "GET /ws", "").await;
    let expected = "/upstream/0/request: expected a WebSocket handshake, got a plain request";
    assert_eq!(close(upstream).await, [expected]);
}
