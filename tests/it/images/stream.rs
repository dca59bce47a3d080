//! `stream: true`: drafts while a job runs, then its images.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use futures_util::stream;
use pinhole_tests::{
    FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, gif, pixel_base64,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::edits::{post_form, streaming_form};
use super::{GENERATIONS, png_size, usage};

type Chunks = Receiver<Result<Vec<u8>, std::io::Error>>;

/// A response of status 200 whose body lasts as long as the channel.
pub(super) fn endless(media_type: &str, receiver: Chunks) -> FakeResponse {
    let chunks = stream::unfold(receiver, async |mut chunks| {
        Some((chunks.recv().await?, chunks))
    });
    FakeResponse::typed(200, media_type, Body::from_stream(chunks))
}

/// The events of a response.
struct Events {
    response: reqwest::Response,
    read: String,
}

impl Events {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            read: String::new(),
        }
    }

    /// The data of the next event. Asserts that its type equals the event's name.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                let (name, data) = event.split_once("\ndata: ").unwrap();
                let data: Value = serde_json::from_str(data).unwrap();
                let kind = data["type"].as_str().unwrap();
                assert_eq!(name, format!("event: {kind}"));
                return Some(data);
            }
            let chunk = self.response.chunk().await.unwrap()?;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// The data without image and time, and the image.
fn split_image(mut event: Value) -> (Value, Vec<u8>) {
    let fields = event.as_object_mut().unwrap();
    let image = fields.remove("b64_json").unwrap();
    assert!(fields.remove("created_at").unwrap().is_i64());
    let image = base64_simd::STANDARD.decode_to_vec(image.as_str().unwrap());
    (event, image.unwrap())
}

