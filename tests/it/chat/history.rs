//! Turns in stored chats: which messages count, and which images they store.

use pinhole::files::ImageRecord;
use pinhole_images::Image;
use pinhole_sandbox::Limits;
use pinhole_tests::{PIXEL, RecordedRequest, TestServer, gif};
use serde_json::{Value, json};

use super::decision::{ChatFixture, data_url};
use super::{ChatResponse, EventListener, IMAGE_CREATED, IMAGE_FAILED, TURN, ask, outline};

const PLAIN: [(&str, &str); 1] = [("ENABLE_IMAGE_PROMPT_GENERATION", "false")];

/// Stores an image for the owner of the key. Returns its id.
async fn save_image(server: &TestServer, key: &str, bytes: &[u8]) -> String {
    let limits = Limits::job(std::time::Duration::ZERO).image;
    let image = Image::from_bytes(bytes.to_vec().into(), limits).unwrap();
    let user = server.app.store.user_by_key(key).await.unwrap().unwrap();
    let images = [image];
    let records = [ImageRecord::default()];
    let stored = server.app.files.save_all(&user.id, &images, &records, None);
    stored.await.unwrap()[0].id.clone()
}

fn message(id: &str, parent: Option<&str>, role: &str, text: &str, files: Value) -> Value {
    json!({
        "id": id, "parentId": parent, "childrenIds": [], "role": role, "content": text,
        "files": files, "timestamp": 5,
    })
}

