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
    pub(super) async fn with_task_response(variables: &[(&str, &str)], words: &str) -> Self {
        let task = json!({"choices": [{"message": {"role": "assistant", "content": words}}]});
        let upstream = FakeUpstream::start(move |seen: RecordedRequest| {
            let answer = match seen.line().as_str() {
                "GET /v1/models" => {
                    FakeResponse::json(200, &json!({"data": [{"id": "m"}, {"id": "task"}]}))
                }
                _ if is_task(&seen) => FakeResponse::json(200, &task),
                "POST /v1/chat/completions" => FakeResponse::typed(200, "application/json", WHOLE),
                _ => FakeResponse::json(200, &json!({"data": [{"b64_json": pixel_base64()}]})),
            };
            async { answer }
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
    pub(super) fn asked(&self) -> Vec<String> {
        let seen = self.upstream.requests();
        let asked = seen.iter().filter(|seen| seen.line() != "GET /v1/models");
        asked.map(summarize).collect()
    }
}

fn is_task(seen: &RecordedRequest) -> bool {
    if seen.line() != "POST /v1/chat/completions" {
        return false;
    }
    let messages = seen.json()["messages"].take();
    let text = messages[0]["content"].as_str().unwrap_or_default();
    text.contains("<conversation>") || text.starts_with("TEMPLATE")
}

/// `answer`, `task`, `draw PROMPT` or `change COUNT with PROMPT`.
fn summarize(seen: &RecordedRequest) -> String {
    match seen.line().as_str() {
        _ if is_task(seen) => "task".to_owned(),
        "POST /v1/chat/completions" => "answer".to_owned(),
        "POST /v1/images/generations" => {
            format!("draw {}", seen.json()["prompt"].as_str().unwrap())
        }
        "POST /v1/images/edits" => {
            let body = String::from_utf8_lossy(&seen.body).into_owned();
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
fn request(chat_id: Option<&str>, has_picture: bool) -> Value {
    let mut parts = vec![json!({"type": "text", "text": "a fox"})];
    if has_picture {
        parts.push(json!({"type": "image_url", "image_url": {"url": data_url(PIXEL)}}));
    }
    json!({
        "model": "m", "chat_id": chat_id, "id": "a1", "features": {"image_generation": true},
        "messages": [{"role": "user", "content": parts}],
    })
}

const CHATS: [Option<&str>; 3] = [Some("c1"), Some("local:s1"), None];
/// The events of a new image. A temporary chat does not get the first one.
fn made(chat_id: Option<&str>) -> &'static [&'static str] {
    match chat_id {
        Some("local:s1") => &IMAGE_CREATED[1..],
        _ => &IMAGE_CREATED,
    }
}

/// Open WebUI's decision table, for each kind of chat. Two cases differ from its older release: it generates an image
/// although generation is disabled, and it ignores callers without a chat.
#[tokio::test(flavor = "multi_thread")]
async fn decision_follows_the_table() {
    let draw = &["draw a fox", "answer"][..];
    let rewrite_and_draw = &["task", "draw a red fox in deep snow", "answer"][..];
    let change = &["change 1 with a fox", "answer"][..];
    let nothing = &["answer"][..];
    for (picture, edit, generate, rewrite, expected) in [
        (true, true, true, true, change),
        (true, true, true, false, change),
        (true, true, false, true, change),
        (true, true, false, false, change),
        (true, false, true, true, rewrite_and_draw),
        (true, false, true, false, draw),
        (true, false, false, true, nothing),
        (true, false, false, false, nothing),
        (false, true, true, true, rewrite_and_draw),
        (false, true, true, false, draw),
        (false, true, false, true, nothing),
        (false, false, true, true, rewrite_and_draw),
        (false, false, true, false, draw),
        (false, false, false, false, nothing),
    ] {
        let switch = |on| if on { "true" } else { "false" };
        let fixture = ChatFixture::start(&[
            ("ENABLE_IMAGE_EDIT", switch(edit)),
            ("IMAGE_EDIT_ENGINE", "openai"),
            ("ENABLE_IMAGE_GENERATION", switch(generate)),
            ("ENABLE_IMAGE_PROMPT_GENERATION", switch(rewrite)),
        ])
        .await;
        let mut listener = EventListener::of_all(&fixture.server, &fixture.server.key, "").await;
        let mut before = 0;
        for chat_id in CHATS {
            let case = format!("{picture} {edit} {generate} {rewrite} {chat_id:?}");
            let reply = ask(&fixture.server, &request(chat_id, picture)).await;
            assert_eq!(reply.status, 200, "{case}: {}", reply.body);
            let asked = fixture.asked();
            assert_eq!(asked[before..], *expected, "{case}");
            before = asked.len();
            let events = listener.collect_events(&fixture.server).await;
            let told = if expected == nothing {
                &[][..]
            } else {
                made(chat_id)
            };
            assert_eq!(outline(&events), told, "{case}");
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
        let asking = fixture
            .server
            .client
            .post(fixture.server.url(TURN))
            .bearer_auth(key);
        let asking = asking.body(request(chat_id, true).to_string());
        let reply = ChatResponse::read(asking.send().await.unwrap()).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, WHOLE));
    }
    assert_eq!(fixture.asked(), ["answer"; 3]);
    assert_eq!(listener.collect_events(&fixture.server).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_without_editing_makes_a_new_image() {
    let fixture = ChatFixture::start(&[("ENABLE_IMAGE_PROMPT_GENERATION", "false")]).await;
    let sketch = TestServer::with_engine("sketch", &[]).await;
    let mut listener = EventListener::of_chat(&sketch, &sketch.key, "c1").await;
    let reply = ask(&sketch, &request(Some("c1"), true)).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(
        outline(&listener.collect_events(&sketch).await),
        IMAGE_CREATED
    );
    // A missing engine is reported, whatever it could do.
    let mut asking = request(Some("c1"), true);
    asking["image_generation"] = json!({"engine": "nosuch"});
    let mut listener = EventListener::of_chat(&fixture.server, &fixture.server.key, "c1").await;
    assert_eq!(ask(&fixture.server, &asking).await.status, 200);
    assert_eq!(
        outline(&listener.collect_events(&fixture.server).await),
        IMAGE_FAILED
    );
    assert_eq!(fixture.asked(), ["answer"]);
}

/// Asserts the requests of a turn if the language model responds with this text.
async fn check_intent(words: &str, expected: &[&str]) {
    let variables = [
        ("PINHOLE_EDIT_INTENT", "ask"),
        ("ENABLE_IMAGE_PROMPT_GENERATION", "false"),
    ];
    let fixture = ChatFixture::with_task_response(&variables, words).await;
    ask(&fixture.server, &request(Some("c1"), true)).await;
    assert_eq!(fixture.asked(), expected, "{words}");
    let question = fixture.upstream.requests();
    let question = question.iter().find(|seen| is_task(seen)).unwrap().json();
    let question = question["messages"][0]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(question.contains("USER: a fox"), "{question}");
    // Without an image the server does not ask the language model.
    ask(&fixture.server, &request(Some("c1"), false)).await;
    assert_eq!(fixture.asked()[expected.len()..], ["draw a fox", "answer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn language_model_decides_whether_an_edit_is_meant() {
    let change = ["task", "change 1 with a fox", "answer"];
    let draw = ["task", "draw a fox", "answer"];
    check_intent(r#"{"edit": true}"#, &change).await;
    check_intent(r#"```json {"edit": false} ```"#, &draw).await;
    // An unusable response means an edit, as for any image.
    for words in ["no", r#"{"edit": "false"}"#, r#"{"edit": 0}"#, "{}", ""] {
        check_intent(words, &change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_source_is_reported_only_without_usable_source() {
    let fixture = ChatFixture::start(&[("ENABLE_IMAGE_PROMPT_GENERATION", "false")]).await;
    let part = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let text = json!({"type": "text", "text": "bluer"});
    let nothing = "the image to edit ";
    let mut asked = 0;
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
        let mut asking = request(Some("c1"), false);
        asking["messages"][0]["content"] = json!([text, part(url)]);
        ask(&fixture.server, &asking).await;
        let events = listener.collect_events(&fixture.server).await;
        assert_eq!(outline(&events), IMAGE_FAILED, "{url}");
        let told = events[1]["data"]["data"]["reason"].as_str().unwrap();
        assert!(told.starts_with(&format!("{nothing}{reason}")), "{told}");
        assert_eq!(fixture.asked()[asked..], ["answer"], "{url}");

        // One usable image is enough.
        asking["messages"][0]["content"] = json!([text, part(url), part(&data_url(PIXEL))]);
        ask(&fixture.server, &asking).await;
        assert_eq!(
            outline(&listener.collect_events(&fixture.server).await),
            IMAGE_CREATED,
            "{url}"
        );
        assert_eq!(
            fixture.asked()[asked + 1..],
            ["change 1 with bluer", "answer"]
        );

        // An unusable image in an earlier message does not prevent a new image.
        asking["messages"] = json!([
            {"role": "user", "content": [text, part(url)]},
            {"role": "user", "content": "a fox"},
        ]);
        ask(&fixture.server, &asking).await;
        assert_eq!(fixture.asked()[asked + 3..], ["draw a fox", "answer"]);
        listener.collect_events(&fixture.server).await;
        asked += 5;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_edits_at_most_sixteen_images() {
    let fixture = ChatFixture::start(&[]).await;
    let parts = (1..=20).map(|width| {
        let url = data_url(&gif(width));
        json!({"type": "image_url", "image_url": {"url": url}})
    });
    let mut asking = request(Some("c1"), false);
    let text = json!({"type": "text", "text": "bluer"});
    asking["messages"][0]["content"] = parts.chain([text]).collect();
    ask(&fixture.server, &asking).await;
    assert_eq!(fixture.asked(), ["change 16 with bluer", "answer"]);
}
