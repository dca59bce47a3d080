//! Whether a turn generates an image, edits one, or does neither.

use pinhole_tests::{
    FakeResponse, FakeUpstream, PIXEL, RecordedRequest, TestServer, gif, pixel_base64,
};
use serde_json::{Value, json};

use super::{ChatResponse, EventListener, IMAGE_CREATED, IMAGE_FAILED, TURN, WHOLE, ask, outline};

/// The task model's prompt, in a response that also denies an edit.
pub(super) const REWRITTEN: &str = "a red fox in deep snow";

/// A server with engine `openai` and a language model, which share one upstream.
pub(super) struct ChatFixture {
    pub(super) server: TestServer,
    pub(super) upstream: FakeUpstream,
}

impl ChatFixture {
    pub(super) async fn start(variables: &[(&str, &str)]) -> Self {
        let task = json!({"prompt": REWRITTEN, "edit": false}).to_string();
        Self::with_task_response(variables, &task).await
    }

    /// Starts with a language model that responds to the server's own questions with this text.
    pub(super) async fn with_task_response(variables: &[(&str, &str)], task_text: &str) -> Self {
        let task = json!({"choices": [{"message": {"role": "assistant", "content": task_text}}]});
        let upstream = FakeUpstream::start(move |upstream_request: RecordedRequest| {
            let response = match upstream_request.line().as_str() {
                "GET /v1/models" => {
                    FakeResponse::json(200, &json!({"data": [{"id": "m"}, {"id": "task"}]}))
                }
                _ if is_task(&upstream_request) => FakeResponse::json(200, &task),
                "POST /v1/chat/completions" => FakeResponse::typed(200, "application/json", WHOLE),
                _ => FakeResponse::json(200, &json!({"data": [{"b64_json": pixel_base64()}]})),
            };
            async { response }
        })
        .await;
        let base = format!("{}/v1", upstream.url());
        let mut all = vec![
            ("OPENAI_API_BASE_URL", base.as_str()),
            ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ];
        all.extend(variables);
        Self {
            server: TestServer::with_engine("openai", &all).await,
            upstream,
        }
    }

    /// The requests to the upstream, in short form.
    pub(super) fn request_summaries(&self) -> Vec<String> {
        let upstream_requests = self.upstream.requests();
        let turns = upstream_requests
            .iter()
            .filter(|request| request.line() != "GET /v1/models");
        turns.map(summarize).collect()
    }
}

fn is_task(upstream_request: &RecordedRequest) -> bool {
    if upstream_request.line() != "POST /v1/chat/completions" {
        return false;
    }
    let messages = upstream_request.json()["messages"].take();
    let text = messages[0]["content"].as_str().unwrap_or_default();
    text.contains("<conversation>") || text.starts_with("TEMPLATE")
}

/// `answer`, `task`, `draw PROMPT` or `change COUNT with PROMPT`.
fn summarize(upstream_request: &RecordedRequest) -> String {
    match upstream_request.line().as_str() {
        _ if is_task(upstream_request) => "task".to_owned(),
        "POST /v1/chat/completions" => "answer".to_owned(),
        "POST /v1/images/generations" => {
            format!(
                "draw {}",
                upstream_request.json()["prompt"].as_str().unwrap()
            )
        }
        "POST /v1/images/edits" => {
            let body = String::from_utf8_lossy(&upstream_request.body).into_owned();
            let (_, prompt) = body.split_once("name=\"prompt\"\r\n\r\n").unwrap();
            let (prompt, _) = prompt.split_once("\r\n").unwrap();
            format!("change {} with {prompt}", body.matches("filename=").count())
        }
        other => other.to_owned(),
    }
}

pub(super) fn data_url(bytes: &[u8]) -> String {
    format!(
        "data:image/png;base64,{}",
        base64_simd::STANDARD.encode_to_string(bytes)
    )
}

/// A request for an image, with or without a source image.
fn request(chat_id: Option<&str>, has_image: bool) -> Value {
    let mut parts = vec![json!({"type": "text", "text": "a fox"})];
    if has_image {
        parts.push(json!({"type": "image_url", "image_url": {"url": data_url(PIXEL)}}));
    }
    json!({
        "model": "m", "chat_id": chat_id, "id": "a1", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": parts}],
    })
}

const CHATS: [Option<&str>; 3] = [Some("c1"), Some("local:s1"), None];
/// The events of a new image. A temporary chat does not get the first one.
fn image_created(chat_id: Option<&str>) -> &'static [&'static str] {
    match chat_id {
        Some("local:s1") => &IMAGE_CREATED[1..],
        _ => &IMAGE_CREATED,
    }
}

/// A row of the decision table.
struct DecisionCase {
    has_image: bool,
    /// Of the variables [`EDIT`], [`GENERATE`] and [`REWRITE`], those that are `true`.
    enabled: &'static [&'static str],
    expected: &'static [&'static str],
}

