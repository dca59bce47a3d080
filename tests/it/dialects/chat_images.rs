//! Images by chat completions, as OpenRouter's clients request them.

use super::*;

const PATH: &str = "/v1/chat/completions";

fn request(model: &str, content: Value) -> Value {
    json!({
        "model": model, "modalities": ["image", "text"],
        "messages": [{"role": "user", "content": content}],
    })
}

fn image_url(message: &Value) -> &str {
    let image = &message["images"][0];
    assert_eq!(image["type"], "image_url", "{message}");
    image["image_url"]["url"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn image_model_returns_images_in_its_message() {
    let server = TestServer::start(&[]).await;
    let mut body = request("sketch", json!("a fox"));
    body["image_config"] = json!({"aspect_ratio": "16:9", "image_size": "0.5K"});
    body["n"] = json!(2);
    let (status, completion) = server.post_json(PATH, &body).await;
    assert_eq!(status, 200, "{completion}");
    assert_eq!(
        (&completion["object"], &completion["model"]),
        (&json!("chat.completion"), &json!("sketch"))
    );
    let choices = completion["choices"].as_array().unwrap();
    assert_eq!(choices.len(), 2);
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(
            (&choice["index"], &choice["finish_reason"]),
            (&json!(index), &json!("stop"))
        );
        let message = &choice["message"];
        assert_eq!(
            (&message["role"], &message["content"]),
            (&json!("assistant"), &json!(""))
        );
        let text = image_url(message)
            .strip_prefix("data:image/png;base64,")
            .unwrap();
        let png = base64_simd::STANDARD.decode_to_vec(text).unwrap();
        assert_eq!(&png[16..24], [0, 0, 2, 128, 0, 0, 1, 104], "640x360");
    }
    assert_eq!(completion["usage"]["total_tokens"], 0);
    assert_eq!(server.stored_files(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_has_images_in_a_delta() {
    let server = TestServer::start(&[]).await;
    let mut body = request("sketch", json!("a fox"));
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let chunks = events(&server, PATH, &body).await;
    let [first, image, last, usage, done] = &chunks[..] else {
        panic!("{chunks:?}");
    };
    assert_eq!(
        first["choices"][0]["delta"],
        json!({"role": "assistant", "content": ""})
    );
    assert!(image_url(&image["choices"][0]["delta"]).starts_with("data:image/png;base64,iVBOR"));
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
    assert_eq!(
        (&usage["choices"], &usage["usage"]["total_tokens"]),
        (&json!([]), &json!(0))
    );
    assert_eq!(done, "[DONE]");
    for chunk in &chunks[..4] {
        assert_eq!(
            (&chunk["id"], &chunk["object"]),
            (&first["id"], &json!("chat.completion.chunk"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn client_without_modalities_gets_a_link() {
    let server = TestServer::start(&[]).await;
    let mut body = json!({"model": "sketch", "messages": [{"role": "user", "content": "a fox"}]});
    let (status, completion) = server.post_json(PATH, &body).await;
    assert_eq!(status, 200, "{completion}");
    let text = completion["choices"][0]["message"]["content"]
        .as_str()
        .unwrap();
    let url = text.split_once("](").unwrap().1.trim_end_matches(')');
    let file = server.client.get(url).send().await.unwrap();
    assert!(
        file.bytes().await.unwrap().starts_with(b"\x89PNG"),
        "{text}"
    );
    assert_eq!(server.stored_files(), 1);

    body["stream"] = json!(true);
    let chunks = events(&server, PATH, &body).await;
    let streamed_text = chunks[1]["choices"][0]["delta"]["content"]
        .as_str()
        .unwrap();
    assert!(streamed_text.contains("/api/v1/files/"), "{streamed_text}");
    assert_eq!(chunks.last().unwrap(), "[DONE]");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_the_conversation_are_edited() {
    let (server, upstream) = openai_server(&[]).await;
    let parts = json!([
        {"type": "text", "text": "bluer"},
        {"type": "image_url", "image_url": {"url": data_url()}},
    ]);
    let (status, completion) = server.post_json(PATH, &request("gpt-image-1", parts)).await;
    assert_eq!(status, 200, "{completion}");
    assert_eq!(image_url(&completion["choices"][0]["message"]), data_url());
    assert_eq!(completion["usage"]["prompt_tokens"], 5);
    // The client sends the message back, without saying which image it means.
    let mut follow_up = request("gpt-image-1", json!("now red"));
    let before = [
        json!({"role": "user", "content": "a fox"}),
        completion["choices"][0]["message"].clone(),
    ];
    let messages = follow_up["messages"].as_array_mut().unwrap();
    messages.splice(0..0, before);
    let (follow_up_status, edited) = server.post_json(PATH, &follow_up).await;
    assert_eq!(follow_up_status, 200, "{edited}");
    let edits = ["POST /v1/images/edits"; 2];
    let lines = upstream.request_lines();
    let posts: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("POST"))
        .collect();
    assert_eq!(posts, edits.iter().collect::<Vec<_>>());
    let form = upstream.requests().pop().unwrap();
    let text = String::from_utf8_lossy(&form.body).into_owned();
    assert!(
        text.contains("now red") && !text.contains("a fox"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_lost_is_refused_by_name() {
    let (server, upstream) = openai_server(&[]).await;
    for (field, value) in [
        ("size", json!("64x64")),
        ("quality", json!("high")),
        ("modalities", json!(["image", "audio"])),
        ("image_config.strength", json!(null)),
        ("seed", json!(-1)),
        ("messages", json!([])),
    ] {
        let mut body = request("gpt-image-1", json!("a fox"));
        match field.split_once('.') {
            Some((object, member)) => body[object] = json!({member: 1}),
            None => body[field] = value,
        }
        assert_eq!(refused_field(server.post_json(PATH, &body).await), field);
    }
    let other = json!([
        {"type": "text", "text": "x"},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/x.png"}},
    ]);
    let refused = server.post_json(PATH, &request("gpt-image-1", other)).await;
    assert_eq!(refused_field(refused), "messages");
    let posts = upstream.request_lines();
    assert!(
        !posts.iter().any(|line| line.starts_with("POST")),
        "{posts:?}"
    );

    let second_server = TestServer::start(&[]).await;
    let parts = json!([
        {"type": "text", "text": "bluer"},
        {"type": "image_url", "image_url": {"url": data_url()}},
    ]);
    let (status, error) = second_server
        .post_json(PATH, &request("sketch", parts))
        .await;
    assert_eq!((status, &error["error"]["param"]), (400, &json!("image")));
}

#[tokio::test(flavor = "multi_thread")]
async fn language_model_takes_its_chats_with_modalities_too() {
    let upstream = FakeUpstream::json(
        200,
        json!({
            "data": [{"id": "writer"}],
            "choices": [{"message": {"content": "", "images": [{"type": "image_url", "image_url": {"url": "data:,"}}]}}],
        }),
    )
    .await;
    let base = format!("{}/v1", upstream.url());
    let server = TestServer::start(&[("OPENAI_API_BASE_URL", &base)]).await;
    let (status, completion) = server
        .post_json(PATH, &request("writer", json!("a fox")))
        .await;
    assert_eq!(status, 200, "{completion}");
    assert_eq!(image_url(&completion["choices"][0]["message"]), "data:,");
    let sent = upstream.requests().pop().unwrap().json();
    assert_eq!(sent["modalities"], json!(["image", "text"]));

    let (sketch_status, sketch_completion) = server
        .post_json(PATH, &request("sketch", json!("a fox")))
        .await;
    assert_eq!(sketch_status, 200, "{sketch_completion}");
    assert!(image_url(&sketch_completion["choices"][0]["message"]).len() > 100);
    let (unknown_status, error) = server
        .post_json(PATH, &json!({"model": "none", "messages": []}))
        .await;
    assert_eq!(
        (unknown_status, &error["error"]["code"]),
        (404, &json!("model_not_found"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_forbids_a_second_order() {
    let (server, upstream) = openai_server(&[]).await;
    upstream.set_handler(|_| async { pinhole_tests::FakeResponse::json(500, &json!({})) });
    let body = request("gpt-image-1", json!("a fox"));
    let response = server.post(PATH, &body).send().await.unwrap();
    assert_eq!(response.status(), 502);
    assert_eq!(response.headers()["x-should-retry"], "false");
}

#[tokio::test(flavor = "multi_thread")]
async fn user_without_permission_makes_no_image() {
    let server =
        TestServer::start(&[("USER_PERMISSIONS_FEATURES_IMAGE_GENERATION", "false")]).await;
    let key = server.add_second_user().await;
    for path in [PATH, "/v1/responses"] {
        let body = json!({
            "model": "sketch", "modalities": ["image"], "input": "a fox",
            "messages": [{"role": "user", "content": "a fox"}],
        });
        let response = server
            .client
            .post(server.url(path))
            .bearer_auth(key)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 403, "{path}");
    }
}
