//! The engine `comfyui`, as far as its cases cannot cover it: several jobs, a partial result and a client that disconnects.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pinhole_tests::{
    FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, WebSocket, pixel_base64,
};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;

/// The id that this ComfyUI gives each job.
const JOB: &str = "0f3b8c1e-5a7d-4e2b-9c64-1d2e3f405162";

/// Far more than any job here takes.
const TIMEOUT: Duration = Duration::from_secs(120);

fn path(request: &RecordedRequest) -> &str {
    request.target.split('?').next().unwrap_or_default()
}

/// The history of the job with these output files.
fn history(files: &[&str]) -> Value {
    let file = |name: &&str| json!({"filename": name, "subfolder": "", "type": "output"});
    let images: Vec<Value> = files.iter().map(file).collect();
    json!({JOB: {"outputs": {"9": {"images": images}}, "status": {"status_str": "success"}}})
}

/// Waits for the client's first message and for the job, then sends the end of the job.
async fn finish(mut socket: WebSocket, mut jobs: watch::Receiver<u32>, number: u32) {
    socket.next().await.unwrap().unwrap();
    jobs.wait_for(|jobs| *jobs >= number).await.unwrap();
    let done = json!({"type": "executing", "data": {"node": null, "prompt_id": JOB}});
    socket.send(Message::text(done.to_string())).await.unwrap();
    while let Some(Ok(_)) = socket.next().await {}
}

/// A ComfyUI whose jobs all have these output files; `view` responds with their bytes.
async fn comfy(
    files: &'static [&'static str],
    view: fn(&RecordedRequest) -> FakeResponse,
) -> FakeUpstream {
    let jobs = watch::Sender::new(0);
    FakeUpstream::start(move |request| {
        let response = match path(&request) {
            "/ws" => {
                let (number, jobs) = (*jobs.borrow() + 1, jobs.subscribe());
                FakeResponse::web_socket(move |socket| finish(socket, jobs, number))
            }
            "/prompt" => {
                jobs.send_modify(|jobs| *jobs += 1);
                FakeResponse::json(
                    200,
                    &json!({"prompt_id": JOB, "number": 1, "node_errors": {}}),
                )
            }
            "/view" => view(&request),
            _ => FakeResponse::json(200, &history(files)),
        };
        async { response }
    })
    .await
}

