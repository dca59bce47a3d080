//! Previews of an engine that reports steps and previews by turns, faster than events are emitted.

use futures_util::{SinkExt, StreamExt};
use pinhole::event::{self, PROGRESS};
use pinhole_tests::{
    FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, WebSocket, gif,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

use super::run_turn;
use super::socket_client::{SocketClient, mark, user_id};

/// The id that this ComfyUI gives its job.
const JOB: &str = "0f3b8c1e-5a7d-4e2b-9c64-1d2e3f405162";
const STEPS: u8 = 100;
/// Steps that follow each other without a pause.
const BATCH: u8 = 10;

/// Sends each batch of steps as soon as the test asks for it, then the end of the job.
async fn send_steps(
    mut socket: WebSocket,
    mut is_queued: watch::Receiver<bool>,
    mut batches: mpsc::UnboundedReceiver<()>,
) {
    socket.next().await.unwrap().unwrap();
    let greeting = json!({"type": "status", "data": {"status": {}, "sid": "x"}});
    socket
        .send(Message::text(greeting.to_string()))
        .await
        .unwrap();
    is_queued.wait_for(|is_queued| *is_queued).await.unwrap();
    let mut step = 0;
    while batches.recv().await.is_some() {
        for _ in 0..BATCH {
            step += 1;
            socket.send(preview(step)).await.unwrap();
            // The report after the preview has none.
            let data = json!({"node": "1", "prompt_id": JOB, "value": step, "max": STEPS});
            let text = json!({"type": "progress", "data": data}).to_string();
            socket.send(Message::text(text)).await.unwrap();
        }
    }
    let end = json!({"type": "executing", "data": {"node": null, "prompt_id": JOB}});
    socket.send(Message::text(end.to_string())).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

/// A frame with the preview of a step: a GIF of that width.
fn preview(step: u8) -> Message {
    let metadata = json!({"node_id": "1", "prompt_id": JOB}).to_string();
    let length = u32::try_from(metadata.len()).unwrap();
    let mut frame = [4_u32.to_be_bytes(), length.to_be_bytes()].concat();
    frame.extend_from_slice(metadata.as_bytes());
    frame.extend_from_slice(&gif(step));
    Message::binary(frame)
}

/// A ComfyUI that sends a batch of steps for each message of the channel.
async fn comfy(batches: mpsc::UnboundedReceiver<()>) -> FakeUpstream {
    let is_queued = watch::Sender::new(false);
    let batches = std::sync::Mutex::new(Some(batches));
    FakeUpstream::start(move |request: RecordedRequest| {
        let path = request.target.split('?').next().unwrap_or_default();
        let response = match path {
            "/ws" => {
                let (queued, batches) = (is_queued.subscribe(), batches.lock().unwrap().take());
                let batches = batches.expect("one WebSocket");
                FakeResponse::web_socket(move |socket| send_steps(socket, queued, batches))
            }
            "/prompt" => {
                is_queued.send_replace(true);
                FakeResponse::json(200, &json!({"prompt_id": JOB, "number": 1, "node_errors": {}}))
            }
            "/view" => FakeResponse::typed(200, "image/png", PIXEL),
            _ => {
                let image = json!({"filename": "x.png", "subfolder": "", "type": "output"});
                FakeResponse::json(
                    200,
                    &json!({JOB: {"outputs": {"2": {"images": [image]}}, "status": {"status_str": "success"}}}),
                )
            }
        };
        async { response }
    })
    .await
}

fn preview_url(step: u8) -> Value {
    let base64 = base64_simd::STANDARD.encode_to_string(gif(step));
    format!("data:image/gif;base64,{base64}").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_of_a_hundred_fast_steps_are_emitted_beside_their_progress() {
    let (batch, batches) = mpsc::unbounded_channel();
    let upstream = comfy(batches).await;
    let graph = json!({
        "1": {"class_type": "TextToImage", "inputs": {"text": "the author's words"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    })
    .to_string();
    let nodes = json!([{"type": "prompt", "key": "text", "node_ids": ["1"]}]).to_string();
    let url = upstream.url();
    let server = TestServer::with_engine(
        "comfyui",
        &[
            ("COMFYUI_BASE_URL", &url),
            ("COMFYUI_WORKFLOW", &graph),
            ("COMFYUI_WORKFLOW_NODES", &nodes),
        ],
    )
    .await;
    let ours = user_id(&server, &server.key).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let watching = async {
        let mut last = 0;
        for first in (0..STEPS).step_by(BATCH.into()) {
            batch.send(()).unwrap();
            let newest = first + BATCH;
            while last < newest {
                let event = socket.event().await;
                if event["data"]["type"] != PROGRESS {
                    continue;
                }
                let preview = &event["data"]["data"]["preview"];
                if preview.is_null() {
                    continue;
                }
                let shown = (last + 1..=newest).find(|step| *preview == preview_url(*step));
                last = shown.expect("a preview that is newer than the one before it");
            }
        }
        drop(batch);
    };
    tokio::join!(run_turn(&server, "c1"), watching);
    mark(&server, &ours);
    let mut types = Vec::new();
    loop {
        let event = socket.event().await;
        match event["data"]["type"].as_str().unwrap() {
            "mark" => break,
            // Before the image, but never after it.
            PROGRESS if types.is_empty() => {}
            event::JOB => {}
            kind => types.push(kind.to_owned()),
        }
    }
    assert_eq!(types, ["status", "files"]);
}
