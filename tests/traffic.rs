//! The traffic between each engine and its upstream for one job.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use pinhole::jobs::{JobPlan, JobRequest, Operation, Requester};
use pinhole_conformance::{FakeResponse, RecordedRequest, WebSocket};
use pinhole_images::{Image, ImageLimits};
use pinhole_sandbox::{Edit, JobContext};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;

use crate::{FakeUpstream, TestServer, long_image};

/// The engines that have an upstream, and a model of each.
const ENGINES: [(&str, Option<&str>); 4] = [
    ("automatic1111", None),
    ("comfyui", None),
    ("gemini", Some("gemini-3.1-flash-image")),
    ("openai", Some("gpt-image-2")),
];

/// The traffic of one job.
#[derive(Debug)]
pub struct EngineTraffic {
    pub engine: &'static str,
    /// `generate` or `edit`.
    pub operation: &'static str,
    /// Method and path of the upstream's requests, in order.
    pub requests: Vec<String>,
    /// Total length of the request bodies.
    pub sent_bytes: usize,
    pub image_bytes: usize,
    /// Bytes copied into the guest.
    pub entered_bytes: u64,
}

/// Generates and edits one image of this length with every engine.
pub async fn measure_traffic(image_bytes: usize) -> Vec<EngineTraffic> {
    let upstream = start_upstream(long_image(image_bytes)).await;
    let (root, v1, v1beta) = (
        upstream.url(),
        format!("{}/v1", upstream.url()),
        format!("{}/v1beta", upstream.url()),
    );
    let server = TestServer::start(&[
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
            let before = upstream.requests().len();
            let request = JobRequest {
                prompt: "a fox".to_owned(),
                model: model.map(str::to_owned),
                ..JobRequest::default()
            };
            let context = JobContext::new(format!("{engine} {operation}"));
            let plan = |kind| {
                let requester = Requester::operator();
                JobPlan::new(jobs.snapshot(), kind, Some(engine), None, requester).unwrap()
            };
            let result = if operation == "generate" {
                jobs.generate(&plan(Operation::Generate), request, &context)
                    .await
            } else {
                let limits = ImageLimits {
                    max_bytes: image_bytes,
                    max_pixels: 1,
                };
                let source = Image::from_bytes(long_image(image_bytes).into(), limits).unwrap();
                let edit = Edit {
                    sources: vec![source],
                    mask: None,
                };
                jobs.edit(&plan(Operation::Edit), request, edit, &context)
                    .await
            };
            let completed = result.unwrap_or_else(|error| panic!("{}", error.for_operator()));
            let requests = upstream.requests().split_off(before);
            all.push(EngineTraffic {
                engine,
                operation,
                sent_bytes: requests.iter().map(|it| it.body.len()).sum(),
                requests: requests.iter().map(method_and_path).collect(),
                image_bytes: completed.images[0].bytes().len(),
                entered_bytes: context.usage.entered_bytes(),
            });
        }
    }
    all
}

fn method_and_path(request: &RecordedRequest) -> String {
    request.line().split('?').next().unwrap().to_owned()
}

/// An upstream that implements the APIs of all engines and always sends the same image.
async fn start_upstream(image: Vec<u8>) -> FakeUpstream {
    let base64 = Arc::new(base64_simd::STANDARD.encode_to_string(&image));
    let image = bytes::Bytes::from(image);
    let queued = watch::Sender::new(None);
    FakeUpstream::start(move |request| {
        let response = respond(&request, &image, &base64, &queued);
        async { response }
    })
    .await
}

fn respond(
    request: &RecordedRequest,
    image: &bytes::Bytes,
    base64: &str,
    queued: &watch::Sender<Option<String>>,
) -> FakeResponse {
    let path = request.target.split('?').next().unwrap();
    let json = |body: Value| FakeResponse::json(200, &body);
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
            FakeResponse::web_socket(move |socket| report_end_of_job(socket, queued))
        }
        "/prompt" => {
            let given = request.json()["prompt_id"].as_str().map(str::to_owned);
            let id = given.unwrap_or_else(|| next_prompt_id(queued));
            queued.send_replace(Some(id.clone()));
            json(json!({"prompt_id": id, "number": 1, "node_errors": {}}))
        }
        "/queue" => json(json!({"queue_running": [], "queue_pending": []})),
        "/upload/image" | "/upload/mask" => {
            json(json!({"name": "source.png", "subfolder": "", "type": "input"}))
        }
        "/view" => FakeResponse::typed(200, "image/png", image.clone()),
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
        other => FakeResponse::json(404, &json!({"detail": format!("no {other}")})),
    }
}

/// An id for the next job, in the format of ComfyUI.
fn next_prompt_id(queued: &watch::Sender<Option<String>>) -> String {
    let last = queued.borrow().as_deref().map_or(0, |id| id.len());
    format!("00000000-0000-4000-8000-{last:012}")
}

/// Reports the end of the next job that is queued after the socket opened.
async fn report_end_of_job(mut socket: WebSocket, mut queued: watch::Receiver<Option<String>>) {
    queued.mark_unchanged();
    queued.changed().await.unwrap();
    let id = queued.borrow().clone();
    let end = json!({"type": "executing", "data": {"node": null, "prompt_id": id}});
    socket.send(Message::text(end.to_string())).await.ok();
    while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
}
