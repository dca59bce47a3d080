//! The server's end of a scripted WebSocket.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::request::Parts;
use http::{Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::case::{Binary, Step};
use super::progress::Play;
use super::reply::unexpected;

/// Messages of the engine that wait for a step to expect them.
const MAX_MESSAGES: usize = 1000;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Accepts the socket and begins to talk; what is no handshake fails the case.
pub(crate) fn accept(
    play: &Arc<Play>,
    place: usize,
    head: &Parts,
    upgrade: OnUpgrade,
) -> Response<Body> {
    let Some(key) = head.headers.get(SEC_WEBSOCKET_KEY) else {
        play.fail(format!(
            "/upstream/{place}/request: expected a WebSocket, came a plain request"
        ));
        return unexpected();
    };
    let accept = derive_accept_key(key.as_bytes());
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    let tasks = play.tasks.clone();
    tasks.spawn(talk(play.clone(), place, upgrade));
    response
}

async fn talk(play: Arc<Play>, place: usize, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    play.replies(place);
    let stream = TokioIo::new(upgraded);
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let (mut sink, stream) = socket.split();
    let (sender, mut messages) = mpsc::channel(MAX_MESSAGES);
    let reading = play.tasks.spawn(read(play.clone(), stream, sender));
    let steps = play
        .exchange(place)
        .and_then(|exchange| exchange.socket.as_deref());
    let steps = steps.unwrap_or_default();
    for (number, step) in steps.iter().enumerate() {
        let here = format!("/upstream/{place}/socket/{number}");
        if !take(&play, step, &here, &mut sink, &mut messages).await {
            let rest = steps.iter().enumerate().skip(number);
            for (number, _) in rest.filter(|(_, step)| matches!(step, Step::Expect(_))) {
                let here = format!("/upstream/{place}/socket/{number}");
                play.fail(format!("{here}: expected a message, but the socket ended"));
            }
            break;
        }
    }
    play.replied(place);
    if let Some(Step::Break(_)) = steps.last() {
        // Both halves go, and the connection with them.
        reading.abort();
        return;
    }
    play.over.cancelled().await;
}

/// Passes messages on until the engine hangs up or the job is over.
async fn read(play: Arc<Play>, mut stream: SplitStream<Socket>, sender: mpsc::Sender<Value>) {
    let reading = async {
        while let Some(Ok(message)) = stream.next().await {
            if let Message::Text(text) = message {
                let json = serde_json::from_str(&text);
                let json = json.unwrap_or_else(|_| Value::from(text.as_str()));
                if sender.send(json).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = play.over.cancelled() => {}
    }
}

/// Takes one step. False when the socket has ended.
async fn take(
    play: &Play,
    step: &Step,
    here: &str,
    sink: &mut SplitSink<Socket, Message>,
    messages: &mut mpsc::Receiver<Value>,
) -> bool {
    let message = match step {
        Step::Send(json) => Message::text(play.fill(json).to_string()),
        Step::SendText(text) => Message::text(play.fill_text(text)),
        Step::SendBinary(parts) => Message::binary(binary(play, parts)),
        Step::Close(_) => Message::Close(None),
        Step::Wait(moment) => return play.wait(moment, here).await,
        Step::Expect(pattern) => {
            let Some(came) = messages.recv().await else {
                return false;
            };
            for difference in play.compare(pattern, &came, false) {
                play.fail(format!("{here}: {difference}"));
            }
            return true;
        }
        // A break is done where the connection is held; recordings have become frames.
        Step::Break(_) | Step::Recorded(_) => return true,
    };
    tokio::select! {
        sent = sink.send(message) => sent.is_ok(),
        () = play.over.cancelled() => false,
    }
}

fn binary(play: &Play, parts: &[Binary]) -> Bytes {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Binary::U32(number) => bytes.extend(number.to_be_bytes()),
            Binary::JsonWithLength(json) => {
                let text = play.fill(json).to_string();
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                bytes.extend(length.to_be_bytes());
                bytes.extend(text.into_bytes());
            }
            Binary::Picture(picture) => bytes.extend_from_slice(&picture.bytes),
            Binary::Text(text) => bytes.extend(play.fill_text(text).into_bytes()),
        }
    }
    bytes.into()
}
