//! An upstream that speaks the dialects of all four engines, and always gives the same picture.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use pinhole_sandbox::JobContext;
use pinhole_images::{Image, ImageLimits};
use pinhole::jobs::JobRequest;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::{Answer, Seen, Server, Upstream, WebSocket, long_picture};

/// The engines that have an upstream, and a model of each.
const ENGINES: [(&str, Option<&str>); 4] = [
    ("automatic1111", None),
    ("comfyui", None),
    ("gemini", Some("gemini-3.1-flash-image")),
    ("openai", Some("gpt-image-2")),
];

/// What one job cost an engine.
#[derive(Debug)]
pub struct Traffic {
    pub engine: &'static str,
    /// `generate` or `edit`.
    pub operation: &'static str,
    /// What the upstream was asked, in order, without queries.
    pub requests: Vec<String>,
    /// Bytes of requests' bodies that the upstream got.
    pub sent_bytes: usize,
    /// Bytes of the picture.
    pub picture_bytes: usize,
    /// Bytes copied into the guest.
    pub entered_bytes: u64,
}

/// Has every engine make one picture of so many bytes, and change one.
pub async fn traffic(bytes: usize) -> Vec<Traffic> {
    let upstream = upstream(long_picture(bytes)).await;
    let (root, v1, v1beta) = (
        upstream.url(),
        format!("{}/v1", upstream.url()),
        format!("{}/v1beta", upstream.url()),
    );
    let server = Server::start(&[
        ("AUTOMATIC1111_BASE_URL", &root),
        ("COMFYUI_BASE_URL", &root),
        ("IMAGES_GEMINI_API_BASE_URL", &v1beta),
        ("IMAGES_OPENAI_API_BASE_URL", &v1),
    ])
    .await;
    let jobs = &server.app.jobs;
    let mut all = Vec::new();
    for (engine, model) in ENGINES {
        for operation in ["generate", "edit"] {
            let before = upstream.seen().len();
            let request = JobRequest {
                prompt: "a fox".to_owned(),
                engine: Some(engine.to_owned()),
                model: model.map(str::to_owned),
                ..JobRequest::default()
            };
            let control = JobContext::new(format!("{engine} {operation}"));
            let made = match operation {
                "generate" => jobs.generate(request, &control).await,
                _ => {
                    let limits = ImageLimits {
                        max_bytes: bytes,
                        max_pixels: 1,
                    };
                    let source = Image::from_bytes(long_picture(bytes).into(), limits).unwrap();
                    jobs.edit(request, vec![source], None, &control).await
                }
            };
            let made = made.unwrap_or_else(|error| panic!("{}", error.for_operator()));
            let seen = upstream.seen().split_off(before);
            let line = |seen: &Seen| seen.line().split('?').next().unwrap().to_owned();
            all.push(Traffic {
                engine,
                operation,
                requests: seen.iter().map(line).collect(),
                sent_bytes: seen.iter().map(|seen| seen.body.len()).sum(),
                picture_bytes: made.images[0].bytes().len(),
                entered_bytes: control.usage.entered_bytes(),
            });
        }
    }
    all
}

async fn upstream(picture: Vec<u8>) -> Upstream {
    let base64 = Arc::new(base64_simd::STANDARD.encode_to_string(&picture));
    let picture = bytes::Bytes::from(picture);
    let queued = watch::Sender::new(None);
    Upstream::start(move |seen| {
        let answer = answer(&seen, &picture, &base64, &queued);
        async { answer }
    })
    .await
}

fn answer(
    seen: &Seen,
    picture: &bytes::Bytes,
    base64: &str,
    queued: &watch::Sender<Option<String>>,
) -> Answer {
    let path = seen.target.split('?').next().unwrap();
    let json = |body: Value| Answer::json(200, &body);
    match path {
        "/v1/images/generations" | "/v1/images/edits" => {
            json(json!({"created": 1, "data": [{"b64_json": base64}]}))
        }
        "/sdapi/v1/txt2img" | "/sdapi/v1/img2img" => {
            json(json!({"images": [base64], "parameters": {}, "info": "{\"all_seeds\": [5]}"}))
        }
        "/sdapi/v1/progress" => json(json!({
            "progress": 0.0, "eta_relative": 0.0, "current_image": null,
            "state": {"job": "", "job_count": 0, "job_no": 0, "job_timestamp": "0",
                      "sampling_step": 0, "sampling_steps": 0},
        })),
        "/ws" => {
            let queued = queued.subscribe();
            Answer::web_socket(move |socket| tell_end(socket, queued))
        }
        "/prompt" => {
            let given = seen.json()["prompt_id"].as_str().map(str::to_owned);
            let id = given.unwrap_or_else(|| uuid_of(queued));
            queued.send_replace(Some(id.clone()));
            json(json!({"prompt_id": id, "number": 1, "node_errors": {}}))
        }
        "/queue" => json(json!({"queue_running": [], "queue_pending": []})),
        "/upload/image" | "/upload/mask" => {
            json(json!({"name": "source.png", "subfolder": "", "type": "input"}))
        }
        "/view" => Answer::typed(200, "image/png", picture.clone()),
        path if path.starts_with("/v1beta/models/") => json(json!({"candidates": [{
            "finishReason": "STOP",
            "content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": base64}}]},
        }]})),
        path if path.starts_with("/history/") => {
            let id = path.trim_start_matches("/history/");
            let file = json!({"filename": "a.png", "subfolder": "", "type": "output"});
            json(json!({id: {
                "outputs": {"9": {"images": [file]}},
                "status": {"status_str": "success", "completed": true, "messages": []},
            }}))
        }
        other => Answer::json(404, &json!({"detail": format!("no {other}")})),
    }
}

/// A name for the next job, of the shape that ComfyUI's have.
fn uuid_of(queued: &watch::Sender<Option<String>>) -> String {
    let last = queued.borrow().as_deref().map_or(0, |id| id.len());
    format!("00000000-0000-4000-8000-{last:012}")
}

/// Says that the job is over as soon as one is queued after the socket was opened.
async fn tell_end(mut socket: WebSocket, mut queued: watch::Receiver<Option<String>>) {
    queued.mark_unchanged();
    queued.changed().await.unwrap();
    let id = queued.borrow().clone();
    let end = json!({"type": "executing", "data": {"node": null, "prompt_id": id}});
    socket.send(Message::text(end.to_string())).await.ok();
    while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
}
