//! Prompts that a language model writes.

use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest, TestServer};
use serde_json::{Value, json};

use super::decision::{ChatFixture, REWRITTEN};
use super::{ChatResponse, EventListener, IMAGE_CREATED, WHOLE, ask, context, outline};

const TASK: &str = "/api/v1/tasks/image_prompt/completions";

fn request() -> Value {
    json!({
        "model": "m", "chat_id": "c1", "id": "a1", "features": {"image_generation": true},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "I like snow."},
            {"role": "assistant", "content": "So do I."},
            {"role": "user", "content": "a fox"},
        ],
    })
}

/// The server's first own question to the language model.
fn question(upstream: &FakeUpstream) -> Value {
    let upstream_requests = upstream.requests();
    let question = upstream_requests
        .iter()
        .find(|upstream_request| upstream_request.line() == "POST /v1/chat/completions");
    question.expect("a chat request").json()
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_is_written_from_the_conversation_and_shown() {
    let fixture = ChatFixture::start(&[]).await;
    let mut listener = EventListener::of_chat(&fixture.server, &fixture.server.key, "c1").await;
    let response = ask(&fixture.server, &request()).await;
    response.assert_is(200, "application/json", WHOLE);
    let image_requests = format!("draw {REWRITTEN}");
    assert_eq!(
        fixture.request_summaries(),
        ["task", &image_requests, "answer"]
    );

    let question = question(&fixture.upstream);
    assert_eq!(
        (&question["model"], &question["stream"]),
        (&json!("m"), &json!(false))
    );
    let text = question["messages"][0]["content"].as_str().unwrap();
    let conversation = "SYSTEM: Be brief.\nUSER: I like snow.\nASSISTANT: So do I.\nUSER: a fox\n";
    assert!(text.contains(conversation), "{text}");
    assert_eq!(question["messages"].as_array().unwrap().len(), 1);

    let events = listener.collect_events(&fixture.server).await;
    assert_eq!(outline(&events), IMAGE_CREATED);
    let expected = json!({"description": "Image created", "done": true, "prompt": REWRITTEN});
    assert_eq!(events[1]["data"]["data"], expected);
    let id = events[2]["data"]["data"]["files"][0]["id"]
        .as_str()
        .unwrap();
    let row = fixture.server.app.store.file(id).await.unwrap().unwrap();
    let meta: Value = serde_json::from_str(&row.meta).unwrap();
    assert_eq!(meta["prompt"], REWRITTEN);
    // The chat's model gets the conversation unchanged.
    let upstream_requests = fixture.upstream.requests();
    let chat_request = upstream_requests.last().unwrap().json();
    assert_eq!(
        context(&chat_request["messages"][0]["content"]).1,
        "\nBe brief."
    );
    assert_eq!(chat_request["messages"][3]["content"], "a fox");
}

/// Asserts the prompt of the image if the language model responds with this text.
async fn check_prompt(task_text: &str, expected: &str) {
    let fixture = ChatFixture::with_task_response(&[], task_text).await;
    let mut listener = EventListener::of_chat(&fixture.server, &fixture.server.key, "c1").await;
    ask(&fixture.server, &request()).await;
    assert_eq!(
        fixture.request_summaries(),
        ["task", &format!("draw {expected}"), "answer"],
        "{task_text}"
    );
    let events = listener.collect_events(&fixture.server).await;
    let shows_prompt = events[1]["data"]["data"].get("prompt").is_some();
    assert_eq!(shows_prompt, expected != "a fox", "{task_text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_prompt_is_ignored() {
    check_prompt(
        "<think>{\"prompt\": 1} Hm.</think>\n```json\n{\"prompt\": \"a hen\"}\n```",
        "a hen",
    )
    .await;
    check_prompt(r#"{"prompt": "a hen", "why": {"prompt": "x"}}"#, "a hen").await;
    let long = json!({"prompt": "x".repeat(32_001)}).to_string();
    for task_text in [
        "",
        "a hen",
        "{}",
        r#"{"prompt": ""}"#,
        r#"{"prompt": "  "}"#,
        r#"{"prompt": ["a hen"]}"#,
        r#"{"prompt": null}"#,
        r#"{"prompt": {"prompt": 5}}"#,
        r#"{"prompt": "a hen""#,
        &long,
    ] {
        check_prompt(task_text, "a fox").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_language_model_leaves_the_users_prompt() {
    let upstream = FakeUpstream::start(async |upstream_request: RecordedRequest| {
        match upstream_request.line().as_str() {
            "POST /v1/images/generations" => {
                let image = pinhole_tests::pixel_base64();
                FakeResponse::json(200, &json!({"data": [{"b64_json": image}]}))
            }
            _ => FakeResponse::json(500, &json!({"error": "down"})),
        }
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let variables = [
        ("OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
    ];
    let server = TestServer::with_engine("openai", &variables).await;
    let mut listener = EventListener::of_chat(&server, &server.key, "c1").await;
    assert_eq!(ask(&server, &request()).await.status, 500);
    assert_eq!(
        outline(&listener.collect_events(&server).await),
        IMAGE_CREATED
    );
    let image_requests = upstream.requests();
    let image_requests = image_requests
        .iter()
        .find(|upstream_request| upstream_request.line() == "POST /v1/images/generations");
    assert_eq!(image_requests.unwrap().json()["prompt"], "a fox");
}

#[tokio::test(flavor = "multi_thread")]
async fn template_and_task_model_are_settings() {
    let template = "TEMPLATE {{PROMPT:START:1}} for {{USER_NAME}}: {{messages:end:2}}";
    for (name, value, expected) in [
        // The upstream is on this machine.
        ("TASK_MODEL", "task", "task"),
        ("TASK_MODEL_EXTERNAL", "task", "m"),
        ("TASK_MODEL", "nosuch", "m"),
    ] {
        let variables = [
            ("IMAGE_PROMPT_GENERATION_PROMPT_TEMPLATE", template),
            (name, value),
        ];
        let fixture = ChatFixture::start(&variables).await;
        ask(&fixture.server, &request()).await;
        let question = question(&fixture.upstream);
        assert_eq!(question["model"], expected);
        let text = "TEMPLATE a for Administrator: ASSISTANT: So do I.\nUSER: a fox";
        assert_eq!(question["messages"][0]["content"], text);
        assert_eq!(fixture.request_summaries()[1], format!("draw {REWRITTEN}"));
    }
}

async fn task(server: &TestServer, body: &Value) -> ChatResponse {
    ChatResponse::read(server.post(TASK, body).send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_task_has_its_own_route() {
    let fixture = ChatFixture::start(&[]).await;
    let response = task(&fixture.server, &request()).await;
    assert_eq!(response.status, 200);
    let content = response.json()["choices"][0]["message"]["content"].take();
    assert!(content.as_str().unwrap().contains(REWRITTEN), "{content}");
    assert_eq!(fixture.request_summaries(), ["task"]);

    for (field, value, status, detail) in [
        ("model", json!("nosuch"), 404, "Model not found"),
        ("model", json!(null), 400, "model must be a string"),
        ("messages", json!("x"), 400, "messages must be a list"),
    ] {
        let mut invalid = request();
        invalid[field] = value;
        let refusal = task(&fixture.server, &invalid).await;
        assert_eq!(
            (refusal.status, refusal.json()),
            (status, json!({"detail": detail}))
        );
    }
    assert_eq!(fixture.request_summaries(), ["task"]);

    let broken = FakeUpstream::json(500, json!({})).await;
    let url = broken.url();
    let server = TestServer::with_engine("sketch", &[("OPENAI_API_BASE_URL", &url)]).await;
    let failure = task(&server, &request()).await;
    let expected = json!({"detail": "An internal error has occurred."});
    assert_eq!((failure.status, failure.json()), (400, expected));
    let unauthorized = server.client.post(server.url(TASK)).body("{").send().await;
    assert_eq!(unauthorized.unwrap().status(), 401);
}
