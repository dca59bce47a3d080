//! Turns with an image: events, context and response.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pinhole_tests::{FakeResponse, FakeUpstream, RecordedRequest};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{
    EventListener, IMAGE_CREATED, RecordedTurn, STREAMED, TIMEOUT, TURN, WHOLE, ask,
    assert_as_recorded, context, is_png, model, model_requests, only_request, outline, server,
};

#[tokio::test(flavor = "multi_thread")]
async fn streamed_turn_matches_the_open_webui_recording() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let RecordedTurn {
        mut request,
        chat_id,
        events: recorded,
    } = RecordedTurn::new("legacy_new_chat");
    // Fields that other clients and releases send.
    request["params"] = json!({
        "function_calling": "legacy", "temperature": 0.2, "max_tokens": 50, "top_p": null,
        "system": "ignored here",
    });
    request["stream_options"] = json!({"include_usage": true});
    request["features"]["web_search"] = json!(false);
    for own in [
        "files",
        "filter_ids",
        "message_ids",
        "model_item",
        "parent_message",
        "tool_choice_of_ours",
    ] {
        request[own] = json!([{"id": own}]);
    }
    let mut listener = EventListener::of_chat(&server, &server.key, &chat_id).await;

    let response = ask(&server, &request).await;

    response.assert_is(200, "text/event-stream", STREAMED);
    let events = listener.collect_events(&server).await;
    assert_as_recorded(&events, &recorded);

    let upstream_request = only_request(&model).json();
    let (context_text, rest) = context(&upstream_request["messages"][0]["content"]);
    assert!(
        context_text.contains("has been generated"),
        "{context_text}"
    );
    assert_eq!(rest, "");
    let expected = json!({
        "model": "mock-chat", "stream": true, "stream_options": {"include_usage": true},
        "temperature": 0.2, "max_tokens": 50,
        "messages": [{"role": "system", "content": upstream_request["messages"][0]["content"]}, request["messages"][0]],
        // Not a known field of Open WebUI, so it is passed to the model.
        "tool_choice_of_ours": [{"id": "tool_choice_of_ours"}],
    });
    assert_eq!(upstream_request, expected);

    let url = events[2]["data"]["data"]["files"][0]["url"]
        .as_str()
        .unwrap();
    let stored = server.get(url).send().await.unwrap();
    assert_eq!(stored.status(), 200);
    assert_eq!(stored.headers()["content-type"], "image/png");
    assert!(is_png(&stored.bytes().await.unwrap(), 512, 512));
    assert_eq!(server.stored_files(), 1);
    let second = server.add_second_user().await;
    let other_user = server.client.get(server.url(url)).bearer_auth(second);
    assert_eq!(other_user.send().await.unwrap().status(), 404);
    let unauthorized = server.client.get(server.url(url)).send().await.unwrap();
    assert_eq!(unauthorized.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_text_arrive_before_the_response_ends() {
    let (connected, read) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (first, rest) = STREAMED.split_at(400);
    let model = {
        let (connected, read) = (connected.clone(), read.clone());
        FakeUpstream::start(move |upstream_request: RecordedRequest| {
            let (connected, read) = (connected.clone(), read.clone());
            async move {
                if upstream_request.line() == "GET /v1/models" {
                    return FakeResponse::json(404, &json!({}));
                }
                connected.notified().await;
                let rest = stream::once(async move {
                    read.notified().await;
                    Ok::<_, std::io::Error>(Bytes::from(rest))
                });
                let first = stream::iter([Ok(Bytes::from(first))]);
                FakeResponse::typed(
                    200,
                    "text/event-stream",
                    Body::from_stream(first.chain(rest)),
                )
            }
        })
        .await
    };
    let server = server(&model, &[]).await;
    let recorded = RecordedTurn::new("legacy_new_chat");
    let mut listener = EventListener::of_chat(&server, &server.key, &recorded.chat_id).await;

    let turn = tokio::spawn(server.post(TURN, &recorded.request).send());
    let mut events = Vec::new();
    for _ in IMAGE_CREATED {
        events.push(listener.next().await);
    }
    assert_eq!(outline(&events.into()), IMAGE_CREATED);
    connected.notify_one();
    let mut response = timeout(TIMEOUT, turn).await.unwrap().unwrap().unwrap();
    let mut text = Vec::new();
    while text.len() < first.len() {
        let chunk = timeout(TIMEOUT, response.chunk()).await.unwrap();
        text.extend(chunk.unwrap().expect("the rest of the response"));
    }
    read.notify_one();
    text.extend(response.bytes().await.unwrap());
    assert_eq!(String::from_utf8(text).unwrap(), STREAMED);
    only_request(&model);
}

#[tokio::test(flavor = "multi_thread")]
async fn turn_without_streaming_has_one_json_response() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let mut recorded = RecordedTurn::new("legacy_new_chat");
    recorded.request["stream"] = json!(false);
    let mut listener = EventListener::of_chat(&server, &server.key, &recorded.chat_id).await;

    let response = ask(&server, &recorded.request).await;

    response.assert_is(200, "application/json", WHOLE);
    assert_as_recorded(&listener.collect_events(&server).await, &recorded.events);
    let upstream_request = only_request(&model).json();
    assert_eq!(upstream_request["stream"], false);
    context(&upstream_request["messages"][0]["content"]);
    assert_eq!(
        upstream_request["messages"][1],
        recorded.request["messages"][0]
    );
    assert_eq!(server.stored_files(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn context_precedes_the_system_message() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
    let user = json!({"role": "user", "content": "Draw a fox"});
    let system = |content: Value| json!({"role": "system", "content": content});
    let text = |text: &str| json!({"type": "text", "text": text});
    let cases = [
        (json!("Be brief."), vec!["/0/content"]),
        (
            json!([text("Be brief."), image, text("Be brief.")]),
            vec!["/0/content/0/text", "/0/content/2/text"],
        ),
    ];
    for (index, (content, places)) in cases.into_iter().enumerate() {
        let request = json!({
            "model": "m", "chat_id": "c", "features": {"image_generation": true},
            "messages": [system(content.clone()), user],
        });
        ask(&server, &request)
            .await
            .assert_is(200, "application/json", WHOLE);
        let mut messages = model_requests(&model)[index].json()["messages"].take();
        for place in places {
            let place = messages.pointer_mut(place).unwrap();
            assert_eq!(context(place).1, "\nBe brief.");
            *place = json!("Be brief.");
        }
        assert_eq!(messages, json!([system(content), user]));
    }

    // A system message without text: the context is a message of its own.
    for content in [json!([]), json!([image]), json!(null)] {
        let request = json!({
            "model": "m", "chat_id": "c", "features": {"image_generation": true},
            "messages": [system(content.clone()), user],
        });
        ask(&server, &request)
            .await
            .assert_is(200, "application/json", WHOLE);
        let messages = model_requests(&model).last().unwrap().json()["messages"].take();
        assert_eq!(context(&messages[0]["content"]).1, "", "{content}");
        assert_eq!(messages[1], system(content));
        assert_eq!(messages[2], user);
    }
    assert_eq!(server.stored_files(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_only_their_user_and_chat() {
    let model = model().await;
    let server = server(&model, &[]).await;
    let second = server.add_second_user().await;
    let (mine, other) = (
        RecordedTurn::of_chat("mine"),
        RecordedTurn::of_chat("other"),
    );
    let mut all = EventListener::of_all(&server, &server.key, "mine").await;
    let mut in_mine = EventListener::of_chat(&server, &server.key, "mine").await;
    let mut in_other = EventListener::of_chat(&server, &server.key, "other").await;
    let mut theirs = EventListener::of_all(&server, second, "mine").await;
    let mut theirs_in_mine = EventListener::of_chat(&server, second, "mine").await;

    for request in [&mine.request, &other.request, &RecordedTurn::without_chat()] {
        assert_eq!(ask(&server, request).await.status, 200);
    }

    let chats = |events: Value| -> Vec<Value> {
        let events = events.as_array().unwrap();
        events
            .iter()
            .map(|event| event["chat_id"].clone())
            .collect()
    };
    let thrice = |chat: Value| vec![chat.clone(), chat.clone(), chat];
    assert_eq!(
        chats(in_mine.collect_events(&server).await),
        thrice(json!("mine"))
    );
    assert_eq!(
        chats(in_other.collect_events(&server).await),
        thrice(json!("other"))
    );
    let every = [json!("mine"), json!("other"), json!(null)].map(thrice);
    assert_eq!(chats(all.collect_events(&server).await), every.concat());
    assert_eq!(theirs.collect_events(&server).await, json!([]));
    assert_eq!(theirs_in_mine.collect_events(&server).await, json!([]));

    // The other user's turn in a chat with the same id.
    let request = server.client.post(server.url(TURN)).bearer_auth(second);
    let request = request.body(mine.request.to_string());
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(in_mine.collect_events(&server).await, json!([]));
    assert_eq!(
        outline(&theirs_in_mine.collect_events(&server).await),
        IMAGE_CREATED
    );
}
