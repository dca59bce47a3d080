//! Stored chats, as Open WebUI's clients create, save, list and delete them.

mod updates;
mod files;
mod limits;
mod lists;
mod search;

use http::Method;
use pinhole::files::ImageRecord;
use pinhole::store::{FileRow, MessageLink};
use pinhole_images::Image;
use pinhole_tests::{TestServer, gif};
use serde_json::{Value, json};

/// Open WebUI's message, with 401, for a missing object and for another user's.
const NOT_FOUND: &str = "We could not find what you're looking for :/";

/// A server with the smallest engine, because no chat needs one.
async fn server() -> TestServer {
    TestServer::with_engine("sketch", &[]).await
}

/// Status and JSON of a request with this key.
async fn ask(
    server: &TestServer,
    method: Method,
    path: &str,
    key: &str,
    body: Option<&Value>,
) -> (u16, Value) {
    let request = server.client.request(method, server.url(path));
    let body = body.map(Value::to_string).unwrap_or_default();
    let response = request.bearer_auth(key).body(body).send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    let json = serde_json::from_str(&text);
    (status, json.unwrap_or_else(|_| text.into()))
}

async fn get(server: &TestServer, path: &str) -> Value {
    let (status, response) = ask(server, Method::GET, path, &server.key, None).await;
    assert_eq!(status, 200, "{path}: {response}");
    response
}

async fn post(server: &TestServer, path: &str, body: &Value) -> Value {
    let (status, response) = ask(server, Method::POST, path, &server.key, Some(body)).await;
    assert_eq!(status, 200, "{path}: {response}");
    response
}

async fn delete(server: &TestServer, path: &str) -> Value {
    let (status, response) = ask(server, Method::DELETE, path, &server.key, None).await;
    assert_eq!(status, 200, "{path}: {response}");
    response
}

/// A question and its reply. The client knows only the position of the reply.
fn conversation() -> Value {
    json!({
        "title": "Foxes",
        "models": ["llama"],
        "params": {},
        "history": {
            "messages": {
                "question": {
                    "id": "question", "parentId": null, "childrenIds": ["answer"],
                    "role": "user", "content": "Draw a fox", "timestamp": 5,
                },
                "answer": {
                    "id": "answer", "parentId": "question", "childrenIds": [],
                    "role": "assistant", "content": "", "model": "llama",
                },
            },
            "currentId": "answer",
        },
    })
}

/// Creates a chat of the administrator. Returns its path.
async fn create(server: &TestServer, chat: &Value) -> String {
    let save_images = post(server, "/api/v1/chats/new", &json!({"chat": chat})).await;
    path(&save_images)
}

fn path(chat: &Value) -> String {
    format!("/api/v1/chats/{}", chat["id"].as_str().unwrap())
}

fn id(path: &str) -> &str {
    path.strip_prefix("/api/v1/chats/").unwrap()
}

/// The id of the owner of a key.
async fn user(server: &TestServer, key: &str) -> String {
    let user = server.app.store.user_by_key(key).await.unwrap();
    user.unwrap().id
}

fn image(width: u8) -> Image {
    Image::from_bytes(gif(width).into(), pinhole::files::UPLOAD_LIMITS).unwrap()
}

/// Stores images for the chat's reply.
async fn save_images(server: &TestServer, chat: &str, widths: &[u8]) -> Vec<FileRow> {
    let user = user(server, &server.key).await;
    let images: Vec<_> = widths.iter().map(|width| image(*width)).collect();
    let link = Some(MessageLink {
        chat_id: id(chat),
        message_id: "answer",
    });
    let files = &server.app.files;
    let metadata = vec![ImageRecord::default(); images.len()];
    let stored = files.save_all(&user, &images, &metadata, link);
    stored.await.unwrap()
}

/// The message of a chat.
async fn message(server: &TestServer, chat: &str, id: &str) -> Value {
    get(server, chat).await["chat"]["history"]["messages"][id].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_is_returned_as_it_was_sent() {
    let server = server().await;
    let sent = conversation();
    let save_images = post(
        &server,
        "/api/v1/chats/new",
        &json!({"chat": sent, "folder_id": null}),
    )
    .await;
    let mut expected = sent.clone();
    let messages = &sent["history"]["messages"];
    expected["messages"] = json!([messages["question"], messages["answer"]]);
    assert_eq!(save_images["chat"], expected);
    assert_eq!(save_images["title"], "Foxes");
    assert_eq!(save_images["user_id"], user(&server, &server.key).await);
    assert_eq!(
        (&save_images["archived"], &save_images["pinned"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(save_images["meta"], json!({}));
    for nothing in ["share_id", "folder_id"] {
        assert!(
            save_images.as_object().unwrap().contains_key(nothing)
                && save_images[nothing].is_null()
        );
    }
    assert!(save_images["created_at"].as_i64().unwrap() > 1_700_000_000);
    assert_eq!(get(&server, &path(&save_images)).await, save_images);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_of_another_user_is_not_found() {
    let server = server().await;
    let second = server.add_second_user().await;
    let mine = create(&server, &conversation()).await;
    let body = json!({"chat": {"title": "Taken"}, "content": "Taken"});
    let nobodys = "/api/v1/chats/00000000-0000-4000-8000-000000000000".to_owned();
    for chat in [&mine, &nobodys, &"/api/v1/chats/%27%20OR%201=1".to_owned()] {
        for (method, below) in [
            (Method::GET, ""),
            (Method::POST, ""),
            (Method::DELETE, ""),
            (Method::GET, "/pinned"),
            (Method::GET, "/tags"),
            (Method::POST, "/pin"),
            (Method::POST, "/archive"),
            (Method::POST, "/messages/answer"),
        ] {
            let path = format!("{chat}{below}");
            let refused = ask(&server, method.clone(), &path, second, Some(&body)).await;
            assert_eq!(
                refused,
                (401, json!({"detail": NOT_FOUND})),
                "{method} {path}"
            );
        }
    }
    for list in [
        "/",
        "/list",
        "/pinned",
        "/archived",
        "/all",
        "/search?text=fox",
    ] {
        let path = format!("/api/v1/chats{list}");
        assert_eq!(
            ask(&server, Method::GET, &path, second, None).await,
            (200, json!([]))
        );
    }
    assert_eq!(
        ask(&server, Method::DELETE, "/api/v1/chats/", second, None)
            .await
            .0,
        200
    );
    assert_eq!(get(&server, &mine).await["title"], "Foxes");

    // An administrator sees each chat without becoming its owner.
    let copy = json!({"chat": conversation()});
    let save_images = ask(
        &server,
        Method::POST,
        "/api/v1/chats/new",
        second,
        Some(&copy),
    )
    .await;
    let theirs = path(&save_images.1);
    assert_eq!(get(&server, &theirs).await["user_id"], "second");
    assert_eq!(
        get(&server, "/api/v1/chats/")
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(delete(&server, &theirs).await, true);
    assert_eq!(
        ask(&server, Method::GET, &theirs, second, None).await.0,
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chats_require_a_valid_key() {
    let server = server().await;
    for (method, path) in [
        (Method::GET, "/api/v1/chats/"),
        (Method::DELETE, "/api/v1/chats/"),
        (Method::GET, "/api/v1/chats/all"),
        (Method::GET, "/api/v1/chats/all/tags"),
        (Method::POST, "/api/v1/chats/new"),
        (Method::GET, "/api/v1/chats/5"),
    ] {
        let (status, _) = ask(&server, method, path, "sk-000000", None).await;
        assert_eq!(status, 401, "{path}");
    }
}
