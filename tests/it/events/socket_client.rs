//! A minimal Socket.IO client. Engine.IO packets of type 4 contain Socket.IO packets.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pinhole::event::{Event, EventTarget, JOB, PROGRESS};
use pinhole_tests::TestServer;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A WebSocket connection.
pub(crate) struct SocketClient {
    stream: WebSocketStream<TcpStream>,
}

impl SocketClient {
    /// Opens a WebSocket. It starts a new connection unless the query names one.
    pub(crate) async fn connect_raw(
        server: &TestServer,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Self {
        let url = format!(
            "ws://{}/ws/socket.io/?EIO=4&transport=websocket{query}",
            server.address
        );
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (stream, response) = tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap();
        assert_eq!(response.status(), 101);
        Self { stream }
    }

    /// Opens a connection. Returns the server's handshake.
    pub(crate) async fn open(server: &TestServer) -> (Self, Value) {
        let mut socket = Self::connect_raw(server, "", &[]).await;
        let opened = socket.next().await.unwrap();
        let terms = opened.strip_prefix('0').expect("an open packet");
        (socket, serde_json::from_str(terms).unwrap())
    }

    /// Connects with these credentials.
    pub(crate) async fn connect(server: &TestServer, auth: &Value) -> Self {
        let (mut socket, _) = Self::open(server).await;
        socket.enter(auth).await;
        socket
    }

    /// Connects with this token.
    pub(crate) async fn connect_as(server: &TestServer, token: &str) -> Self {
        Self::connect(server, &json!({"token": token})).await
    }

    pub(crate) async fn enter(&mut self, auth: &Value) {
        self.send(&format!("40{auth}")).await;
        let entered = self.next().await.unwrap();
        let entered = entered.strip_prefix("40").expect("a connect packet");
        let entered: Value = serde_json::from_str(entered).unwrap();
        assert!(entered["sid"].is_string(), "{entered}");
    }

    pub(crate) async fn send(&mut self, packet: &str) {
        self.stream.send(Message::text(packet)).await.unwrap();
    }

    /// The next packet except pings; `None` if the connection has ended.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let next = self.packet();
        timeout(PATIENCE, next)
            .await
            .expect("the next packet takes too long")
    }

    async fn packet(&mut self) -> Option<String> {
        loop {
            match self.stream.next().await?.ok()? {
                Message::Text(packet) if packet == "2" => self.send("3").await,
                Message::Text(packet) => return Some(packet.to_string()),
                _ => return None,
            }
        }
    }

    /// The next event's payload.
    pub(crate) async fn event(&mut self) -> Value {
        let packet = self.next().await.expect("the connection has ended");
        let event = packet.strip_prefix("42").expect("an event");
        let [name, payload]: [Value; 2] = serde_json::from_str(event).unwrap();
        assert_eq!(name, "events");
        payload
    }

    /// The events of this user so far, except progress, which depends on time. A marker event limits the wait.
    pub(crate) async fn events_so_far(&mut self, server: &TestServer, user_id: &str) -> Vec<Value> {
        mark(server, user_id);
        let mut events = Vec::new();
        loop {
            match self.event().await {
                event if event["data"]["type"] == "mark" => return events,
                event if event["data"]["type"] == PROGRESS => {}
                event if event["data"]["type"] == JOB => {}
                event => events.push(event),
            }
        }
    }

    /// Sends an event and returns its acknowledgement, which must be the next packet.
    pub(crate) async fn emit_with_ack(&mut self, name: &str, payload: &Value) -> Value {
        self.send(&format!("427{}", json!([name, payload]))).await;
        let response = self.next().await.expect("the connection has ended");
        let response = response.strip_prefix("437").expect("an acknowledgement");
        let [response]: [Value; 1] = serde_json::from_str(response).unwrap();
        response
    }

    pub(crate) async fn join(&mut self, token: &str) -> Value {
        self.emit_with_ack("user-join", &json!({"auth": {"token": token}}))
            .await
    }
}

/// Emits a marker event.
pub(crate) fn mark(server: &TestServer, user_id: &str) {
    emit(server, user_id, None, "mark", json!({}));
}

pub(crate) fn emit(
    server: &TestServer,
    user_id: &str,
    chat_id: Option<&str>,
    kind: &'static str,
    data: Value,
) {
    server.app.events.emit(Event {
        target: EventTarget {
            user_id: user_id.to_owned(),
            chat_id: chat_id.map(str::to_owned),
            message_id: "a1".to_owned(),
        },
        kind,
        data,
    });
}

pub(crate) async fn user_id(server: &TestServer, key: &str) -> String {
    let user = server.app.store.user_by_key(key).await.unwrap();
    user.unwrap().id
}

/// A long-polling connection.
pub(crate) struct PollingClient<'a> {
    server: &'a TestServer,
    pub(crate) id: String,
}

impl<'a> PollingClient<'a> {
    pub(crate) async fn open(server: &'a TestServer) -> (Self, Value) {
        let mut polling = Self {
            server,
            id: String::new(),
        };
        let opened = polling.read().await;
        let terms: Value = serde_json::from_str(opened.strip_prefix('0').unwrap()).unwrap();
        polling.id = format!("&sid={}", terms["sid"].as_str().unwrap());
        (polling, terms)
    }

    fn url(&self) -> String {
        let query = format!("/ws/socket.io/?EIO=4&transport=polling{}", self.id);
        self.server.url(&query)
    }

    /// The next packet except pings.
    pub(crate) async fn read(&self) -> String {
        loop {
            let read = self.server.client.get(self.url()).send();
            let response = timeout(PATIENCE, read).await.unwrap().unwrap();
            assert_eq!(response.status(), 200);
            let text = response.text().await.unwrap();
            let packet = text.split('\u{1e}').find(|packet| *packet != "2");
            if let Some(packet) = packet {
                return packet.to_owned();
            }
            assert_eq!(self.send("3".to_owned()).await, 200);
        }
    }

    /// Returns the status of the response.
    pub(crate) async fn send(&self, packet: String) -> u16 {
        let sent = self.server.client.post(self.url()).body(packet).send();
        sent.await.unwrap().status().as_u16()
    }
}
