//! Chat turns in the background, and Stop.

mod interrupted;
mod responses;
mod stop;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pinhole::event::{COMPLETION, JOB, PROGRESS};
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::events::socket_client::{PATIENCE, SocketClient};

const TURN: &str = "/api/chat/completions";
const CANCELLED: &str = "chat:tasks:cancel";

/// A turn in message `a1` of chat `c1`, by a client that listens to events.
pub(crate) fn turn(image: bool) -> Value {
    json!({
        "model": "m", "stream": true, "session_id": "s1", "chat_id": "c1", "id": "a1",
        "features": {"image_generation": image},
        "messages": [{"role": "user", "content": "a red fox"}],
    })
}

fn event_chunk(chunk: &Value) -> Bytes {
    format!("data: {chunk}\n\n").into()
}

fn text_chunk(text: &str) -> Bytes {
    event_chunk(&json!({"choices": [{"index": 0, "delta": {"content": text}}]}))
}

/// A language model that sends this response, and has no list of models.
async fn language_model<F>(
    response: impl Fn(RecordedRequest) -> F + Clone + Send + Sync + 'static,
) -> FakeUpstream
where
    F: Future<Output = FakeResponse> + Send + 'static,
{
    FakeUpstream::start(move |request: RecordedRequest| {
        let response = (request.line() == "POST /v1/chat/completions").then(|| response(request));
        async {
            match response {
                Some(response) => response.await,
                None => FakeResponse::json(404, &json!({})),
            }
        }
    })
    .await
}

/// A language model that streams this text and then hangs. The notification reports that its response was dropped.
pub(crate) async fn hanging_model(text: &'static str) -> (FakeUpstream, Arc<Notify>) {
    let dropped = Arc::new(Notify::new());
    let drops = dropped.clone();
    let model = language_model(move |_| {
        let events = NotifyOnDrop(drops.clone());
        async move {
            let never = stream::pending::<Result<Bytes, std::io::Error>>().map(move |never| {
                let _held = &events;
                never
            });
            let first = stream::iter([Ok(text_chunk(text))]);
            FakeResponse::typed(
                200,
                "text/event-stream",
                Body::from_stream(first.chain(never)),
            )
        }
    });
    (model.await, dropped)
}

struct NotifyOnDrop(Arc<Notify>);

impl Drop for NotifyOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

async fn server(engine: &str, model: &FakeUpstream, variables: &[(&str, &str)]) -> TestServer {
    let url = format!("{}/v1", model.url());
    let chat = [
        ("OPENAI_API_BASE_URL", url.as_str()),
        ("ENABLE_IMAGE_PROMPT_GENERATION", "false"),
    ];
    let variables: Vec<_> = chat.iter().chain(variables).copied().collect();
    TestServer::with_engine(engine, &variables).await
}

/// Starts a turn in the background. Returns its task id.
pub(crate) async fn start_task(server: &TestServer, turn: &Value) -> String {
    let (status, response) = server.post_json(TURN, turn).await;
    assert_eq!(status, 200, "{response}");
    let id = response["task_id"].as_str().unwrap().to_owned();
    assert_eq!(response, json!({"status": true, "task_id": id}));
    id
}

