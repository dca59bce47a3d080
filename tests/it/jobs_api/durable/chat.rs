//! Turns of chats whose process was killed.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::*;

/// Starts a turn in a stored chat without a waiting client. Returns the chat's id.
pub(in crate::jobs_api) async fn start_turn(durable: &Durable, server: &ServerProcess) -> String {
    let message = json!({"id": "a1", "role": "assistant", "content": ""});
    let chat = json!({"chat": {
        "title": "Foxes",
        "history": {"messages": {"a1": message}, "currentId": "a1"},
    }});
    let chat = durable.post(server, "/api/v1/chats/new", &chat).await;
    let turn = json!({
        "model": "m", "stream": true, "session_id": "s1", "chat_id": id(&chat), "id": "a1",
        "features": {"image_generation": true},
        "messages": [{"role": "user", "content": "a red fox"}],
    });
    durable.post(server, "/api/chat/completions", &turn).await;
    id(&chat).to_owned()
}

/// The message of the turn once it is done.
async fn done_message(durable: &Durable, server: &ServerProcess, chat_id: &str) -> Value {
    let waiting = async {
        loop {
            let chat = durable
                .get(server, &format!("/api/v1/chats/{chat_id}"))
                .await;
            let message = &chat["chat"]["history"]["messages"]["a1"];
            if message["done"] == true {
                return message.clone();
            }
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_turn_gets_its_image() {
    let comfy = Comfy::start().await;
    let durable = Durable::with_comfy(&comfy);
    let first = durable.start();
    let chat_id = start_turn(&durable, &first).await;
    comfy.wait_for_orders(1).await;
    drop(first);
    comfy.finish();
    let next = durable.start();
    let message = done_message(&durable, &next, &chat_id).await;
    assert_eq!(
        message["files"].as_array().map(Vec::len),
        Some(1),
        "{message}"
    );
    assert_eq!(message["content"], "Here is your image.");
    let statuses = message["statusHistory"].as_array().unwrap();
    let last = statuses.last().unwrap();
    let expected =
        json!({"description": "Image created, after the server was restarted", "done": true});
    assert_eq!(*last, expected, "{message}");
    assert_eq!(comfy.orders(), 1);
    assert_done(&durable.ended_job(&next).await, "turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_turn_without_a_note_says_why_it_has_no_image() {
    let upstream = FakeUpstream::start(async |request: RecordedRequest| {
        if request.line().starts_with("POST") {
            std::future::pending::<()>().await;
        }
        FakeResponse::json(404, &json!({}))
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let durable = Durable::new(&[
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGE_GENERATION_ENGINE", "openai"),
    ]);
    let first = durable.start();
    let chat_id = start_turn(&durable, &first).await;
    upstream.wait_for_requests(1).await;
    drop(first);
    let next = durable.start();
    let message = done_message(&durable, &next, &chat_id).await;
    let reason = message["error"]["content"].as_str().unwrap();
    assert!(reason.contains("may charge for it"), "{message}");
    let last = message["statusHistory"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&last["error"], &last["reason"]),
        (&json!(true), &json!(reason))
    );
    assert_eq!(upstream.request_lines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_whose_job_begins_after_the_signal_to_stop_gets_its_image() {
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    let upstream = FakeUpstream::start(move |request: RecordedRequest| {
        let opened = opened.clone();
        async move {
            match request.line().as_str() {
                "GET /v1/models" => FakeResponse::json(200, &json!({"data": [{"id": "m"}]})),
                "POST /v1/chat/completions" => {
                    opened.acquire().await.unwrap().forget();
                    let message = json!({"role": "assistant", "content": "a fox in snow"});
                    FakeResponse::json(200, &json!({"choices": [{"message": message}]}))
                }
                _ => FakeResponse::json(200, &image_response()),
            }
        }
    })
    .await;
    let base = format!("{}/v1", upstream.url());
    let durable = Durable::new(&[
        ("OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGES_OPENAI_API_BASE_URL", base.as_str()),
        ("IMAGE_GENERATION_ENGINE", "openai"),
    ]);
    let server = durable.start();
    let chat_id = start_turn(&durable, &server).await;
    let is_asked = async || {
        upstream
            .request_lines()
            .contains(&"POST /v1/chat/completions".into())
    };
    while !is_asked().await {
        tokio::task::yield_now().await;
    }
    server.signal("TERM").unwrap();
    let other = json!({
        "model": "m", "chat_id": "local:x", "id": "a2", "messages": [{"role": "user", "content": "a"}],
    });
    let post = async || {
        let request = durable.request(&server, http::Method::POST, "/api/chat/completions");
        request
            .body(other.to_string())
            .send()
            .await
            .unwrap()
            .status()
    };
    // Before the signal arrives, it is accepted, and waits for the language model.
    let refused = async {
        loop {
            let attempt = tokio::time::timeout(Duration::from_millis(200), post());
            if attempt.await.is_ok_and(|status| status == 503) {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    gate.add_permits(100);
    server.wait().unwrap();
    let next = durable.start();
    let message = done_message(&durable, &next, &chat_id).await;
    assert_eq!(
        message["files"].as_array().map(Vec::len),
        Some(1),
        "{message}"
    );
}
