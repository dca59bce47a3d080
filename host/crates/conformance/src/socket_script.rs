//! The server's end of a scripted WebSocket.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::header::SEC_WEBSOCKET_KEY;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

use crate::case::{BinaryPart, SocketStep};
use crate::case_run::CaseRun;
use crate::loopback::{FakeResponse, RecordedRequest, WebSocket};
use crate::placeholders::ObjectMatch;

/// Maximum number of engine messages that no step has expected yet.
const MAX_MESSAGES: usize = 1000;

/// Accepts the WebSocket and runs its steps. A request that is no handshake fails the case.
pub(crate) fn accept(run: &Arc<CaseRun>, index: usize, request: &RecordedRequest) -> FakeResponse {
    if !request.headers.contains_key(SEC_WEBSOCKET_KEY) {
        run.add_failure(format!(
            "/upstream/{index}/request: expected a WebSocket handshake, got a plain request"
        ));
        return FakeResponse::unexpected_request();
    }
    let run = run.clone();
    FakeResponse::web_socket(move |socket| run_script(run, index, socket))
}

async fn run_script(run: Arc<CaseRun>, index: usize, socket: WebSocket) {
    run.record_reply_start(index);
    let (sink, stream) = socket.split();
    let (sender, messages) = mpsc::channel(MAX_MESSAGES);
    let reading = run.tasks.spawn(read_messages(run.clone(), stream, sender));
    let steps = run
        .exchange(index)
        .and_then(|exchange| exchange.socket.as_deref())
        .unwrap_or_default();
    let mut script = SocketScript {
        run: &run,
        sink,
        messages,
    };
    for (number, step) in steps.iter().enumerate() {
        let pointer = format!("/upstream/{index}/socket/{number}");
        if script.run_step(step, &pointer).await {
            continue;
        }
        for (later, missed) in steps.iter().enumerate().skip(number) {
            if let SocketStep::Expect(_) = missed {
                run.add_failure(format!(
                    "/upstream/{index}/socket/{later}: expected a message, but the WebSocket closed"
                ));
            }
        }
        break;
    }
    run.record_reply_end(index);
    if let Some(SocketStep::Break(_)) = steps.last() {
        // The connection closes when both halves of the socket are dropped.
        reading.abort();
        return;
    }
    run.job_ended.cancelled().await;
}

/// Passes the engine's text messages on until it disconnects or the job ends.
async fn read_messages(
    run: Arc<CaseRun>,
    mut stream: SplitStream<WebSocket>,
    sender: mpsc::Sender<Value>,
) {
    let read_all = async {
        while let Some(Ok(message)) = stream.next().await {
            let Message::Text(text) = message else {
                continue;
            };
            let json = serde_json::from_str(&text);
            let value = json.unwrap_or_else(|_| Value::from(text.as_str()));
            if sender.send(value).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read_all => {}
        () = run.job_ended.cancelled() => {}
    }
}

struct SocketScript<'a> {
    run: &'a CaseRun,
    sink: SplitSink<WebSocket, Message>,
    messages: mpsc::Receiver<Value>,
}

impl SocketScript<'_> {
    /// False if the socket is closed or the job has ended.
    async fn run_step(&mut self, step: &SocketStep, pointer: &str) -> bool {
        let run = self.run;
        let message = match step {
            SocketStep::Send(json) => Message::text(run.fill(json).to_string()),
            SocketStep::SendText(text) => Message::text(run.fill_text(text)),
            SocketStep::SendBinary(parts) => Message::binary(encode_parts(run, parts)),
            SocketStep::Close(_) => Message::Close(None),
            SocketStep::Wait(moment) => return run.wait_for(moment, pointer).await,
            SocketStep::Expect(pattern) => {
                let Some(message) = self.messages.recv().await else {
                    return false;
                };
                for difference in run.compare(pattern, &message, ObjectMatch::Exact) {
                    run.add_failure(format!("{pointer}: {difference}"));
                }
                return true;
            }
            // The caller breaks the connection; recordings are frames since the case was loaded.
            SocketStep::Break(_) | SocketStep::Recorded(_) => return true,
        };
        tokio::select! {
            sent = self.sink.send(message) => sent.is_ok(),
            () = run.job_ended.cancelled() => false,
        }
    }
}

fn encode_parts(run: &CaseRun, parts: &[BinaryPart]) -> Bytes {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            BinaryPart::U32(number) => bytes.extend(number.to_be_bytes()),
            BinaryPart::JsonWithLength(json) => {
                let text = run.fill(json).to_string();
                let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
                bytes.extend(length.to_be_bytes());
                bytes.extend(text.into_bytes());
            }
            BinaryPart::Image(image) => bytes.extend_from_slice(&image.bytes),
            BinaryPart::Text(text) => bytes.extend(run.fill_text(text).into_bytes()),
        }
    }
    bytes.into()
}
