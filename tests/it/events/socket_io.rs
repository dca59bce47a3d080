//! Socket.IO at `/ws/socket.io`.

use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::socket_client::{PATIENCE, PollingClient, SocketClient, emit, mark, user_id};
use super::{event_types, run_turn};

/// Maximum length of a client's message, in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

async fn server() -> TestServer {
    TestServer::with_engine("sketch", &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_events_reach_all_sockets_of_its_user_only() {
    let server = server().await;
    let second = server.add_second_user().await;
    let ours = user_id(&server, &server.key).await;
    let others = user_id(&server, second).await;
    let mut sockets = [
        SocketClient::connect_as(&server, &server.key).await,
        SocketClient::connect_as(&server, &server.key).await,
    ];
    let mut other = SocketClient::connect_as(&server, second).await;

    run_turn(&server, "c1").await;

    for socket in &mut sockets {
        let events = socket.events_so_far(&server, &ours).await;
        assert_eq!(event_types(&events), ["status", "status", "files"]);
        let expected = json!({
            "chat_id": "c1", "message_id": "a1",
            "data": {"type": "status", "data": {"description": "Creating image", "done": false}},
        });
        assert_eq!(events[0], expected);
        assert_eq!(
            events[2]["data"]["data"]["files"].as_array().unwrap().len(),
            1
        );
    }
    assert_eq!(
        other.events_so_far(&server, &others).await,
        Vec::<Value>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn handshake_has_values_of_open_webui() {
    let server = server().await;
    let (_, websocket) = SocketClient::open(&server).await;
    let (_, polling) = PollingClient::open(&server).await;
    for (terms, upgrades) in [(websocket, json!([])), (polling, json!(["websocket"]))] {
        let sid = terms["sid"].clone();
        let expected = json!({
            "sid": sid, "upgrades": upgrades, "pingInterval": 25_000, "pingTimeout": 20_000,
            "maxPayload": MAX_MESSAGE_BYTES,
        });
        assert_eq!(terms, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn join_returns_user_without_second_listener() {
    let server = server().await;
    let ours = user_id(&server, &server.key).await;
    // Open WebUI's client sends the token when it connects, and again to join.
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let joined = socket.join(&server.key).await;
    assert_eq!(joined, json!({"id": ours, "name": "Administrator"}));
    socket.send("42[\"heartbeat\",{}]").await;
    socket.send("42[\"usage\",{\"action\":\"chat\"}]").await;

    run_turn(&server, "c1").await;

    let received = socket.events_so_far(&server, &ours).await;
    assert_eq!(event_types(&received), ["status", "status", "files"]);
    assert_eq!(server.app.events.listeners(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn socket_without_token_gets_events_only_after_join() {
    let server = server().await;
    let ours = user_id(&server, &server.key).await;
    let cookie = format!("token={}", server.key);
    let bearer = format!("Bearer {}", server.key);
    for (auth, headers) in [
        (json!({}), vec![]),
        (json!({"token": null}), vec![]),
        (json!({"token": "sk-unknown"}), vec![]),
        (json!({"token": "a\nb"}), vec![]),
        (json!({"token": 7}), vec![]),
        (json!([]), vec![]),
        // Credentials that a browser sends automatically do not count.
        (json!({}), vec![("cookie", cookie.as_str())]),
        (json!({}), vec![("authorization", bearer.as_str())]),
    ] {
        let mut socket = SocketClient::connect_raw(&server, "", &headers).await;
        assert!(socket.next().await.unwrap().starts_with('0'));
        socket.enter(&auth).await;
        mark(&server, &ours);
        for invalid in [json!({}), json!({"auth": {"token": "sk-no"}}), json!("x")] {
            // The acknowledgement is the next packet: the socket got no event before it.
            assert_eq!(
                socket.emit_with_ack("user-join", &invalid).await,
                Value::Null
            );
        }
        assert_eq!(socket.join(&server.key).await["id"], ours);
        emit(&server, &ours, None, "status", json!({"done": true}));
        assert_eq!(
            event_types(&socket.events_so_far(&server, &ours).await),
            ["status"],
            "{auth}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn join_of_other_user_switches_socket() {
    let server = server().await;
    let second = server.add_second_user().await;
    let ours = user_id(&server, &server.key).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    assert_eq!(
        socket.events_so_far(&server, &ours).await,
        Vec::<Value>::new()
    );
    assert_eq!(socket.join(second).await["id"], "second");
    emit(&server, &ours, None, "status", json!({}));
    emit(&server, "second", None, "files", json!({}));
    assert_eq!(
        event_types(&socket.events_so_far(&server, "second").await),
        ["files"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_limits_token_attempts() {
    let server = server().await;
    let mut socket = SocketClient::connect_as(&server, "sk-guess").await;
    for _ in 1..20 {
        assert_eq!(socket.join("sk-guess").await, Value::Null);
    }
    assert_eq!(socket.join(&server.key).await, Value::Null);
    // Another connection is not affected.
    let mut other = SocketClient::connect_as(&server, "sk-guess").await;
    assert_ne!(other.join(&server.key).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_socket_removes_its_listener() {
    let server = server().await;
    let mut leaving = SocketClient::connect_as(&server, &server.key).await;
    let joined = leaving.join(&server.key).await;
    assert_ne!(joined, Value::Null);
    let closed = SocketClient::connect_as(&server, &server.key).await;
    drop(closed);
    // Leaves the namespace, but not the connection.
    leaving.send("41").await;
    let no_listener = async {
        while server.app.events.listeners() > 0 {
            server.get("/health").send().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, no_listener).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn polling_upgrades_to_web_socket() {
    let server = server().await;
    let ours = user_id(&server, &server.key).await;
    let (polling, _) = PollingClient::open(&server).await;
    let auth = json!({"token": server.key});
    assert_eq!(polling.send(format!("40{auth}")).await, 200);
    assert!(polling.read().await.starts_with("40{"));
    let join = json!(["user-join", {"auth": auth}]);
    assert_eq!(polling.send(format!("421{join}")).await, 200);
    assert!(polling.read().await.starts_with("431["));
    emit(&server, &ours, Some("c1"), "status", json!({"done": true}));
    let event = json!(["events", {
        "chat_id": "c1", "message_id": "a1", "data": {"type": "status", "data": {"done": true}},
    }]);
    assert_eq!(polling.read().await, format!("42{event}"));

    let mut socket = SocketClient::connect_raw(&server, &polling.id, &[]).await;
    socket.send("2probe").await;
    assert_eq!(socket.next().await.unwrap(), "3probe");
    socket.send("5").await;
    emit(&server, &ours, None, "files", json!({}));
    assert_eq!(
        event_types(&socket.events_so_far(&server, &ours).await),
        ["files"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_message_closes_connection() {
    let server = server().await;
    let fits = "x".repeat(MAX_MESSAGE_BYTES - 100);
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    socket
        .send(&format!("42{}", json!(["heartbeat", fits])))
        .await;
    assert_ne!(socket.join(&server.key).await, Value::Null);

    let long = "x".repeat(MAX_MESSAGE_BYTES);
    let long = format!("42{}", json!(["heartbeat", long]));
    socket.send(&long).await;
    assert_eq!(socket.next().await, None);
    let (polling, _) = PollingClient::open(&server).await;
    assert_eq!(polling.send(long).await, 413);
    for packet in ["no packet", "9", "42{"] {
        let (invalid_client, _) = PollingClient::open(&server).await;
        let status = invalid_client.send(packet.to_owned()).await;
        assert!((200..500).contains(&status), "{packet}: {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_namespace_is_refused() {
    let server = server().await;
    let (mut socket, _) = SocketClient::open(&server).await;
    socket.send("40/admin,{}").await;
    let refused = socket.next().await.unwrap();
    assert_eq!(refused, "44/admin,{\"message\":\"Invalid namespace\"}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_handshake_has_client_error_status() {
    let server = server().await;
    for (query, expected) in [
        ("", 400),
        ("?EIO=4", 400),
        ("?EIO=3&transport=polling", 400),
        ("?EIO=4&transport=pigeon", 400),
        ("?EIO=4&transport=polling&sid=unknown", 400),
        ("?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA", 400),
        ("?EIO=4&transport=websocket", 400),
    ] {
        for path in ["/ws/socket.io", "/ws/socket.io/"] {
            let response = server.client.get(server.url(&format!("{path}{query}")));
            let status = response.send().await.unwrap().status();
            assert_eq!(status.as_u16(), expected, "{path}{query}");
        }
    }
    let put = server
        .client
        .put(server.url("/ws/socket.io/?EIO=4&transport=polling"));
    assert_eq!(put.send().await.unwrap().status(), 400);
    let beside = server.client.get(server.url("/ws/other")).send().await;
    assert_eq!(beside.unwrap().status(), 404);
}
