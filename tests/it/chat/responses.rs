//! Responses of the language model and responses without one.

use pinhole_tests::{FakeResponse, FakeUpstream, TestServer, file_path};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

use super::{
    ChatResponse, EventListener, IMAGE_CREATED, IMAGE_FAILED, MODEL_KEY, RecordedTurn, STREAMED,
    WHOLE, ask, assert_as_recorded, context, file_id, is_png, model, model_requests, only_request,
    outline, server,
};

/// The text of a streamed response in the form that OpenAI's clients read.
#[track_caller]
fn streamed_text(reply: &ChatResponse) -> String {
    assert_eq!(
        (reply.status, reply.content_type.as_str()),
        (200, "text/event-stream")
    );
    let events = reply
        .body
        .strip_suffix("data: [DONE]\n\n")
        .expect("the end of the stream");
    let events = events.split_terminator("\n\n");
    let chunks: Vec<Value> = events
        .map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap())
        .collect();
    let (last, first) = (chunks.last().unwrap(), &chunks[0]);
    let mut text = String::new();
    for chunk in &chunks {
        assert_eq!(chunk["object"], "chat.completion.chunk");
        assert_eq!(chunk["model"], "mock-chat");
        assert_eq!(chunk["choices"].as_array().unwrap().len(), 1);
        assert_eq!(chunk["choices"][0]["index"], 0);
        assert_eq!(chunk["id"], first["id"], "all chunks are of one completion");
        assert_eq!(
            chunk["choices"][0]["finish_reason"] == "stop",
            std::ptr::eq(chunk, last)
        );
        text += chunk["choices"][0]["delta"]["content"]
            .as_str()
            .unwrap_or("");
    }
    assert!(first["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(first["created"].is_i64());
    assert_eq!(first["choices"][0]["delta"]["role"], "assistant");
    assert_eq!(first["choices"][0]["finish_reason"], Value::Null);
    assert_eq!(last["choices"][0]["delta"], json!({}));
    text
}

/// The text of a whole response in the form that OpenAI's clients read.
#[track_caller]
fn whole_text(reply: &ChatResponse) -> String {
    assert_eq!(
        (reply.status, reply.content_type.as_str()),
        (200, "application/json")
    );
    let body = reply.json();
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["created"].is_i64());
    let content = body["choices"][0]["message"]["content"].clone();
    let expected = json!({
        "id": body["id"], "object": "chat.completion", "created": body["created"], "model": "mock-chat",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": content},
            "finish_reason": "stop",
        }],
    });
    assert_eq!(body, expected);
    content.as_str().unwrap().to_owned()
}

/// Sends the request with and without streaming.
async fn ask_streamed_and_whole(server: &TestServer, mut request: Value) -> [String; 2] {
    request["stream"] = json!(true);
    let streamed = streamed_text(&ask(server, &request).await);
    request["stream"] = json!(false);
    let whole = whole_text(&ask(server, &request).await);
    [streamed, whole]
}

