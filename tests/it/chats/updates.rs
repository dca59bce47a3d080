//! Updates of a chat by a client: what they change and what they preserve.

use http::Method;
use pinhole_tests::TestServer;
use serde_json::{Value, json};

use super::{ask, conversation, create, get, id, message, post, save_images, server};

async fn save(server: &TestServer, chat: &str, copy: &Value) -> Value {
    post(server, chat, &json!({"chat": copy})).await
}

/// The ids of a message's ancestors and itself, the oldest first.
async fn chain(server: &TestServer, chat: &str, message: &str, limit: u32) -> Vec<String> {
    let chain = server.app.store.message_chain(id(chat), message, limit);
    chain.await.unwrap().into_iter().map(|it| it.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn update_leaves_omitted_fields_unchanged() {
    let server = server().await;
    let chat = create(&server, &conversation()).await;
    let before = get(&server, &chat).await;
    let renamed = save(&server, &chat, &json!({"title": "Hens", "tags": ["x"]})).await;
    let mut expected = before["chat"].clone();
    expected["title"] = json!("Hens");
    expected["tags"] = json!(["x"]);
    assert_eq!(renamed["chat"], expected);
    assert_eq!(renamed["title"], "Hens");
    assert_eq!(get(&server, &chat).await, renamed);
    for nothing in [json!({}), json!({"title": null, "history": null})] {
        assert_eq!(save(&server, &chat, &nothing).await["chat"], expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn update_adds_removes_and_changes_messages() {
    let server = server().await;
    let mut copy = conversation();
    let chat = create(&server, &copy).await;
    let messages = copy["history"]["messages"].as_object_mut().unwrap();
    messages["answer"]["content"] = json!("Here it is");
    messages["answer"]["done"] = json!(true);
    messages.insert(
        "again".to_owned(),
        json!({"id": "again", "parentId": "question", "role": "assistant", "content": "another"}),
    );
    copy["history"]["currentId"] = json!("again");
    let saved = save(&server, &chat, &copy).await;
    let assistant = &saved["chat"]["history"]["messages"]["answer"];
    assert_eq!(
        (&assistant["content"], &assistant["done"]),
        (&json!("Here it is"), &json!(true))
    );
    // A message's children are the messages that name it as their parent.
    let mut children = saved["chat"]["history"]["messages"]["question"]["childrenIds"].clone();
    children
        .as_array_mut()
        .unwrap()
        .sort_by_key(Value::to_string);
    assert_eq!(children, json!(["again", "answer"]));
    let branch = saved["chat"]["messages"].as_array().unwrap().iter();
    let branch: Vec<_> = branch
        .map(|message| message["id"].as_str().unwrap())
        .collect();
    assert_eq!(branch, ["question", "again"]);
    // The chain follows the parents of the requested message, not of the current one.
    assert_eq!(
        chain(&server, &chat, "answer", 9).await,
        ["question", "answer"]
    );
    assert_eq!(chain(&server, &chat, "answer", 1).await, ["answer"]);
    assert_eq!(chain(&server, &chat, "gone", 9).await.len(), 0);

    copy["history"]["messages"]
        .as_object_mut()
        .unwrap()
        .remove("answer");
    let remaining = save(&server, &chat, &copy).await;
    assert_eq!(
        remaining["chat"]["history"]["messages"]["answer"],
        json!(null)
    );
    assert_eq!(chain(&server, &chat, "answer", 9).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn update_preserves_the_clients_message_order() {
    let server = server().await;
    let body = r#"{"chat": {"history": {"currentId": "b", "messages": {
        "z": {"role": "user", "parentId": null},
        "b": {"role": "assistant", "parentId": "z"},
        "a": {"role": "assistant", "parentId": "z"}}}}}"#;
    let request = server.post("/api/v1/chats/new", &Value::Null).body(body);
    let text = request.send().await.unwrap().text().await.unwrap();
    let at = |id: &str| text.find(&format!("\"{id}\":{{")).unwrap();
    assert!(at("z") < at("b") && at("b") < at("a"), "{text}");
    assert!(text.contains(r#""childrenIds":["b","a"]"#), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn update_preserves_the_servers_files_and_statuses() {
    let server = server().await;
    let copy = conversation();
    let chat = create(&server, &copy).await;
    let store = &server.app.store;
    let creating = json!({"description": "Creating image", "done": false});
    let created = json!({"description": "Image created", "done": true});
    assert!(
        store
            .add_status(id(&chat), "answer", &creating)
            .await
            .unwrap()
    );
    let files = save_images(&server, &chat, &[1, 2]).await;
    assert!(
        store
            .add_status(id(&chat), "answer", &created)
            .await
            .unwrap()
    );
    assert!(!store.add_status(id(&chat), "gone", &created).await.unwrap());
    assert!(!store.add_status("gone", "answer", &created).await.unwrap());
    let stored = message(&server, &chat, "answer").await;
    assert_eq!(stored["statusHistory"], json!([creating, created]));
    assert_eq!(stored["files"].as_array().unwrap().len(), 2);
    assert_eq!(stored["files"][0]["id"], files[0].id);
    assert_eq!(stored["files"][1]["url"], files[1].url());

    // A client without the events saves its own state.
    assert_eq!(
        save(&server, &chat, &copy).await["chat"]["history"]["messages"]["answer"],
        stored
    );
    // A client with the events has short file entries and statuses of its own.
    let mut newer_copy = copy.clone();
    let assistant = &mut newer_copy["history"]["messages"]["answer"];
    assistant["files"] = json!([{"type": "image", "url": files[1].url()}]);
    assistant["statusHistory"] = json!([creating]);
    assert_eq!(
        save(&server, &chat, &newer_copy).await["chat"]["history"]["messages"]["answer"],
        stored
    );

    // New images precede the client's own.
    let newer = save_images(&server, &chat, &[3, 4]).await;
    let newer_answer = &mut newer_copy["history"]["messages"]["answer"];
    let note = json!({"type": "file", "id": "note", "url": "note"});
    newer_answer["files"]
        .as_array_mut()
        .unwrap()
        .insert(0, note);
    save(&server, &chat, &newer_copy).await;
    let merged = message(&server, &chat, "answer").await;
    let ids = merged["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| &file["id"]);
    let rows = [&newer[0], &newer[1], &files[0], &files[1]];
    let expected = rows
        .map(|row| json!(row.id))
        .into_iter()
        .chain([json!("note")]);
    assert!(ids.eq(&expected.collect::<Vec<_>>()), "{merged}");
    let chain = store.message_chain(id(&chat), "answer", 9).await.unwrap();
    assert_eq!(json!(chain[1].files), merged["files"]);
    assert_eq!(chain[0].files.len(), 0);
    // A client can remove the files that it attached.
    save(&server, &chat, &copy).await;
    let remaining = message(&server, &chat, "answer").await;
    assert_eq!(remaining["files"].as_array().unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn update_preserves_messages_the_client_has_not_seen() {
    let server = server().await;
    let chat = create(&server, &json!({"title": "Foxes"})).await;
    save_images(&server, &chat, &[1]).await;
    let current = get(&server, &chat).await;
    assert_eq!(current["chat"]["history"]["currentId"], "answer");
    assert_eq!(current["chat"]["messages"][0]["role"], "assistant");
    let mut copy = conversation();
    let assistant = copy["history"]["messages"]
        .as_object_mut()
        .unwrap()
        .remove("answer");
    save(&server, &chat, &copy).await;
    assert_eq!(
        message(&server, &chat, "answer").await["files"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // After a client has seen the message, an update without it removes it. If it returns, its images return.
    copy["history"]["messages"]["answer"] = assistant.unwrap();
    save(&server, &chat, &copy).await;
    let without = conversation_without_answer();
    save(&server, &chat, &without).await;
    assert!(message(&server, &chat, "answer").await.is_null());
    save(&server, &chat, &copy).await;
    assert_eq!(
        message(&server, &chat, "answer").await["files"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

fn conversation_without_answer() -> Value {
    let mut copy = conversation();
    copy["history"]["messages"]
        .as_object_mut()
        .unwrap()
        .remove("answer");
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn circular_parents_end_the_chain() {
    let server = server().await;
    let message = |parent: &str| json!({"role": "user", "content": "x", "parentId": parent});
    let messages = json!({"a": message("b"), "b": message("c"), "c": message("a"),
        "self": message("self"), "lost": message("gone")});
    let chat = json!({"history": {"messages": messages, "currentId": "a"}});
    let chat = create(&server, &chat).await;
    let current = get(&server, &chat).await;
    assert_eq!(current["chat"]["messages"].as_array().unwrap().len(), 3);
    assert_eq!(
        chain(&server, &chat, "a", 1000).await,
        ["c", "b", "a"].map(str::to_owned)
    );
    assert_eq!(chain(&server, &chat, "self", 1000).await, ["self"]);
    assert_eq!(chain(&server, &chat, "lost", 1000).await, ["lost"]);
    assert_eq!(
        get(&server, "/api/v1/chats/all")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn message_edit_changes_content_and_emits_an_event() {
    let server = server().await;
    let second = server.add_second_user().await;
    let body = json!({"chat": conversation()});
    let theirs = ask(
        &server,
        Method::POST,
        "/api/v1/chats/new",
        second,
        Some(&body),
    )
    .await;
    let chat = super::path(&theirs.1);
    let events = format!("/api/events?chat_id={}", id(&chat));
    let mut events = server
        .client
        .get(server.url(&events))
        .bearer_auth(second)
        .send()
        .await
        .unwrap();
    for message in ["question", "new one"] {
        let path = format!("{chat}/messages/{}", message.replace(' ', "%20"));
        let saved = post(&server, &path, &json!({"content": "Draw a hen"})).await;
        let history = &saved["chat"]["history"];
        assert_eq!(history["messages"][message]["content"], "Draw a hen");
        assert_eq!(history["currentId"], message);
        let mut text = String::new();
        while !text.contains("chat:message") {
            let chunk = events.chunk().await.unwrap().expect("the events ended");
            text += std::str::from_utf8(&chunk).unwrap();
        }
        assert!(
            text.contains("Draw a hen") && text.contains(message),
            "{text}"
        );
    }
    assert_eq!(message(&server, &chat, "question").await["timestamp"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_updates_are_stored_completely() {
    let server = server().await;
    let chat = create(&server, &conversation()).await;
    let copies = (0..12).map(|number| {
        let mut copy = conversation();
        let messages = copy["history"]["messages"].as_object_mut().unwrap();
        for message in messages.values_mut() {
            message["content"] = json!(number.to_string());
        }
        let (server, chat) = (&server, &chat);
        async move {
            ask(
                server,
                Method::POST,
                chat,
                &server.key,
                Some(&json!({"chat": copy})),
            )
            .await
            .0
        }
    });
    let images = (0..12).map(|_| save_images(&server, &chat, &[1]));
    let (statuses, _) = futures_util::join!(
        futures_util::future::join_all(copies.collect::<Vec<_>>()),
        futures_util::future::join_all(images)
    );
    assert_eq!(statuses, [200; 12]);
    let question = message(&server, &chat, "question").await;
    let assistant = message(&server, &chat, "answer").await;
    assert_eq!(question["content"], assistant["content"]);
    assert_eq!(assistant["files"].as_array().unwrap().len(), 12);
}
