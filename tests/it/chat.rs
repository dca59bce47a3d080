//! Whole chat turns: the request as Open WebUI sends it, the image with its events, and the language model's response.

mod decision;
mod failure;
mod history;
mod image_options;
mod models;
mod prompt;
mod refusals;
mod responses;
mod turn;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pinhole::event::{Event, EventTarget, JOB, PROGRESS};
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer};
use serde_json::{Value, json};
use tokio::time::timeout;

const TURN: &str = "/api/chat/completions";
/// The operator's key for the language model.
const MODEL_KEY: &str = "sk-language-model";
/// The streamed response of the language model: with a comment, two kinds of line ends and an event without text, all
/// of which a client may receive.
const STREAMED: &str = include_str!("../data/chat/answer.sse");
/// The same response without streaming.
const WHOLE: &str = include_str!("../data/chat/answer.json");
/// Only stops a test that would hang.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request of Open WebUI's client and the events of its server.
struct RecordedTurn {
    request: Value,
    chat_id: String,
    events: Value,
}

impl RecordedTurn {
    fn new(scenario: &str) -> Self {
        let recording = include_str!("../data/chat/open-webui-events.json");
        let mut recording: Value = serde_json::from_str(recording).unwrap();
        let mut scenario = recording["scenarios"][scenario].take();
        let mut request = scenario["request"].take();
        // With a session, the response would arrive as events. `tasks` tests that.
        request.as_object_mut().unwrap().remove("session_id");
        // Open WebUI creates the chat and returns its id. Here the client names it.
        request["chat_id"] = scenario["chat_id"].clone();
        Self {
            request,
            chat_id: scenario["chat_id"].as_str().unwrap().to_owned(),
            events: scenario["events"].take(),
        }
    }

    /// The request with another chat.
    fn of_chat(chat_id: &str) -> Self {
        let mut recorded = Self::new("legacy_new_chat");
        recorded.request["chat_id"] = json!(chat_id);
        recorded.chat_id = chat_id.to_owned();
        recorded
    }

    fn without_chat() -> Value {
        let mut request = Self::new("legacy_new_chat").request;
        request.as_object_mut().unwrap().remove("chat_id");
        request
    }
}

/// A language model that responds to each turn, on a server without a list of models.
async fn model() -> FakeUpstream {
    FakeUpstream::start(async |upstream_request: RecordedRequest| {
        match upstream_request.line().as_str() {
            "GET /v1/models" => FakeResponse::json(404, &json!({})),
            _ if upstream_request.json()["stream"] == true => {
                FakeResponse::typed(200, "text/event-stream", STREAMED)
            }
            _ => FakeResponse::typed(200, "application/json", WHOLE),
        }
    })
    .await
}

/// The requests to the language model, without those for its list of models.
fn model_requests(model: &FakeUpstream) -> Vec<RecordedRequest> {
    let mut upstream_requests = model.requests();
    upstream_requests.retain(|upstream_request| upstream_request.line() != "GET /v1/models");
    upstream_requests
}

async fn server(model: &FakeUpstream, variables: &[(&str, &str)]) -> TestServer {
    let base = format!("{}/v1", model.url());
    let mut all = vec![
        ("OPENAI_API_BASE_URL", base.as_str()),
        ("OPENAI_API_KEY", MODEL_KEY),
        ("ENABLE_IMAGE_PROMPT_GENERATION", "false"),
    ];
    all.extend(variables);
    TestServer::start(&all).await
}

struct ChatResponse {
    status: u16,
    content_type: String,
    body: String,
}

