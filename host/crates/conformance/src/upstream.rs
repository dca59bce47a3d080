//! The upstream that a case scripts: two real servers on loopback.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::body::Body;
use http::request::Parts;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::case::{At, Case, Script};
use super::progress::Play;
use super::reply;

/// Time that connections have to end after the job; far more than they need.
const CLOSING: Duration = Duration::from_secs(5);

/// Both servers of a case. They end with [`Upstream::close`], or else when dropped.
pub(crate) struct Upstream {
    pub(crate) play: Arc<Play>,
    accepting: Vec<JoinHandle<(TcpListener, At)>>,
    /// Bound, but not listening: connections are refused.
    _nobody: Option<TcpSocket>,
}

impl Upstream {
    /// Starts both on free ports.
    pub(crate) async fn start(case: Arc<Case>) -> Result<Self> {
        let nobody = matches!(case.upstream, Script::Nobody);
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listeners = vec![(TcpListener::bind(any_port).await?, At::Elsewhere)];
        let elsewhere = address(listeners.first().map(|(listener, _)| listener.local_addr()))?;
        let (upstream, refusing) = if nobody {
            let socket = TcpSocket::new_v4()?;
            socket.bind(any_port)?;
            (address(Some(socket.local_addr()))?, Some(socket))
        } else {
            let listener = TcpListener::bind(any_port).await?;
            let upstream = address(Some(listener.local_addr()))?;
            listeners.push((listener, At::Upstream));
            (upstream, None)
        };
        let play = Arc::new(Play::new(case, &upstream, &elsewhere));
        let accepting = listeners
            .into_iter()
            .map(|(listener, at)| tokio::spawn(accept(listener, at, play.clone())));
        Ok(Self {
            accepting: accepting.collect(),
            play,
            _nobody: refusing,
        })
    }

    /// Ends the servers once everything that was sent to them has been read. Call it when no
    /// connection is held any more.
    pub(crate) async fn close(mut self) {
        self.play.finish();
        for accepting in std::mem::take(&mut self.accepting) {
            let Ok((listener, at)) = accepting.await else {
                continue;
            };
            // Connections that nobody has looked at yet.
            let Ok(listener) = listener.into_std() else {
                continue;
            };
            while let Ok((stream, _)) = listener.accept() {
                let stream = stream.set_nonblocking(true).map(|()| stream);
                if let Ok(stream) = stream.and_then(TcpStream::from_std) {
                    self.play.tasks.spawn(serve(stream, at, self.play.clone()));
                }
            }
        }
        self.play.tasks.close();
        tokio::time::timeout(CLOSING, self.play.tasks.wait())
            .await
            .ok();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.play.over.cancel();
        for accepting in &self.accepting {
            accepting.abort();
        }
    }
}

fn address(address: Option<std::io::Result<SocketAddr>>) -> Result<String> {
    let address = address.context("the upstream has no address")??;
    Ok(format!("http://{address}"))
}

async fn accept(listener: TcpListener, at: At, play: Arc<Play>) -> (TcpListener, At) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = play.over.cancelled() => return (listener, at),
        };
        if let Ok((stream, _)) = accepted {
            play.tasks.spawn(serve(stream, at, play.clone()));
        }
    }
}

async fn serve(stream: TcpStream, at: At, play: Arc<Play>) {
    // Small pieces are sent as they are written.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request: Request<Incoming>| answer(request, at, play.clone()));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // An error is the engine hanging up, or a break that the case asked for.
    connection.with_upgrades().await.ok();
}

/// Answers one request. The error breaks the connection.
fn answer(
    mut request: Request<Incoming>,
    at: At,
    play: Arc<Play>,
) -> impl Future<Output = Result<Response<Body>, Broken>> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    // Before anything waits: an engine that hangs up drops the future.
    let mut arriving = Arriving {
        play,
        at,
        head: Some(head),
    };
    async move {
        let body = axum::body::to_bytes(Body::new(body), reply::MAX_REQUEST_BYTES).await;
        let body = body.map_err(|_| Broken)?;
        let head = arriving.head.take().ok_or(Broken)?;
        let play = arriving.play.clone();
        match play.arrived(at, &head, Some(&body)) {
            Some(place) => reply::give(play, place, &head, upgrade).await,
            None => Ok(reply::unexpected()),
        }
    }
}

/// A request whose body has not been read yet. One that is given up before has still come.
struct Arriving {
    play: Arc<Play>,
    at: At,
    head: Option<Parts>,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        if let Some(head) = &self.head {
            self.play.arrived(self.at, head, None);
        }
    }
}

