//! Requests of Open WebUI 0.12: the server stores the conversation, and the client lists the messages of the
//! responses.

use super::*;

const ACTIVE: &str = "chat:active";
const DONE: &str = "Here is a fox.";

/// A language model that responds with this text.
async fn talking_model() -> FakeUpstream {
    language_model(async |_| {
        let message = json!({"role": "assistant", "content": DONE});
        FakeResponse::json(200, &json!({"choices": [{"message": message}]}))
    })
    .await
}

fn user_message(id: &str, parent: Option<&str>, text: &str) -> Value {
    json!({
        "id": id, "parentId": parent, "childrenIds": [], "role": "user", "content": text,
        "timestamp": 5, "models": ["m"],
    })
}

fn response_id(id: &str, model: &str) -> Value {
    json!({"model_id": model, "message_id": id, "modelIdx": 0})
}

/// The first request of a chat: with no conversation, and without a chat.
fn first_request() -> Value {
    json!({
        "model": "m", "stream": false, "session_id": "s1", "id": "a1", "parent_id": null,
        "message_ids": [response_id("a1", "m")],
        "user_message": user_message("u1", None, "a red fox\nin the snow"),
        "messages": [{"role": "system", "content": "Be short."}],
        "background_tasks": {"title_generation": true, "tags_generation": true},
        "params": {}, "chat_variables": {}, "tool_servers": [], "features": {},
    })
}

/// A later request in this chat.
fn next_request(chat_id: &str) -> Value {
    let mut request = first_request();
    request["chat_id"] = json!(chat_id);
    request["message_ids"] = json!([response_id("a2", "m")]);
    request["id"] = json!("a2");
    request["parent_id"] = json!("a1");
    request["user_message"] = user_message("u2", Some("a1"), "and a hen");
    request
}

/// Sends a request that is accepted. Returns the id of the chat and of the tasks.
async fn accepted(server: &TestServer, request: &Value) -> (String, Vec<Value>) {
    let (status, response) = server.post_json(TURN, request).await;
    assert_eq!(status, 200, "{response}");
    assert_eq!(response["status"], true);
    let fields: Vec<_> = response.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["chat_id", "status", "task_ids"], "{response}");
    let chat_id = response["chat_id"].as_str().unwrap().to_owned();
    (chat_id, response["task_ids"].as_array().unwrap().clone())
}

/// The events of a chat until it is not active any more, each as its type and data.
async fn events_of(socket: &mut SocketClient, chat_id: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    loop {
        let event = socket.event().await;
        if event["data"]["type"] == PROGRESS || event["data"]["type"] == JOB {
            continue;
        }
        assert_eq!(event["chat_id"], chat_id);
        let kind = event["data"]["type"].as_str().unwrap().to_owned();
        let is_end = kind == ACTIVE && event["data"]["data"] == json!({"active": false});
        events.push((kind, event["data"]["data"].clone()));
        if is_end {
            return events;
        }
    }
}

/// The messages of a chat, by id, and its current message.
async fn history(server: &TestServer, chat_id: &str) -> Value {
    let chat = get(server, &format!("/api/v1/chats/{chat_id}")).await;
    chat["chat"]["history"].clone()
}

async fn number_of_chats(server: &TestServer) -> usize {
    let chats = get(server, "/api/v1/chats/").await;
    chats.as_array().unwrap().len()
}

