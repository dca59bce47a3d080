//! Limits of chats, and invalid chats.

use http::Method;
use serde_json::{Value, json};

use super::{ask, conversation, create, get, server};

const NEW: &str = "/api/v1/chats/new";

#[tokio::test(flavor = "multi_thread")]
async fn invalid_chat_is_refused_and_changes_nothing() {
    let server = server().await;
    let chat = create(&server, &conversation()).await;
    let before = get(&server, &chat).await;
    let history = |messages: Value| json!({"title": "New", "history": {"messages": messages, "currentId": null}});
    let many: serde_json::Map<_, _> = (0..5001).map(|at| (at.to_string(), json!({}))).collect();
    for (body, expected, expected_text) in [
        (json!({}), 400, "missing field `chat`"),
        (json!([]), 400, "expected an object, received an array"),
        (
            json!({"chat": 5}),
            400,
            "invalid JSON body: invalid type: integer `5`",
        ),
        (
            json!({"chat": {"title": "x".repeat(2001)}}),
            400,
            "the title",
        ),
        (
            json!({"chat": history(json!({"a": 5}))}),
            400,
            "invalid JSON body: invalid type: integer `5`",
        ),
        (
            json!({"chat": history(json!({"a": {"role": null}}))}),
            400,
            "message a needs a role",
        ),
        (
            json!({"chat": history(json!({"a": {"role": "user"}, "b": {}}))}),
            400,
            "message b",
        ),
        (
            json!({"chat": history(json!({"x".repeat(201): {"role": "user"}}))}),
            400,
            "200 bytes",
        ),
        (json!({"chat": history(many.into())}), 400, "5000 messages"),
        (
            json!({"chat": history(json!({"a": {"role": "user", "content": "x".repeat(4 << 20)}}))}),
            413,
            "message a",
        ),
        (json!({"chat": {"x": "x".repeat(16 << 20)}}), 413, ""),
    ] {
        for path in [NEW, &chat] {
            let (status, response) =
                ask(&server, Method::POST, path, &server.key, Some(&body)).await;
            assert_eq!(status, expected, "{response}");
            assert!(
                response["detail"].as_str().unwrap().contains(expected_text),
                "{response}"
            );
        }
    }
    assert_eq!(get(&server, &chat).await, before);
    assert_eq!(
        get(&server, "/api/v1/chats/")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_size_is_limited() {
    let server = server().await;
    let chat = create(&server, &conversation()).await;
    let long = "x".repeat(9 << 20);
    let save = async |key: &str| {
        let body = json!({"chat": {key: long}});
        ask(&server, Method::POST, &chat, &server.key, Some(&body))
            .await
            .0
    };
    assert_eq!(save("a").await, 200);
    assert_eq!(save("b").await, 413);
    assert_eq!(save("a").await, 200);
    let four = "x".repeat((4 << 20) - 2);
    let mut statuses = Vec::new();
    for message in ["m1", "m2", "m3", "m4"] {
        let path = format!("{chat}/messages/{message}");
        let body = json!({"content": four});
        statuses.push(
            ask(&server, Method::POST, &path, &server.key, Some(&body))
                .await
                .0,
        );
    }
    assert_eq!(statuses, [200, 200, 200, 413]);
    let current = get(&server, &chat).await;
    assert_eq!(current["chat"]["history"]["currentId"], "m3");
    for (path, body, expected) in [
        (
            "messages/answer",
            json!({"content": "x".repeat((4 << 20) + 1)}),
            413,
        ),
        ("messages/answer", json!({"content": 5}), 400),
        ("messages/answer", json!({}), 400),
        (
            &format!("messages/{}", "x".repeat(201)),
            json!({"content": "x"}),
            400,
        ),
        ("messages/%ff", json!({"content": "x"}), 400),
    ] {
        let path = format!("{chat}/{path}");
        let refused = ask(&server, Method::POST, &path, &server.key, Some(&body)).await;
        assert_eq!(refused.0, expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_of_a_message_and_chats_of_a_user_are_limited() {
    let server = server().await;
    let chat = create(&server, &conversation()).await;
    let many =
        "WITH RECURSIVE many (at) AS (SELECT 0 UNION ALL SELECT at + 1 FROM many WHERE at < ";
    let statuses = format!(
        "{many} 198) INSERT INTO message_statuses (chat_id, message_id, position, status) SELECT $1, 'answer', at, '{{}}' FROM many"
    );
    server.database.execute(statuses, &[super::id(&chat)]).await;
    let add = async || {
        let added = server
            .app
            .store
            .add_status(super::id(&chat), "answer", &Value::Null)
            .await;
        added.unwrap()
    };
    assert_eq!((add().await, add().await), (true, false));
    let chats = format!(
        "{many} 9997) INSERT INTO chats (id, user_id, title, rest, archived, pinned, created_at, updated_at) SELECT 'chat' || at, $1, '', '{{}}', 0, 0, 0, 0 FROM many"
    );
    let user = super::user(&server, &server.key).await;
    server.database.execute(chats, &[&user]).await;
    let body = json!({"chat": {}});
    assert_eq!(
        ask(&server, Method::POST, NEW, &server.key, Some(&body))
            .await
            .0,
        200
    );
    let (status, refused) = ask(&server, Method::POST, NEW, &server.key, Some(&body)).await;
    assert_eq!(status, 400);
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("delete one first"),
        "{refused}"
    );
    let second = server.add_second_user().await;
    assert_eq!(
        ask(&server, Method::POST, NEW, second, Some(&body)).await.0,
        200
    );
    assert_eq!(
        get(&server, "/api/v1/chats/")
            .await
            .as_array()
            .unwrap()
            .len(),
        10_000
    );
}