const EDIT: &str = "ENABLE_IMAGE_EDIT";
const GENERATE: &str = "ENABLE_IMAGE_GENERATION";
const REWRITE: &str = "ENABLE_IMAGE_PROMPT_GENERATION";

const DRAW: &[&str] = &["draw a fox", "answer"];
const REWRITE_AND_DRAW: &[&str] = &["task", "draw a red fox in deep snow", "answer"];
const CHANGE: &[&str] = &["change 1 with a fox", "answer"];
const NOTHING: &[&str] = &["answer"];

const fn with_image(
    enabled: &'static [&'static str],
    expected: &'static [&'static str],
) -> DecisionCase {
    DecisionCase {
        has_image: true,
        enabled,
        expected,
    }
}

const fn without_image(
    enabled: &'static [&'static str],
    expected: &'static [&'static str],
) -> DecisionCase {
    DecisionCase {
        has_image: false,
        enabled,
        expected,
    }
}

/// Open WebUI's decision table. Two cases differ from its older release: it generates an image although generation is
/// disabled, and it ignores callers without a chat.
const DECISIONS: [DecisionCase; 14] = [
    with_image(&[EDIT, GENERATE, REWRITE], CHANGE),
    with_image(&[EDIT, GENERATE], CHANGE),
    with_image(&[EDIT, REWRITE], CHANGE),
    with_image(&[EDIT], CHANGE),
    with_image(&[GENERATE, REWRITE], REWRITE_AND_DRAW),
    with_image(&[GENERATE], DRAW),
    with_image(&[REWRITE], NOTHING),
    with_image(&[], NOTHING),
    without_image(&[EDIT, GENERATE, REWRITE], REWRITE_AND_DRAW),
    without_image(&[EDIT, GENERATE], DRAW),
    without_image(&[EDIT, REWRITE], NOTHING),
    without_image(&[GENERATE, REWRITE], REWRITE_AND_DRAW),
    without_image(&[GENERATE], DRAW),
    without_image(&[], NOTHING),
];