/// A connection that is to be broken.
#[derive(Debug, thiserror::Error)]
#[error("the case breaks the connection")]
pub(crate) struct Broken;

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test is the engine that connects"
)]
mod tests {
    use std::io::{Read, Write};

    use futures_util::{SinkExt, StreamExt};
    use serde_json::{Value, json};
    use tokio::sync::watch;
    use tokio_tungstenite::tungstenite::Message;

    use super::super::case::tests::{read, with_exchanges};
    use super::*;
    use pinhole_sandbox::Progress;

    /// An upstream, and its address.
    async fn start(exchanges: Value) -> (Upstream, String) {
        let case = read(&with_exchanges(&exchanges), &json!({})).unwrap();
        let upstream = Upstream::start(Arc::new(case)).await.unwrap();
        let url = upstream.play.fill_text("{upstream}");
        let address = url.strip_prefix("http://").unwrap().to_owned();
        (upstream, address)
    }

    /// Sends a request on a connection of its own: all that comes back before the connection ends.
    async fn ask(address: &str, line: &str, body: &str) -> String {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let length = body.len();
        let head =
            format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}");
        stream
            .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
            .unwrap();
        let reading = tokio::task::spawn_blocking(move || {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            answer
        });
        String::from_utf8_lossy(&reading.await.unwrap()).into_owned()
    }

    async fn failures(upstream: Upstream) -> Vec<String> {
        let play = upstream.play.clone();
        upstream.close().await;
        play.end().2
    }

    #[tokio::test]
    async fn requests_are_answered_and_compared() {
        let (upstream, address) = start(json!([
            {"request": {"line": "POST /a?id={id}", "json": {"id": "{id}", "n": 2}},
             "reply": {"status": 201, "headers": {"x-id": "{id}"}, "json": {"{id}": ["{id}", "{upstream}"]}}},
            {"request": {"line": "GET /b", "body": "none"}, "reply": {"text": "bye"}},
        ])).await;
        let answer = ask(&address, "POST /a?id=7", r#"{"n": 2, "id": "7"}"#).await;
        assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
        assert!(
            answer.contains("x-id: 7\r\n") && answer.contains("application/json"),
            "{answer}"
        );
        assert!(
            answer.ends_with(&format!(r#"{{"7":["7","http://{address}"]}}"#)),
            "{answer}"
        );
        assert!(ask(&address, "GET /b", "").await.ends_with("\r\n\r\nbye"));
        assert_eq!(failures(upstream).await, [""; 0]);
    }

    #[tokio::test]
    async fn what_is_not_as_expected_is_said() {
        let (upstream, address) = start(json!([
            {"request": {"line": "GET /a?x=1"}, "reply": {}},
            {"request": {"line": "POST /b", "json": {"n": 2}, "headers": {"host": "y", "accept": "z"}}, "reply": {}},
            {"request": {"line": "GET /c", "headers": {"host": null}}, "reply": {}},
            {"at": "elsewhere", "request": {"line": "GET /d"}, "reply": {}},
        ])).await;
        let unexpected = ask(&address, "GET /a?x=2", "").await;
        assert!(unexpected.starts_with("HTTP/1.1 500"), "{unexpected}");
        ask(&address, "POST /b", "words").await;
        ask(&address, "GET /c", "").await;
        ask(&address, "GET /c", "").await;
        ask(&address, "GET /d", "").await;
        assert_eq!(
            failures(upstream).await,
            [
                "GET /a?x=2 came, and no exchange is left for it; /upstream/0/request/line expects GET /a?x=1",
                "/upstream/1/request (POST /b): came before /upstream/0",
                "/upstream/1/request (POST /b): header accept: expected \"z\", came none",
                "/upstream/1/request (POST /b): header host: expected \"y\", came \"x\"",
                "/upstream/1/request (POST /b): expected a JSON body (expected value at line 1 column 1), came \"words\"",
                "/upstream/2/request (GET /c): came before /upstream/0",
                "/upstream/2/request (GET /c): header host: expected none, came \"x\"",
                "GET /c came, and no exchange is left for it; /upstream/2/request/line is used up",
                "GET /d came, and no exchange is left for it; /upstream/3/request/line is at the other server",
                "/upstream/0/request (GET /a?x=1): it did not come",
                "/upstream/3/request (GET /d): it did not come",
            ]
        );
    }

    #[tokio::test]
    async fn times_between_requests_are_checked() {
        let (upstream, address) = start(json!([
            {"request": {"line": "GET /a"}, "times": {"at_least": 3, "at_most": 4, "at_least_ms_apart": 60_000}, "reply": {}},
            {"request": {"line": "GET /b"}, "at_least_ms_after_reply": 60_000, "reply": {}},
            {"request": {"line": "GET /c"}, "times": {"at_least": 0}, "reply": {}},
            {"request": {"line": "GET /d"}, "any_order": true, "reply": {}},
            {"request": {"line": "GET /e"}, "reply": {}},
        ])).await;
        for line in ["GET /a", "GET /a", "GET /b", "GET /e", "GET /d"] {
            assert!(ask(&address, line, "").await.starts_with("HTTP/1.1 200"));
        }
        let failures = failures(upstream).await;
        let [apart, delay, times] = failures.as_slice() else {
            panic!("{failures:#?}")
        };
        assert!(
            apart.starts_with("/upstream/0/request (GET /a): came again after "),
            "{apart}"
        );
        assert!(
            delay.contains("(GET /b): came ") && delay.ends_with("expected 60s at least"),
            "{delay}"
        );
        assert_eq!(
            times,
            "/upstream/0/request (GET /a): expected 3 times, came 2 times"
        );
    }

    #[tokio::test]
    async fn a_reply_waits_for_its_moment() {
        let (upstream, address) = start(json!([
            {"request": {"line": "GET /a"}, "reply": {"text": "a", "after": {"replied": "b"}}},
            {"name": "b", "any_order": true, "request": {"line": "GET /b"}, "reply": {"text": "b"}},
            {"request": {"line": "GET /c"}, "reply": {"events": [
                {"text": "first "}, {"wait": {"reports": 1}}, {"event": "e", "json": 1}], "line_end": "\r\n"}},
        ])).await;
        let (progress, reports) = watch::channel(Progress::default());
        upstream.play.listen(reports);
        // Side by side in this one task, so the second is sent while the first waits.
        let (a, b) = tokio::join!(ask(&address, "GET /a", ""), ask(&address, "GET /b", ""));
        assert!(
            a.ends_with("\r\n\r\na") && b.ends_with("\r\n\r\nb"),
            "{a} {b}"
        );
        let reporting = async {
            let begun = upstream.play.clone();
            let moment = serde_json::from_value(json!({"requested": "b"})).unwrap();
            assert!(begun.wait(&moment, "the test").await);
            progress.send_replace(Progress::default());
            begun.look();
        };
        let (c, ()) = tokio::join!(ask(&address, "GET /c", ""), reporting);
        assert!(
            c.contains("first ") && c.contains("event: e\r\ndata: 1\r\n\r\n"),
            "{c}"
        );
        assert_eq!(failures(upstream).await, [""; 0]);
    }

    #[tokio::test]
    async fn what_never_comes_is_waited_for_no_longer_than_the_job() {
        let (upstream, address) = start(json!([
            {"request": {"line": "GET /a"}, "reply": {"after": {"requested": "b"}}},
            {"name": "b", "request": {"line": "GET /b"}, "reply": {}},
        ]))
        .await;
        let asking = tokio::spawn(async move { ask(&address, "GET /a", "").await });
        let a = async {
            let mut waiting = upstream.play.waiting();
            while waiting.is_empty() {
                tokio::task::yield_now().await;
                waiting = upstream.play.waiting();
            }
            waiting
        };
        assert_eq!(
            a.await,
            ["/upstream/0/reply waits for \"b\" to be requested"]
        );
        assert_eq!(
            failures(upstream).await,
            ["/upstream/1/request (GET /b): it did not come"]
        );
        assert_eq!(asking.await.unwrap(), "");
    }

    #[tokio::test]
    async fn connections_break_where_the_case_says() {
        let (upstream, address) = start(json!([
            {"request": {"line": "GET /a"}, "reply": {"break": "before_head"}},
            {"request": {"line": "GET /b"}, "reply": {"text": "0123456789", "break": {"after_bytes": 4}}},
            {"request": {"line": "GET /c"}, "reply": {"text": "0123456789", "pieces": 4}},
        ])).await;
        assert_eq!(ask(&address, "GET /a", "").await, "");
        let b = ask(&address, "GET /b", "").await;
        assert!(
            b.contains("content-length: 10\r\n") && b.ends_with("\r\n\r\n0123"),
            "{b}"
        );
        let c = ask(&address, "GET /c", "").await;
        assert!(
            c.ends_with("\r\n\r\n4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n"),
            "{c}"
        );
        assert_eq!(failures(upstream).await, [""; 0]);
    }

    #[tokio::test]
    async fn a_request_that_hangs_must_be_given_up() {
        let exchange =
            json!({"name": "a", "request": {"line": "GET /a"}, "reply": {"hangs": true}});
        let moment = || serde_json::from_value(json!({"requested": "a"})).unwrap();
        let (upstream, address) = start(json!([exchange])).await;
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        assert!(upstream.play.wait(&moment(), "the test").await);
        drop(stream);
        upstream.play.given_up().await;
        assert_eq!(failures(upstream).await, [""; 0]);

        let (upstream, address) = start(json!([exchange])).await;
        let asking = tokio::spawn(async move { ask(&address, "GET /a", "").await });
        while !upstream.play.hangs() {
            tokio::task::yield_now().await;
        }
        let expected = "/upstream/0 (GET /a): the request was still open after the job";
        assert_eq!(failures(upstream).await, [expected]);
        asking.await.unwrap();
    }

    #[tokio::test]
    async fn nobody_refuses_connections() {
        let (upstream, address) = start(json!("nobody")).await;
        let refused = std::net::TcpStream::connect(&address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        drop(upstream);
    }

    #[tokio::test]
    async fn a_request_that_nobody_waited_for_is_seen() {
        let (upstream, address) = start(json!([])).await;
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        stream
            .write_all(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        drop(stream);
        assert_eq!(
            failures(upstream).await,
            ["GET /a came, and no exchange is left for it"]
        );
    }

    /// The messages that a socket at `/ws?id=7` brings after these were sent; `None` is its end
    /// without a proper close.
    async fn talk(steps: Value, sent: &[&str]) -> (Vec<Option<Message>>, Vec<String>) {
        let exchange = json!({"request": {"line": "GET /ws?id={id}"}, "socket": steps});
        let (upstream, address) = start(json!([exchange])).await;
        let stream = TcpStream::connect(&address).await.unwrap();
        let url = format!("ws://{address}/ws?id=7");
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
        (messages, failures(upstream).await)
    }

    #[tokio::test]
    async fn a_socket_takes_its_steps() {
        let steps = json!([
            {"send": {"id": "{id}"}},
            {"expect": {"type": "hello", "n": "{n}"}},
            {"send_text": "n is {n}"},
            {"send_binary": [{"u32": 258}, {"json_with_length": {"n": "{n}"}}, {"text": "x"}, {"picture": "gif 1x1"}]},
            {"close": true},
        ]);
        let (messages, failures) = talk(steps, &[r#"{"type": "hello", "n": 5}"#]).await;
        let picture = super::super::test_image::make("gif 1x1").unwrap();
        let binary = [b"\0\0\x01\x02\0\0\0\x07{\"n\":5}x".as_slice(), &picture].concat();
        let expected = [
            Message::text(r#"{"id":"7"}"#),
            Message::text("n is 5"),
            Message::binary(binary),
        ];
        assert_eq!(messages, expected.map(Some));
        assert_eq!(failures, [""; 0]);
    }

    #[tokio::test]
    async fn a_socket_breaks_and_its_messages_are_compared() {
        let steps = json!([{"expect": {"n": 1}}, {"expect": "words"}, {"break": true}]);
        let (messages, failures) = talk(steps, &[r#"{"n": 2}"#, "words"]).await;
        assert_eq!(messages, [None]);
        assert_eq!(
            failures,
            ["/upstream/0/socket/0: at /n: expected 1, came 2"]
        );
    }

    #[tokio::test]
    async fn a_message_that_does_not_come_is_missed() {
        let steps = json!([{"expect": 1}, {"send": 1}, {"expect": 2}]);
        let exchange = json!({"request": {"line": "GET /ws"}, "socket": steps});
        let (upstream, address) = start(json!([exchange])).await;
        let stream = TcpStream::connect(&address).await.unwrap();
        let url = format!("ws://{address}/ws");
        let (socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
        drop(socket);
        assert_eq!(
            failures(upstream).await,
            [
                "/upstream/0/socket/0: expected a message, but the socket ended",
                "/upstream/0/socket/2: expected a message, but the socket ended",
            ]
        );
    }

    #[tokio::test]
    async fn a_plain_request_is_no_handshake() {
        let (upstream, address) =
            start(json!([{"request": {"line": "GET /ws"}, "socket": []}])).await;
        ask(&address, "GET /ws", "").await;
        let expected = "/upstream/0/request: expected a WebSocket, came a plain request";
        assert_eq!(failures(upstream).await, [expected]);
    }
}