fn image(_: &RecordedRequest) -> FakeResponse {
    FakeResponse::typed(200, "image/png", PIXEL)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_job_has_its_own_socket_and_id() {
    let comfy = comfy(&["a.png"], image).await;
    let server = TestServer::with_engine("comfyui", &[("COMFYUI_BASE_URL", &comfy.url())]).await;
    let body = json!({"prompt": "a red fox"});
    for _ in 0..2 {
        let (status, reply) = server.post_json("/v1/images/generations", &body).await;
        assert_eq!(status, 200, "{reply}");
    }
    let requests = comfy.requests();
    let jobs: Vec<Value> = requests
        .iter()
        .filter(|request| request.line() == "POST /prompt")
        .map(RecordedRequest::json)
        .collect();
    for name in ["client_id", "prompt_id"] {
        let ids: Vec<&str> = jobs.iter().map(|job| job[name].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 2);
        assert_ne!(ids[0], ids[1], "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_image_is_omitted_and_not_stored() {
    let second_is_invalid = |request: &RecordedRequest| {
        if request.target.contains("b.png") {
            FakeResponse::typed(200, "image/png", "<html>")
        } else {
            image(request)
        }
    };
    let comfy = comfy(&["a.png", "b.png"], second_is_invalid).await;
    let server = TestServer::with_engine("comfyui", &[("COMFYUI_BASE_URL", &comfy.url())]).await;
    let body = json!({"prompt": "a red fox", "n": 2, "response_format": "url"});
    let (status, reply) = server.post_json("/v1/images/generations", &body).await;
    let data = reply["data"].as_array().map(Vec::len);
    assert_eq!((status, data), (200, Some(1)), "{reply}");
    assert_eq!(server.stored_files(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn disconnected_client_cancels_its_job() {
    let (started, mut start) = mpsc::unbounded_channel();
    // The engine responds to a ping only while it waits for the end of its job.
    let socket_handler = move |mut socket: WebSocket| {
        let started = started.clone();
        async move {
            socket.next().await.unwrap().unwrap();
            socket.send(Message::Ping("?".into())).await.unwrap();
            while !socket.next().await.unwrap().unwrap().is_pong() {}
            started.send(()).unwrap();
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let comfy = FakeUpstream::start(move |request| {
        let response = match path(&request) {
            "/ws" => FakeResponse::web_socket(socket_handler.clone()),
            "/prompt" => FakeResponse::json(200, &json!({"prompt_id": JOB, "number": 1})),
            _ => FakeResponse::json(200, &json!({"cancelled": true})),
        };
        async { response }
    })
    .await;
    let server = TestServer::with_engine("comfyui", &[("COMFYUI_BASE_URL", &comfy.url())]).await;
    let body = json!({"prompt": "a red fox"});
    let job_request = tokio::spawn(server.post("/v1/images/generations", &body).send());
    let soon = tokio::time::timeout(TIMEOUT, start.recv()).await;
    soon.unwrap().unwrap();
    job_request.abort();
    let canceled = tokio::time::timeout(TIMEOUT, comfy.wait_for_requests(3)).await;
    canceled.unwrap();
    let cancel = format!("POST /api/jobs/{JOB}/cancel");
    assert_eq!(
        comfy.request_lines()[1..],
        ["POST /prompt".to_owned(), cancel]
    );
}

/// The refusal of a graph whose checkpoint the server does not have.
fn no_checkpoint() -> Value {
    let error = json!({
        "type": "value_not_in_list", "message": "Value not in list",
        "details": "ckpt_name: 'model.safetensors' not in ['flux.safetensors']",
        "extra_info": {"input_name": "ckpt_name", "received_value": "model.safetensors"},
    });
    json!({
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"},
        "node_errors": {"4": {"errors": [error], "dependent_outputs": ["9"], "class_type": "CheckpointLoaderSimple"}},
    })
}

/// A ComfyUI without the checkpoint of the default edit workflow. It has these, which it lists to `verify`; without
/// any, `verify` fails.
async fn comfy_with_checkpoints(checkpoints: &'static [&'static str]) -> FakeUpstream {
    FakeUpstream::start(move |request| {
        let response = match path(&request) {
            "/ws" | "/system_stats" => FakeResponse::json(404, &json!({})),
            // Then the engine cannot tell whether editing works.
            "/object_info/CheckpointLoaderSimple" if checkpoints.is_empty() => {
                FakeResponse::json(404, &json!({}))
            }
            "/object_info/CheckpointLoaderSimple" => {
                let schema = json!({"input": {"required": {"ckpt_name": [checkpoints, {}]}}});
                FakeResponse::json(200, &json!({"CheckpointLoaderSimple": schema}))
            }
            "/prompt" if request.line() == "GET /prompt" => {
                FakeResponse::json(200, &json!({"exec_info": {"queue_remaining": 0}}))
            }
            "/upload/image" => FakeResponse::json(
                200,
                &json!({"name": "a.png", "subfolder": "", "type": "input"}),
            ),
            "/prompt" if request.json()["prompt"].to_string().contains("VAEEncode") => {
                FakeResponse::json(400, &no_checkpoint())
            }
            "/prompt" => FakeResponse::json(200, &json!({"prompt_id": JOB, "number": 1})),
            "/view" => image(&request),
            _ => FakeResponse::json(200, &history(&["a.png"])),
        };
        async { response }
    })
    .await
}

/// A turn of a chat whose first message has an image.
fn turn(newest: Value) -> Value {
    let url = format!("data:image/png;base64,{}", pixel_base64());
    json!({
        "chat_id": "c1", "id": "a1", "features": {"image_generation": true},
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "a fox"},
                {"type": "image_url", "image_url": {"url": url}},
            ]},
            {"role": "assistant", "content": "Here is your image."},
            newest,
        ],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_generates_if_an_edit_shows_that_editing_is_not_set_up() {
    let comfy = comfy_with_checkpoints(&[]).await;
    let server = TestServer::with_engine("comfyui", &[("COMFYUI_BASE_URL", &comfy.url())]).await;
    let count = |line: &str| {
        let requests = comfy.requests();
        requests.iter().filter(|it| it.line() == line).count()
    };
    let text = turn(json!({"role": "user", "content": "a blue fox"}));
    for (uploads, prompts) in [(1, 2), (1, 3)] {
        let (status, reply) = server.post_json("/api/chat/completions", &text).await;
        assert_eq!(status, 200, "{reply}");
        // The second turn does not try to edit again.
        assert_eq!(
            (count("POST /upload/image"), count("POST /prompt")),
            (uploads, prompts)
        );
    }
    assert_eq!(server.stored_files(), 2);

    // An image of the newest message is to be edited, so a new one is no result.
    let content = text["messages"][0]["content"].clone();
    let image = turn(json!({"role": "user", "content": content}));
    let (_, reply) = server.post_json("/api/chat/completions", &image).await;
    let reply = reply.to_string();
    for piece in ["editing is not set up", "IMAGES_EDIT_COMFYUI_WORKFLOW"] {
        assert!(reply.contains(piece), "{reply}");
    }
    assert_eq!(server.stored_files(), 2);
}

/// Continues a chat with an image. Returns how many requests the upstream got so far: to explain, to upload and to queue.
async fn continue_chat(
    server: &TestServer,
    comfy: &FakeUpstream,
    model: Option<&str>,
) -> [usize; 3] {
    let mut body = turn(json!({"role": "user", "content": "a blue fox"}));
    if let Some(model) = model {
        body["image_generation"] = json!({"model": model});
    }
    let (status, reply) = server.post_json("/api/chat/completions", &body).await;
    assert_eq!(status, 200, "{reply}");
    let lines = comfy.request_lines();
    let kinds = [
        "GET /object_info/CheckpointLoaderSimple",
        "POST /upload/image",
        "POST /prompt",
    ];
    kinds.map(|kind| lines.iter().filter(|line| *line == kind).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_edits_only_if_the_engine_explains_that_it_can() {
    let comfy = comfy_with_checkpoints(&["flux.safetensors"]).await;
    let url = comfy.url();
    let server = TestServer::with_engine("comfyui", &[("COMFYUI_BASE_URL", &url)]).await;
    // The first turn asks once, and no turn tries to edit.
    for prompts in [1, 2] {
        let counts = continue_chat(&server, &comfy, None).await;
        assert_eq!(counts, [1, 0, prompts]);
    }
    assert_eq!(server.stored_files(), 2);
    // A model of the request may be what the built-in workflow lacks.
    let named = continue_chat(&server, &comfy, Some("flux.safetensors")).await;
    assert_eq!(named[..2], [1, 1]);

    // With the checkpoint, or with a setting, the chat tries to edit. A setting needs no question.
    let ready = comfy_with_checkpoints(&["model.safetensors"]).await;
    let ready_url = ready.url();
    let ready_server =
        TestServer::with_engine("comfyui", &[("COMFYUI_BASE_URL", &ready_url)]).await;
    let ready_counts = continue_chat(&ready_server, &ready, None).await;
    assert_eq!(ready_counts[..2], [1, 1]);
    let set = comfy_with_checkpoints(&["flux.safetensors"]).await;
    let variables = [
        ("COMFYUI_BASE_URL", set.url()),
        ("IMAGE_EDIT_MODEL", "flux.safetensors".to_owned()),
    ];
    let variables = variables
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let set_server = TestServer::with_engine("comfyui", &variables).await;
    let counts = continue_chat(&set_server, &set, None).await;
    assert_eq!(counts[..2], [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn workflow_that_makes_no_image_is_refused_when_it_is_saved() {
    let server = TestServer::with_engine("comfyui", &[]).await;
    let video = json!({
        "1": {"class_type": "TextToVideo", "inputs": {"prompt": "a fox"}},
        "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}},
    });
    let audio = json!({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "7": {"class_type": "SaveAudio", "inputs": {"audio": ["1", 0]}},
    });
    for (setting, graph, part) in [
        (
            "COMFYUI_WORKFLOW",
            video,
            "SaveVideo (node 2) makes a video",
        ),
        (
            "IMAGES_EDIT_COMFYUI_WORKFLOW",
            audio,
            "SaveAudio (node 7) makes audio",
        ),
    ] {
        let body = json!({setting: graph.to_string()});
        let (status, refused) = server.post_json("/api/v1/settings", &body).await;
        assert_eq!(status, 400, "{refused}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains(setting) && detail.contains(part),
            "{detail}"
        );
    }
}
