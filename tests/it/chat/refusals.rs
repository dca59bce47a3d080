//! Invalid turns, and callers without a valid key.

use pinhole_tests::{FakeUpstream, TestServer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{
    ChatResponse, EventListener, IMAGE_FAILED, RecordedTurn, STREAMED, TIMEOUT, TURN, ask, context,
    model, model_requests, outline, server,
};

/// Maximum length of a prompt.
const MAX_PROMPT_BYTES: usize = 32_000;
/// Maximum length of a body.
const MAX_BODY_BYTES: usize = 32 << 20;

/// A turn without a usable prompt: an event, and the model's response.
async fn check_nothing_to_draw(
    model: &FakeUpstream,
    server: &TestServer,
    messages: Value,
    reason: &str,
) {
    let RecordedTurn {
        mut request,
        chat_id,
        ..
    } = RecordedTurn::new("legacy_upstream_error");
    request["messages"] = messages.clone();
    let mut listener = EventListener::of_chat(server, &server.key, &chat_id).await;

    let response = ask(server, &request).await;

    response.assert_is(200, "text/event-stream", STREAMED);
    let events = listener.collect_events(server).await;
    assert_eq!(outline(&events), IMAGE_FAILED, "{messages}");
    let status = &events[1]["data"]["data"];
    assert_eq!(
        (&status["error"], &status["reason"]),
        (&json!(true), &json!(reason))
    );
    let mut upstream_request = model_requests(model).last().unwrap().json();
    let (context_text, _) = context(&upstream_request["messages"][0]["content"]);
    assert!(
        context_text.ends_with(&json!(reason).to_string()),
        "{context_text}"
    );
    upstream_request["messages"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    assert_eq!(upstream_request["messages"], messages);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_without_prompt_is_in_event_and_context() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    for messages in [
        json!([{"role": "user", "content": ""}]),
        json!([{"role": "user", "content": " \n\t"}]),
        json!([{"role": "user", "content": null}]),
        json!([{"role": "user", "content": 5}]),
        json!([{"role": "user", "content": {"text": "a fox"}}]),
        json!([{"role": "user", "content": []}]),
        json!([{"role": "user", "content": [image]}]),
        json!([{"role": "user", "content": [{"type": "text"}, {"type": "text", "text": 5}, "a fox", null]}]),
        json!([{"role": "user", "content": "a fox"}, {"role": "user"}]),
        json!([{"role": "assistant", "content": "a fox"}]),
        json!([{"role": 5, "content": "a fox"}, {"content": "a fox"}]),
        json!([null, 5, "user", ["user", "a fox"], {}]),
        json!([]),
    ] {
        let reason = "there is no message with text to use as the prompt";
        check_nothing_to_draw(&model, &server, messages, reason).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_of_maximum_length_is_accepted() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let message = |length: usize| json!([{"role": "user", "content": "x".repeat(length)}]);
    let reason = "the prompt has 32001 bytes, more than the 32000 allowed";
    check_nothing_to_draw(&model, &server, message(MAX_PROMPT_BYTES + 1), reason).await;
    let long_reason = "the prompt has 8000000 bytes, more than the 32000 allowed";
    check_nothing_to_draw(&model, &server, message(8_000_000), long_reason).await;

    let mut request = RecordedTurn::new("legacy_new_chat").request;
    request["messages"] = message(MAX_PROMPT_BYTES);
    ask(&server, &request)
        .await
        .assert_is(200, "text/event-stream", STREAMED);
    assert_eq!(server.stored_files(), 1);
}

/// Asserts that the body is refused and does not reach the language model.
async fn check_refused(
    server: &TestServer,
    body: impl Into<reqwest::Body>,
    status: u16,
    detail: &str,
) {
    let request = server
        .client
        .post(server.url(TURN))
        .bearer_auth(&server.key);
    let response = ChatResponse::read(request.body(body).send().await.unwrap()).await;
    assert_eq!(response.status, status, "{}", response.body);
    assert_eq!(response.content_type, "application/json");
    let message = response.json();
    assert_eq!(message.as_object().unwrap().len(), 1, "{message}");
    let message = message["detail"].as_str().unwrap();
    assert!(message.contains(detail), "{message}");
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_turn_body_is_refused() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let deep = format!(r#"{{"messages":{}"#, "[".repeat(1000));
    for (body, detail) in [
        ("", "invalid JSON body: EOF"),
        ("draw a fox", "invalid JSON body"),
        ("{", "invalid JSON body: EOF"),
        ("{}{}", "invalid JSON body: trailing"),
        (
            "[]",
            "invalid JSON body: expected an object, received an array",
        ),
        ("null", "invalid JSON body: invalid type: null"),
        ("\"messages\"", "invalid JSON body: invalid type: string"),
        ("{}", "messages must be a list"),
        (r#"{"messages": null}"#, "messages must be a list"),
        (r#"{"messages": "a fox"}"#, "messages must be a list"),
        (r#"{"messages": {"0": {}}}"#, "messages must be a list"),
    ] {
        check_refused(&server, body.to_owned(), 400, detail).await;
    }
    check_refused(&server, deep, 413, "nested deeper than 64 levels").await;
    check_refused(
        &server,
        b"{\"messages\": [\"\xff\"]}".to_vec(),
        400,
        "invalid JSON body",
    )
    .await;

    let mut request = RecordedTurn::new("legacy_new_chat").request;
    for (field, value) in [
        ("chat_id", json!(5)),
        ("chat_id", json!(["c"])),
        ("chat_id", json!("c".repeat(201))),
        ("id", json!(true)),
        ("id", json!({})),
        ("id", json!("i".repeat(201))),
    ] {
        let right = request[field].clone();
        request[field] = value;
        let detail = format!("{field} must be a string of at most 200 bytes");
        check_refused(&server, request.to_string(), 400, &detail).await;
        request[field] = right;
    }

    let mut long = request.to_string().into_bytes();
    long.resize(MAX_BODY_BYTES + 1, b' ');
    check_refused(&server, long.clone(), 413, "length limit exceeded").await;
    assert_eq!(model_requests(&model).len(), 0);

    // A body of the maximum length is accepted.
    long.pop();
    let turn = server
        .client
        .post(server.url(TURN))
        .bearer_auth(&server.key);
    let response = ChatResponse::read(turn.body(long).send().await.unwrap()).await;
    response.assert_is(200, "text/event-stream", STREAMED);
    assert_eq!(server.stored_files(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_unexpected_types_do_not_fail_the_turn() {
    let model = model().await;
    let server = server(&model, &[]).await;
    for (field, value, passed_on) in [
        ("params", json!(5), false),
        ("params", json!(["temperature"]), false),
        ("params", json!({"temperature": "hot"}), false),
        ("session_id", json!({}), false),
        ("background_tasks", json!("all"), false),
        ("model", json!(5), true),
        ("model", json!(null), true),
        ("stop", json!({"deep": [[[]]]}), true),
    ] {
        let mut request = RecordedTurn::without_chat();
        request[field] = value.clone();
        let response = ask(&server, &request).await;
        assert_eq!(response.status, 200, "{field}: {value}");
        assert!(response.body.ends_with(STREAMED), "{field}: {value}");
        let upstream_request = model_requests(&model).last().unwrap().json();
        let expected = passed_on.then_some(&value);
        assert_eq!(upstream_request.get(field), expected);
    }
    assert_eq!(model_requests(&model).len(), server.stored_files());
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_require_a_valid_key() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let turn = RecordedTurn::new("legacy_new_chat").request.to_string();
    let image = json!({"prompt": "a fox"}).to_string();
    let routes = [
        ("POST", TURN, turn.as_str()),
        ("POST", "/api/v1/chat/completions", turn.as_str()),
        // The key is checked before the body.
        ("POST", TURN, "{"),
        ("GET", "/api/events", ""),
        ("GET", "/api/events?chat_id=c", ""),
        ("GET", "/api/events?chat_id=c&chat_id=d", ""),
        ("GET", "/api/v1/files/5/content", ""),
        ("GET", "/api/v1/files/%ff/content", ""),
        ("POST", "/v1/images/generations", image.as_str()),
        ("POST", "/v1/images/generations", "{"),
    ];
    let known = format!("Bearer {}", server.key);
    let long = format!("Bearer {}", "k".repeat(2000));
    let unknown = "the API key is unknown: send a valid key as `Authorization: Bearer sk-…`";
    let missing = "Not authenticated";
    let credentials: [(&str, &[u8], &str); 13] = [
        ("x-api-key", server.key.as_bytes(), missing),
        ("authorization", server.key.as_bytes(), missing),
        ("authorization", b"Bearer", missing),
        ("authorization", b"Basic c2s6c2s=", missing),
        ("authorization", b"Bearer sk-\xff", missing),
        ("cookie", b"session=sk-1; tokens=sk-1", missing),
        ("authorization", b"Bearer ", missing),
        ("authorization", b"Bearer sk-000000", unknown),
        (
            "authorization",
            &known.as_bytes()[..known.len() - 1],
            unknown,
        ),
        ("authorization", long.as_bytes(), unknown),
        ("authorization", b"Bearer ' OR 1=1 --", unknown),
        ("cookie", b"token=", unknown),
        ("cookie", b"a=b; token=sk-000000", unknown),
    ];
    for (method, path, body) in routes {
        for (header, value, detail) in credentials {
            let request = server
                .client
                .request(method.parse().unwrap(), server.url(path));
            let request = request.header(header, value).body(body.to_owned());
            let response = ChatResponse::read(request.send().await.unwrap()).await;
            let case = format!("{method} {path} with {header}: {}", value.escape_ascii());
            assert_eq!(response.status, 401, "{case}: {}", response.body);
            let message = if path.starts_with("/v1/") {
                response.json()["error"]["message"].take()
            } else {
                response.json()["detail"].take()
            };
            assert_eq!(message, detail, "{case}");
        }
    }
    assert_eq!(
        (model_requests(&model).len(), server.stored_files()),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_key_is_refused_before_the_body() {
    let server = TestServer::start(&[]).await;
    for path in [TURN, "/v1/images/generations"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_BODY_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The client never sends the body, and the server does not wait for it.
        let mut status = [0; 12];
        let response = timeout(TIMEOUT, stream.read_exact(&mut status)).await;
        response.expect("a response before the body").unwrap();
        assert_eq!(status.escape_ascii().to_string(), "HTTP/1.1 401");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_event_filter_is_refused() {
    let server = TestServer::start(&[]).await;
    let request = server.get("/api/events?chat_id=c&chat_id=d");
    let response = ChatResponse::read(request.send().await.unwrap()).await;
    assert_eq!(
        (response.status, response.content_type.as_str()),
        (400, "application/json")
    );
    let detail = response.json()["detail"].take();
    assert!(detail.as_str().unwrap().contains("chat_id"), "{detail}");
}