/// Stores a chat with these messages; the last one is current. Returns its id.
async fn store_chat(server: &TestServer, key: &str, messages: &[Value]) -> String {
    let by_id = |message: &Value| (message["id"].as_str().unwrap().to_owned(), message.clone());
    let current = messages.last().unwrap()["id"].clone();
    let history = json!({"messages": messages.iter().map(by_id).collect::<serde_json::Map<_, _>>(), "currentId": current});
    let chat = json!({"chat": {"title": "A chat", "models": ["m"], "history": history}});
    let new = server.client.post(server.url("/api/v1/chats/new"));
    let new = new.bearer_auth(key).body(chat.to_string());
    let reply = ChatResponse::read(new.send().await.unwrap()).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn request(chat_id: &str, id: &str, text: &str) -> Value {
    json!({
        "model": "m", "chat_id": chat_id, "id": id, "features": {"image_generation": true},
        "messages": [{"role": "user", "content": text}],
    })
}

/// The widths of the images in the last edit, in order.
fn changed(upstream_request: &[RecordedRequest]) -> Vec<u8> {
    let edit = upstream_request
        .iter()
        .rfind(|upstream_request| upstream_request.line() == "POST /v1/images/edits");
    let body = &edit.expect("an edit request").body;
    let starts = body
        .windows(6)
        .enumerate()
        .filter(|(_, it)| *it == b"GIF89a");
    starts.map(|(at, _)| body[at + 6]).collect()
}

fn image(id: &str) -> Value {
    json!([{"type": "image", "url": format!("/api/v1/files/{id}/content")}])
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_the_chain_of_the_turns_own_message() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let (server, key) = (&fixture.server, &fixture.server.key);
    let mut made = Vec::new();
    for width in 1..=4 {
        made.push(save_image(server, key, &gif(width)).await);
    }
    let upload = json!([{"type": "file", "id": made[3], "url": made[3], "name": "fox.gif", "content_type": "image/gif"}]);
    let chat = store_chat(
        server,
        key,
        &[
            message("u1", None, "user", "a fox", json!([])),
            message("a1", Some("u1"), "assistant", "here", image(&made[0])),
            message("u2", Some("a1"), "user", "bluer", json!([])),
            message("a2", Some("u2"), "assistant", "here", image(&made[1])),
            // Another branch, which is the current one.
            message("v2", Some("a1"), "user", "greener", upload),
            message("b2", Some("v2"), "assistant", "here", image(&made[2])),
        ],
    )
    .await;

    // Release (a): `parent_id` is the user's message. Release (b): the request contains it whole, stored or not.
    let mut old = request(&chat, "a3", "with a hat");
    old["parent_id"] = json!("u2");
    let mut new = request(&chat, "a3", "with a hat");
    new["user_message"] = message("u3", Some("a2"), "user", "with a hat", json!([]));
    new["parent_id"] = json!("a2");
    let mut known = request(&chat, "a3", "with a hat");
    known["user_message"] = json!({"id": "v2"});
    for (request, expected) in [(old, &[1][..]), (new, &[2, 1]), (known, &[4, 1])] {
        ask(server, &request).await;
        assert_eq!(
            fixture.request_summaries().iter().rev().nth(1).unwrap(),
            &format!("change {} with with a hat", expected.len())
        );
        assert_eq!(changed(&fixture.upstream.requests()), expected, "{request}");
    }
    // The chain of the turn's own message, if it is stored, without its own images.
    ask(server, &request(&chat, "b2", "again")).await;
    assert_eq!(changed(&fixture.upstream.requests()), [4, 1]);
    // If no named message exists, the request's messages count.
    let before = fixture.request_summaries().len();
    ask(server, &request(&chat, "x", "a hen")).await;
    assert_eq!(
        fixture.request_summaries()[before..],
        ["draw a hen", "answer"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn image_in_two_places_is_edited_once() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let (server, key) = (&fixture.server, &fixture.server.key);
    let id = save_image(server, key, &gif(7)).await;
    let file = json!([{"type": "file", "id": id, "url": id, "content_type": "image/gif"}]);
    let chat = store_chat(server, key, &[message("u1", None, "user", "bluer", file)]).await;
    let mut request = request(&chat, "a1", "");
    request["parent_id"] = json!("u1");
    request["messages"][0]["content"] = json!([
        {"type": "text", "text": "bluer"},
        {"type": "image_url", "image_url": {"url": data_url(&gif(7))}},
        {"type": "image_url", "image_url": {"url": id}},
    ]);
    ask(server, &request).await;
    assert_eq!(changed(&fixture.upstream.requests()), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_own_images_are_edited() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let server = &fixture.server;
    let second = server.add_second_user().await;
    let foreign = save_image(server, &server.key, &gif(1)).await;
    let turn = async |files: Value| {
        let mut turn_request = request("c1", "a1", "bluer");
        turn_request["messages"][0]["files"] = files;
        let turn_request = server
            .client
            .post(server.url(TURN))
            .bearer_auth(second)
            .body(turn_request.to_string());
        assert_eq!(turn_request.send().await.unwrap().status(), 200);
    };
    let mut listener = EventListener::of_chat(server, second, "c1").await;
    turn(image(&foreign)).await;
    let events = listener.collect_events(server).await;
    assert_eq!(outline(&events), IMAGE_FAILED);
    assert_eq!(
        events[1]["data"]["data"]["reason"],
        "the image to edit refers to a file that does not exist"
    );
    let own = save_image(server, second, &gif(2)).await;
    turn(image(&own)).await;
    assert_eq!(changed(&fixture.upstream.requests()), [2]);
}

async fn chat(server: &TestServer, id: &str) -> Value {
    let reply = server.get(&format!("/api/v1/chats/{id}"));
    ChatResponse::read(reply.send().await.unwrap()).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_files_are_stored_with_the_message() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let (server, key) = (&fixture.server, &fixture.server.key);
    let id = store_chat(
        server,
        key,
        &[
            message("u1", None, "user", "a fox", json!([])),
            message("a1", Some("u1"), "assistant", "", json!([])),
        ],
    )
    .await;
    let mut listener = EventListener::of_chat(server, key, &id).await;
    let mut turn_request = request(&id, "a1", "a fox");
    turn_request["parent_id"] = json!("u1");
    ask(server, &turn_request).await;
    let events = listener.collect_events(server).await;
    assert_eq!(outline(&events), IMAGE_CREATED);
    let stored = chat(server, &id).await;
    let assistant = &stored["chat"]["history"]["messages"]["a1"];
    let statuses = json!([events[0]["data"]["data"], events[1]["data"]["data"]]);
    assert_eq!(assistant["statusHistory"], statuses);
    assert_eq!(assistant["files"], events[2]["data"]["data"]["files"]);

    turn_request["image_generation"] = json!({"engine": "nosuch"});
    ask(server, &turn_request).await;
    let failure_events = listener.collect_events(server).await;
    assert_eq!(outline(&failure_events), IMAGE_FAILED);
    let updated = chat(server, &id).await;
    let history = &updated["chat"]["history"]["messages"]["a1"]["statusHistory"];
    assert_eq!(history[3], failure_events[1]["data"]["data"]);
    assert_eq!(history[3]["error"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_of_another_user_is_404_except_for_administrators() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let server = &fixture.server;
    let second = server.add_second_user().await;
    let user = message("u1", None, "user", "a fox", json!([]));
    let assistant = message("a1", Some("u1"), "assistant", "", json!([]));
    let mine = store_chat(server, &server.key, &[user.clone(), assistant.clone()]).await;
    for wants in [true, false] {
        let mut turn_request = request(&mine, "a1", "a fox");
        turn_request["features"]["image_generation"] = json!(wants);
        for session in [json!(null), json!("s1")] {
            turn_request["session_id"] = session;
            let turn_request = server
                .client
                .post(server.url(TURN))
                .bearer_auth(second)
                .body(turn_request.to_string());
            let reply = ChatResponse::read(turn_request.send().await.unwrap()).await;
            assert_eq!(reply.status, 404, "{}", reply.body);
            assert_eq!(
                reply.json(),
                json!({"detail": "We could not find what you're looking for :/"})
            );
        }
    }
    assert_eq!(
        (fixture.request_summaries().len(), server.stored_files()),
        (0, 0)
    );

    let theirs = store_chat(server, second, &[user, assistant]).await;
    ask(server, &request(&theirs, "a1", "a fox")).await;
    assert_eq!(fixture.request_summaries(), ["draw a fox", "answer"]);
    let stored = chat(server, &theirs).await;
    let url = stored["chat"]["history"]["messages"]["a1"]["files"][0]["url"]
        .as_str()
        .unwrap();
    let image = server
        .client
        .get(server.url(url))
        .bearer_auth(second)
        .send()
        .await;
    assert_eq!(
        image.unwrap().bytes().await.unwrap(),
        PIXEL,
        "its owner sees what was made in it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn prompt_is_the_newest_message_of_the_request() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let (server, key) = (&fixture.server, &fixture.server.key);
    let chat = store_chat(
        server,
        key,
        &[message("u1", None, "user", "stored words", json!([]))],
    )
    .await;
    let mut turn_request = request(&chat, "a1", "filtered words");
    turn_request["parent_id"] = json!("u1");
    ask(server, &turn_request).await;
    turn_request["messages"] = json!([]);
    ask(server, &turn_request).await;
    let summaries = fixture.request_summaries();
    assert_eq!(
        summaries,
        [
            "draw filtered words",
            "answer",
            "draw stored words",
            "answer"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn temporary_chat_shows_its_image_and_is_not_stored() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let (server, key) = (&fixture.server, &fixture.server.key);
    for id in ["local:s1", "temporary:t1", "channel:c1"] {
        let mut listener = EventListener::of_chat(server, key, id).await;
        ask(server, &request(id, "a1", "a fox")).await;
        let events = listener.collect_events(server).await;
        assert_eq!(outline(&events), &IMAGE_CREATED[1..], "{id}");
        let url = events[1]["data"]["data"]["files"][0]["url"]
            .as_str()
            .unwrap();
        assert_eq!(server.get(url).send().await.unwrap().status(), 200);
        assert!(server.app.store.chat(id).await.unwrap().is_none());
    }
    assert_eq!(server.stored_files(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn language_model_gets_only_stored_images_of_the_caller() {
    let fixture = ChatFixture::start(&PLAIN).await;
    let server = &fixture.server;
    let second = server.add_second_user().await;
    let own = save_image(server, second, PIXEL).await;
    let foreign = save_image(server, &server.key, PIXEL).await;
    let part = |url: Value| json!({"type": "image_url", "image_url": url});
    let text = json!({"type": "text", "text": "what is this?"});
    let data = data_url(&gif(1));
    let turn_request = json!({"model": "m", "messages": [{"role": "user", "content": [
        text,
        part(json!({"url": own, "detail": "low"})),
        part(json!(format!("/api/v1/files/{own}/content"))),
        part(json!({"url": foreign})),
        part(json!({"url": "no such file"})),
        part(json!({"url": "https://elsewhere.example/fox.png"})),
        part(json!({"url": data})),
    ]}]});
    let turn = server.client.post(server.url(TURN)).bearer_auth(second);
    let reply = turn.body(turn_request.to_string()).send().await.unwrap();
    assert_eq!(reply.status(), 200);
    let image = data_url(PIXEL);
    let missing = json!({"type": "text", "text": "[an image that cannot be shown]"});
    let expected = json!([
        text,
        part(json!({"url": image, "detail": "low"})),
        part(json!({"url": image})),
        missing,
        missing,
        part(json!({"url": "https://elsewhere.example/fox.png"})),
        part(json!({"url": data})),
    ]);
    let upstream_requests = fixture.upstream.requests();
    let mut messages = upstream_requests.last().unwrap().json()["messages"].take();
    assert_eq!(messages[0]["content"].take(), expected);
}