async fn get(server: &TestServer, path: &str) -> Value {
    let response = server.get(path).send().await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// The next event of message `a1` in this chat, except progress and those of jobs.
async fn next_event(socket: &mut SocketClient, chat_id: &str) -> Value {
    loop {
        let event = socket.event().await;
        if event["data"]["type"] != PROGRESS && event["data"]["type"] != JOB {
            assert_eq!(event["chat_id"], chat_id);
            assert_eq!(event["message_id"], "a1");
            return event["data"].clone();
        }
    }
}

/// The types of the events up to the first one of this type, and this event.
async fn events_until(
    socket: &mut SocketClient,
    chat_id: &str,
    kind: &str,
) -> (Vec<String>, Value) {
    let mut kinds = Vec::new();
    loop {
        let event = next_event(socket, chat_id).await;
        kinds.push(event["type"].as_str().unwrap().to_owned());
        if event["type"] == kind {
            return (kinds, event);
        }
    }
}

/// Creates a chat of the administrator. Returns its id.
async fn create_chat(server: &TestServer) -> String {
    let chat = json!({"chat": {"title": "Foxes"}});
    let (status, chat) = server.post_json("/api/v1/chats/new", &chat).await;
    assert_eq!(status, 200, "{chat}");
    chat["id"].as_str().unwrap().to_owned()
}

/// Content and other fields of the only message of a chat.
async fn stored_message(server: &TestServer, chat_id: &str) -> (Value, Value) {
    let content = server.app.store.chat_content(chat_id).await.unwrap();
    let messages = content.unwrap().messages;
    assert_eq!(messages.len(), 1, "{messages:?}");
    let message = &messages[0];
    assert_eq!(message.id, "a1");
    let parse = |text: &str| serde_json::from_str(text).unwrap();
    (parse(&message.content), parse(&message.rest))
}

#[tokio::test(flavor = "multi_thread")]
async fn background_response_is_sent_as_events_and_stored() {
    let more = Arc::new(Notify::new());
    let gate = more.clone();
    let model = language_model(move |_| {
        let released = gate.clone();
        async move {
            let rest = async move {
                released.notified().await;
                let usage = json!({"choices": [], "usage": {"total_tokens": 17}});
                let end = Bytes::from("data: [DONE]\n\n");
                Ok::<_, std::io::Error>(
                    [text_chunk("a fox."), event_chunk(&usage), end]
                        .concat()
                        .into(),
                )
            };
            let first = stream::iter([Ok(text_chunk("Here is "))]);
            let body = Body::from_stream(first.chain(stream::once(rest)));
            FakeResponse::typed(200, "text/event-stream", body)
        }
    })
    .await;
    let server = server("sketch", &model, &[]).await;
    let chat_id = create_chat(&server).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = turn(true);
    request["chat_id"] = json!(chat_id);
    let task = start_task(&server, &request).await;

    let mut events = Vec::new();
    while events.last() != Some(&json!({"content": "Here is "})) {
        let event = next_event(&mut socket, &chat_id).await;
        events.push(match event["type"].as_str().unwrap() {
            COMPLETION => event["data"].clone(),
            kind => json!(kind),
        });
    }
    assert_eq!(
        events[..3],
        [json!("status"), json!("status"), json!("files")]
    );
    let path = format!("/api/tasks/chat/{chat_id}");
    assert_eq!(get(&server, &path).await, json!({"task_ids": [task]}));
    more.notify_one();
    let done = loop {
        let event = next_event(&mut socket, &chat_id).await;
        assert_eq!(event["type"], COMPLETION);
        if event["data"]["done"] == true {
            break event["data"].clone();
        }
    };
    let expected = json!({
        "done": true, "content": "Here is a fox.", "title": "Foxes", "usage": {"total_tokens": 17},
    });
    assert_eq!(done, expected);
    let (text, rest) = stored_message(&server, &chat_id).await;
    assert_eq!(text, "Here is a fox.");
    assert_eq!(rest, json!({"done": true, "usage": {"total_tokens": 17}}));

    server.app.tasks.shut_down().await;
    assert_eq!(get(&server, &path).await, json!({"task_ids": []}));
    let sent = model.requests().pop().unwrap().json();
    assert_eq!(sent["stream"], true);
    assert_eq!(sent.get("session_id"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnected_listener_gets_newest_text_once() {
    let (model, _) = hanging_model("Here is ").await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    start_task(&server, &turn(false)).await;
    let event = next_event(&mut socket, "c1").await;
    assert_eq!(event["data"], json!({"content": "Here is "}));
    let stream = server.get("/api/events").header("last-event-id", "");
    let mut stream = stream.send().await.unwrap();
    let mut read = String::new();
    while !read.contains("Here is ") {
        let chunk = timeout(PATIENCE, stream.chunk()).await.unwrap().unwrap();
        read += std::str::from_utf8(&chunk.unwrap()).unwrap();
    }
    assert_eq!(read.matches(COMPLETION).count(), 1, "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unstreamed_response_is_sent_as_events() {
    let model = language_model(async |_| {
        let message = json!({"role": "assistant", "content": "A fox."});
        FakeResponse::json(200, &json!({"choices": [{"message": message}]}))
    })
    .await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = turn(false);
    request["stream"] = json!(false);
    start_task(&server, &request).await;
    let event = next_event(&mut socket, "c1").await;
    let done = json!({"type": COMPLETION, "data": {"done": true, "content": "A fox."}});
    assert_eq!(event, done);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_without_session_gets_direct_response() {
    let model = language_model(async |_| {
        let message = json!({"role": "assistant", "content": "A fox."});
        FakeResponse::json(200, &json!({"choices": [{"message": message}]}))
    })
    .await;
    let server = server("sketch", &model, &[]).await;
    for field in ["session_id", "chat_id", "id"] {
        for without in [json!(null), json!("")] {
            let mut request = turn(false);
            request[field] = without;
            let (status, response) = server.post_json(TURN, &request).await;
            assert_eq!(status, 200, "{response}");
            assert_eq!(response["choices"][0]["message"]["content"], "A fox.");
        }
    }
}

/// Creates the same response for each request.
type ResponseFn = Box<dyn Fn() -> FakeResponse + Send + Sync>;

#[tokio::test(flavor = "multi_thread")]
async fn failure_is_sent_and_stored() {
    let refused = json!({"error": {"message": "no <room> left"}});
    let events = Arc::new(Notify::new());
    let breaks = events.clone();
    let broken = move || {
        let breaks = breaks.clone();
        let first = stream::iter([Ok(text_chunk("Here "))]);
        let broken_stream = stream::once(async move {
            breaks.notified().await;
            Err(std::io::Error::other("gone"))
        });
        FakeResponse::typed(
            200,
            "text/event-stream",
            Body::from_stream(first.chain(broken_stream)),
        )
    };
    let failing = event_chunk(&refused);
    let responses: [(ResponseFn, &str, &str); 4] = [
        (
            Box::new(move || FakeResponse::json(503, &refused)),
            "the language model responded with status 503 Service Unavailable: no <room> left",
            "",
        ),
        (
            Box::new(broken),
            "the language model's response is incomplete",
            "Here ",
        ),
        (
            Box::new(move || FakeResponse::typed(200, "text/event-stream", failing.clone())),
            "the language model failed: no <room> left",
            "",
        ),
        (
            Box::new(|| FakeResponse::typed(200, "text/html", "<html>")),
            "the language model's response is not valid JSON",
            "",
        ),
    ];
    for (response, reason, text) in responses {
        let response = Arc::new(response);
        let model = language_model(move |_| {
            let response = response();
            async { response }
        })
        .await;
        let server = server("sketch", &model, &[]).await;
        let chat_id = create_chat(&server).await;
        let mut socket = SocketClient::connect_as(&server, &server.key).await;
        // The image creates the message that stores the failure.
        let mut request = turn(true);
        request["chat_id"] = json!(chat_id);
        start_task(&server, &request).await;
        let mut expected = vec!["status", "status", "files", "chat:message:error"];
        let mut kinds = Vec::new();
        if !text.is_empty() {
            expected.insert(3, COMPLETION);
            kinds = events_until(&mut socket, &chat_id, COMPLETION).await.0;
            events.notify_one();
        }
        let (rest, event) = events_until(&mut socket, &chat_id, "chat:message:error").await;
        kinds.extend(rest);
        assert_eq!(kinds, expected);
        assert_eq!(event["data"], json!({"error": {"content": reason}}));
        let cancelled = next_event(&mut socket, &chat_id).await;
        assert_eq!(cancelled, json!({"type": CANCELLED}));
        let (content, fields) = stored_message(&server, &chat_id).await;
        assert_eq!(content, text);
        assert_eq!(fields, json!({"done": true, "error": {"content": reason}}));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_limited_and_stop_with_server() {
    let (model, _) = hanging_model("Here is ").await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut turns: Vec<_> = (0..20).map(|_| turn(false)).collect();
    for (number, turn) in turns.iter_mut().enumerate() {
        turn["id"] = json!(format!("a{number}"));
        start_task(&server, turn).await;
    }
    let (status, refused) = server.post_json(TURN, &turn(false)).await;
    assert_eq!(status, 429, "{refused}");
    let why = refused["detail"].as_str().unwrap();
    assert!(
        why.starts_with("too many running turns (limit 20)"),
        "{why}"
    );

    timeout(PATIENCE, server.app.tasks.shut_down())
        .await
        .unwrap();
    let mut cancelled = 0;
    while cancelled < turns.len() {
        let event = socket.event().await;
        cancelled += usize::from(event["data"]["type"] == CANCELLED);
    }
    let ours = get(&server, "/api/tasks/chat/c1").await;
    assert_eq!(ours, json!({"task_ids": []}));
}
