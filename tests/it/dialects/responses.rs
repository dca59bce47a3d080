//! The responses API with the image generation tool.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use futures_util::stream;
use pinhole_tests::{FakeResponse, RecordedRequest};
use tokio::sync::mpsc::{Receiver, channel};

use super::*;

const PATH: &str = "/v1/responses";

fn request(input: Value) -> Value {
    json!({"model": "gpt-5", "input": input, "tools": [{"type": "image_generation"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn response_has_the_image_of_the_tool() {
    let (server, upstream) = openai_server(&[]).await;
    let mut body = request(json!("a fox"));
    body["instructions"] = json!("In ink.");
    body["tools"][0]["model"] = json!("gpt-image-2");
    body["tools"][0]["size"] = json!("1024x1024");
    body["tools"][0]["quality"] = json!("high");
    body["metadata"] = json!({"project": "foxes"});
    let (status, response) = server.post_json(PATH, &body).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(
        (&response["object"], &response["status"]),
        (&json!("response"), &json!("completed"))
    );
    assert_eq!(
        (&response["model"], &response["store"]),
        (&json!("gpt-5"), &json!(false))
    );
    assert_eq!(response["metadata"], body["metadata"]);
    assert_eq!(response["tools"], body["tools"]);
    let call = &response["output"][0];
    assert_eq!(
        (&call["type"], &call["status"]),
        (&json!("image_generation_call"), &json!("completed"))
    );
    assert_eq!(call["result"], pixel_base64());
    assert!(call["id"].as_str().unwrap().starts_with("ig_"));
    let usage = &response["usage"];
    assert_eq!(
        (&usage["input_tokens"], &usage["total_tokens"]),
        (&json!(5), &json!(12))
    );
    let details = json!({"image_tokens": 1, "text_tokens": 4, "cached_tokens": 0});
    assert_eq!(usage["input_tokens_details"], details);
    assert_eq!(usage["output_tokens_details"]["reasoning_tokens"], 0);
    let sent = upstream.requests().pop().unwrap().json();
    let expected = json!({
        "model": "gpt-image-2", "prompt": "In ink.\n\na fox", "size": "1024x1024", "quality": "high",
    });
    assert_eq!(sent, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_input_and_earlier_calls_are_edited() {
    let (server, upstream) = openai_server(&[]).await;
    let parts = json!([
        {"type": "input_text", "text": "bluer"},
        {"type": "input_image", "image_url": data_url(), "detail": "auto"},
    ]);
    let given = request(json!([{"role": "user", "content": parts}]));
    let mut earlier = request(json!([
        {"role": "user", "content": "a fox"},
        {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": pixel_base64()},
        {"role": "user", "content": [{"type": "input_text", "text": "bluer"}]},
    ]));
    for body in [&given, &earlier] {
        let (status, response) = server.post_json(PATH, body).await;
        assert_eq!(status, 200, "{response}");
        assert_eq!(response["output"][0]["action"], "edit");
        let edit = upstream.requests().pop().unwrap();
        assert_eq!(edit.line(), "POST /v1/images/edits");
    }
    earlier["tools"][0]["action"] = json!("generate");
    let (status, response) = server.post_json(PATH, &earlier).await;
    assert_eq!(status, 200, "{response}");
    let generation = upstream.requests().pop().unwrap();
    assert_eq!(generation.json()["prompt"], "bluer");
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_has_numbered_events() {
    let server = TestServer::start(&[]).await;
    let mut body = request(json!("a fox"));
    body["stream"] = json!(true);
    body["tools"][0]["partial_images"] = json!(2);
    let events = events(&server, PATH, &body).await;
    let types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .collect();
    let expected = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.image_generation_call.in_progress",
        "response.image_generation_call.generating",
        "response.image_generation_call.completed",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(types, expected);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let id = &events[2]["item"]["id"];
    assert_eq!(events[0]["response"]["status"], "in_progress");
    let item = &events[6]["item"];
    assert_eq!((&item["id"], &events[5]["item_id"]), (id, id));
    assert!(item["result"].as_str().unwrap().starts_with("iVBOR"));
    assert_eq!(&events[7]["response"]["output"][0], item);
    assert_eq!(events[7]["response"]["id"], events[0]["response"]["id"]);
    assert_eq!(events[7]["response"]["usage"]["total_tokens"], 0);
}

type Chunks = Receiver<Result<String, std::io::Error>>;

/// A list of models, and a stream of the channel for the first other request.
fn respond(request: &RecordedRequest, receiver: &Mutex<Option<Chunks>>) -> FakeResponse {
    if request.line().starts_with("GET") {
        return FakeResponse::json(200, &json!({"data": []}));
    }
    let receiver = receiver.lock().unwrap().take().unwrap();
    let chunks = stream::unfold(receiver, async |mut chunks| {
        Some((chunks.recv().await?, chunks))
    });
    FakeResponse::typed(200, "text/event-stream", Body::from_stream(chunks))
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_and_late_failures_are_events() {
    let (server, upstream) = openai_server(&[]).await;
    let partial = json!({
        "type": "image_generation.partial_image", "b64_json": pixel_base64(), "partial_image_index": 0,
    });
    let failure =
        json!({"type": "error", "error": {"code": "moderation_blocked", "message": "Not this."}});
    let (sender, receiver) = channel(1);
    let receiver = Arc::new(Mutex::new(Some(receiver)));
    upstream.set_handler(move |request| {
        let receiver = receiver.clone();
        async move { respond(&request, &receiver) }
    });
    let mut body = request(json!("a fox"));
    body["stream"] = json!(true);
    body["tools"][0]["partial_images"] = json!(1);
    let sent = server.post(PATH, &body).send();
    sender
        .send(Ok(format!("data: {partial}\n\n")))
        .await
        .unwrap();
    let mut response = sent.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut text = String::new();
    while !text.contains("partial_image_index") {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    sender
        .send(Ok(format!("data: {failure}\n\n")))
        .await
        .unwrap();
    drop(sender);
    text.push_str(&response.text().await.unwrap());
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.map(|it| serde_json::from_str(it).unwrap()).collect();
    let second_partial = &events[5];
    assert_eq!(
        second_partial["type"],
        "response.image_generation_call.partial_image"
    );
    assert_eq!(second_partial["partial_image_b64"], pixel_base64());
    let failed = events.last().unwrap();
    assert_eq!(failed["type"], "response.failed");
    let error = json!({"code": "image_content_policy_violation", "message": "Not this."});
    assert_eq!(failed["response"]["error"], error);
    assert_eq!(failed["response"]["output"][0]["status"], "failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_before_anything_is_sent() {
    let (server, upstream) = openai_server(&[]).await;
    let with = |pointer: &str, value: Value| {
        let mut body = request(json!("a fox"));
        match body.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => body[pointer.trim_start_matches('/')] = value,
        }
        body
    };
    for (field, body) in [
        (
            "previous_response_id",
            with("/previous_response_id", json!("resp_1")),
        ),
        ("conversation", with("/conversation", json!("conv_1"))),
        ("background", with("/background", json!(true))),
        ("store", with("/store", json!(true))),
        ("tools[0]", with("/tools/0", json!({"type": "web_search"}))),
        ("tools", with("/tools", json!([]))),
        (
            "tools[0].n",
            with("/tools/0", json!({"type": "image_generation", "n": 2})),
        ),
        (
            "tools[0].action",
            with(
                "/tools/0",
                json!({"type": "image_generation", "action": "x"}),
            ),
        ),
        ("tool_choice", with("/tool_choice", json!("none"))),
        ("input", with("/input", json!([]))),
        (
            "partial_images",
            with(
                "/tools/0",
                json!({"type": "image_generation", "partial_images": 4}),
            ),
        ),
        (
            "input_image_mask",
            with(
                "/tools/0",
                json!({"type": "image_generation", "input_image_mask": {"file_id": "x"}}),
            ),
        ),
        (
            "input",
            with(
                "/tools/0",
                json!({"type": "image_generation", "action": "edit"}),
            ),
        ),
        ("width", with("/width", json!(5))),
    ] {
        assert_eq!(
            refused_field(server.post_json(PATH, &body).await),
            field,
            "{body}"
        );
    }
    let parts = |image: Value| json!([{"role": "user", "content": [{"type": "input_text", "text": "x"}, image]}]);
    for (field, image) in [
        (
            "input",
            json!({"type": "input_image", "image_url": "http://127.0.0.1/x.png"}),
        ),
        ("input", json!({"type": "input_image", "file_id": "file-1"})),
        (
            "input[0].content[1]",
            json!({"type": "input_file", "file_id": "file-1"}),
        ),
    ] {
        let body = request(parts(image));
        assert_eq!(
            refused_field(server.post_json(PATH, &body).await),
            field,
            "{body}"
        );
    }
    let lines = upstream.request_lines();
    assert!(
        !lines.iter().any(|line| line.starts_with("POST")),
        "{lines:?}"
    );
}