/// What the language model received last.
fn received(model: &FakeUpstream) -> Value {
    let requests = model.requests();
    let last = requests
        .iter()
        .rfind(|it| it.line() == "POST /v1/chat/completions");
    last.unwrap().json()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_message_creates_a_chat_with_title_events_and_response() {
    let model = talking_model().await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let (chat_id, tasks) = accepted(&server, &first_request()).await;
    assert_eq!(tasks.len(), 1);
    let events = events_of(&mut socket, &chat_id).await;
    let expected = [
        (ACTIVE, json!({"active": true})),
        (
            COMPLETION,
            json!({"done": true, "content": DONE, "title": "a red fox"}),
        ),
        ("chat:title", json!("a red fox")),
        (ACTIVE, json!({"active": false})),
    ];
    assert_eq!(events, expected.map(|(kind, data)| (kind.to_owned(), data)));
    let sent = received(&model);
    let messages = json!([
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "a red fox\nin the snow"},
    ]);
    assert_eq!(
        sent,
        json!({"model": "m", "stream": false, "messages": messages})
    );
    let history = history(&server, &chat_id).await;
    assert_eq!(history["currentId"], "a1");
    assert_eq!(history["messages"]["u1"]["childrenIds"], json!(["a1"]));
    let response = &history["messages"]["a1"];
    assert_eq!(response["content"], DONE);
    assert_eq!(
        (&response["parentId"], &response["done"]),
        (&json!("u1"), &json!(true))
    );
    assert_eq!(response["model"], "m");
    let path = format!("/api/tasks/chat/{chat_id}");
    assert_eq!(get(&server, &path).await, json!({"task_ids": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn later_message_gets_the_stored_conversation_and_its_images() {
    let model = talking_model().await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = first_request();
    request["features"] = json!({"image_generation": true});
    let (chat_id, _) = accepted(&server, &request).await;
    let events = events_of(&mut socket, &chat_id).await;
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    let expected = [
        ACTIVE,
        "status",
        "status",
        "files",
        COMPLETION,
        "chat:title",
        ACTIVE,
    ];
    assert_eq!(kinds, expected);
    let url = events[3].1["files"][0]["url"].clone();
    let history_before = history(&server, &chat_id).await;
    assert_eq!(history_before["messages"]["a1"]["files"][0]["url"], url);

    let upload = json!({"type": "file", "url": "f", "id": "f", "content_type": "image/png"});
    let mut next = next_request(&chat_id);
    next["user_message"]["files"] = json!([upload]);
    let (same_id, _) = accepted(&server, &next).await;
    assert_eq!(same_id, chat_id);
    events_of(&mut socket, &chat_id).await;
    let messages = received(&model)["messages"].clone();
    assert_eq!(messages[1]["content"], "a red fox\nin the snow");
    assert_eq!(messages[2], json!({"role": "assistant", "content": DONE}));
    assert_eq!(
        messages[3]["content"][0],
        json!({"type": "text", "text": "and a hen"})
    );
    // No such file: the language model gets a text instead.
    assert_eq!(messages[3]["content"][1]["type"], "text");
    let history = history(&server, &chat_id).await;
    assert_eq!(history["currentId"], "a2");
    assert_eq!(history["messages"]["u2"]["files"], json!([upload]));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_listed_model_writes_its_own_response() {
    let model = talking_model().await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = first_request();
    request["message_ids"] = json!([
        response_id("a1", "m"),
        {"model_id": "n", "message_id": "b1", "modelIdx": 1},
    ]);
    let (chat_id, tasks) = accepted(&server, &request).await;
    assert_eq!(tasks.len(), 2);
    let mut done = 0;
    while done < 2 {
        let event = socket.event().await;
        done += usize::from(event["data"]["data"]["done"] == true);
    }
    let mut models: Vec<_> = model
        .requests()
        .iter()
        .filter(|it| it.line() == "POST /v1/chat/completions")
        .map(|it| it.json()["model"].clone())
        .collect();
    models.sort_by_key(Value::to_string);
    assert_eq!(models, ["m", "n"]);
    let history = history(&server, &chat_id).await;
    assert_eq!(
        history["messages"]["u1"]["childrenIds"],
        json!(["a1", "b1"])
    );
    assert_eq!(history["messages"]["b1"]["modelIdx"], 1);
    for id in ["a1", "b1"] {
        assert_eq!(history["messages"][id]["content"], DONE, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_is_repeated_revised_and_continued() {
    let model = talking_model().await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let (chat_id, _) = accepted(&server, &first_request()).await;
    events_of(&mut socket, &chat_id).await;

    // The stored message counts, not the one of the request.
    let mut again = first_request();
    again["chat_id"] = json!(chat_id);
    again["message_ids"] = json!([response_id("b1", "m")]);
    again["user_message"]["content"] = json!("forged");
    again["regeneration_prompt"] = json!("shorter");
    again["regeneration_message_id"] = json!("a1");
    accepted(&server, &again).await;
    events_of(&mut socket, &chat_id).await;
    let messages = received(&model)["messages"].clone();
    let expected = json!([
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "a red fox\nin the snow"},
        {"role": "assistant", "content": DONE},
        {"role": "user", "content": "shorter"},
    ]);
    assert_eq!(messages, expected);
    let after = history(&server, &chat_id).await;
    assert_eq!(after["messages"]["u1"]["content"], "a red fox\nin the snow");
    assert_eq!(after["messages"]["u1"]["childrenIds"], json!(["a1", "b1"]));

    let mut more = first_request();
    more["chat_id"] = json!(chat_id);
    more["assistant_message_id"] = json!("a1");
    accepted(&server, &more).await;
    let events = events_of(&mut socket, &chat_id).await;
    let continued = format!("{DONE}{DONE}");
    assert_eq!(events[1].1["content"], continued);
    let last = received(&model)["messages"]
        .as_array()
        .unwrap()
        .last()
        .cloned();
    assert_eq!(last.unwrap()["role"], "assistant");
    let second_after = history(&server, &chat_id).await;
    assert_eq!(second_after["messages"]["a1"]["content"], continued);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_that_is_not_stored_uses_the_conversation_of_the_request() {
    let model = talking_model().await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = first_request();
    request["chat_id"] = json!("temporary:s1");
    request["messages"] = json!([{"role": "user", "content": "a wren"}]);
    let (chat_id, _) = accepted(&server, &request).await;
    assert_eq!(chat_id, "temporary:s1");
    let events = events_of(&mut socket, &chat_id).await;
    let done = json!({"done": true, "content": DONE});
    assert_eq!(events[1], (COMPLETION.to_owned(), done));
    assert_eq!(received(&model)["messages"], request["messages"]);
    assert_eq!(number_of_chats(&server).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_chat_is_not_active_any_more() {
    let (model, dropped) = hanging_model("Here is ").await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let mut request = first_request();
    request["stream"] = json!(true);
    let (chat_id, tasks) = accepted(&server, &request).await;
    while socket.event().await["data"]["data"]["content"] != "Here is " {}
    let path = format!("/api/tasks/chat/{chat_id}");
    assert_eq!(get(&server, &path).await, json!({"task_ids": tasks}));
    let (status, _) = server.post_json(&format!("{path}/stop"), &json!({})).await;
    assert_eq!(status, 200);
    let events = events_of(&mut socket, &chat_id).await;
    let kinds: Vec<_> = events.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, [CANCELLED, "chat:title", ACTIVE]);
    timeout(PATIENCE, dropped.notified()).await.unwrap();
    let history = history(&server, &chat_id).await;
    assert_eq!(history["messages"]["a1"]["content"], "Here is ");
}

/// A change of a request.
type Change = fn(&mut Value);

#[tokio::test(flavor = "multi_thread")]
async fn invalid_request_changes_nothing() {
    let model = talking_model().await;
    let server = server("sketch", &model, &[]).await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let (chat_id, _) = accepted(&server, &first_request()).await;
    events_of(&mut socket, &chat_id).await;
    let mut other = first_request();
    other["message_ids"] = json!([response_id("a9", "m")]);
    other["user_message"]["id"] = json!("u9");
    let (other_id, _) = accepted(&server, &other).await;
    events_of(&mut socket, &other_id).await;
    let before = history(&server, &chat_id).await;
    let sent = model.requests().len();
    let rows: &[(&str, u16, &str, Change)] = &[
        ("parent of another chat", 409, "parentId", |it| {
            it["user_message"]["parentId"] = json!("a9");
        }),
        ("parent is nothing", 409, "parentId", |it| {
            it["user_message"]["parentId"] = json!("x");
        }),
        ("id of a response", 409, "these ids", |it| {
            it["message_ids"][0]["message_id"] = json!("a1");
        }),
        ("id of a user's message", 409, "these ids", |it| {
            it["message_ids"][0]["message_id"] = json!("u1");
        }),
        ("own id as response", 409, "these ids", |it| {
            it["message_ids"][0]["message_id"] = json!("u2");
        }),
        ("response as message", 409, "these ids", |it| {
            it["user_message"]["id"] = json!("a1");
        }),
        ("unknown chat", 404, "find", |it| {
            it["chat_id"] = json!("none")
        }),
        ("no chat, but a parent", 400, "chat_id", |it| {
            it["chat_id"] = json!(null);
        }),
        ("role", 400, "role", |it| {
            it["user_message"]["role"] = json!("assistant");
        }),
        ("no id", 400, "id", |it| {
            it["user_message"]["id"] = json!(5);
        }),
        ("line break", 400, "one line", |it| {
            it["user_message"]["id"] = json!("a\nb");
        }),
        ("no response", 400, "message_ids", |it| {
            it["message_ids"] = json!([]);
        }),
        ("many responses", 400, "1 to 10", |it| {
            let many = (0..11).map(|number| response_id(&number.to_string(), "m"));
            it["message_ids"] = many.collect();
        }),
        ("same response twice", 400, "twice", |it| {
            it["message_ids"] = json!([response_id("a2", "m"), response_id("a2", "n")]);
        }),
        ("no model", 400, "model_id", |it| {
            it["message_ids"] = json!([{"message_id": "a2"}]);
        }),
        ("no conversation", 400, "messages", |it| {
            it["user_message"] = json!(null);
            it["messages"] = json!(null);
        }),
        ("too long", 413, "longer than", |it| {
            it["user_message"]["content"] = json!("x".repeat(5 << 20));
        }),
        (
            "continues another response",
            400,
            "assistant_message_id",
            |it| {
                it["assistant_message_id"] = json!("a1");
            },
        ),
        ("continues a missing response", 404, "find", |it| {
            it["assistant_message_id"] = json!("a2");
        }),
        ("continues a user's message", 404, "find", |it| {
            it["assistant_message_id"] = json!("u1");
            it["message_ids"][0]["message_id"] = json!("u1");
        }),
        ("choices", 400, "n must be", |it| it["n"] = json!(99)),
    ];
    for (name, status, detail, change) in rows {
        let mut request = next_request(&chat_id);
        change(&mut request);
        let (actual, response) = server.post_json(TURN, &request).await;
        assert_eq!(actual, *status, "{name}: {response}");
        let text = response["detail"].as_str().unwrap();
        assert!(text.contains(detail), "{name}: {response}");
        assert_eq!(history(&server, &chat_id).await, before, "{name}");
    }
    assert_eq!(number_of_chats(&server).await, 2);
    assert_eq!(model.requests().len(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_of_another_user_is_unknown_also_to_administrators() {
    let model = talking_model().await;
    let server = server(
        "sketch",
        &model,
        &[("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION", "true")],
    )
    .await;
    let second = server.add_second_user().await;
    let mut socket = SocketClient::connect_as(&server, &server.key).await;
    let (own, _) = accepted(&server, &first_request()).await;
    events_of(&mut socket, &own).await;
    let as_second = async |request: &Value| {
        let response = server.client.post(server.url(TURN)).bearer_auth(second);
        let response = response.body(request.to_string()).send().await.unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice::<Value>(&response.bytes().await.unwrap()).unwrap(),
        )
    };
    for change in [
        |_: &mut Value| {},
        |it: &mut Value| {
            it["assistant_message_id"] = json!("a1");
            it["message_ids"][0]["message_id"] = json!("a1");
        },
    ] {
        let mut request = next_request(&own);
        change(&mut request);
        let (status, response) = as_second(&request).await;
        assert_eq!(status, 404, "{response}");
    }
    let (status, theirs) = as_second(&first_request()).await;
    assert_eq!(status, 200, "{theirs}");
    let theirs = theirs["chat_id"].as_str().unwrap();
    let (foreign_status, response) = server.post_json(TURN, &next_request(theirs)).await;
    assert_eq!(foreign_status, 404, "{response}");
    assert!(history(&server, &own).await["messages"]["u2"].is_null());
}