/// A server whose engine `openai` uses an upstream that streams the channel to the first request.
async fn openai_server(
    media_type: &'static str,
) -> (
    FakeUpstream,
    TestServer,
    Sender<Result<Vec<u8>, std::io::Error>>,
) {
    let (sender, receiver) = channel(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    let upstream = FakeUpstream::start(move |_: RecordedRequest| {
        let receiver = receiver.lock().unwrap().take();
        async move { endless(media_type, receiver.unwrap()) }
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGE_GENERATION_MODEL", "gpt-image-2"),
    ];
    let server = TestServer::with_engine("openai", &variables).await;
    (upstream, server, sender)
}

async fn send(upstream: &Sender<Result<Vec<u8>, std::io::Error>>, event: Value) {
    let text = format!("data: {event}\n\n");
    upstream.send(Ok(text.into_bytes())).await.unwrap();
}

fn draft(number: u8) -> Value {
    json!({
        "type": "image_generation.partial_image", "partial_image_index": number - 1,
        "b64_json": base64_simd::STANDARD.encode_to_string(gif(number)),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_without_drafts_has_completed_events() {
    let server = TestServer::with_engine("sketch", &[]).await;
    let body = json!({
        "prompt": "a fox", "size": "64x48", "n": 2, "stream": true, "partial_images": 2,
    });
    let mut events = Events::of(server.post(GENERATIONS, &body)).await;
    for _ in 0..2 {
        let (event, image) = split_image(events.next().await.unwrap());
        assert_eq!(png_size(&image), (64, 48));
        let expected = json!({
            "type": "image_generation.completed", "size": "64x48", "quality": "auto",
            "background": "auto", "output_format": "png",
            "usage": usage(0, 0),
        });
        assert_eq!(event, expected);
    }
    assert_eq!(events.next().await, None);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_sends_drafts_during_job() {
    let (upstream, server, events_sender) = openai_server("text/event-stream").await;
    let body = json!({"prompt": "a fox", "stream": true, "partial_images": 2});
    let request = server.post(GENERATIONS, &body);
    let pending = tokio::spawn(Events::of(request));
    send(&events_sender, draft(1)).await;
    let mut events = pending.await.unwrap();
    for number in 1..=2 {
        let (event, image) = split_image(events.next().await.unwrap());
        assert_eq!(image, gif(number));
        let expected = json!({
            "type": "image_generation.partial_image", "partial_image_index": number - 1,
            "size": format!("{number}x1"), "quality": "auto", "background": "auto",
            "output_format": "gif",
        });
        assert_eq!(event, expected);
        if number == 1 {
            send(&events_sender, draft(2)).await;
        }
    }
    let finished = json!({
        "type": "image_generation.completed", "b64_json": pixel_base64(), "quality": "high",
        "usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
    });
    send(&events_sender, finished).await;
    let (event, image) = split_image(events.next().await.unwrap());
    assert_eq!(image, PIXEL);
    let expected = json!({
        "type": "image_generation.completed", "size": "1x1", "quality": "high",
        "background": "auto", "output_format": "png",
        "usage": usage(3, 4),
    });
    assert_eq!(event, expected);
    assert_eq!(events.next().await, None);
    let sent = json!({
        "model": "gpt-image-2", "prompt": "a fox", "stream": true, "partial_images": 2,
    });
    assert_eq!(upstream.requests()[0].json(), sent);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn edit_stream_has_its_own_event_names() {
    let (upstream, server, events_sender) = openai_server("text/event-stream").await;
    let pending = tokio::spawn(Events::of(post_form(&server, streaming_form())));
    send(&events_sender, draft(1)).await;
    let mut events = pending.await.unwrap();
    let partial = events.next().await.unwrap();
    assert_eq!(partial["type"], "image_edit.partial_image");
    let finished = json!({"type": "image_edit.completed", "b64_json": pixel_base64()});
    send(&events_sender, finished).await;
    let completed = events.next().await.unwrap();
    assert_eq!(completed["type"], "image_edit.completed");
    assert_eq!(events.next().await, None);
    assert_eq!(upstream.request_lines(), ["POST /v1/images/edits"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_without_partial_images_requests_no_drafts() {
    let response = json!({"data": [{"b64_json": pixel_base64()}]});
    let upstream = FakeUpstream::json(200, response).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    for more in [
        json!({}),
        json!({"partial_images": 0}),
        json!({"partial_images": null}),
    ] {
        let mut body = json!({"prompt": "a fox", "stream": true});
        let fields = body.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let mut events = Events::of(server.post(GENERATIONS, &body)).await;
        let finished = events.next().await.unwrap();
        assert_eq!(finished["type"], "image_generation.completed");
        assert_eq!(events.next().await, None);
    }
    for request in upstream.requests() {
        assert_eq!(request.json(), json!({"prompt": "a fox"}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_error_is_status_before_and_event_after_start() {
    let error = json!({"error": {"message": "Not this.", "code": "moderation_blocked"}});
    let upstream = FakeUpstream::json(400, error.clone()).await;
    let base = format!("{}/v1", upstream.url());
    let variables = [("IMAGES_OPENAI_API_BASE_URL", base.as_str())];
    let server = TestServer::with_engine("openai", &variables).await;
    let body = json!({"prompt": "a fox", "stream": true, "partial_images": 1});
    let (status, response) = server.post_json(GENERATIONS, &body).await;
    assert_eq!(
        (status, &response["error"]["code"]),
        (400, &json!("moderation_blocked"))
    );
    let empty = json!({"prompt": "", "stream": true});
    let (empty_status, empty_response) = server.post_json(GENERATIONS, &empty).await;
    assert_eq!(
        (empty_status, &empty_response["error"]["param"]),
        (400, &json!("prompt"))
    );

    let (_upstream, streaming_server, events_sender) = openai_server("text/event-stream").await;
    let pending = tokio::spawn(Events::of(streaming_server.post(GENERATIONS, &body)));
    send(&events_sender, draft(1)).await;
    let mut events = pending.await.unwrap();
    events.next().await.unwrap();
    let mut failed = error;
    failed["type"] = json!("error");
    send(&events_sender, failed).await;
    let failure = events.next().await.unwrap();
    let expected = json!({"type": "error", "error": {
        "message": failure["error"]["message"], "type": "invalid_request_error", "param": null,
        "code": "moderation_blocked",
    }});
    assert_eq!(failure, expected);
    let message = failure["error"]["message"].as_str().unwrap();
    assert!(message.contains("Not this."), "{message}");
    assert_eq!(events.next().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_disconnect_cancels_stream() {
    let (_upstream, server, events_sender) = openai_server("text/event-stream").await;
    let body = json!({"prompt": "a fox", "stream": true, "partial_images": 1});
    let pending = tokio::spawn(Events::of(server.post(GENERATIONS, &body)));
    send(&events_sender, draft(1)).await;
    let mut events = pending.await.unwrap();
    events.next().await.unwrap();
    drop(events);
    // The upstream's stream is dropped.
    events_sender.closed().await;
}
