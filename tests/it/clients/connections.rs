//! Connections that wait, and too many of them.

use tokio::time::Instant;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn stalled_and_dripped_heads_are_refused() {
    let limits = ConnectionLimits {
        head_time: SHORT,
        ..long_limits()
    };
    let server = TestServer::with_limits(limits, &[]).await;
    let mut idle = RawClient::connect(&server).await;
    assert_eq!(idle.get_health().await, 200);

    let mut stalled = RawClient::connect(&server).await;
    stalled
        .send("GET /health HTTP/1.1\r\nhost: a\r\nx-slow:")
        .await;
    assert_eq!(status_of(&stalled.read_to_end().await), 408);

    let mut dripping = RawClient::connect(&server).await;
    assert_eq!(dripping.get_health().await, 200);
    let drips = async {
        while dripping.0.write_all(b"\r\n").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, drips).await.expect("the head never ends");

    // A connection may be idle for longer.
    assert_eq!(idle.get_health().await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn web_socket_outlives_the_time_for_heads() {
    let limits = ConnectionLimits {
        head_time: SHORT,
        ..long_limits()
    };
    let server = TestServer::with_limits(limits, &[]).await;
    let mut socket = RawClient::connect(&server).await;
    socket
        .send(
            "GET /ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: a\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(socket.status().await, 101);
    // The first half of a masked frame.
    socket.send("\x01\x7f").await;
    let mut stalled = RawClient::connect(&server).await;
    stalled.send("GET").await;
    assert_eq!(status_of(&stalled.read_to_end().await), 408);
    let mut byte = [0];
    let read = timeout(SHORT, socket.0.read_exact(&mut byte)).await;
    assert!(
        read.is_err() || read.unwrap().is_ok(),
        "the socket is closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connection_is_closed() {
    let limits = ConnectionLimits {
        idle_time: SHORT,
        ..long_limits()
    };
    let server = TestServer::with_limits(limits, &[]).await;
    let mut unused = RawClient::connect(&server).await;
    assert_eq!(unused.read_to_end().await, "");
    let mut used = RawClient::connect(&server).await;
    assert_eq!(used.get_health().await, 200);
    assert_eq!(used.read_to_end().await, "");
}

/// A request whose body has fewer bytes than it declares.
fn incomplete(server: &TestServer, path: &str, content_type: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\ncontent-length: 1000\r\n\
         content-type: {content_type}\r\n\r\n{{\"prompt\": \"",
        server.key
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_body_is_refused_on_every_route() {
    let limits = ConnectionLimits {
        body_rate: MinRate {
            bytes: 100,
            time: SHORT,
        },
        ..long_limits()
    };
    let server = TestServer::with_limits(limits, &[]).await;
    let form = "multipart/form-data; boundary=x";
    for (path, content_type, error) in [
        ("/v1/images/generations", "application/json", "error"),
        ("/v1/images/edits", form, "error"),
        ("/v1/chat/completions", "application/json", "error"),
        ("/api/v1/images/generations", "application/json", "detail"),
        ("/api/v1/files/", form, "detail"),
        ("/api/v1/chats/new", "application/json", "detail"),
        ("/api/v1/settings", "application/json", "detail"),
    ] {
        let mut client = RawClient::connect(&server).await;
        client.send(&incomplete(&server, path, content_type)).await;
        let response = client.read_to_end().await;
        assert_eq!(status_of(&response), 408, "{path}: {response}");
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert!(
            body[error].to_string().contains("too slowly"),
            "{path}: {body}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn body_that_never_ends_is_refused_although_it_is_fast() {
    let limits = ConnectionLimits {
        body_time: SHORT,
        ..long_limits()
    };
    let server = TestServer::with_limits(limits, &[]).await;
    let mut client = RawClient::connect(&server).await;
    let head = format!(
        "POST /v1/images/generations HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n{JSON}\
         transfer-encoding: chunked\r\n\r\n",
        server.key
    );
    client.send(&head).await;
    let start = Instant::now();
    while client.0.write_all(b"1\r\n \r\n").await.is_ok() {
        assert!(start.elapsed() < PATIENCE, "the body never ends");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_does_not_read_is_disconnected() {
    let limits = ConnectionLimits {
        response_rate: MinRate {
            bytes: 1 << 20,
            time: SHORT,
        },
        ..long_limits()
    };
    let server = TestServer::with_limits(limits, &[]).await;
    let mut client = RawClient::connect(&server).await;
    // When the buffers of the network are full, the server reads no further request.
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n".repeat(100);
    let sending = async { while client.0.write_all(requests.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, sending)
        .await
        .expect("the server waits without end");
    // One that reads gets everything.
    let mut reader = RawClient::connect(&server).await;
    reader.send(&requests).await;
    for _ in 0..100 {
        assert_eq!(reader.status().await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order_and_authenticated_one_by_one() {
    let server = TestServer::with_limits(long_limits(), &[]).await;
    let mut client = RawClient::connect(&server).await;
    let with_key = format!(
        "GET /api/v1/auths/ HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {}\r\n\r\n",
        server.key
    );
    let without_key = "GET /api/v1/auths/ HTTP/1.1\r\nhost: a\r\n\r\n";
    let pair = format!("{with_key}{without_key}");
    client.send(&pair.repeat(500)).await;
    for _ in 0..500 {
        assert_eq!(client.status().await, 200);
        assert_eq!(client.status().await, 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_one_ip_address_leave_room_for_others() {
    let limits = ConnectionLimits {
        max_connections: 6,
        max_connections_per_ip: 2,
        ..long_limits()
    };
    // Loopback is a proxy, unless proxies are named.
    let proxies = [("PINHOLE_TRUSTED_PROXIES", "127.0.0.1")];
    let server = TestServer::with_limits(limits, &proxies).await;
    let mut open = Vec::new();
    for ip in ["127.0.0.2", "127.0.0.2", "127.0.0.3"] {
        let mut client = RawClient::connect_from(ip, server.address).await;
        assert_eq!(client.get_health().await, 200, "{ip}");
        open.push(client);
    }
    let mut third = RawClient::connect_from("127.0.0.2", server.address).await;
    let refused = third.read_to_end().await;
    assert_eq!(status_of(&refused), 503);
    assert!(refused.contains("retry-after: 5"), "{refused}");
    for _ in 0..3 {
        let mut proxy = RawClient::connect(&server).await;
        assert_eq!(proxy.get_health().await, 200);
        open.push(proxy);
    }
    let mut seventh = RawClient::connect(&server).await;
    assert_eq!(status_of(&seventh.read_to_end().await), 503);

    // A connection that ends makes room.
    open.remove(0);
    let room = async {
        loop {
            let mut client = RawClient::connect_from("127.0.0.2", server.address).await;
            client
                .0
                .write_all(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .ok();
            if client.status_or_end().await == Some(200) {
                return;
            }
        }
    };
    timeout(PATIENCE, room).await.expect("no room");
}

impl RawClient {
    /// The status of the next response; `None` if the connection has ended.
    async fn status_or_end(&mut self) -> Option<u16> {
        let mut start = [0; 12];
        self.0.read_exact(&mut start).await.ok()?;
        Some(status_of(&String::from_utf8_lossy(&start)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_a_limited_length() {
    let server = TestServer::with_limits(long_limits(), &[]).await;
    for (length, expected) in [(10 << 10, 200), (20 << 10, 431)] {
        let mut client = RawClient::connect(&server).await;
        let long = "x".repeat(length);
        let request = format!("GET /health HTTP/1.1\r\nhost: a\r\nx-long: {long}\r\n\r\n");
        client.send(&request).await;
        assert_eq!(client.status().await, expected, "{length} bytes");
    }
}
