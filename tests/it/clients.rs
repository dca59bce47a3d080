//! What clients may do to a server: connections, bodies, origins, proxies and rates.

mod connections;
mod origins;
mod proxies;
mod rates;
mod sockets;

use std::net::SocketAddr;
use std::time::Duration;

use pinhole::clients::{ConnectionLimits, MinRate};
use pinhole_tests::TestServer;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// Only stops a test that would hang.
const PATIENCE: Duration = Duration::from_secs(30);
/// Waits of a server whose clients must hurry.
const SHORT: Duration = Duration::from_millis(300);
/// Headers of a request with a body of JSON, without its length.
const JSON: &str = "content-type: application/json\r\n";

/// Limits of which no test meets one.
fn long_limits() -> ConnectionLimits {
    let time = Duration::from_secs(3600);
    let rate = MinRate { bytes: 1, time };
    ConnectionLimits {
        idle_time: time,
        head_time: time,
        body_rate: rate,
        body_time: time,
        response_rate: rate,
        ..ConnectionLimits::default()
    }
}

/// A connection whose bytes a test writes.
struct RawClient(TcpStream);

impl RawClient {
    async fn connect(server: &TestServer) -> Self {
        Self::connect_from("127.0.0.1", server.address).await
    }

    /// A connection from this IP address of loopback.
    async fn connect_from(ip: &str, server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
        Self(socket.connect(server).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// The rest of what the server sends, until it closes the connection.
    async fn read_to_end(&mut self) -> String {
        let mut bytes = Vec::new();
        // A connection that the server resets has ended too.
        timeout(PATIENCE, self.0.read_to_end(&mut bytes))
            .await
            .expect("the connection stays open")
            .ok();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The status of the next response, whose body has this length or a `content-length`.
    async fn status(&mut self) -> u16 {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = timeout(PATIENCE, self.0.read_u8()).await;
            head.push(byte.expect("the server does not respond").unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|it| it.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |it| it.parse().unwrap())];
        self.0.read_exact(&mut body).await.unwrap();
        status_of(&head)
    }

    async fn get_health(&mut self) -> u16 {
        self.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
        self.status().await
    }
}

fn status_of(response: &str) -> u16 {
    response
        .split(' ')
        .nth(1)
        .unwrap_or_default()
        .parse()
        .unwrap()
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |it| it.to_str().unwrap())
}

async fn status_and_json(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}