impl ChatResponse {
    async fn read(response: reqwest::Response) -> Self {
        let content_type = response.headers()["content-type"].to_str().unwrap();
        Self {
            status: response.status().as_u16(),
            content_type: content_type.to_owned(),
            body: response.text().await.unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    #[track_caller]
    fn assert_is(&self, status: u16, content_type: &str, body: &str) {
        assert_eq!(self.body, body);
        assert_eq!(
            (self.status, self.content_type.as_str()),
            (status, content_type)
        );
    }
}

async fn ask(server: &TestServer, request: &Value) -> ChatResponse {
    let turn = async { ChatResponse::read(server.post(TURN, request).send().await.unwrap()).await };
    timeout(TIMEOUT, turn).await.expect("a response in time")
}

/// A client that receives the events of a user.
struct EventListener {
    stream: reqwest::Response,
    text: String,
    user_id: String,
    chat_id: String,
}

impl EventListener {
    /// Receives the events of one chat.
    async fn of_chat(server: &TestServer, key: &str, chat_id: &str) -> Self {
        Self::start(server, key, chat_id, &format!("?chat_id={chat_id}")).await
    }

    /// Receives the events of all chats. `chat_id` is one of the chats.
    async fn of_all(server: &TestServer, key: &str, chat_id: &str) -> Self {
        Self::start(server, key, chat_id, "").await
    }

    async fn start(server: &TestServer, key: &str, chat_id: &str, query: &str) -> Self {
        let url = server.url(&format!("/api/events{query}"));
        let stream = server.client.get(url).bearer_auth(key).send().await;
        let stream = stream.unwrap();
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        let user = server.app.store.user_by_key(key).await.unwrap();
        Self {
            stream,
            text: String::new(),
            user_id: user.unwrap().id,
            chat_id: chat_id.to_owned(),
        }
    }

    /// The next event, without progress, which depends on time, and without those of jobs, which `jobs_api` tests.
    async fn next(&mut self) -> Value {
        loop {
            let event = self.any().await;
            if event["data"]["type"] != PROGRESS && event["data"]["type"] != JOB {
                return event;
            }
        }
    }

    async fn any(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let data = event
                    .split_once("\ndata: ")
                    .map(|(_, data)| data.to_owned());
                self.text = rest.to_owned();
                match data {
                    Some(data) => return serde_json::from_str(&data).unwrap(),
                    // A comment that holds the connection open.
                    None => continue,
                }
            }
            let chunk = timeout(TIMEOUT, self.stream.chunk()).await.unwrap();
            let chunk = chunk.unwrap().expect("the events ended");
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// All events so far: this emits an event of its own as the last one.
    async fn collect_events(&mut self, server: &TestServer) -> Value {
        static MARKS: AtomicU64 = AtomicU64::new(0);
        let mark = MARKS.fetch_add(1, Ordering::Relaxed).to_string();
        server.app.events.emit(Event {
            target: EventTarget {
                user_id: self.user_id.clone(),
                chat_id: Some(self.chat_id.clone()),
                message_id: mark.clone(),
            },
            kind: "mark",
            data: Value::Null,
        });
        let mut events = Vec::new();
        loop {
            match self.next().await {
                event if event["message_id"] == mark.as_str() => return events.into(),
                // The mark of another listener.
                event if event["data"]["type"] == "mark" => {}
                event => events.push(event),
            }
        }
    }
}

/// The id of the only image in the events.
fn file_id(events: &Value) -> String {
    let id = &events[2]["data"]["data"]["files"][0]["id"];
    id.as_str()
        .expect("the third event lists the files")
        .to_owned()
}

/// Compares the events with the recorded ones, which differ only in the id of the image, and in its seed: Open WebUI has none.
#[track_caller]
fn assert_as_recorded(events: &Value, recorded: &Value) {
    let mut comparable = events.clone();
    let created = comparable[1]["data"]["data"].as_object_mut().unwrap();
    let seeds = created.remove("seeds").unwrap();
    assert!(seeds[0].is_u64() && seeds[1].is_null(), "{seeds}");
    let ours = comparable.to_string().replace(&file_id(events), "ID");
    let theirs = recorded.to_string().replace(&file_id(recorded), "ID");
    assert_eq!(
        serde_json::from_str::<Value>(&ours).unwrap(),
        serde_json::from_str::<Value>(&theirs).unwrap()
    );
}

/// The `description` of each status event, and `files` for the images.
fn outline(events: &Value) -> Vec<&str> {
    let events = events.as_array().unwrap().iter();
    events
        .map(|event| match event["data"]["type"].as_str().unwrap() {
            "status" => event["data"]["data"]["description"].as_str().unwrap(),
            other => other,
        })
        .collect()
}

const IMAGE_CREATED: [&str; 3] = ["Creating image", "Image created", "files"];
const IMAGE_FAILED: [&str; 2] = [
    "Creating image",
    "An error occurred while generating an image",
];

/// The only request to the language model.
#[track_caller]
fn only_request(model: &FakeUpstream) -> RecordedRequest {
    let [upstream_request] = model_requests(model).try_into().expect("one request");
    assert_eq!(upstream_request.line(), "POST /v1/chat/completions");
    assert_eq!(
        upstream_request.header("authorization"),
        format!("Bearer {MODEL_KEY}"),
        "the operator's key, and not the user's"
    );
    assert_eq!(upstream_request.header("content-type"), "application/json");
    assert_eq!(upstream_request.header("cookie"), "");
    upstream_request
}

/// The text between `<context>` and `</context>`, which occur once, at the start, and the text after it.
#[track_caller]
fn context(text: &Value) -> (&str, &str) {
    let text = text.as_str().unwrap();
    assert_eq!(text.matches("<context>").count(), 1, "{text}");
    assert_eq!(text.matches("</context>").count(), 1, "{text}");
    let text = text.strip_prefix("<context>").expect("the context first");
    text.split_once("</context>").unwrap()
}

fn is_png(bytes: &[u8], width: u32, height: u32) -> bool {
    let side = |range| u32::from_be_bytes(<[u8; 4]>::try_from(&bytes[range]).unwrap());
    bytes.starts_with(b"\x89PNG\r\n\x1a\n") && (side(16..20), side(20..24)) == (width, height)
}
