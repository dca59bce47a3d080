//! Turns whose process ends before them.

use std::process::Command;

use pinhole::files::MessageLink;
use pinhole_tests::program;

use super::*;
use crate::files::start_command;

/// What a client with a chat sends to a server process, and the JSON of the response.
async fn post(client: &reqwest::Client, url: &str, key: &str, body: &Value) -> Value {
    let request = client.post(url).bearer_auth(key);
    let request = request.header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 200, "{url}");
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_turn_has_an_error_after_restart() {
    let (model, _) = hanging_model("Here is ").await;
    // Only its client is used.
    let server = server("sketch", &model, &[]).await;
    let client = &server.client;
    let data = tempfile::tempdir().unwrap();
    let model_url = format!("{}/v1", model.url());
    let variables = [
        ("OPENAI_API_BASE_URL", model_url.as_str()),
        ("IMAGE_GENERATION_ENGINE", "sketch"),
    ];
    let first = start_command(Command::new(program()), data.path(), &variables);
    let key = first.key.clone().unwrap();
    let message = json!({"id": "a1", "role": "assistant", "content": ""});
    let chat = json!({"chat": {
        "title": "Foxes",
        "history": {"messages": {"a1": message}, "currentId": "a1"},
    }});
    let chat = post(
        client,
        &format!("{}/api/v1/chats/new", first.url),
        &key,
        &chat,
    )
    .await;
    let chat_id = chat["id"].as_str().unwrap();
    let mut request = turn(false);
    request["chat_id"] = json!(chat_id);
    post(client, &format!("{}{TURN}", first.url), &key, &request).await;
    while !model
        .request_lines()
        .contains(&"POST /v1/chat/completions".to_owned())
    {
        model
            .wait_for_requests(model.request_lines().len() + 1)
            .await;
    }
    // Kills the process.
    drop(first);

    let expected = "the server stopped before the response was complete: try again";
    for _ in 0..2 {
        let next = start_command(Command::new(program()), data.path(), &variables);
        let url = format!("{}/api/v1/chats/{chat_id}", next.url);
        let answer = client.get(url).bearer_auth(&key).send().await.unwrap();
        let stored: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let response = &stored["chat"]["history"]["messages"]["a1"];
        assert_eq!(response["error"], json!({"content": expected}));
        assert_eq!(response["done"], true);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupted_image_gets_a_last_status() {
    let (model, _) = hanging_model("").await;
    let server = server("sketch", &model, &[]).await;
    let chat_id = create_chat(&server).await;
    let user = server
        .app
        .store
        .user_by_key(&server.key)
        .await
        .unwrap()
        .unwrap();
    let store = &server.app.store;
    let (user_id, other) = (user.id.as_str(), "nobody");
    let record = async |owner: &str, chat: &str, message_id: &str| {
        let message = MessageLink {
            chat_id: chat,
            message_id,
        };
        store.add_running_turn(owner, message, None).await.unwrap();
    };
    record(other, &chat_id, "theirs").await;
    record(user_id, "missing", "a1").await;
    assert_eq!(store.fail_interrupted_turns("own").await.unwrap(), 0);
    let empty = json!("");
    store.set_content(&chat_id, "a1", &empty).await.unwrap();
    let status = json!({"description": "Creating image", "done": false});
    store.add_status(&chat_id, "a1", &status).await.unwrap();
    record(user_id, &chat_id, "a1").await;
    assert_eq!(store.fail_interrupted_turns("own").await.unwrap(), 1);
    assert_eq!(store.fail_interrupted_turns("own").await.unwrap(), 0);
    let content = store.chat_content(&chat_id).await.unwrap().unwrap();
    let [message] = &content.messages[..] else {
        panic!("{content:?}");
    };
    let last: Value = serde_json::from_str(message.statuses.last().unwrap()).unwrap();
    assert_eq!(
        (&last["done"], &last["error"]),
        (&json!(true), &json!(true))
    );
    let rest: Value = serde_json::from_str(&message.rest).unwrap();
    assert!(rest["error"]["content"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_turn_leaves_no_record() {
    let (model, _) = hanging_model("Here is ").await;
    let server = server("sketch", &model, &[]).await;
    let chat_id = create_chat(&server).await;
    let mut request = turn(false);
    request["chat_id"] = json!(chat_id);
    start_task(&server, &request).await;
    while !model
        .request_lines()
        .contains(&"POST /v1/chat/completions".to_owned())
    {
        model
            .wait_for_requests(model.request_lines().len() + 1)
            .await;
    }
    server.app.tasks.shut_down().await;
    assert_eq!(
        server
            .app
            .store
            .fail_interrupted_turns("own")
            .await
            .unwrap(),
        0
    );
}