#[tokio::test(flavor = "multi_thread")]
async fn response_without_language_model_is_the_image() {
    for variables in [
        vec![],
        // A key alone would select OpenAI's own server.
        vec![
            ("OPENAI_API_KEY", MODEL_KEY),
            ("ENABLE_OPENAI_API", "false"),
        ],
    ] {
        let server = TestServer::start(&variables).await;
        let recorded = RecordedTurn::new("legacy_new_chat");
        let mut listener = EventListener::of_chat(&server, &server.key, &recorded.chat_id).await;
        for text in ask_streamed_and_whole(&server, recorded.request).await {
            let mut events = Vec::new();
            for _ in IMAGE_CREATED {
                events.push(listener.next().await);
            }
            let events = events.into();
            assert_eq!(outline(&events), IMAGE_CREATED);
            let url = format!("/api/v1/files/{}/content", file_id(&events));
            assert_eq!(text, "Here is your image.");
            let stored = server.get(&url).send().await.unwrap();
            assert!(is_png(&stored.bytes().await.unwrap(), 512, 512));
        }
        assert_eq!(listener.collect_events(&server).await, json!([]));
        assert_eq!(server.stored_files(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_without_language_model_names_the_failure() {
    let server = TestServer::start(&[("IMAGE_GENERATION_ENGINE", "comfyui")]).await;
    let recorded = RecordedTurn::new("legacy_new_chat");
    let mut listener = EventListener::of_chat(&server, &server.key, &recorded.chat_id).await;
    for text in ask_streamed_and_whole(&server, recorded.request).await {
        assert_eq!(
            text,
            "The image could not be generated: engine comfyui has no upstream URL: set \
             COMFYUI_BASE_URL to the URL of ComfyUI"
        );
    }
    let events = listener.collect_events(&server).await;
    assert_eq!(outline(&events), [IMAGE_FAILED, IMAGE_FAILED].concat());
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_without_image_and_language_model_is_refused() {
    let server = TestServer::start(&[]).await;
    for features in [json!({}), json!({"image_generation": false}), json!(null)] {
        let mut request = RecordedTurn::new("legacy_new_chat").request;
        request["features"] = features;
        let reply = ask(&server, &request).await;
        assert_eq!(reply.status, 400);
        let expected = json!({"detail":
            "no language model is configured: set OPENAI_API_BASE_URL, or request an image with \
             features.image_generation"});
        assert_eq!(reply.json(), expected);
    }
    assert_eq!(server.stored_files(), 0);
}

/// The value with the paths of files in place of links to them.
fn without_links(value: &Value) -> Value {
    let text = value.to_string();
    let Some((start, rest)) = text.split_once("](http") else {
        panic!("{text} has no link");
    };
    let (link, end) = rest.split_once(')').unwrap();
    let path = file_path(link);
    serde_json::from_str(&format!("{start}]({path}){end}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn image_precedes_the_response_without_chat() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let mut listener = EventListener::of_all(&server, &server.key, "").await;
    let mut request = RecordedTurn::without_chat();

    let streamed = ask(&server, &request).await;
    let events = listener.collect_events(&server).await;
    assert_eq!(outline(&events), IMAGE_CREATED);
    assert_eq!(events[0]["chat_id"], Value::Null);
    let lead = |created: &Value| {
        format!(
            "![generated-image.png](/api/v1/files/{}/content)\n\n",
            file_id(created)
        )
    };
    let (first, rest) = streamed.body.split_once("\n\n").unwrap();
    assert_eq!(streamed.content_type, "text/event-stream");
    assert_eq!(rest, STREAMED);
    let first: Value = serde_json::from_str(first.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(first["object"], "chat.completion.chunk");
    assert_eq!(first["model"], "mock-chat");
    let expected = json!([{
        "index": 0,
        "delta": {"role": "assistant", "content": lead(&events)},
        "finish_reason": null,
    }]);
    assert_eq!(without_links(&first["choices"]), expected);

    // The other name of the route. An empty chat id means no chat.
    request["stream"] = json!(false);
    request["chat_id"] = json!("");
    let whole = server.post("/api/v1/chat/completions", &request);
    let whole = ChatResponse::read(whole.send().await.unwrap()).await;
    let whole_events = listener.collect_events(&server).await;
    let mut completion: Value = serde_json::from_str(WHOLE).unwrap();
    let content = &mut completion["choices"][0]["message"]["content"];
    *content = json!(format!(
        "{}{}",
        lead(&whole_events),
        content.as_str().unwrap()
    ));
    assert_eq!(
        (whole.status, without_links(&whole.json())),
        (200, completion)
    );

    for upstream_request in model_requests(&model) {
        context(&upstream_request.json()["messages"][0]["content"]);
    }
    assert_eq!(
        (model_requests(&model).len(), server.stored_files()),
        (2, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_image_and_invalid_completion_have_no_image_prefix() {
    let model = model().await;
    let server_ = server(&model, &[("IMAGE_GENERATION_ENGINE", "nosuch")]).await;
    let mut request = RecordedTurn::without_chat();
    let reply = ask(&server_, &request).await;
    reply.assert_is(200, "text/event-stream", STREAMED);
    assert_eq!(server_.stored_files(), 0);

    request["stream"] = json!(false);
    for body in ["not JSON at all", "[]", r#"{"choices":[]}"#] {
        let upstream = FakeUpstream::start(move |_| async move {
            FakeResponse::typed(200, "application/json", body)
        })
        .await;
        let server = server(&upstream, &[]).await;
        let invalid = ask(&server, &request).await;
        invalid.assert_is(200, "application/json", body);
        only_request(&upstream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_without_image_is_passed_on() {
    let model = model().await;
    let server_ = server(&model, &[]).await;
    let engine = FakeUpstream::json(500, json!({})).await;
    let disabled = [
        ("ENABLE_IMAGE_GENERATION", "false"),
        ("IMAGE_GENERATION_ENGINE", "automatic1111"),
        ("AUTOMATIC1111_BASE_URL", &engine.url()),
    ];
    let disabled = server(&model, &disabled).await;
    let wanted = json!({"image_generation": true});
    let cases = [
        (&disabled, wanted),
        (&server_, json!({"image_generation": false})),
        (&server_, json!({"image_generation": "true"})),
        (&server_, json!({"image_generation": null})),
        (&server_, json!({})),
        (&server_, json!([])),
        (&server_, json!("image_generation")),
        (&server_, json!(null)),
    ];
    for (server, features) in cases {
        let RecordedTurn {
            mut request,
            chat_id,
            ..
        } = RecordedTurn::new("legacy_new_chat");
        request["features"] = features.clone();
        let mut listener = EventListener::of_chat(server, &server.key, &chat_id).await;
        let reply = ask(server, &request).await;
        reply.assert_is(200, "text/event-stream", STREAMED);
        assert_eq!(
            listener.collect_events(server).await,
            json!([]),
            "{features}"
        );
        let upstream_request = model_requests(&model).last().unwrap().json();
        let expected = json!({
            "model": "mock-chat", "stream": true, "messages": request["messages"],
        });
        assert_eq!(upstream_request, expected, "{features}");
        assert_eq!(server.stored_files(), 0);
    }
    assert_eq!(
        (model_requests(&model).len(), engine.requests().len()),
        (8, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_language_model_is_502_and_image_is_shown() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}/v1", socket.local_addr().unwrap());
    let server = TestServer::start(&[("OPENAI_API_BASE_URL", &url)]).await;
    let mut recorded = RecordedTurn::new("legacy_new_chat");
    let mut listener = EventListener::of_chat(&server, &server.key, &recorded.chat_id).await;
    for stream in [true, false] {
        recorded.request["stream"] = json!(stream);
        let reply = ask(&server, &recorded.request).await;
        assert_eq!(reply.status, 502);
        let expected = json!({"detail": "the language model cannot be reached"});
        assert_eq!(reply.json(), expected);
        assert_as_recorded(&listener.collect_events(&server).await, &recorded.events);
    }
    assert_eq!(server.stored_files(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn error_of_language_model_is_passed_on() {
    for (status, content_type, body) in [
        (
            401,
            "application/json",
            r#"{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
        ),
        (
            429,
            "application/json; charset=utf-8",
            r#"{"error":{"message":"slow down","type":"rate_limit_error"}}"#,
        ),
        (500, "text/html", "<h1>Internal Server Error</h1>"),
        // Some servers fail with a body that looks like a response.
        (500, "application/json", WHOLE),
        (503, "text/event-stream", STREAMED),
    ] {
        let model =
            FakeUpstream::start(
                move |_| async move { FakeResponse::typed(status, content_type, body) },
            )
            .await;
        let server = server(&model, &[]).await;
        // A browser would treat an HTML page as one of this server.
        let expected_type = match content_type {
            "text/html" => "text/plain; charset=utf-8",
            other => other,
        };
        let mut recorded = RecordedTurn::new("legacy_new_chat");
        let mut listener = EventListener::of_chat(&server, &server.key, &recorded.chat_id).await;
        let reply = ask(&server, &recorded.request).await;
        reply.assert_is(status, expected_type, body);
        assert_as_recorded(&listener.collect_events(&server).await, &recorded.events);
        only_request(&model);

        // An error has no image prefix without a chat either.
        for stream in [true, false] {
            recorded.request = RecordedTurn::without_chat();
            recorded.request["stream"] = json!(stream);
            let chatless = ask(&server, &recorded.request).await;
            chatless.assert_is(status, expected_type, body);
        }
        assert_eq!(server.stored_files(), 3);
    }
}