/// Each row, for each kind of chat.
#[tokio::test(flavor = "multi_thread")]
async fn decision_follows_the_table() {
    for DecisionCase {
        has_image,
        enabled,
        expected,
    } in DECISIONS
    {
        let switch = |name| {
            let value = if enabled.contains(&name) {
                "true"
            } else {
                "false"
            };
            (name, value)
        };
        let fixture = ChatFixture::start(&[
            switch(EDIT),
            ("IMAGE_EDIT_ENGINE", "openai"),
            switch(GENERATE),
            switch(REWRITE),
        ])
        .await;
        let mut listener = EventListener::of_all(&fixture.server, &fixture.server.key, "").await;
        let mut before = 0;
        for chat_id in CHATS {
            let case = format!("image: {has_image}, enabled: {enabled:?}, chat: {chat_id:?}");
            let response = ask(&fixture.server, &request(chat_id, has_image)).await;
            assert_eq!(response.status, 200, "{case}: {}", response.body);
            let summaries = fixture.request_summaries();
            assert_eq!(summaries[before..], *expected, "{case}");
            before = summaries.len();
            let events = listener.collect_events(&fixture.server).await;
            let expected_outline = if expected == NOTHING {
                &[][..]
            } else {
                image_created(chat_id)
            };
            assert_eq!(outline(&events), expected_outline, "{case}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn user_without_permission_gets_no_image() {
    let variables = [("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION", "false")];
    let fixture = ChatFixture::start(&variables).await;
    let key = fixture.server.add_second_user().await;
    let mut listener = EventListener::of_all(&fixture.server, key, "").await;
    for chat_id in CHATS {
        let turn_request = fixture
            .server
            .client
            .post(fixture.server.url(TURN))
            .bearer_auth(key);
        let turn_request = turn_request.body(request(chat_id, true).to_string());
        let reply = ChatResponse::read(turn_request.send().await.unwrap()).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, WHOLE));
    }
    assert_eq!(fixture.request_summaries(), ["answer"; 3]);
    assert_eq!(listener.collect_events(&fixture.server).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_without_editing_makes_a_new_image() {
    let fixture = ChatFixture::start(&[("ENABLE_IMAGE_PROMPT_GENERATION", "false")]).await;
    let sketch = TestServer::with_engine("sketch", &[]).await;
    let mut listener = EventListener::of_chat(&sketch, &sketch.key, "c1").await;
    let reply = ask(&sketch, &request(Some("c1"), true)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    let events = listener.collect_events(&sketch).await;
    let warning = "the images of the message were not used: engine sketch cannot edit";
    assert_eq!(events[1]["data"]["data"]["warnings"], json!([warning]));
    // The status that the user sees.
    let note = json!({"description": format!("Note: {warning}"), "done": true});
    assert_eq!(events[2]["data"]["data"], note);
    assert_eq!(events[3]["data"]["type"], "files");
    // A missing engine is reported, whatever it could do.
    let mut turn_request = request(Some("c1"), true);
    turn_request["image_generation"] = json!({"engine": "nosuch"});
    let mut failure_listener =
        EventListener::of_chat(&fixture.server, &fixture.server.key, "c1").await;
    assert_eq!(ask(&fixture.server, &turn_request).await.status, 200);
    assert_eq!(
        outline(&failure_listener.collect_events(&fixture.server).await),
        IMAGE_FAILED
    );
    assert_eq!(fixture.request_summaries(), ["answer"]);
}

/// Asserts the requests of a turn if the language model responds with this text.
async fn check_intent(task_text: &str, expected: &[&str]) {
    let variables = [
        ("PINHOLE_EDIT_INTENT", "ask"),
        ("ENABLE_IMAGE_PROMPT_GENERATION", "false"),
    ];
    let fixture = ChatFixture::with_task_response(&variables, task_text).await;
    ask(&fixture.server, &request(Some("c1"), true)).await;
    assert_eq!(fixture.request_summaries(), expected, "{task_text}");
    let question = fixture.upstream.requests();
    let question = question
        .iter()
        .find(|upstream_request| is_task(upstream_request))
        .unwrap()
        .json();
    let question = question["messages"][0]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(question.contains("USER: a fox"), "{question}");
    // Without an image the server does not ask the language model.
    ask(&fixture.server, &request(Some("c1"), false)).await;
    assert_eq!(
        fixture.request_summaries()[expected.len()..],
        ["draw a fox", "answer"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn language_model_decides_whether_an_edit_is_meant() {
    let change = ["task", "change 1 with a fox", "answer"];
    let draw = ["task", "draw a fox", "answer"];
    check_intent(r#"{"edit": true}"#, &change).await;
    check_intent(r#"```json {"edit": false} ```"#, &draw).await;
    // An unusable response means an edit, as for any image.
    for task_text in ["no", r#"{"edit": "false"}"#, r#"{"edit": 0}"#, "{}", ""] {
        check_intent(task_text, &change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_source_is_reported_only_without_usable_source() {
    let fixture = ChatFixture::start(&[("ENABLE_IMAGE_PROMPT_GENERATION", "false")]).await;
    let part = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let text = json!({"type": "text", "text": "bluer"});
    let nothing = "the image to edit ";
    let mut count = 0;
    for (url, reason) in [
        (
            "http://127.0.0.1/fox.png",
            "has a URL that the server does not fetch",
        ),
        (
            "/api/v1/files/5/content",
            "refers to a file that does not exist",
        ),
        ("5", "refers to a file that does not exist"),
        ("data:image/png,x", "has a data URL that is not base64"),
        ("data:image/png;base64,AAAA", "cannot be used"),
    ] {
        let mut listener = EventListener::of_chat(&fixture.server, &fixture.server.key, "c1").await;
        let mut turn_request = request(Some("c1"), false);
        turn_request["messages"][0]["content"] = json!([text, part(url)]);
        ask(&fixture.server, &turn_request).await;
        let events = listener.collect_events(&fixture.server).await;
        assert_eq!(outline(&events), IMAGE_FAILED, "{url}");
        let message = events[1]["data"]["data"]["reason"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{nothing}{reason}")),
            "{message}"
        );
        assert_eq!(fixture.request_summaries()[count..], ["answer"], "{url}");

        // One usable image is enough.
        turn_request["messages"][0]["content"] = json!([text, part(url), part(&data_url(PIXEL))]);
        ask(&fixture.server, &turn_request).await;
        assert_eq!(
            outline(&listener.collect_events(&fixture.server).await),
            IMAGE_CREATED,
            "{url}"
        );
        assert_eq!(
            fixture.request_summaries()[count + 1..],
            ["change 1 with bluer", "answer"]
        );

        // An unusable image in an earlier message does not prevent a new image.
        turn_request["messages"] = json!([
            {"role": "user", "content": [text, part(url)]},
            {"role": "user", "content": "a fox"},
        ]);
        ask(&fixture.server, &turn_request).await;
        assert_eq!(
            fixture.request_summaries()[count + 3..],
            ["draw a fox", "answer"]
        );
        listener.collect_events(&fixture.server).await;
        count += 5;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_edits_at_most_sixteen_images() {
    let fixture = ChatFixture::start(&[]).await;
    let parts = (1..=20).map(|width| {
        let url = data_url(&gif(width));
        json!({"type": "image_url", "image_url": {"url": url}})
    });
    let mut turn_request = request(Some("c1"), false);
    let text = json!({"type": "text", "text": "bluer"});
    turn_request["messages"][0]["content"] = parts.chain([text]).collect();
    ask(&fixture.server, &turn_request).await;
    assert_eq!(
        fixture.request_summaries(),
        ["change 16 with bluer", "answer"]
    );
}
